//! The live figures of a step against a calculation by hand.

use anytime_objectives::statistics::{correlation, is_overthinking, variance_ratio};
use anytime_objectives::{ScoreTable, StepStatistics};
use anytime_proto::v1;

use crate::support::{assert_close, brpo, group, settings};

#[test]
fn correlations_and_variances_are_those_of_numpy() {
    let (values, rewards) = ([0.1, 0.4, 0.35, 0.8], [0.0, 0.5, 0.25, 1.0]);
    // numpy.corrcoef(values, rewards)[0, 1] and numpy.var(rewards - values)/numpy.var(rewards).
    let correlation = correlation(&values, &rewards).expect("both vary");
    assert!((correlation - 0.985_143_1).abs() < 1e-6, "{correlation}");
    let ratio = variance_ratio(&values, &rewards).expect("rewards vary");
    assert!((ratio - 0.123_428_6).abs() < 1e-6, "{ratio}");
}

#[test]
fn what_does_not_vary_has_no_figure() {
    assert_eq!(correlation(&[0.3; 3], &[0.0, 1.0, 0.5]), None);
    assert_eq!(correlation(&[0.0, 1.0, 0.5], &[0.1 + 0.2, 0.3, 0.3]), None);
    assert_eq!(variance_ratio(&[0.0, 1.0], &[0.5, 0.5]), None);
    assert_eq!(variance_ratio(&[0.3; 3], &[0.0, 1.0, 0.5]), Some(1.0));
    assert_eq!(correlation(&[], &[]), None);
}

#[test]
fn overthinking_is_right_before_and_wrong_at_the_end() {
    let table = [
        (&[1.0, 0.0][..], true),
        (&[0.0, 0.75, 0.5], true),
        (&[0.5, 0.0], false),
        (&[1.0, 1.0], false),
        (&[0.0, 0.0], false),
        (&[0.0], false),
        (&[], false),
    ];
    for (rewards, expected) in table {
        assert_eq!(is_overthinking(rewards), expected, "{rewards:?}");
    }
}

/// Two groups of two traces over the budgets 2 and 4, one summary each, uniform prior. One trace ends in the first
/// segment and is not counted in the second.
#[test]
fn a_step_is_pooled_over_its_groups() {
    let budgets = [2, 4];
    // Trained without a baseline and with a length penalty: the figures are the paper's all the same.
    let settings = settings(&budgets, |spec| {
        spec.set_prior(v1::Prior::Uniform);
        brpo(spec).set_variance_reduction(v1::VarianceReduction::None);
        brpo(spec).set_length_penalty(v1::LengthPenalty::Linear);
        brpo(spec).leave_one_out = Some(true);
    });
    let mut step = StepStatistics::new(&settings, &budgets);
    step.add(ScoreTable::of_group(&group(
        &[vec![1., 1.], vec![1., 0.]],
        &[4, 3],
        &budgets,
        1,
    )));
    step.add(ScoreTable::of_group(&group(
        &[vec![0., 1.], vec![0., 0.]],
        &[4, 2],
        &budgets,
        1,
    )));

    assert_close(&step.reward_per_budget(), &[0.5, 0.5]);

    let segments = step.segments();
    // First segment: R = 1, 1/2, 1/2, 0; V = V2 = 3/4, 3/4, 1/4, 1/4; V1 = 0.
    let first = &segments[0];
    assert_eq!((first.budget, first.traces), (2, 4));
    assert_eq!(first.correlation_v1, None);
    assert_eq!(first.variance_v1, Some(1.0));
    // Means 1/2 both; covariance 1/16; variances 1/8 and 1/16; Var[R − V2] = 1/16.
    let expected = (1.0 / 16.0) / (1.0_f64 / 8.0 / 16.0).sqrt();
    for correlation in [first.correlation_v2, first.correlation_v] {
        assert_close(&[correlation.expect("varies")], &[expected]);
    }
    assert_close(
        &[first.variance_v2.expect("varies"), first.variance_v.expect("varies")],
        &[0.5, 0.5],
    );

    // Second segment, without the trace that ended in the first: R = 1/2, 0, 1/2; V1 = 1/2, 1/2, 0; V2 = 1/4, 1/4, 1/4
    // (the ended trace counts in its group's mean); V = (V1 + V2)/2 = 3/8, 3/8, 1/8.
    let second = &segments[1];
    assert_eq!((second.budget, second.traces), (4, 3));
    assert_eq!(second.correlation_v2, None);
    assert_close(&[second.variance_v2.expect("rewards vary")], &[1.0]);
    // Deviations of R: 1/6, −1/3, 1/6; of V1: 1/6, 1/6, −1/3: covariance −1/36, variances 1/18.
    for correlation in [second.correlation_v1, second.correlation_v] {
        assert_close(&[correlation.expect("varies")], &[-0.5]);
    }
    // R − V1 = 0, −1/2, 1/2: variance 1/6. R − V = 1/8, −3/8, 3/8: mean 1/24, variance 19/192 − 1/576 = 7/72.
    assert_close(&[second.variance_v1.expect("varies")], &[3.0]);
    assert_close(&[second.variance_v.expect("varies")], &[7.0 / 72.0 * 18.0]);
}
