//! Steps that train adapters: their gradients are those of the sum that the model computes with, whatever is recomputed or
//! dropped, and the base stays as it is.

use anytime_policy::operators::counted;
use anytime_policy::{Adapters, Decoder, Lora, ModelConfig, TreeBatch, Weights, initialise_weights};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use tch::{Device, Kind, Tensor};

use super::gradient::GradientPass;
use super::gradient_tests::{loss, row};
use super::memory::{UpdatePlan, UpdateShape};
use super::parameters::{Parameters, lora_of};
use super::stages::AllThere;
use super::trainer::Trainer;
use super::trainer_tests::{config, go_on, group, largest_difference, refs, settings};

pub(super) fn with_lora(change: impl FnOnce(&mut v1::JobSpec)) -> JobSettings {
    settings(|spec| {
        let training = spec.training.get_or_insert_default();
        training.lora = Some(v1::LoraSpec {
            rank: Some(4),
            alpha: Some(4.0),
            ..Default::default()
        });
        change(spec);
    })
}

/// Adapters with an effect from the start.
fn adapters(lora: &Lora, config: &ModelConfig) -> Adapters {
    let fresh = lora.initialise(config, 5, Device::Cpu);
    // Libtorch's own generator belongs to all tests.
    let random = |(name, tensor): (String, Tensor)| {
        let places = Tensor::arange(tensor.numel() as i64, (Kind::Float, Device::Cpu)).view(tensor.size().as_slice());
        let values = (places * 12.9898 + name.len() as f64).sin() * 0.05;
        (name, values)
    };
    Adapters {
        tensors: fresh.tensors.into_iter().map(random).collect(),
        ..fresh
    }
}

pub(super) fn trainer(settings: &JobSettings) -> Trainer {
    let config = config();
    let lora = settings.training.lora.as_ref().expect("adapters");
    let base = initialise_weights(&config, 3, Device::Cpu);
    let parameters = Parameters::adapted(base, lora_of(lora).initialise(&config, 5, Device::Cpu), lora.dropout);
    let plan = UpdatePlan {
        micro_batch_tokens: settings.training.micro_batch_tokens.unwrap_or(8192) as usize,
        activation_checkpointing: settings.training.activation_checkpointing.unwrap_or(false),
    };
    Trainer::new(settings, config, 24, parameters, Device::Cpu, plan)
}

fn copies(weights: &Weights) -> Weights {
    let copy = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.detach().copy());
    weights.iter().map(copy).collect()
}

/// Gradients of all leaves that a pass reaches.
fn gradients(decoder: &Decoder, leaves: &Weights, recomputing: bool) -> Weights {
    let tree = TreeBatch::pack(&[row(26)], Device::Cpu);
    let tokens = tree.trained_tokens() as i64;
    let pass = GradientPass {
        decoder,
        tree: &tree,
        chunks: &[(0, 10), (10, tokens - 10)],
        temperature: 0.8,
    };
    match recomputing {
        true => pass.recomputing(&AllThere, loss).expect("one process"),
        false => pass.keeping(loss),
    };
    leaves
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.grad()))
        .collect()
}

fn assert_alike(expected: &Weights, found: &Weights, tolerance: f64, what: &str) {
    for (name, expected) in expected {
        let scale = expected.abs().max().double_value(&[]);
        let difference = (expected - &found[name]).abs().max().double_value(&[]);
        assert!(scale > 0.0, "{what}: {name} has no gradient");
        assert!(
            difference <= tolerance * scale,
            "{what}: {name}: {difference} of {scale}"
        );
    }
}

fn some_lora() -> Lora {
    Lora {
        rank: 3,
        scale: 1.7,
        targets: anytime_policy::TARGETS.map(str::to_owned).to_vec(),
    }
}

#[test]
fn gradients_are_those_of_the_sum() {
    let (config, lora) = (config(), some_lora());
    let base = initialise_weights(&config, 3, Device::Cpu);
    // A graph from the adapters to the weights, which libtorch goes back through.
    let leaves: Weights = adapters(&lora, &config)
        .tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.set_requires_grad(true)))
        .collect();
    let graph = Adapters {
        lora: lora.clone(),
        tensors: leaves
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect(),
    };
    let composed: Weights = base
        .iter()
        .map(|(name, weight)| match graph.of(name) {
            Some((a, b)) => (name.clone(), weight + b.matmul(a) * lora.scale),
            None => (name.clone(), weight.shallow_clone()),
        })
        .collect();
    let plain = Decoder::with_compute_kind(&config, &composed, Kind::Float).expect("fits");
    let expected = gradients(&plain, &leaves, false);

    for (kind, tolerance) in [(Kind::Float, 2e-5), (Kind::BFloat16, 0.15)] {
        for recomputing in [false, true] {
            let in_kind = base
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.to_kind(kind)))
                .collect();
            let parameters = Parameters::adapted(in_kind, adapters(&lora, &config), 0.0);
            let decoder = parameters.decoder(&config, kind, None).expect("fits");
            let found = gradients(&decoder, parameters.trained(), recomputing);
            assert_alike(&expected, &found, tolerance, &format!("{kind:?}, again {recomputing}"));
            let untouched = parameters.base().expect("a base").values();
            assert!(
                untouched
                    .chain(parameters.all().values())
                    .all(|weight| !weight.grad().defined())
            );
        }
    }
}

