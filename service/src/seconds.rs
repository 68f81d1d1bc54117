//! Seconds as a counter. The counters of the `metrics` crate count whole numbers only.

use std::time::Duration;

use metrics::Counter;

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
}
