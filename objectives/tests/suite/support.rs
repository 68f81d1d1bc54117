//! Groups with scores that a test chooses.

use anytime_objectives::segment_of_token;
use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

/// A group with given scores as [trace][S·A]; traces of `lengths` thinking tokens, summaries of one token.
pub(crate) fn group(
    scores: &[Vec<f32>],
    lengths: &[u32],
    budgets: &[u32],
    summaries_per_budget: u32,
) -> v1::ScoredGroup {
    let traces = scores
        .iter()
        .zip(lengths)
        .map(|(row, length)| trace(row, *length, budgets, summaries_per_budget))
        .collect();
    let group = v1::ScoredGroup {
        budgets: budgets.to_vec(),
        summaries_per_budget,
        traces,
        prompt_ids: vec![0],
        ..Default::default()
    };
    anytime_proto::check_group(&group).expect("a valid group");
    group
}

fn trace(scores: &[f32], length: u32, budgets: &[u32], summaries_per_budget: u32) -> v1::Trace {
    let last_node = segment_of_token(budgets, length as usize - 1);
    let mut left = scores.iter();
    let mut nodes = Vec::new();
    for first_budget in 0..=last_node {
        let multiplicity = if first_budget == last_node {
            budgets.len() - last_node
        } else {
            1
        };
        let count = multiplicity * summaries_per_budget as usize;
        let summaries = left.by_ref().take(count).map(|score| v1::Summary {
            generated: generated(1),
            verdict: v1::VerdictKind::Wrong.into(),
            formatted: true,
            score: *score,
        });
        nodes.push(v1::Node {
            cut: length.min(budgets[first_budget]),
            first_budget: first_budget as u32,
            multiplicity: multiplicity as u32,
            inserted_ids: vec![2],
            summaries: summaries.collect(),
        });
    }
    v1::Trace {
        thinking: generated(length as usize),
        nodes,
    }
}

fn generated(length: usize) -> Option<v1::Generated> {
    Some(v1::Generated {
        ids: vec![1; length],
        log_probs: vec![-1.0; length],
        versions: vec![0; length],
        finish: v1::FinishReason::EndMarker.into(),
    })
}

/// Settings of an objective over these budgets: the defaults, changed.
pub(crate) fn settings(budgets: &[u32], change: impl FnOnce(&mut v1::ObjectiveSpec)) -> ObjectiveSettings {
    let mut spec = v1::ObjectiveSpec::default();
    change(&mut spec);
    ObjectiveSettings::try_new(&spec, budgets).expect("valid settings")
}

pub(crate) fn assert_close(actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        assert!((actual - expected).abs() < 1e-6, "{actual} instead of {expected}");
    }
}
