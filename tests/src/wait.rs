//! Deadlines for whole tests and for everything that they wait for.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs a whole test, and fails it after `seconds`.
pub async fn within<T>(seconds: u64, test: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(seconds);
    match tokio::time::timeout(limit, test).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("the test took longer than {seconds} s"),
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
