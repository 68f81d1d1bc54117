//! Steps that are not as others: unfit gradients, nothing to learn, actors that are not trusted.

use anytime_policy::Weights;
use anytime_proto::v1;
use tch::{Kind, Tensor};

use super::policy_batch::{LARGEST_TRUSTED_GAP, Trust};
use super::trainer::Trainer;
use super::trainer_tests::{go_on, group, largest_difference, refs, settings, trainer};

fn copies(trainer: &Trainer) -> Weights {
    let copy = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.detach().copy());
    trainer.masters().iter().map(copy).collect()
}

/// A group whose log-probability of one token is not finite, as a faulty actor could send it: the loss and the whole
/// gradient are NaN.
fn poisoned(trainer: &Trainer) -> v1::ScoredGroup {
    let mut group = group(0, 0, trainer);
    let thinking = group.traces[0].thinking.as_mut().expect("present");
    thinking.log_probs[1] = f32::NAN;
    group
}

#[test]
fn a_step_that_is_not_finite_is_skipped_and_the_next_goes_on() {
    let settings = settings(|spec| spec.training.get_or_insert_default().minibatches = Some(1));
    let (mut straight, mut disturbed) = (trainer(&settings), trainer(&settings));
    let groups = |trainer: &Trainer| [group(0, 0, trainer), group(1, 0, trainer)];
    for step in 0..3 {
        if step == 1 {
            let before = copies(&disturbed);
            let bad = [poisoned(&disturbed), group(1, 0, &disturbed)];
            let figures = disturbed
                .policy_step(&refs(&bad), 0, &go_on)
                .expect("skipped, not failed");
            assert_eq!(figures.skipped_updates, 1);
            assert!(
                figures
                    .skip_reason
                    .as_ref()
                    .is_some_and(|reason| reason.contains("not finite"))
            );
            assert_eq!(
                (figures.gradient_norm, figures.update_size, figures.loss),
                (0.0, 0.0, 0.0)
            );
            assert_eq!(largest_difference(&before, disturbed.masters()), 0.0);
        }
        for trainer in [&mut straight, &mut disturbed] {
            let figures = trainer.policy_step(&refs(&groups(trainer)), 0, &go_on).expect("a step");
            assert_eq!((figures.skipped_updates, figures.skip_reason.as_ref()), (0, None));
            assert!(figures.update_size > 0.0);
        }
    }
    assert_eq!(largest_difference(straight.masters(), disturbed.masters()), 0.0);
    assert_eq!(straight.optimiser().updates(), disturbed.optimiser().updates());
}

#[test]
fn one_unfit_minibatch_of_two_leaves_the_other() {
    let mut trainer = trainer(&settings(|_| ()));
    let before = copies(&trainer);
    let groups = [poisoned(&trainer), group(1, 0, &trainer)];
    let figures = trainer.policy_step(&refs(&groups), 0, &go_on).expect("a step");
    assert_eq!((figures.skipped_updates, trainer.optimiser().updates()), (1, 1));
    assert_eq!(figures.was_skipped, [true, false]);
    assert!(figures.gradient_norm > 0.0);
    assert!(largest_difference(&before, trainer.masters()) > 0.0);
}

/// All right at every budget: nothing to tell apart. The minibatch counts for the schedule, and neither momentum nor
/// decay moves a weight.
#[test]
fn a_minibatch_without_any_advantage_moves_nothing() {
    let settings = settings(|spec| {
        let training = spec.training.get_or_insert_default();
        training.minibatches = Some(1);
        training.weight_decay = Some(0.1);
    });
    let mut trainer = trainer(&settings);
    let groups = [group(0, 0, &trainer)];
    // Moments that would move the weights on.
    trainer.policy_step(&refs(&groups), 0, &go_on).expect("a step");
    let before = copies(&trainer);
    let mut groups = [group(1, 0, &trainer)];
    for node in groups[0].traces.iter_mut().flat_map(|trace| &mut trace.nodes) {
        node.summaries.iter_mut().for_each(|summary| summary.score = 1.0);
    }
    let figures = trainer.policy_step(&refs(&groups), 1, &go_on).expect("a step");
    assert_eq!((figures.trained_tokens, figures.skipped_updates), (0, 0));
    assert_eq!(figures.groups_without_gradient, 1);
    assert_eq!(largest_difference(&before, trainer.masters()), 0.0);
    assert_eq!(trainer.optimiser().updates(), 2);
}

