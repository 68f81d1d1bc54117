//! Steps that several ranks make together, each a thread here with a trainer of its own: they come to what one rank comes to.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anytime_policy::operators::collectives::{Group, Store};
use anytime_policy::{TensorShape, Weights};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use tch::{Device, Kind, Tensor};

use super::figures::StepFigures;
use super::lora_tests;
use super::memory::UpdatePlan;
use super::rank_group::RankGroup;
use super::rows::{TrainingRow, supervised_row};
use super::trainer::Trainer;
use super::trainer_tests::{config, go_on, group, largest_difference, refs, settings, trainer};

const TIMEOUT: Duration = Duration::from_secs(30);
/// A model's seed that stands for a trainer in f64.
const EXACT: u64 = 64;

/// What rank 0 does in a step.
type Lead = fn(&mut Trainer, u64) -> StepFigures;

/// The two kinds of steps, and how many of them say enough: those of the policy differ from step to step.
const LEADS: [(Lead, u64); 2] = [(policy_step, 20), (supervised_step, 6)];

/// What a rank has in the end.
struct Outcome {
    weights: Weights,
    /// Elements of masters and of what passes compute with that this rank holds.
    held: (usize, usize),
    moments: Vec<(String, Tensor)>,
    figures: Vec<StepFigures>,
}

fn outcome(trainer: &Trainer, figures: Vec<StepFigures>) -> Outcome {
    let copy = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.detach().copy());
    let whole = |(name, shape): (String, TensorShape)| {
        let ranks = trainer.ranks().expect("parts are of ranks");
        let part = &trainer.masters()[&name];
        let mut whole = match ranks.rank() {
            0 => ranks.whole(part, &shape.size).expect("all give their parts"),
            _ => {
                ranks.give(part).expect("rank 0 takes it");
                Tensor::zeros(shape.size.as_slice(), (shape.kind, Device::Cpu))
            }
        };
        ranks.copy(&mut whole).expect("rank 0 has it");
        (name, whole)
    };
    let is_divided = trainer.parameters().divided().is_some();
    let elements = |weights: &Weights| -> usize {
        let of_tensor = |tensor: &Tensor| if tensor.is_contiguous() { tensor.numel() } else { 1 };
        weights.values().map(of_tensor).sum()
    };
    Outcome {
        held: (elements(trainer.masters()), elements(trainer.parameters().all())),
        weights: match is_divided {
            true => trainer.parameters().shapes().into_iter().map(whole).collect(),
            false => trainer.masters().iter().map(copy).collect(),
        },
        moments: trainer.optimiser().state(),
        figures,
    }
}

/// Runs the steps of rank 0 with as many ranks as `world`; the others follow.
fn together(world: usize, settings: &JobSettings, steps: u64, lead: Lead) -> Vec<Outcome> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let served = Store::serve(listener, TIMEOUT).expect("a store");
    let ranks: Vec<_> = (0..world)
        .map(|rank| {
            let settings = settings.clone();
            thread::spawn(move || {
                let store = Arc::new(Store::connect(address, TIMEOUT).expect("the store answers"));
                let local = IpAddr::from([127, 0, 0, 1]);
                let group = Group::join(&store, "run", local, (rank, world), (TIMEOUT, TIMEOUT)).expect("all come");
                let mut trainer = trainer_of(&settings);
                trainer.join(RankGroup::new(group, store, "run".to_owned()));
                trainer.divide();
                let step = |step| match rank {
                    0 => lead(&mut trainer, step),
                    _ => trainer.follow_step(&go_on).expect("a step"),
                };
                let figures = (0..steps).map(step).collect();
                outcome(&trainer, figures)
            })
        })
        .collect();
    let all = ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect();
    drop(served);
    all
}

/// A trainer that computes in f64, in which nothing that the ranks do in another order shows.
fn exact(settings: &JobSettings) -> Trainer {
    let of_f32 = trainer(settings);
    let weights: Weights = (of_f32.masters().iter())
        .map(|(name, tensor)| (name.clone(), tensor.detach().to_kind(Kind::Double)))
        .collect();
    let plan = UpdatePlan {
        micro_batch_tokens: settings.training.micro_batch_tokens.unwrap_or(8192) as usize,
        activation_checkpointing: false,
    };
    let mut trainer = Trainer::new(settings, config(), 24, weights, Device::Cpu, plan);
    trainer.compute_kind = Kind::Double;
    trainer
}

fn trainer_of(settings: &JobSettings) -> Trainer {
    match settings.training.lora {
        _ if settings.model.seed == EXACT => exact(settings),
        Some(_) => lora_tests::trainer(settings),
        None => trainer(settings),
    }
}

