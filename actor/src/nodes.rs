//! From a finished thinking to the points at which it is summarised, and from verdicts to scores.
//!
//! Which budgets share a node is said in [`anytime_proto::nodes`]; here every node also gets the tokens that are
//! inserted before its summaries. A summary scores 1 where its answer is correct and exactly one end marker stands
//! between the start of the thinking and the end of the summary (paper 4); an end of sequence inside the thinking makes
//! the node at its end score 0.

use anytime_proto::nodes::{inserted_ids, node_spans};
use anytime_proto::v1::{FinishReason, VerdictKind};

use crate::plan::{Markers, Plan};

/// One point at which a thinking is summarised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// The summaries see this many thinking tokens.
    pub cut: usize,
    /// Index (from 0) of the first budget that the node represents.
    pub first_budget: usize,
    /// How many budgets the node represents.
    pub multiplicity: usize,
    /// Token ids between the thinking and each summary.
    pub inserted: Vec<u32>,
}

/// The nodes of a thinking of `length` tokens, by ascending cut.
pub fn nodes(plan: &Plan, length: usize, finish: FinishReason) -> Vec<NodePlan> {
    let mut nodes = Vec::new();
    for span in node_spans(&plan.budgets, length) {
        let has_ended = span.cut == length;
        let markers = &plan.markers;
        let ended_itself = has_ended && finish == FinishReason::EndMarker;
        let inserted = inserted_ids(&markers.cut, &markers.end, &markers.summary, ended_itself);
        nodes.push(NodePlan {
            cut: span.cut,
            first_budget: span.first_budget,
            multiplicity: span.multiplicity,
            inserted,
        });
    }
    nodes
}

/// The node of a thinking that goes on beyond the budget with this index.
pub fn cut_node(plan: &Plan, budget: usize) -> NodePlan {
    let markers = &plan.markers;
    NodePlan {
        cut: plan.budgets[budget] as usize,
        first_budget: budget,
        multiplicity: 1,
        inserted: inserted_ids(&markers.cut, &markers.end, &markers.summary, false),
    }
}

/// What is known of the thinking when one of its nodes is scored.
#[derive(Clone, Copy, Debug)]
pub struct ThinkingEnd {
    /// Tokens of the thinking.
    pub length: usize,
    /// Why it ended.
    pub finish: FinishReason,
}

/// Whether exactly one end marker is between the start of the thinking and the end of the summary.
///
/// An end marker that ended the thinking counts unless the node cuts it off. A marker that has a text is counted in the
/// text that `decode` makes from ids.
pub fn is_formatted(
    markers: &Markers,
    node: &NodePlan,
    thinking: ThinkingEnd,
    generated: &[u32],
    decode: impl Fn(&[u32]) -> String,
) -> bool {
    let ended = node.cut == thinking.length && thinking.finish == FinishReason::EndMarker;
    let after_thinking = [node.inserted.as_slice(), generated].concat();
    let after = match markers.end_text.as_str() {
        "" => occurrences(&markers.end, &after_thinking),
        text => decode(&after_thinking).matches(text).count(),
    };
    usize::from(ended) + after == 1
}

/// 1 where the verdict is correct and the whole is formatted, else 0; always 0 at the node of a thinking that an end of
/// sequence broke off.
pub fn score(node: &NodePlan, thinking: ThinkingEnd, verdict: VerdictKind, formatted: bool) -> f32 {
    let broken_off = node.cut == thinking.length && thinking.finish == FinishReason::Eos;
    if verdict == VerdictKind::Correct && formatted && !broken_off {
        1.0
    } else {
        0.0
    }
}

