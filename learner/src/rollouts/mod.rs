//! Between actors and the trainer: which problems are leased, what came back, and what waits to be trained.
//!
//! [`lease_table`] and [`evaluation_leases`] are state machines without I/O; [`broker`] joins them with the queue in
//! Redis.
//!
//! What a crash of the learner costs: nothing that was answered ACCEPTED (it is in Redis), no group that was taken and
//! not acknowledged (it is still pending there), and the leases in memory, whose groups are leased again under the same
//! group ids. Evaluations are held in memory only and start over.

pub mod actors;
pub mod broker;
pub mod evaluation_leases;
pub mod lease_table;
pub mod monitor;
pub mod session;
pub mod take;

use std::time::Duration;

/// Groups that actors give back so often are skipped in training, and fail an evaluation.
pub const MAX_FAILURES: u32 = 5;

/// Pause before a group that could not be generated or scored is leased again; doubles with every failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after the given number of failures.
fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(MAX_FAILURES))
}
