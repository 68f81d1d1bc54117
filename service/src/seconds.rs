//! Seconds as a counter: Prometheus counters of this process count whole numbers.

use std::time::Duration;

use metrics::Counter;

/// Adds durations to a counter of seconds; what is below one second waits for the next addition.
pub struct Seconds {
    counter: Counter,
    rest: Duration,
}

impl Seconds {
    /// The counter is there, at its value, from now on.
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