fn alone(settings: &JobSettings, steps: u64, lead: Lead) -> Outcome {
    let mut trainer = trainer_of(settings);
    let figures = (0..steps).map(|step| lead(&mut trainer, step)).collect();
    outcome(&trainer, figures)
}

fn assert_equal_bits(one: &Outcome, other: &Outcome) {
    assert_eq!(largest_difference(&one.weights, &other.weights), 0.0);
    for ((name, moment), (_, same)) in one.moments.iter().zip(&other.moments) {
        assert!(moment.equal(same), "{name}");
    }
}

fn is_near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-4 * one.abs().max(1.0)
}

fn assert_like_one_rank(expected: &Outcome, found: &Outcome, world: usize) {
    let difference = largest_difference(&expected.weights, &found.weights);
    assert!(difference < 1e-5, "{world} ranks: {difference}");
    for (step, (one, other)) in expected.figures.iter().zip(&found.figures).enumerate() {
        let place = format!("step {step}, {world} ranks: {one:?} {other:?}");
        assert_eq!(one.trained_tokens, other.trained_tokens, "{place}");
        assert_eq!(
            (one.updates, one.skipped_updates),
            (other.updates, other.skipped_updates),
            "{place}"
        );
        assert_eq!(one.groups_without_gradient, other.groups_without_gradient, "{place}");
        assert_eq!(
            (one.fresh_tokens, one.staleness),
            (other.fresh_tokens, other.staleness),
            "{place}"
        );
        assert!(is_near(one.gradient_norm, other.gradient_norm), "{place}");
        assert!(is_near(one.loss, other.loss), "{place}");
        assert!(is_near(one.largest_token_share, other.largest_token_share), "{place}");
        assert!(
            is_near(one.ratio, other.ratio) && is_near(one.largest_ratio, other.largest_ratio),
            "{place}"
        );
    }
}

/// Groups with rows that do not divide, some of them stale; every fifth step has one row, so that ranks have none, and one
/// step has nothing to learn.
fn policy_step(trainer: &mut Trainer, step: u64) -> StepFigures {
    let count = if step % 5 == 4 { 1 } else { 3 };
    let mut groups: Vec<v1::ScoredGroup> = (0..count)
        .map(|place| group((step + place) % 4, step.saturating_sub(place), trainer))
        .collect();
    if step % 5 == 4 {
        groups[0].traces[1]
            .nodes
            .iter_mut()
            .flat_map(|node| &mut node.summaries)
            .for_each(|summary| summary.score = 0.0);
    }
    if step == 7 {
        for node in groups
            .iter_mut()
            .flat_map(|group| &mut group.traces)
            .flat_map(|trace| &mut trace.nodes)
        {
            node.summaries.iter_mut().for_each(|summary| summary.score = 1.0);
        }
    }
    trainer.policy_step(&refs(&groups), step, &go_on).expect("a step")
}

fn supervised_step(trainer: &mut Trainer, step: u64) -> StepFigures {
    let rows: Vec<TrainingRow> = (1..8)
        .map(|length| supervised_row(&[1, 2], &vec![3 + ((length + step) % 9) as u32; length as usize]))
        .collect();
    trainer.supervised_step(rows, &go_on).expect("a step")
}

fn clipped() -> JobSettings {
    settings(|spec| {
        let training = spec.training.get_or_insert_default();
        // Rounding differs from processor to processor; AdamW makes of it up to one learning rate a step.
        training.learning_rate = Some(3e-3);
        training.gradient_clip = Some(0.05);
        training.weight_decay = Some(0.01);
        training.micro_batch_tokens = Some(40);
    })
}

#[test]
fn twenty_steps_of_one_two_and_three_ranks_are_the_same() {
    let settings = clipped();
    let expected = alone(&settings, 20, policy_step);
    assert!(
        expected
            .figures
            .iter()
            .any(|figures| figures.clipped_gradient_share > 0.0)
    );
    assert!(
        expected.figures.iter().any(|figures| figures.trained_tokens == 0),
        "nothing to learn"
    );
    for world in [1, 2, 3] {
        let ranks = together(world, &settings, 20, policy_step);
        for rank in &ranks {
            assert_equal_bits(&ranks[0], rank);
            assert_like_one_rank(&expected, &ranks[0], world);
        }
        let again = together(world, &settings, 20, policy_step);
        assert_equal_bits(&ranks[0], &again[0]);
    }
}

