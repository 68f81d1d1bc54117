//! Since when each group waits in the replay queue. The lease table, a state machine without a clock, does not know it, so
//! that whoever looks at the table at intervals keeps the times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// When each waiting group was seen in the queue for the first time: its arrival, or the opening of the training where it
/// lay there before.
#[derive(Default)]
pub(super) struct Arrivals {
    seen: BTreeMap<u64, Instant>,
}

impl Arrivals {
    /// How long the group that has waited longest has been in the queue, whose sequences are `queued` now; zero where it
    /// is empty. As exact as the calls are frequent.
    pub(super) fn longest_wait(&mut self, queued: &BTreeSet<u64>, now: Instant) -> Duration {
        self.seen.retain(|sequence, _| queued.contains(sequence));
        for sequence in queued {
            self.seen.entry(*sequence).or_insert(now);
        }
        let oldest = self.seen.values().min();
        oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_that_has_waited_longest_is_told() {
        let mut arrivals = Arrivals::default();
        let start = Instant::now();
        let mut wait = |queued: &[u64], seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            arrivals.longest_wait(&queued.iter().copied().collect(), now).as_secs()
        };
        assert_eq!(wait(&[], 0), 0);
        assert_eq!(wait(&[7], 1), 0);
        // A lower sequence that came later.
        assert_eq!(wait(&[3, 7], 5), 4);
        assert_eq!(wait(&[3], 6), 1);
        // It was lost and came again.
        assert_eq!(wait(&[], 7), 0);
        assert_eq!(wait(&[3], 9), 0);
    }
}
