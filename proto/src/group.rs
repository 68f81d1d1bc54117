//! The invariants of a scored group, written once: checked where a group arrives, and asserted where one is made.

use prost::Message as _;
use thiserror::Error;

use crate::nodes::{NodeSpan, inserted_ids, node_spans};
use crate::v1;

/// Log-probabilities below this one are refused: no draw with 64 random bits hits a token so improbable, and the ratio
/// of two policies at it would not be finite in f32.
pub const LOWEST_LOG_PROB: f32 = -80.0;

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

/// A token takes no more bytes than this in an encoded group: its id, log-probability and version, each with a key of its
/// own.
const MOST_BYTES_PER_TOKEN: usize = 6 + 5 + 11;

/// Bytes that an encoded group may have beside those of its tokens: once for the group, and once for every trace,
/// thinking, node and summary.
const MOST_OTHER_BYTES: usize = 1024;

/// Reads an encoded group.
///
/// # Errors
/// If the bytes are no group, or are far more than its tokens need. That is refused because the bytes are kept as they
/// came.
pub fn decode_group(wire: &[u8]) -> Result<v1::ScoredGroup, InvalidGroup> {
    let invalid = |problem: String| InvalidGroup {
        place: "group".to_owned(),
        problem,
    };
    let group = v1::ScoredGroup::decode(wire).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let (mut tokens, mut parts) = (group.prompt_ids.len(), 1);
    for trace in &group.traces {
        let summaries = trace.nodes.iter().flat_map(|node| &node.summaries);
        let generated = trace
            .thinking
            .iter()
            .chain(summaries.filter_map(|it| it.generated.as_ref()));
        for generated in generated {
            tokens += generated.ids.len();
            parts += 1;
        }
        tokens += trace.nodes.iter().map(|node| node.inserted_ids.len()).sum::<usize>();
        parts += 1 + trace.nodes.len();
    }
    let most = tokens * MOST_BYTES_PER_TOKEN + parts * MOST_OTHER_BYTES;
    if wire.len() > most {
        let bytes = wire.len();
        return Err(invalid(format!(
            "has {bytes} bytes; its {tokens} tokens need at most {most}"
        )));
    }
    Ok(group)
}

/// Checks that budgets ascend, no thinking is longer than the largest, lists are of one length, nodes follow the rule of
/// [`crate::nodes`], every node has multiplicity × A summaries (paper 1.2), log-probabilities are those of tokens that
/// can be drawn, and scores are in [0, 1].
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

/// Checks a group that keeps the invariants of [`check_group`] against the plan that it was leased with: the shape of
/// the group, ids below the vocabulary, inserted ids that are the plan's markers, and summaries within their cap.
///
/// # Errors
/// The first place where that does not hold.
pub fn check_group_against_plan(group: &v1::ScoredGroup, plan: &v1::RolloutPlan) -> Result<(), InvalidGroup> {
    let no_markers = v1::MarkerIds::default();
    let markers = plan.markers.as_ref().unwrap_or(&no_markers);
    let shape = [
        ("traces", group.traces.len() as u64, u64::from(plan.traces)),
        (
            "summaries_per_budget",
            u64::from(group.summaries_per_budget),
            u64::from(plan.summaries),
        ),
        (
            "no_thinking_traces",
            u64::from(group.no_thinking_traces),
            u64::from(plan.no_thinking_traces),
        ),
        (
            "end_marker_tokens",
            u64::from(group.end_marker_tokens),
            markers.end.len() as u64,
        ),
    ];
    if let Some((field, actual, expected)) = shape.into_iter().find(|(_, actual, expected)| actual != expected) {
        return fail(field.to_owned(), format!("is {actual}; the plan says {expected}"));
    }
    if group.budgets != plan.budgets {
        return fail("budgets".to_owned(), "are not those of the plan");
    }
    for (index, trace) in group.traces.iter().enumerate() {
        let place = format!("traces[{index}]");
        let (mut length, mut ended_itself) = (0, false);
        if let Some(thinking) = &trace.thinking {
            check_ids(&thinking.ids, plan.vocabulary, &format!("{place}.thinking"))?;
            length = thinking.ids.len();
            ended_itself = thinking.finish() == v1::FinishReason::EndMarker;
        }
        for (number, node) in trace.nodes.iter().enumerate() {
            let place = format!("{place}.nodes[{number}]");
            let is_whole = node.cut as usize == length;
            if node.inserted_ids != inserted_ids(&markers.cut, &markers.end, &markers.summary, is_whole && ended_itself)
            {
                return fail(place, "has other ids inserted than the plan's markers");
            }
            for (number, summary) in node.summaries.iter().enumerate() {
                let place = format!("{place}.summaries[{number}]");
                let ids = summary.generated.as_ref().map_or(&[][..], |generated| &generated.ids);
                check_ids(ids, plan.vocabulary, &place)?;
                if ids.len() > plan.max_summary_tokens as usize {
                    let (length, cap) = (ids.len(), plan.max_summary_tokens);
                    return fail(place, format!("has {length} tokens; max_summary_tokens is {cap}"));
                }
            }
        }
    }
    Ok(())
}