#[test]
fn in_f64_the_ranks_differ_by_nothing_but_the_last_digits() {
    let mut settings = clipped();
    settings.model.seed = EXACT;
    // The demo's.
    settings.training.learning_rate = 4e-4;
    for (lead, steps) in LEADS {
        let expected = alone(&settings, steps, lead);
        let cases = [
            (2, v1::Sharding::None),
            (3, v1::Sharding::None),
            (3, v1::Sharding::Optimizer),
            (2, v1::Sharding::Gradients),
            (3, v1::Sharding::Full),
        ];
        for (world, sharding) in cases {
            let settings = divided(&settings, sharding);
            for rank in together(world, &settings, steps, lead) {
                let difference = largest_difference(&expected.weights, &rank.weights);
                assert!(difference < 1e-12, "{world} ranks, {sharding:?}: {difference}");
            }
        }
    }
}

#[test]
fn ranks_train_adapters_alike() {
    let settings = lora_tests::with_lora(|spec| {
        let training = spec.training.get_or_insert_default();
        training.gradient_clip = Some(0.05);
        training.micro_batch_tokens = Some(40);
        training.learning_rate = Some(1e-3);
    });
    for (lead, steps) in LEADS {
        let expected = alone(&settings, steps, lead);
        for world in [2, 3] {
            let ranks = together(world, &settings, steps, lead);
            assert_equal_bits(&ranks[0], &ranks[world - 1]);
            assert_like_one_rank(&expected, &ranks[0], world);
        }
    }
}

#[test]
fn supervised_steps_are_the_same() {
    let settings = clipped();
    let expected = alone(&settings, 6, supervised_step);
    for world in [2, 3] {
        let ranks = together(world, &settings, 6, supervised_step);
        assert_equal_bits(&ranks[0], &ranks[world - 1]);
        assert_like_one_rank(&expected, &ranks[0], world);
    }
}

/// The gradient of the second step is not finite.
fn unfit_step(trainer: &mut Trainer, step: u64) -> StepFigures {
    let mut groups = [group(0, step, trainer), group(1, step, trainer)];
    if step == 1 {
        groups[0].traces[0].thinking.as_mut().expect("present").log_probs[1] = f32::NAN;
    }
    trainer.policy_step(&refs(&groups), step, &go_on).expect("a step")
}

/// A gradient that is not finite on one rank is one for all.
#[test]
fn an_unfit_gradient_is_skipped_by_all() {
    let settings = settings(|spec| spec.training.get_or_insert_default().minibatches = Some(1));
    let ranks = together(2, &settings, 3, unfit_step);
    assert_equal_bits(&ranks[0], &ranks[1]);
    for rank in &ranks {
        let skipped: Vec<u32> = rank.figures.iter().map(|figures| figures.skipped_updates).collect();
        assert_eq!(skipped, [0, 1, 0]);
    }
}

/// What a job trains, with this divided among the ranks.
fn divided(settings: &JobSettings, sharding: v1::Sharding) -> JobSettings {
    let mut settings = settings.clone();
    settings.training.sharding = sharding;
    settings
}

/// The whole of each moment, of its parts on all ranks.
fn put_together(ranks: &[Outcome]) -> Vec<(String, Tensor)> {
    let name_of = |index: usize| ranks[0].moments[index].0.clone();
    let parts_of = |index: usize| -> Vec<Tensor> {
        let flat = ranks.iter().map(|rank| rank.moments[index].1.view(-1));
        flat.collect()
    };
    (0..ranks[0].moments.len())
        .map(|index| (name_of(index), Tensor::cat(&parts_of(index), 0)))
        .collect()
}

#[test]
fn ranks_that_divide_the_optimiser_come_to_the_same_bits() {
    let adapters = lora_tests::with_lora(|spec| {
        let training = spec.training.get_or_insert_default();
        training.gradient_clip = Some(0.05);
        training.learning_rate = Some(1e-3);
    });
    let no_history = |mut settings: JobSettings| {
        // Norms are whole on every rank.
        settings.training.gradient_clip_history = 0.0;
        settings
    };
    for settings in [no_history(clipped()), no_history(adapters)] {
        for (lead, steps) in LEADS {
            for world in [2, 3] {
                let whole = together(world, &settings, steps, lead);
                let parts = together(world, &divided(&settings, v1::Sharding::Optimizer), steps, lead);
                for (rank, (one, other)) in whole.iter().zip(&parts).enumerate() {
                    let difference = largest_difference(&one.weights, &other.weights);
                    assert_eq!(difference, 0.0, "rank {rank} of {world}");
                    for (one, other) in one.figures.iter().zip(&other.figures) {
                        // Estimated from other elements.
                        assert!((one.update_size - other.update_size).abs() <= 0.05 * one.update_size);
                        let update_size = one.update_size;
                        let other = StepFigures {
                            update_size,
                            ..other.clone()
                        };
                        assert_eq!(*one, other, "rank {rank} of {world}");
                    }
                }
                for ((name, whole), (_, parts)) in whole[0].moments.iter().zip(put_together(&parts)) {
                    assert!(whole.view(-1).equal(&parts), "{name} of {world} ranks");
                }
                let held = |rank: &Outcome| -> usize { rank.moments.iter().map(|(_, moment)| moment.numel()).sum() };
                let (all, padding) = (held(&whole[0]), 64 * whole[0].moments.len());
                for rank in &parts {
                    assert!(
                        held(rank) <= all / world + padding,
                        "{} of {all}, {world} ranks",
                        held(rank)
                    );
                }
            }
        }
    }
}

