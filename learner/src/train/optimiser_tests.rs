//! AdamW against torch's, its clips, what it skips, and what it keeps in a checkpoint.

use std::collections::BTreeMap;

use anytime_policy::Weights;
use tch::{Kind, Tensor, no_grad};

use super::optimiser::{AdamW, AdamWSettings, Update, UpdateFigures, update_size};

const SETTINGS: AdamWSettings = AdamWSettings {
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.01,
    gradient_clip: 0.0,
    gradient_clip_history: 0.0,
};

fn parameters() -> Weights {
    tch::set_num_threads(1);
    let tensor = Tensor::from_slice(&[1.0_f32, -2.0, 3.0]).set_requires_grad(true);
    [("w".to_owned(), tensor)].into_iter().collect()
}

fn backward(parameters: &Weights) {
    (parameters["w"].square() * Tensor::from_slice(&[0.5_f32, 1.0, 2.0]))
        .sum(Kind::Float)
        .backward();
}

#[test]
fn agrees_with_torch_adamw() {
    let ours = parameters();
    let mut optimiser = AdamW::new(SETTINGS, &ours);
    let store = tch::nn::VarStore::new(tch::Device::Cpu);
    let mut theirs = store.root().zeros("w", &[3]);
    no_grad(|| theirs.copy_(&Tensor::from_slice(&[1.0_f32, -2.0, 3.0])));
    let mut reference = tch::nn::OptimizerConfig::build(
        tch::nn::AdamW {
            wd: 0.01,
            ..Default::default()
        },
        &store,
        0.1,
    )
    .expect("torch's AdamW");
    for _ in 0..20 {
        backward(&ours);
        optimiser.update(&ours, 0.1).expect("finite");
        let loss = (theirs.square() * Tensor::from_slice(&[0.5_f32, 1.0, 2.0])).sum(Kind::Float);
        reference.backward_step(&loss);
    }
    let difference = (&ours["w"] - &theirs).abs().max().double_value(&[]);
    assert!(difference < 1e-6, "{difference}");
}

#[test]
fn goes_on_from_a_restored_state() {
    let straight = parameters();
    let mut optimiser = AdamW::new(SETTINGS, &straight);
    for _ in 0..3 {
        backward(&straight);
        optimiser.update(&straight, 0.1).expect("finite");
    }
    let weights: Weights = [("w".to_owned(), straight["w"].detach().copy().set_requires_grad(true))]
        .into_iter()
        .collect();
    let mut restored = AdamW::new(SETTINGS, &weights);
    let state = optimiser
        .state()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.copy()))
        .collect::<BTreeMap<_, _>>();
    restored.restore(optimiser.updates(), &state).expect("complete");
    for parameters in [&straight, &weights] {
        backward(parameters);
    }
    optimiser.update(&straight, 0.1).expect("finite");
    restored.update(&weights, 0.1).expect("finite");
    assert!(straight["w"].equal(&weights["w"]));
}

fn made(update: anyhow::Result<Update>) -> UpdateFigures {
    match update.expect("known parameters") {
        Update::Made(figures) => figures,
        Update::Skipped { reason } => panic!("skipped: {reason}"),
    }
}

#[test]
fn clips_the_whole_gradient() {
    let clipped = parameters();
    let settings = AdamWSettings {
        gradient_clip: 0.5,
        ..SETTINGS
    };
    let mut optimiser = AdamW::new(settings, &clipped);
    backward(&clipped);
    let figures = made(optimiser.update(&clipped, 0.1));
    // Gradients 1, −4, 12.
    assert!((figures.gradient_norm - 161.0_f64.sqrt()).abs() < 1e-5, "{figures:?}");
    assert_eq!(figures.clipped_share, 1.0);
}

#[test]
fn an_update_that_is_not_finite_is_as_if_it_had_not_been_tried() {
    for history in [0.0, 2.0] {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30] {
            let settings = AdamWSettings {
                gradient_clip_history: history,
                ..SETTINGS
            };
            let (straight, disturbed) = (parameters(), parameters());
            let mut optimisers = [AdamW::new(settings, &straight), AdamW::new(settings, &disturbed)];
            for update in 0..30 {
                if update == 7 || update == 25 {
                    (&disturbed["w"] * Tensor::from_slice(&[1.0, bad, 1.0]).to_kind(Kind::Float))
                        .sum(Kind::Float)
                        .backward();
                    let skipped = optimisers[1].update(&disturbed, 0.1).expect("known parameters");
                    let Update::Skipped { reason } = skipped else {
                        panic!("{bad} was taken");
                    };
                    assert!(reason.contains("that of w is not finite"), "{reason}");
                }
                for (optimiser, parameters) in optimisers.iter_mut().zip([&straight, &disturbed]) {
                    backward(parameters);
                    made(optimiser.update(parameters, 0.1));
                }
                assert!(straight["w"].equal(&disturbed["w"]), "{bad} at update {update}");
            }
            assert_eq!(optimisers[0].updates(), optimisers[1].updates());
            let states = optimisers.each_ref().map(AdamW::state);
            for ((name, ours), (_, theirs)) in states[0].iter().zip(&states[1]) {
                assert!(ours.equal(theirs), "{name}");
            }
        }
    }
}

