//! Seconds as a counter. The counters of the `metrics` crate count whole numbers only.

use std::pin::pin;
use std::time::Duration;

use metrics::Counter;
use tokio::time::Instant;

/// How often a wait that goes on is added.
const ADD_EVERY: Duration = Duration::from_secs(1);

/// A counter of seconds that durations are added to. The part below one second waits for the next addition.
pub struct Seconds {
    counter: Counter,
    rest: Duration,
}

impl Seconds {
    /// Takes the counter and makes it appear at once, with the value that it has.
    pub fn new(counter: Counter) -> Self {
        counter.increment(0);
        Self {
            counter,
            rest: Duration::ZERO,
        }
    }

    /// Adds a duration.
    pub fn add(&mut self, duration: Duration) {
        self.rest += duration;
        let whole = self.rest.as_secs();
        if whole > 0 {
            self.counter.increment(whole);
            self.rest -= Duration::from_secs(whole);
        }
    }

    /// Adds the time that `work` takes, every second while it goes on: a wait that does not end shows too. Needs a
    /// runtime.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut counted = Instant::now();
        loop {
            let ended = tokio::time::timeout_at(counted + ADD_EVERY, &mut work).await;
            let now = Instant::now();
            self.add(now - counted);
            counted = now;
            if let Ok(output) = ended {
                return output;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_wait_that_goes_on_is_counted_while_it_does() {
        let value = Arc::new(AtomicU64::new(0));
        let mut seconds = Seconds::new(Counter::from_arc(value.clone()));
        let (release, released) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(async move {
            seconds.during(released).await.expect("released");
            seconds
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while value.load(Ordering::Relaxed) < 2 {
            assert!(Instant::now() < deadline, "it grows while the work goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        release.send(()).expect("it waits");
        let mut seconds = waiting.await.expect("it ends");
        let before = value.load(Ordering::Relaxed);
        assert_eq!(seconds.during(async { 7 }).await, 7);
        assert_eq!(value.load(Ordering::Relaxed), before, "no time has passed");
    }
}
