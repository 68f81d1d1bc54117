//! Groups of one budget for the tests of objectives that look at whole responses.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;
pub(crate) use anytime_proto::v1::objective_spec::Settings;

use crate::TraceTargets;

/// The settings of an objective over these budgets, defaults filled in.
pub(crate) fn settings(own: Settings, budgets: &[u32]) -> ObjectiveSettings {
    let spec = v1::ObjectiveSpec {
        settings: Some(own),
        ..Default::default()
    };
    ObjectiveSettings::try_new(&spec, budgets).expect("valid")
}

/// Tokens of the end marker.
const END_MARKER: usize = 2;

/// A thinking with one summary of one token.
#[derive(Clone, Copy)]
pub(crate) struct Response {
    thinking_tokens: usize,
    is_right: bool,
}

impl Response {
    pub(crate) const fn new(thinking_tokens: usize, is_right: bool) -> Self {
        Self {
            thinking_tokens,
            is_right,
        }
    }

    pub(crate) const fn without_thinking(is_right: bool) -> Self {
        Self::new(END_MARKER, is_right)
    }
}

pub(crate) fn group(budget: u32, responses: &[Response]) -> v1::ScoredGroup {
    let traces = responses
        .iter()
        .map(|response| trace(response.thinking_tokens, &[response.is_right]))
        .collect();
    of_traces(budget, 1, traces)
}

/// One trace with several summaries of one token.
pub(crate) fn group_with_summaries(budget: u32, thinking_tokens: usize, are_right: &[bool]) -> v1::ScoredGroup {
    of_traces(budget, are_right.len() as u32, vec![trace(thinking_tokens, are_right)])
}

/// The advantage of the first thinking token of each trace.
pub(crate) fn thinking_advantages(targets: &[TraceTargets]) -> Vec<f32> {
    targets.iter().map(|trace| trace.advantages[0]).collect()
}

fn of_traces(budget: u32, summaries_per_budget: u32, traces: Vec<v1::Trace>) -> v1::ScoredGroup {
    let group = v1::ScoredGroup {
        budgets: vec![budget],
        summaries_per_budget,
        prompt_ids: vec![0],
        traces,
        end_marker_tokens: END_MARKER as u32,
        ..Default::default()
    };
    assert_eq!(anytime_proto::check_group(&group), Ok(()));
    group
}

fn trace(thinking_tokens: usize, are_right: &[bool]) -> v1::Trace {
    let generated = |length: usize| v1::Generated {
        ids: vec![1; length],
        log_probs: vec![-0.5; length],
        versions: vec![0; length],
        finish: v1::FinishReason::EndMarker.into(),
    };
    let summary = |is_right: &bool| v1::Summary {
        generated: Some(generated(1)),
        score: if *is_right { 1.0 } else { 0.0 },
        ..Default::default()
    };
    v1::Trace {
        thinking: Some(generated(thinking_tokens)),
        nodes: vec![v1::Node {
            cut: thinking_tokens as u32,
            first_budget: 0,
            multiplicity: 1,
            inserted_ids: vec![7],
            summaries: are_right.iter().map(summary).collect(),
        }],
    }
}