#[test]
fn a_large_gradient_that_the_clip_makes_small_is_taken() {
    let weights = parameters();
    let settings = AdamWSettings {
        gradient_clip: 1.0,
        ..SETTINGS
    };
    let mut optimiser = AdamW::new(settings, &weights);
    (&weights["w"] * 1e18).sum(Kind::Float).backward();
    made(optimiser.update(&weights, 0.1));
    assert!(weights["w"].isfinite().all().int64_value(&[]) == 1);
}

/// Two tensors, one of which gets a spike after 40 updates.
fn spike(history: f64) -> (UpdateFigures, AdamW) {
    tch::set_num_threads(1);
    let tensor = || Tensor::from_slice(&[1.0_f32, 2.0]).set_requires_grad(true);
    let weights: Weights = [("calm".to_owned(), tensor()), ("spiked".to_owned(), tensor())]
        .into_iter()
        .collect();
    let settings = AdamWSettings {
        gradient_clip_history: history,
        ..SETTINGS
    };
    let mut optimiser = AdamW::new(settings, &weights);
    let mut update = |scale: f64| {
        (&weights["calm"] + &weights["spiked"] * scale)
            .sum(Kind::Float)
            .backward();
        made(optimiser.update(&weights, 0.0))
    };
    for _ in 0..40 {
        update(1.0);
    }
    let figures = update(100.0);
    (figures, optimiser)
}

#[test]
fn a_tensor_is_clipped_against_its_own_history() {
    let (free, unbounded) = spike(0.0);
    let (figures, bounded) = spike(2.0);
    assert_eq!((free.clipped_share, figures.clipped_share), (0.0, 0.5));
    // Before clipping, in both.
    assert_eq!(free.gradient_norm, figures.gradient_norm);
    let first = |optimiser: &AdamW, name: &str| optimiser.moments[name].first.double_value(&[0]);
    // After 40 gradients of 1 the mean is 1 − 0.9⁴⁰; the spike counts as 2, which is 2 √2 for the norm of √2.
    let before = 1.0 - 0.9_f64.powi(40);
    for (optimiser, gradient) in [(&unbounded, 100.0), (&bounded, 2.0)] {
        let found = first(optimiser, "spiked");
        assert!((found - (0.9 * before + 0.1 * gradient)).abs() < 1e-4, "{found}");
        assert!((first(optimiser, "calm") - (0.9 * before + 0.1)).abs() < 1e-5);
    }
}

#[test]
fn the_history_of_norms_goes_into_the_checkpoint() {
    let (_, optimiser) = spike(2.0);
    let weights: Weights = optimiser
        .moments
        .iter()
        .map(|(name, moments)| (name.clone(), moments.first.copy()))
        .collect();
    let mut restored = AdamW::new(optimiser.settings, &weights);
    let state = optimiser.state();
    assert_eq!(state.len(), 6, "two moments and a history for each tensor");
    restored
        .restore(optimiser.updates(), &state.into_iter().collect::<BTreeMap<_, _>>())
        .expect("complete");
    let norms = |optimiser: &AdamW| optimiser.history.as_ref().expect("it is on").norms().clone();
    assert_eq!(norms(&restored), norms(&optimiser));
    // A checkpoint from before the setting was there begins a history.
    let (_, without) = spike(0.0);
    let state: BTreeMap<_, _> = without.state().into_iter().collect();
    let mut restored = AdamW::new(optimiser.settings, &weights);
    restored.restore(without.updates(), &state).expect("complete");
    assert!(norms(&restored).is_empty());
}

#[test]
fn the_size_of_an_update_is_what_the_weights_moved_by() {
    let weights = parameters();
    let settings = AdamWSettings {
        weight_decay: 0.0,
        ..SETTINGS
    };
    let mut optimiser = AdamW::new(settings, &weights);
    assert_eq!(update_size(optimiser.update_squares()), 0.0);
    for _ in 0..5 {
        let before = weights["w"].detach().copy();
        backward(&weights);
        made(optimiser.update(&weights, 0.01));
        let moved = (weights["w"].detach() - before) / 0.01;
        let expected = moved.square().mean(Kind::Double).sqrt().double_value(&[]);
        assert!(
            (update_size(optimiser.update_squares()) - expected).abs() < 1e-3,
            "{expected}"
        );
    }
}

#[test]
fn an_update_without_evidence_moves_nothing() {
    let weights = parameters();
    let mut optimiser = AdamW::new(SETTINGS, &weights);
    backward(&weights);
    made(optimiser.update(&weights, 0.1));
    let before = weights["w"].detach().copy();
    optimiser.pass();
    assert!(weights["w"].equal(&before));
    assert_eq!(optimiser.updates(), 2);
}
