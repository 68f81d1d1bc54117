//! The invariants of a scored group, written once: checked where a group arrives, and asserted where one is made.

use thiserror::Error;

use crate::nodes::{NodeSpan, node_spans};
use crate::v1;

/// What is wrong with a scored group.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("scored group: {place}: {problem}")]
pub struct InvalidGroup {
    /// The part at fault, such as `traces[2].nodes[1]`.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

fn fail<T>(place: String, problem: impl Into<String>) -> Result<T, InvalidGroup> {
    Err(InvalidGroup {
        place,
        problem: problem.into(),
    })
}

/// Checks that budgets ascend, lists are of one length, nodes follow the rule of [`crate::nodes`] and every node has
/// multiplicity × A summaries (paper 1.2).
///
/// # Errors
/// The first place where that does not hold.
pub fn check_group(group: &v1::ScoredGroup) -> Result<(), InvalidGroup> {
    let budgets = &group.budgets;
    if budgets.is_empty() || !budgets.windows(2).all(|pair| pair[0] < pair[1]) {
        return fail("budgets".to_owned(), format!("{budgets:?} do not ascend"));
    }
    if group.traces.is_empty() {
        return fail("traces".to_owned(), "there are none");
    }
    if group.summaries_per_budget == 0 {
        return fail("summaries_per_budget".to_owned(), "is 0");
    }
    for (index, trace) in group.traces.iter().enumerate() {
        check_trace(group, trace, &format!("traces[{index}]"))?;
    }
    Ok(())
}

fn check_trace(group: &v1::ScoredGroup, trace: &v1::Trace, place: &str) -> Result<(), InvalidGroup> {
    let thinking = check_generated(trace.thinking.as_ref(), format!("{place}.thinking"))?;
    let length = thinking.ids.len();
    let spans = node_spans(&group.budgets, length);
    for (index, node) in trace.nodes.iter().enumerate() {
        let place = format!("{place}.nodes[{index}]");
        let Some(span) = spans.get(index) else {
            return fail(place, "stands for a budget that another node stands for");
        };
        let actual = NodeSpan {
            cut: node.cut as usize,
            first_budget: node.first_budget as usize,
            multiplicity: node.multiplicity as usize,
        };
        if actual != *span {
            return fail(place, format!("is {actual:?} instead of {span:?} (thinking: {length})"));
        }
        let expected = node.multiplicity * group.summaries_per_budget;
        if node.summaries.len() as u32 != expected {
            return fail(
                place,
                format!("has {} summaries instead of {expected}", node.summaries.len()),
            );
        }
        if node.inserted_ids.is_empty() {
            return fail(place, "has nothing inserted before its summaries");
        }
        for (number, summary) in node.summaries.iter().enumerate() {
            check_generated(summary.generated.as_ref(), format!("{place}.summaries[{number}]"))?;
        }
    }
    if trace.nodes.len() != spans.len() {
        let (nodes, expected) = (trace.nodes.len(), spans.len());
        return fail(place.to_owned(), format!("has {nodes} nodes instead of {expected}"));
    }
    Ok(())
}

fn check_generated(generated: Option<&v1::Generated>, place: String) -> Result<&v1::Generated, InvalidGroup> {
    let Some(generated) = generated else {
        return fail(place, "is missing");
    };
    let length = generated.ids.len();
    if length == 0 {
        return fail(place, "holds no token");
    }
    if generated.log_probs.len() != length || generated.versions.len() != length {
        return fail(place, "ids, log_probs and versions differ in length");
    }
    if let Some(value) = generated
        .log_probs
        .iter()
        .find(|value| !value.is_finite() || **value > 1e-3)
    {
        return fail(place, format!("has the log-probability {value}"));
    }
    Ok(generated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(length: usize) -> Option<v1::Generated> {
        Some(v1::Generated {
            ids: vec![1; length],
            log_probs: vec![-0.5; length],
            versions: vec![0; length],
            finish: v1::FinishReason::EndMarker.into(),
        })
    }

    fn node(cut: u32, first_budget: u32, multiplicity: u32) -> v1::Node {
        let summary = v1::Summary {
            generated: generated(2),
            ..Default::default()
        };
        let summaries = vec![summary; 2 * multiplicity as usize];
        v1::Node {
            cut,
            first_budget,
            multiplicity,
            inserted_ids: vec![7],
            summaries,
        }
    }

    fn group(length: usize, nodes: Vec<v1::Node>) -> v1::ScoredGroup {
        v1::ScoredGroup {
            budgets: vec![2, 4, 8],
            summaries_per_budget: 2,
            traces: vec![v1::Trace {
                thinking: generated(length),
                nodes,
            }],
            ..Default::default()
        }
    }

    #[test]
    fn merged_and_unmerged_nodes_pass() {
        let valid = [
            group(3, vec![node(2, 0, 1), node(3, 1, 2)]),
            group(2, vec![node(2, 0, 3)]),
            group(8, vec![node(2, 0, 1), node(4, 1, 1), node(8, 2, 1)]),
            group(1, vec![node(1, 0, 3)]),
        ];
        for group in valid {
            assert_eq!(check_group(&group), Ok(()));
        }
    }

    #[test]
    fn what_does_not_hold_is_named() {
        let mut short_log_probs = group(1, vec![node(1, 0, 3)]);
        if let Some(thinking) = &mut short_log_probs.traces[0].thinking {
            thinking.log_probs.clear();
        }
        let mut unequal_budgets = group(1, vec![node(1, 0, 3)]);
        unequal_budgets.budgets = vec![2, 2, 8];
        let invalid = [
            (group(5, vec![node(2, 0, 1), node(4, 1, 1)]), "traces[0]"),
            (group(3, vec![node(2, 0, 1), node(4, 1, 2)]), "traces[0].nodes[1]"),
            (group(8, vec![node(2, 0, 1), node(8, 1, 2)]), "traces[0].nodes[1]"),
            (group(3, vec![node(2, 0, 1), node(3, 2, 1)]), "traces[0].nodes[1]"),
            (group(0, vec![node(0, 0, 3)]), "traces[0].thinking"),
            (short_log_probs, "traces[0].thinking"),
            (unequal_budgets, "budgets"),
        ];
        for (group, place) in invalid {
            assert_eq!(check_group(&group).expect_err("refused").place, place);
        }
    }
}
