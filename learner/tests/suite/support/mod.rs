//! What the tests share.

pub(crate) mod actor;
pub(crate) mod groups;
pub(crate) mod learner;
pub(crate) mod queues;
pub(crate) mod redis_server;
pub(crate) mod trainer;

use std::time::Duration;

/// Waits until something holds; panics with its name if it never does.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    // A minute: other work on the machine comes and goes.
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}