#[test]
fn actors_are_trusted_as_far_as_both_forwards_agree() {
    let settings = settings(|spec| spec.model.get_or_insert_default().dtype = Some(v1::Dtype::Bf16.into()));
    let trainer = trainer(&settings);
    let rows = |shift: f32| {
        let mut group = group(0, 0, &trainer);
        for trace in &mut group.traces {
            let thinking = trace.thinking.as_mut().expect("present");
            thinking.log_probs[2] += shift;
        }
        let mut objective = anytime_objectives::objective(&settings.objective);
        super::rows::training_rows(&group, &objective.targets(&group))
    };
    let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor).expect("one dimension");
    // The helper's log-probabilities are those of an f32 forward, which bf16 is near on this model.
    for (shift, expected) in [(0.0, Trust::Full), (5.0 * LARGEST_TRUSTED_GAP as f32, Trust::Nothing)] {
        let mut trust = Trust::at_start(trainer.compute_kind());
        assert_eq!(trust, Trust::Unknown);
        let batch = trainer.policy_batch(rows(shift), 0, &mut trust).expect("one process");
        assert_eq!(trust, expected, "{shift}");
        let is_behaviour = values(&batch.terms.proximal) == values(&batch.behaviour);
        assert_eq!(is_behaviour, expected == Trust::Full);
        // The rest of the step follows, and the importance weight is that of a stale token.
        let next = trainer.policy_batch(rows(0.0), 0, &mut trust).expect("one process");
        assert_eq!(
            values(&next.terms.proximal) == values(&next.behaviour),
            expected == Trust::Full
        );
        assert_eq!(values(&next.terms.behaviour), values(&next.behaviour));
    }
    // Trusted after the first micro-batch, and then found to differ in one that is computed again for a stale token.
    let mut trust = Trust::at_start(trainer.compute_kind());
    trainer.policy_batch(rows(0.0), 0, &mut trust).expect("one process");
    assert_eq!(trust, Trust::Full);
    for (shift, expected) in [(0.0, Trust::Full), (5.0 * LARGEST_TRUSTED_GAP as f32, Trust::Nothing)] {
        let mut mixed = rows(shift);
        mixed.last_mut().expect("rows").tokens.versions[0] = 9;
        let batch = trainer.policy_batch(mixed, 0, &mut trust).expect("one process");
        assert_eq!(trust, expected, "{shift}");
        let differ = values(&batch.terms.proximal)[2] != values(&batch.behaviour)[2];
        assert_eq!(differ, expected == Trust::Nothing, "{shift}");
    }
    trainer.policy_batch(rows(0.0), 0, &mut trust).expect("one process");
    assert_eq!(trust, Trust::Nothing, "for the rest of the step");
    // Stale tokens decide nothing, and f32 is not asked.
    let mut trust = Trust::at_start(trainer.compute_kind());
    trainer.policy_batch(rows(1.0), 7, &mut trust).expect("one process");
    assert_eq!(trust, Trust::Unknown);
    assert_eq!(Trust::at_start(Kind::Float), Trust::Full);
}

#[test]
fn the_largest_gap_is_told_beside_the_mean() {
    let settings = settings(|spec| spec.training.get_or_insert_default().minibatches = Some(1));
    let mut trainer = trainer(&settings);
    let mut groups = [group(0, 0, &trainer)];
    groups[0].traces[1].thinking.as_mut().expect("present").log_probs[3] -= 0.25;
    let figures = trainer.policy_step(&refs(&groups), 0, &go_on).expect("a step");
    assert!((figures.largest_fresh_gap - 0.25).abs() < 1e-4, "{figures:?}");
    assert!(figures.fresh_gap < 0.26, "{figures:?}");
    let fresh = figures.fresh_tokens;
    assert_eq!(
        figures.fresh_gaps[3..],
        [fresh - 1, fresh - 1, fresh - 1, fresh],
        "{figures:?}"
    );
    // Fresh tokens are taken at their actors' word, so that the gap is in the ratio.
    assert!((figures.largest_ratio - 0.25_f64.exp()).abs() < 1e-3, "{figures:?}");
    let tokens = figures.trained_tokens as f64;
    assert!((figures.ratio - tokens - 0.25_f64.exp_m1()).abs() < 1e-3, "{figures:?}");
    assert_eq!(figures.groups_without_gradient, 0);
}
