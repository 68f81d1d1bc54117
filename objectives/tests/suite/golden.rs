//! The golden vectors of paper 1.2, made with the functions of the reference code.

use anytime_objectives::{Analysis, ScoreTable, objective};
use anytime_proto::v1;

use crate::support::{assert_close, brpo, group, settings};

const BUDGETS: [u32; 4] = [2, 4, 6, 8];

/// The golden group: G = 2, S = 4, A = 2, the second trace ends inside the second segment.
fn golden_group() -> v1::ScoredGroup {
    let scores = [
        vec![0., 0., 0., 1., 1., 1., 1., 1.],
        vec![0., 0., 1., 0., 1., 1., 0., 1.],
    ];
    group(&scores, &[8, 3], &BUDGETS, 2)
}

fn analyse(group: &v1::ScoredGroup, change: impl FnOnce(&mut v1::ObjectiveSpec)) -> Analysis {
    objective(&settings(&group.budgets, change))
        .analyse(ScoreTable::of_group(group))
        .expect("scores decide it")
}

fn golden(prior: v1::Prior, variance_reduction: v1::VarianceReduction) -> Analysis {
    analyse(&golden_group(), |spec| {
        spec.set_prior(prior);
        brpo(spec).set_variance_reduction(variance_reduction);
    })
}

#[test]
fn rewards_to_go_and_values() {
    let analysis = golden(v1::Prior::Uniform, v1::VarianceReduction::Brpo);
    assert_close(&analysis.reward_to_go[0], &[0.625, 0.625, 0.5, 0.25]);
    assert_close(&analysis.reward_to_go[1], &[0.5, 0.5, 0.375, 0.125]);
    for trace in 0..2 {
        assert_close(
            &analysis.previous_budgets_value[trace],
            &[0.0, 0.0, 1.0 / 6.0, 0.25 * 5.0 / 7.0],
        );
        assert_close(&analysis.group_value[trace], &[0.5625, 0.5625, 0.4375, 0.1875]);
        // A = R − V.
        let sums: Vec<f64> = (analysis.baseline[trace].iter())
            .zip(&analysis.advantages[trace])
            .map(|(value, advantage)| value + advantage)
            .collect();
        assert_close(&sums, &analysis.reward_to_go[trace]);
    }
}

#[test]
fn thinking_advantages() {
    use v1::Prior::{Base, Linear, Uniform};
    use v1::VarianceReduction::{Brpo, None, V1, V2};
    let vectors: [(v1::Prior, v1::VarianceReduction, [f64; 4], [f64; 4]); 8] = [
        (
            Uniform,
            Brpo,
            [0.0625, 0.203125, 0.197917, 0.069196],
            [-0.0625, 0.078125, 0.072917, -0.055804],
        ),
        (
            Linear,
            Brpo,
            [0.1, 0.275, 0.283333, 0.110714],
            [-0.1, 0.075, 0.083333, -0.089286],
        ),
        (
            Base,
            Brpo,
            [0.25, 0.4375, 0.458333, 0.276786],
            [-0.25, -0.0625, -0.041667, -0.223214],
        ),
        (Uniform, V2, [0.0625; 4], [-0.0625; 4]),
        (Linear, V2, [0.1; 4], [-0.1; 4]),
        (Base, V2, [0.25; 4], [-0.25; 4]),
        (
            Uniform,
            V1,
            [0.625, 0.625, 0.333333, 0.071429],
            [0.5, 0.5, 0.208333, -0.053571],
        ),
        (Uniform, None, [0.625, 0.625, 0.5, 0.25], [0.5, 0.5, 0.375, 0.125]),
    ];
    for (prior, variance_reduction, first, second) in vectors {
        let analysis = golden(prior, variance_reduction);
        assert_close(&analysis.advantages[0], &first);
        assert_close(&analysis.advantages[1], &second);
    }
}

#[test]
fn summary_advantages_and_tokens() {
    let group = golden_group();
    let analysis = golden(v1::Prior::Uniform, v1::VarianceReduction::Brpo);
    assert_close(
        &analysis.summary_advantages[0].concat(),
        &[0., 0., -0.5, 0.5, 0., 0., 0., 0.],
    );
    let third = 1.0 / 3.0;
    // The node that represents three budgets has one baseline, the mean over its six summaries.
    assert_close(
        &analysis.summary_advantages[1].concat(),
        &[0., 0., third, -2. * third, third, third, -2. * third, third],
    );

    let settings = settings(&BUDGETS, |spec| spec.set_prior(v1::Prior::Uniform));
    let targets = objective(&settings).targets(&group);
    let thinking = |trace: usize, length: usize| -> Vec<f64> {
        targets[trace].advantages[..length]
            .iter()
            .copied()
            .map(f64::from)
            .collect()
    };
    // Eight thinking tokens, two per segment, then eight summaries of one token.
    assert_close(
        &thinking(0, 8),
        &[
            0.0625, 0.0625, 0.203125, 0.203125, 0.197917, 0.197917, 0.069196, 0.069196,
        ],
    );
    assert_eq!(targets[0].advantages.len(), 16);
    assert_eq!(targets[0].weights, [1.0; 16]);
    // The trace that ended early has three tokens; the third is of the second segment.
    assert_close(&thinking(1, 3), &[-0.0625, -0.0625, 0.078125]);
    assert_eq!(targets[1].advantages.len(), 11);
}