#[test]
fn layers_that_are_computed_again_drop_the_same() {
    let (config, lora) = (config(), some_lora());
    let run = |recomputing: bool, seed: u64| {
        let base = initialise_weights(&config, 3, Device::Cpu);
        let parameters = Parameters::adapted(base, adapters(&lora, &config), 0.4);
        let decoder = parameters.decoder(&config, Kind::Float, Some(seed)).expect("fits");
        gradients(&decoder, parameters.trained(), recomputing)
    };
    assert_alike(&run(true, 7), &run(false, 7), 1e-6, "the same draws");
    let (one, other) = (run(true, 7), run(true, 8));
    assert!(largest_difference(&one, &other) > 0.0, "other draws");
    // A direction in which the loss changes as the gradient says: what was dropped was the same in both directions.
    let mut along = 0.0;
    let value = |step: f64| {
        let base = initialise_weights(&config, 3, Device::Cpu);
        let mut moved = adapters(&lora, &config);
        for (name, tensor) in &mut moved.tensors {
            *tensor = &*tensor + &one[name] * step;
        }
        let parameters = Parameters::adapted(base, moved, 0.4);
        let decoder = parameters.decoder(&config, Kind::Float, Some(7)).expect("fits");
        let tree = TreeBatch::pack(&[row(26)], Device::Cpu);
        let tokens = tree.trained_tokens() as i64;
        let pass = GradientPass {
            decoder: &decoder,
            tree: &tree,
            chunks: &[(0, tokens)],
            temperature: 0.8,
        };
        pass.recomputing(&AllThere, loss).expect("one process").loss
    };
    for gradient in one.values() {
        along += gradient.square().sum(Kind::Double).double_value(&[]);
    }
    let step = 1e-3 / along.sqrt();
    let slope = (value(step) - value(-step)) / (2.0 * step);
    assert!(
        (slope - along).abs() < 2e-2 * along,
        "{slope} measured, {along} by the gradient"
    );
}

#[test]
fn adapters_learn_and_the_base_stays() {
    for dropout in [0.0, 0.2] {
        let settings = with_lora(|spec| {
            let training = spec.training.get_or_insert_default();
            training.lora.get_or_insert_default().dropout = Some(dropout);
        });
        let mut trainer = trainer(&settings);
        let base = copies(trainer.parameters().base().expect("a base"));
        let first = copies(trainer.parameters().all());
        assert_eq!(largest_difference(&base, &first), 0.0, "fresh adapters add nothing");
        for step in 0..3 {
            let groups = [group(0, step, &trainer), group(1, step, &trainer)];
            let figures = trainer.policy_step(&refs(&groups), step, &go_on).expect("a step");
            assert!(figures.updates > 0 && figures.skipped_updates == 0);
        }
        let parameters = trainer.parameters();
        assert_eq!(largest_difference(&base, parameters.base().expect("a base")), 0.0);
        assert!(largest_difference(&first, parameters.all()) > 1e-4);
        let (adapters, _) = parameters.adapters().expect("adapters");
        let sum = adapters.merge(parameters.base().expect("a base"));
        assert_eq!(
            largest_difference(&sum, parameters.all()),
            0.0,
            "what computes is the sum"
        );
        // Another trainer goes on from the same state alike.
        let mut again = Trainer::new(
            &settings,
            config(),
            24,
            parameters.share(),
            Device::Cpu,
            UpdatePlan {
                micro_batch_tokens: 8192,
                activation_checkpointing: false,
            },
        );
        let state = trainer
            .optimiser()
            .state()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.copy()))
            .collect::<std::collections::BTreeMap<_, _>>();
        again
            .optimiser_mut()
            .restore(trainer.optimiser().updates(), &state)
            .expect("fits");
        assert_eq!(
            largest_difference(again.parameters().all(), trainer.parameters().all()),
            0.0
        );
    }
}

#[test]
fn both_lists_of_projections_are_one() {
    let settings = with_lora(|_| {});
    let targets = settings.training.lora.expect("adapters").targets;
    assert_eq!(targets, anytime_policy::TARGETS.map(str::to_owned));
}

/// What a pass holds for each token more with dropout than without.
#[test]
fn what_dropout_keeps_is_in_the_plan() {
    let (config, lora) = (config(), some_lora());
    let held = |dropout: f64, thinking: usize| {
        let base = initialise_weights(&config, 3, Device::Cpu);
        let parameters = Parameters::adapted(base, adapters(&lora, &config), dropout);
        let decoder = parameters.decoder(&config, Kind::Float, Some(7)).expect("fits");
        let tree = TreeBatch::pack(&[row(thinking)], Device::Cpu);
        let tokens = tree.trained_tokens() as i64;
        let pass = GradientPass {
            decoder: &decoder,
            tree: &tree,
            chunks: &[(0, tokens)],
            temperature: 1.0,
        };
        counted(|| pass.keeping(loss)).1.most_held as f64
    };
    let of_token = |dropout: f64| (held(dropout, 200) - held(dropout, 100)) / 100.0;
    let measured = of_token(0.4) - of_token(0.0);
    let shape = |has_dropout: bool| UpdateShape {
        config: &config,
        compute_kind: Kind::Float,
        is_cuda: false,
        longest_row: 0,
        micro_batch_tokens: None,
        activation_checkpointing: None,
        lora: Some(&lora),
        has_dropout,
        sharding: v1::Sharding::None,
        ranks: 1,
    };
    let layers = config.num_hidden_layers as f64;
    let predicted = layers * (shape(true).layer_bytes() - shape(false).layer_bytes()) as f64;
    let ratio = predicted / measured;
    assert!(
        (0.8..1.25).contains(&ratio),
        "{predicted} predicted, {measured} measured"
    );
}
