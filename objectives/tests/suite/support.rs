//! Groups with scores that a test chooses.

use anytime_proto::nodes::node_spans;
use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;
use anytime_proto::v1::objective_spec::Settings;

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
    let mut left = scores.iter();
    let mut nodes = Vec::new();
    for span in node_spans(budgets, length as usize) {
        let count = span.multiplicity * summaries_per_budget as usize;
        let summaries = left.by_ref().take(count).map(|score| v1::Summary {
            generated: generated(1),
            verdict: v1::VerdictKind::Wrong.into(),
            formatted: true,
            score: *score,
        });
        nodes.push(v1::Node {
            cut: span.cut as u32,
            first_budget: span.first_budget as u32,
            multiplicity: span.multiplicity as u32,
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

/// The table of brpo, opened where it is not there.
pub(crate) fn brpo(spec: &mut v1::ObjectiveSpec) -> &mut v1::BrpoSpec {
    let own = spec.settings.get_or_insert_with(|| Settings::Brpo(Default::default()));
    match own {
        Settings::Brpo(own) => own,
        other => panic!("the table of {} is open", other.name()),
    }
}

/// The own settings of an objective that is brpo.
pub(crate) fn brpo_settings(settings: &ObjectiveSettings) -> &v1::BrpoSpec {
    match &settings.own {
        Settings::Brpo(own) => own,
        other => panic!("{} was chosen", other.name()),
    }
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
