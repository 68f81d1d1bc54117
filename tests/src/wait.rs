//! Deadlines for whole tests and for everything that they wait for.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How many times as long as on a quiet machine may take what no test claims a time of.
const PATIENCE: u64 = 3;

/// The limit of something whose time no test claims, from the seconds that a quiet machine takes at most. It only ends a
/// wait for what never comes: beside other tests on a slow machine jobs of a few seconds have taken more than a minute.
pub fn patiently(seconds: u64) -> u64 {
    seconds * PATIENCE
}

/// Runs a whole test, and fails it [`patiently`] after `seconds`.
pub async fn within<T>(seconds: u64, test: impl Future<Output = T>) -> T {
    let limit = patiently(seconds);
    match tokio::time::timeout(Duration::from_secs(limit), test).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("the test took longer than {limit} s"),
    }
}

/// Polls until `look` gives a value, and returns it.
pub async fn eventually<T>(what: &str, seconds: u64, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
