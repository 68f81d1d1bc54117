//! Between actors and the trainer: which problems are leased, what came back, and what waits to be trained.
//!
//! [`leases`] and [`evaluation`] are state machines without I/O; [`stream`] is the queue in Redis; [`exchange`] joins
//! them; [`service`] is what actors call.
//!
//! What a crash of the learner costs: nothing that was answered ACCEPTED (it is in Redis), no group that was taken and
//! not acknowledged (it is still pending there), and the leases in memory, whose groups are leased again under the same
//! group ids. Evaluations are held in memory only and start over.

pub mod evaluation;
pub mod exchange;
pub mod leases;
pub mod link;
pub mod monitor;
pub mod presence;
pub mod reader;
pub mod service;
pub mod stream;
pub mod trainer;
pub mod training;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Groups that actors give back so often are skipped in training, and fail an evaluation.
pub const MAX_FAILURES: u32 = 5;

/// Pause before a group that could not be generated or scored is leased again; doubles with every failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after the given number of failures.
fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(MAX_FAILURES))
}

/// Locks, also after a panic elsewhere: a panic in one request must not end all others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
