//! How often, and after which pause, a group is leased again that actors could not generate or score, or that cannot be
//! trained.

use std::time::Duration;

/// A group that actors give back this many times is skipped in training, and fails an evaluation.
pub const MAX_FAILURES: u32 = 5;

/// Training goes on without a group after this many deliveries that cannot be trained.
pub const MAX_REFUSALS: u32 = 3;

/// The pause after the first failure; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after the given number of failures.
pub(super) fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(MAX_FAILURES))
}
