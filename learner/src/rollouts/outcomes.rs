//! What becomes of groups, counted twice by the same call: as a metric, and for whoever asks the learner how it fares and
//! has no Prometheus at hand.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anytime_proto::v1::OutcomeCount;
use anytime_service::metric_names::LEARNER_GROUPS;
use metrics::counter;

use crate::lock::lock;

/// By outcome, since the process started.
static COUNTS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Counts groups that ended in this way.
pub(crate) fn count(outcome: &'static str, groups: u64) {
    counter!(LEARNER_GROUPS, "outcome" => outcome).increment(groups);
    *lock(&COUNTS).entry(outcome).or_default() += groups;
}

/// The counts so far, by name.
pub fn counts() -> Vec<OutcomeCount> {
    let counts = lock(&COUNTS);
    let told = |(outcome, groups): (&&'static str, &u64)| OutcomeCount {
        outcome: (*outcome).to_owned(),
        groups: *groups,
    };
    counts.iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        count("of_this_test", 2);
        count("of_this_test", 3);
        let told = counts().into_iter().find(|count| count.outcome == "of_this_test");
        assert_eq!(told.map(|count| count.groups), Some(5));
    }
}
