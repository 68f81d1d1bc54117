//! Counts groups by outcome and by the length of their longest thinking, so that a bias of what is trained towards
//! short or long thinking would show.

use anytime_service::metric_names::LEARNER_GROUPS_BY_LENGTH;
use metrics::counter;

/// Lengths beyond this power of two share one label.
const LONGEST_LABEL: usize = 1 << 17;

/// Counts one group. The label is the next power of two; 0 tokens stand for a length that nobody knows.
pub(super) fn count(outcome: &'static str, tokens: usize) {
    counter!(LEARNER_GROUPS_BY_LENGTH, "outcome" => outcome, "tokens" => label(tokens)).increment(1);
}

fn label(tokens: usize) -> String {
    if tokens == 0 {
        return "unknown".to_owned();
    }
    tokens.min(LONGEST_LABEL).next_power_of_two().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_share_few_labels() {
        let labels = [0, 1, 5, 8, 9, 8000, 1 << 17, usize::MAX].map(label);
        assert_eq!(labels, ["unknown", "1", "8", "8", "16", "8192", "131072", "131072"]);
    }
}