/// Occurrences of `pattern` in `ids` that do not overlap.
fn occurrences(pattern: &[u32], ids: &[u32]) -> usize {
    let mut count = 0;
    let mut rest = ids;
    while rest.len() >= pattern.len() && !pattern.is_empty() {
        if rest.starts_with(pattern) {
            count += 1;
            rest = &rest[pattern.len()..];
        } else {
            rest = &rest[1..];
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan_message;

    fn plan() -> Plan {
        let mut message = plan_message();
        message.budgets = vec![4, 8, 12, 16];
        Plan::try_new(&message).unwrap()
    }

    fn table(length: usize, finish: FinishReason) -> Vec<(usize, usize, usize, bool)> {
        let plan = plan();
        let closed = plan.markers.summary.clone();
        let nodes = nodes(&plan, length, finish);
        nodes
            .iter()
            .map(|n| (n.cut, n.first_budget, n.multiplicity, n.inserted == closed))
            .collect()
    }

    #[test]
    fn budgets_at_and_beyond_the_end_share_a_node() {
        let cut = |cut, index| (cut, index, 1, false);
        assert_eq!(table(3, FinishReason::EndMarker), [(3, 0, 4, true)]);
        assert_eq!(table(6, FinishReason::EndMarker), [cut(4, 0), (6, 1, 3, true)]);
        assert_eq!(table(8, FinishReason::EndMarker), [cut(4, 0), (8, 1, 3, true)]);
        assert_eq!(table(9, FinishReason::Eos), [cut(4, 0), cut(8, 1), (9, 2, 2, false)]);
        assert_eq!(table(1, FinishReason::Eos), [(1, 0, 4, false)]);
        assert_eq!(
            table(16, FinishReason::Length),
            [cut(4, 0), cut(8, 1), cut(12, 2), (16, 3, 1, false)]
        );
        assert_eq!(
            table(16, FinishReason::EndMarker),
            [cut(4, 0), cut(8, 1), cut(12, 2), (16, 3, 1, true)]
        );
    }

    #[test]
    fn a_cut_inserts_the_cut_the_end_and_the_summary_markers() {
        let plan = plan();
        let nodes = nodes(&plan, 16, FinishReason::Length);
        let expected = [
            plan.markers.cut.clone(),
            plan.markers.end.clone(),
            plan.markers.summary.clone(),
        ]
        .concat();
        assert_eq!(nodes[0].inserted, expected);
    }

    #[test]
    fn exactly_one_end_marker_is_formatted() {
        let plan = plan();
        let end = plan.markers.end.clone();
        let finished = ThinkingEnd {
            length: 6,
            finish: FinishReason::EndMarker,
        };
        let nodes = nodes(&plan, finished.length, finished.finish);
        let answer = [20, 21];
        let second_end = [answer.as_slice(), &end].concat();
        let never = |_: &[u32]| -> String { panic!("a marker without a text is counted by its ids") };
        for node in &nodes {
            assert!(is_formatted(&plan.markers, node, finished, &answer, never), "{node:?}");
            assert!(
                !is_formatted(&plan.markers, node, finished, &second_end, never),
                "{node:?}"
            );
        }
    }

    #[test]
    fn a_marker_with_a_text_is_counted_in_texts() {
        let mut plan = plan();
        plan.markers.end_text = "</t>".to_owned();
        let finished = ThinkingEnd {
            length: 6,
            finish: FinishReason::EndMarker,
        };
        let nodes = nodes(&plan, finished.length, finished.finish);
        // Ids 2 and 90 with 91 are two spellings of one text.
        let spell = |ids: &[u32]| -> String {
            let text = |id: &u32| match id {
                2 => "</t>",
                90 => " </",
                91 => "t>",
                _ => "x",
            };
            ids.iter().map(text).collect()
        };
        for node in &nodes {
            assert!(
                is_formatted(&plan.markers, node, finished, &[20, 91, 90], spell),
                "{node:?}"
            );
            assert!(
                !is_formatted(&plan.markers, node, finished, &[20, 90, 91], spell),
                "{node:?}"
            );
            assert!(
                !is_formatted(&plan.markers, node, finished, &[2, 20], spell),
                "{node:?}"
            );
        }
    }

    #[test]
    fn an_end_of_sequence_in_the_thinking_scores_zero_at_the_last_node_only() {
        let broken_off = ThinkingEnd {
            length: 6,
            finish: FinishReason::Eos,
        };
        let nodes = nodes(&plan(), broken_off.length, broken_off.finish);
        assert_eq!(score(&nodes[0], broken_off, VerdictKind::Correct, true), 1.0);
        assert_eq!(score(&nodes[1], broken_off, VerdictKind::Correct, true), 0.0);
        assert_eq!(score(&nodes[0], broken_off, VerdictKind::Correct, false), 0.0);
        assert_eq!(score(&nodes[0], broken_off, VerdictKind::Wrong, true), 0.0);
    }

    #[test]
    fn occurrences_do_not_overlap() {
        assert_eq!(occurrences(&[1, 1], &[1, 1, 1, 2, 1, 1]), 2);
        assert_eq!(occurrences(&[5], &[1, 2]), 0);
    }
}