/// Masters and gradients divided, and the weights too: the sums are made in another order, and nothing else is different.
#[test]
fn ranks_that_divide_gradients_or_all_come_to_what_one_comes_to() {
    type Case = (Lead, u64, usize, v1::Sharding);
    let cases: [Case; 5] = [
        (policy_step, 20, 2, v1::Sharding::Gradients),
        (policy_step, 20, 3, v1::Sharding::Gradients),
        (policy_step, 20, 2, v1::Sharding::Full),
        (policy_step, 20, 3, v1::Sharding::Full),
        (supervised_step, 6, 2, v1::Sharding::Full),
    ];
    let settings = clipped();
    for (lead, steps, world, sharding) in cases {
        let expected = alone(&settings, steps, lead);
        let settings = divided(&settings, sharding);
        let ranks = together(world, &settings, steps, lead);
        let again = together(world, &settings, steps.min(3), lead);
        let first = together(world, &settings, steps.min(3), lead);
        let all: usize = ranks[0].weights.values().map(Tensor::numel).sum();
        let padding = 64 * ranks[0].weights.len();
        assert_like_one_rank(&expected, &ranks[0], world);
        for ((rank, again), first) in ranks.iter().zip(&again).zip(&first) {
            assert_equal_bits(first, again);
            for (one, other) in rank.figures.iter().zip(&ranks[0].figures) {
                assert_eq!((one.gradient_norm, one.loss), (other.gradient_norm, other.loss));
            }
            assert_eq!(largest_difference(&ranks[0].weights, &rank.weights), 0.0);
            let moments: usize = rank.moments.iter().map(|(_, moment)| moment.numel()).sum();
            let (masters, replicas) = rank.held;
            assert!(
                masters <= all / world + padding,
                "{masters} of {all} masters, {world} ranks"
            );
            assert!(
                moments <= 2 * (all / world + 2 * padding),
                "{moments} of {}, {world} ranks",
                2 * all
            );
            match sharding {
                v1::Sharding::Full => assert_eq!(replicas, rank.weights.len(), "nothing between passes"),
                _ => assert_eq!(replicas, all),
            }
        }
    }
}

/// In bf16 masters and what passes compute with are different tensors.
#[test]
fn divided_weights_are_computed_with_in_bf16() {
    let mut settings = clipped();
    settings.model.dtype = v1::Dtype::Bf16;
    let whole = together(2, &settings, 8, supervised_step);
    let gradients = together(2, &divided(&settings, v1::Sharding::Gradients), 8, supervised_step);
    let full = together(2, &divided(&settings, v1::Sharding::Full), 8, supervised_step);
    assert_equal_bits(&gradients[0], &full[0]);
    assert_equal_bits(&gradients[1], &full[1]);
    assert_eq!(gradients[0].figures, full[0].figures);
    let difference = largest_difference(&whole[0].weights, &full[0].weights);
    // AdamW makes of a rounding up to a learning rate a step.
    assert!(difference > 0.0 && difference < 1e-2, "{difference}");
    for (one, other) in whole[0].figures.iter().zip(&full[0].figures) {
        assert!((one.loss - other.loss).abs() < 2e-3 * one.loss, "{one:?} {other:?}");
    }
}

#[test]
fn an_unfit_gradient_is_skipped_by_all_who_divide() {
    let settings = settings(|spec| spec.training.get_or_insert_default().minibatches = Some(1));
    let whole = together(2, &settings, 3, unfit_step);
    for sharding in [v1::Sharding::Optimizer, v1::Sharding::Gradients, v1::Sharding::Full] {
        let parts = together(2, &divided(&settings, sharding), 3, unfit_step);
        for (one, other) in whole.iter().zip(&parts) {
            let difference = largest_difference(&one.weights, &other.weights);
            let bound = if sharding == v1::Sharding::Optimizer { 0.0 } else { 1e-5 };
            assert!(difference <= bound, "{sharding:?}: {difference}");
            assert_eq!(other.figures[1].skipped_updates, 1);
        }
    }
}