fn check_ids(ids: &[u32], vocabulary: u32, place: &str) -> Result<(), InvalidGroup> {
    match ids.iter().find(|id| **id >= vocabulary) {
        Some(id) => fail(
            place.to_owned(),
            format!("has the token id {id}; the vocabulary has {vocabulary}"),
        ),
        None => Ok(()),
    }
}

fn check_trace(group: &v1::ScoredGroup, trace: &v1::Trace, place: &str) -> Result<(), InvalidGroup> {
    let thinking = check_generated(trace.thinking.as_ref(), format!("{place}.thinking"))?;
    let length = thinking.ids.len();
    let largest = group.budgets.last().copied().unwrap_or_default();
    if length > largest as usize {
        return fail(
            format!("{place}.thinking"),
            format!("has {length} tokens; the largest budget is {largest}"),
        );
    }
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
        let expected = u64::from(node.multiplicity) * u64::from(group.summaries_per_budget);
        if node.summaries.len() as u64 != expected {
            return fail(
                place,
                format!("has {} summaries instead of {expected}", node.summaries.len()),
            );
        }
        if node.inserted_ids.is_empty() {
            return fail(place, "has nothing inserted before its summaries");
        }
        for (number, summary) in node.summaries.iter().enumerate() {
            let place = format!("{place}.summaries[{number}]");
            check_generated(summary.generated.as_ref(), place.clone())?;
            // NaN is not in the range either.
            if !(0.0..=1.0).contains(&summary.score) {
                return fail(place, format!("has the score {}; it must be 0 to 1", summary.score));
            }
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
        .find(|value| !(LOWEST_LOG_PROB..=1e-3).contains(*value))
    {
        return fail(
            place,
            format!("has the log-probability {value}; it must be {LOWEST_LOG_PROB} to 0"),
        );
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
            (
                group(9, vec![node(2, 0, 1), node(4, 1, 1), node(8, 2, 1)]),
                "traces[0].thinking",
            ),
        ];
        for (group, place) in invalid {
            assert_eq!(check_group(&group).expect_err("refused").place, place);
        }
    }

    #[test]
    fn an_encoded_group_is_read_unless_it_carries_what_is_no_group() {
        let group = group(3, vec![node(2, 0, 1), node(3, 1, 2)]);
        let wire = group.encode_to_vec();
        assert_eq!(decode_group(&wire), Ok(group));
        assert!(decode_group(&wire[..wire.len() - 1]).is_err());
        // A field that nobody knows, which would be stored and sent on.
        let mut padded = wire;
        padded.extend_from_slice(&[0x82, 0x7d, 0x80, 0x80, 0x40]);
        padded.extend_from_slice(&vec![0; 1 << 20]);
        let error = decode_group(&padded).expect_err("refused");
        assert!(error.problem.contains("need at most"), "{error}");
    }

    /// A thinking of three tokens that ended itself, and one change to it.
    fn changed(change: impl Fn(&mut v1::Trace)) -> v1::ScoredGroup {
        let mut group = group(3, vec![node(2, 0, 1), node(3, 1, 2)]);
        group.traces[0].nodes[0].inserted_ids = vec![6, 5, 7];
        group.end_marker_tokens = 1;
        change(&mut group.traces[0]);
        group
    }

    fn summary(trace: &mut v1::Trace) -> &mut v1::Summary {
        &mut trace.nodes[1].summaries[3]
    }

    fn generated_of(summary: &mut v1::Summary) -> &mut v1::Generated {
        summary.generated.as_mut().expect("set above")
    }

    #[test]
    fn values_that_nothing_can_generate_are_refused_by_name() {
        for score in [f32::NAN, f32::INFINITY, 1e30, -5.0, 1.5] {
            let error = check_group(&changed(|trace| summary(trace).score = score)).expect_err("refused");
            assert_eq!(error.place, "traces[0].nodes[1].summaries[3]");
            assert!(error.problem.contains("score"), "{error}");
        }
        for log_prob in [f32::NAN, f32::NEG_INFINITY, -1e30, -81.0, 0.5] {
            let group = changed(|trace| generated_of(summary(trace)).log_probs[1] = log_prob);
            let error = check_group(&group).expect_err("refused");
            assert!(error.problem.contains("log-probability"), "{error}");
        }
        assert_eq!(check_group(&changed(|_| {})), Ok(()));
        assert_eq!(check_group(&changed(|trace| summary(trace).score = 0.25)), Ok(()));
    }

    #[test]
    fn a_multiplicity_beyond_all_bounds_is_refused() {
        let mut group = changed(|_| {});
        group.summaries_per_budget = u32::MAX;
        assert_eq!(check_group(&group).expect_err("refused").place, "traces[0].nodes[0]");
    }

    fn plan() -> v1::RolloutPlan {
        v1::RolloutPlan {
            budgets: vec![2, 4, 8],
            traces: 1,
            summaries: 2,
            max_summary_tokens: 2,
            vocabulary: 10,
            markers: Some(v1::MarkerIds {
                end: vec![5],
                cut: vec![6],
                summary: vec![7],
                ..v1::MarkerIds::default()
            }),
            ..v1::RolloutPlan::default()
        }
    }

    #[test]
    fn a_group_is_what_its_plan_says() {
        assert_eq!(check_group_against_plan(&changed(|_| {}), &plan()), Ok(()));
        let thinking = "traces[0].thinking";
        let summary_place = "traces[0].nodes[1].summaries[3]";
        let foreign_ids: [(v1::ScoredGroup, &str); 2] = [
            (
                changed(|trace| trace.thinking.as_mut().expect("set above").ids[2] = 10),
                thinking,
            ),
            (
                changed(|trace| generated_of(summary(trace)).ids[0] = u32::MAX),
                summary_place,
            ),
        ];
        for (group, place) in foreign_ids {
            assert_eq!(
                check_group_against_plan(&group, &plan()).expect_err("refused").place,
                place
            );
        }
        let long = changed(|trace| summary(trace).generated = generated(3));
        let error = check_group_against_plan(&long, &plan()).expect_err("refused");
        assert!(error.problem.contains("max_summary_tokens is 2"), "{error}");
        for inserted in [vec![7], vec![6, 5], vec![6, 5, 7, 7], vec![]] {
            let group = changed(|trace| trace.nodes[0].inserted_ids.clone_from(&inserted));
            let error = check_group_against_plan(&group, &plan()).expect_err("refused");
            assert_eq!(error.place, "traces[0].nodes[0]");
        }
        // At the end of a thinking that was broken off, the markers that close it are inserted.
        let broken_off = changed(|trace| {
            trace.thinking.as_mut().expect("set above").finish = v1::FinishReason::Eos.into();
            trace.nodes[1].inserted_ids = vec![6, 5, 7];
        });
        assert_eq!(check_group_against_plan(&broken_off, &plan()), Ok(()));
    }

    type ChangeOfPlan = fn(&mut v1::RolloutPlan);

    #[test]
    fn a_group_of_another_shape_than_the_plan_is_refused() {
        let shapes: [(ChangeOfPlan, &str); 5] = [
            (|plan| plan.traces = 2, "traces"),
            (|plan| plan.summaries = 3, "summaries_per_budget"),
            (|plan| plan.no_thinking_traces = 1, "no_thinking_traces"),
            (|plan| plan.budgets = vec![2, 4, 9], "budgets"),
            (|plan| plan.markers = None, "end_marker_tokens"),
        ];
        for (change, place) in shapes {
            let mut plan = plan();
            change(&mut plan);
            let error = check_group_against_plan(&changed(|_| {}), &plan).expect_err("refused");
            assert_eq!(error.place, place);
        }
    }
}