/// GRPO as the paper's scripts run it: one budget, one summary, prior base, V2 alone.
fn grpo_through_brpo(spec: &mut v1::ObjectiveSpec) {
    spec.set_prior(v1::Prior::Base);
    brpo(spec).set_variance_reduction(v1::VarianceReduction::V2);
    brpo(spec).set_summary_method(v1::SummaryMethod::Grpo);
}

#[test]
fn grpo_over_one_budget() {
    let scores = [vec![1.], vec![0.], vec![0.], vec![1.]];
    let group = group(&scores, &[2; 4], &[2], 1);
    let changes: [fn(&mut v1::ObjectiveSpec); 2] = [|spec| spec.name = Some("grpo".to_owned()), grpo_through_brpo];
    for change in changes {
        let targets = objective(&settings(&group.budgets, change)).targets(&group);
        for (trace, advantage) in targets.iter().zip([0.5_f32, -0.5, -0.5, 0.5]) {
            assert_eq!(trace.advantages, vec![advantage; 3]);
            assert_eq!(trace.weights, vec![1.0; 3]);
        }
    }
}

#[test]
fn grpo_with_a_linear_prior() {
    let group = group(&[vec![0., 0., 1., 1.], vec![0., 1., 1., 0.]], &[8, 3], &BUDGETS, 1);
    let analysis = analyse(&group, |spec| {
        grpo_through_brpo(spec);
        spec.set_prior(v1::Prior::Linear);
    });
    assert_close(&analysis.advantages[0], &[0.1, 0.1, 0.2, 0.2]);
    assert_close(&analysis.summary_advantages[0].concat(), &[0., 0., 0., 0.5]);
    assert_close(&analysis.summary_advantages[1].concat(), &[0., 0., 0., -0.5]);
}

#[test]
fn a_group_of_one() {
    let group = group(&[vec![0., 0., 0., 1., 1., 1., 1., 1.]], &[8], &BUDGETS, 2);
    let uniform = |spec: &mut v1::ObjectiveSpec| spec.set_prior(v1::Prior::Uniform);
    assert_close(
        &analyse(&group, uniform).advantages[0],
        &[0.625, 0.625, 0.416667, 0.116071],
    );
    // There are no others to take the mean of.
    let left_out = analyse(&group, |spec| {
        uniform(spec);
        brpo(spec).leave_one_out = Some(true);
    });
    assert_eq!(left_out.group_value, [[0.0; 4]]);
}

#[test]
fn a_thinking_that_an_end_of_sequence_broke_off_counts_as_it_was_scored() {
    // Ended by an end of sequence after three tokens: its last node, which represents three budgets, scores zero, while
    // the one before it keeps its score (paper 2).
    let group = group(&[vec![1., 0., 0., 0.], vec![1., 1., 1., 1.]], &[3, 8], &BUDGETS, 1);
    let analysis = analyse(&group, |spec| spec.set_prior(v1::Prior::Uniform));
    assert_close(&analysis.reward_to_go[0], &[0.25, 0.0, 0.0, 0.0]);
    // V2 = 0.375 of the segment, V1 = 1·0.75, mixed as 1/4 and 3/4.
    assert_close(&analysis.advantages[0][1..2], &[-(0.25 * 0.75 + 0.75 * 0.375)]);
}

#[test]
fn weights_of_summaries() {
    use v1::SummaryWeighting::{Code, Equation10};
    let group = golden_group();
    let weights = |change: fn(&mut v1::ObjectiveSpec)| -> Vec<f32> {
        objective(&settings(&BUDGETS, change)).targets(&group)[0].weights[8..].to_vec()
    };
    assert_eq!(weights(|spec| spec.set_summary_weighting(Code)), [1.0; 8]);
    // 1/(S·A)
    assert_eq!(weights(|spec| spec.set_summary_weighting(Equation10)), [0.125; 8]);
    let linear = weights(|spec| {
        spec.set_summary_weighting(Equation10);
        brpo(spec).set_summary_prior(v1::Prior::Linear);
        spec.summary_weight = Some(2.0);
    });
    assert_eq!(linear, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4]);
    let base = weights(|spec| brpo(spec).set_summary_prior(v1::Prior::Base));
    assert_eq!(base, [0., 0., 0., 0., 0., 0., 4., 4.]);
}

#[test]
fn the_mix_by_budget_differs_only_where_budgets_are_uneven() {
    let analyse = |budgets: &[u32], mix: v1::Mix| {
        let scores = [vec![0., 0., 1., 1.], vec![1., 0., 0., 1.]];
        let largest = budgets[3];
        analyse(&group(&scores, &[largest; 2], budgets, 1), |spec| {
            spec.set_prior(v1::Prior::Uniform);
            spec.set_mix(mix);
        })
    };
    assert_eq!(analyse(&BUDGETS, v1::Mix::Index), analyse(&BUDGETS, v1::Mix::Budget));
    let uneven = analyse(&[1, 2, 4, 10], v1::Mix::Budget);
    // At the last segment V1 of trace 0 is (4·1 + 2·0 + 1·0)/7 · 1/4 and V2 is 1/4; b_3/b_4 = 4/10.
    assert_close(&uneven.baseline[0][3..], &[0.4 * (4.0 / 7.0 * 0.25) + 0.6 * 0.25]);
    assert_ne!(uneven.baseline, analyse(&[1, 2, 4, 10], v1::Mix::Index).baseline);
}
