//! Log lines that others can provoke: one within some seconds, and the number of those that were not written.

use std::time::{Duration, Instant};

/// There is one line within this time.
pub const LOG_EVERY: Duration = Duration::from_secs(10);

/// Says which of many like lines are written to the log.
#[derive(Debug, Default)]
pub struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// How many lines were left out since the last one, if this one is to be written; None if it is not.
    pub fn may_say(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < LOG_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_and_its_number() {
        let (mut said, start) = (Seldom::default(), Instant::now());
        assert_eq!(said.may_say(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(said.may_say(start), None);
        }
        assert_eq!(said.may_say(start + LOG_EVERY), Some(1000));
        assert_eq!(said.may_say(start + LOG_EVERY * 2), Some(0));
    }
}
