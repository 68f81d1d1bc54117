//! The trainer on a tiny model: micro-batches and chunks do not change a step, and steps go in the right direction.

use anytime_policy::{Decoder, ModelConfig, TreeBatch, TreeRow, Weights, initialise_weights};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use tch::{Device, Kind, Tensor, no_grad};

use super::memory::UpdatePlan;
use super::policy_batch::{Trust, fresh_tokens};
use super::rows::{TrainingRow, supervised_row};
use super::trainer::Trainer;

const CONFIG: &str = r#"{
    "model_type": "qwen2", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 24, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "max_position_embeddings": 256, "tie_word_embeddings": true, "hidden_act": "silu"
}"#;

pub(super) fn config() -> ModelConfig {
    tch::set_num_threads(1);
    ModelConfig::from_json(CONFIG).expect("a valid configuration")
}

pub(super) fn settings(change: impl FnOnce(&mut v1::JobSpec)) -> JobSettings {
    let mut spec = v1::JobSpec {
        name: Some("test".to_owned()),
        kind: Some(v1::JobKind::Train.into()),
        model: Some(v1::ModelSpec {
            path: Some("model".to_owned()),
            ..Default::default()
        }),
        data: Some(v1::DataSpec {
            path: vec!["data".to_owned()],
            ..Default::default()
        }),
        rollout: Some(v1::RolloutSpec {
            budgets: vec![2, 4],
            ..Default::default()
        }),
        training: Some(v1::TrainingSpec {
            steps: Some(4),
            batch: Some(2),
            learning_rate: Some(1e-2),
            weight_decay: Some(0.0),
            ..Default::default()
        }),
        ..Default::default()
    };
    change(&mut spec);
    JobSettings::try_new(&spec).expect("valid settings")
}

pub(super) fn trainer(settings: &JobSettings) -> Trainer {
    let config = config();
    let weights = initialise_weights(&config, 3, Device::Cpu);
    let plan = UpdatePlan {
        micro_batch_tokens: settings.training.micro_batch_tokens.unwrap_or(8192) as usize,
        activation_checkpointing: settings.training.activation_checkpointing.unwrap_or(false),
    };
    Trainer::new(settings, config, 24, weights, Device::Cpu, plan)
}

fn log_probs(weights: &Weights, rows: &[TreeRow]) -> Vec<f32> {
    let decoder = Decoder::new(&config(), weights).expect("fits");
    let batch = TreeBatch::pack(rows, Device::Cpu);
    let values = no_grad(|| decoder.log_probs(&decoder.tree(&batch), batch.targets(), 1.0));
    Vec::<f32>::try_from(&values).expect("one dimension")
}

/// A group of two traces, the first right at every budget, the second wrong, with behaviour log-probabilities of the
/// initial weights and versions as given.
pub(super) fn group(sequence: u64, version: u64, trainer: &Trainer) -> v1::ScoredGroup {
    let mut traces = Vec::new();
    for (index, score) in [1.0_f32, 0.0].into_iter().enumerate() {
        let base = 3 + 4 * index as u32 + sequence as u32;
        let thinking_ids = vec![base, base + 1, base + 2, base + 3];
        let mut nodes = Vec::new();
        for (first_budget, cut) in [2_u32, 4].into_iter().enumerate() {
            let summary = |last: u32, score: f32| v1::Summary {
                generated: Some(generated(vec![last, 2], version)),
                verdict: v1::VerdictKind::Correct.into(),
                formatted: true,
                score,
            };
            nodes.push(v1::Node {
                cut,
                first_budget: first_budget as u32,
                multiplicity: 1,
                inserted_ids: vec![20, 21],
                summaries: vec![summary(base, score), summary(base + 1, 1.0 - score)],
            });
        }
        traces.push(v1::Trace {
            thinking: Some(generated(thinking_ids, version)),
            nodes,
        });
    }
    let mut group = v1::ScoredGroup {
        group_id: format!("test/{sequence}"),
        budgets: vec![2, 4],
        summaries_per_budget: 2,
        prompt_ids: vec![1, 5 + sequence as u32],
        traces,
        ..Default::default()
    };
    // The first trace is right more often than the second at the last budget.
    group.traces[0].nodes[1].summaries[1].score = 1.0;
    fill_behaviour(&mut group, trainer);
    anytime_proto::check_group(&group).expect("a valid group");
    group
}

fn generated(ids: Vec<u32>, version: u64) -> v1::Generated {
    let length = ids.len();
    v1::Generated {
        ids,
        log_probs: vec![0.0; length],
        versions: vec![version; length],
        finish: v1::FinishReason::EndMarker.into(),
    }
}

fn fill_behaviour(group: &mut v1::ScoredGroup, trainer: &Trainer) {
    for trace in &mut group.traces {
        let thinking = trace.thinking.as_mut().expect("present");
        let prefix = [group.prompt_ids.as_slice(), &thinking.ids].concat();
        let mut branches = Vec::new();
        for node in &trace.nodes {
            for summary in &node.summaries {
                let ids = [
                    node.inserted_ids.as_slice(),
                    &summary.generated.as_ref().expect("present").ids,
                ]
                .concat();
                branches.push(anytime_policy::Branch {
                    cut: node.cut as usize,
                    inserted: 2,
                    ids,
                });
            }
        }
        let row = TreeRow {
            prompt: group.prompt_ids.len(),
            prefix,
            branches,
        };
        let model = trainer.whole_model().expect("all ranks give their parts");
        let mut values = log_probs(&model, &[row]).into_iter();
        thinking.log_probs = values.by_ref().take(thinking.ids.len()).collect();
        for summary in trace.nodes.iter_mut().flat_map(|node| &mut node.summaries) {
            let generated = summary.generated.as_mut().expect("present");
            generated.log_probs = values.by_ref().take(generated.ids.len()).collect();
        }
    }
}

pub(super) fn refs(groups: &[v1::ScoredGroup]) -> Vec<&v1::ScoredGroup> {
    groups.iter().collect()
}

pub(super) fn go_on() -> anyhow::Result<()> {
    Ok(())
}

pub(super) fn largest_difference(left: &Weights, right: &Weights) -> f64 {
    let of_tensor = |(name, tensor): (&String, &Tensor)| (tensor - &right[name]).abs().max().double_value(&[]);
    left.iter().map(of_tensor).fold(0.0, f64::max)
}

#[test]
fn micro_batches_do_not_change_the_step() {
    let mut weights = Vec::new();
    for tokens in [8_u32, 4096] {
        let settings = settings(|spec| spec.training.get_or_insert_default().micro_batch_tokens = Some(tokens));
        let mut trainer = trainer(&settings);
        let groups = [group(0, 0, &trainer), group(1, 0, &trainer)];
        let figures = trainer.policy_step(&refs(&groups), 0, &go_on).expect("a step");
        assert!(figures.trained_tokens > 0 && figures.gradient_norm > 0.0);
        weights.push(
            trainer
                .masters()
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.detach().copy()))
                .collect(),
        );
    }
    // Adam's first step is lr·sign(gradient): a sum in another order may flip only what is about zero.
    let difference = largest_difference(&weights[0], &weights[1]);
    assert!(difference < 1e-3, "{difference}");
}

#[test]
fn a_step_raises_what_was_right_and_lowers_what_was_wrong() {
    let settings = settings(|spec| {
        let training = spec.training.get_or_insert_default();
        training.minibatches = Some(1);
        training.learning_rate = Some(1e-3);
    });
    let mut trainer = trainer(&settings);
    let groups = [group(0, 0, &trainer)];
    let row = |index: usize| {
        let trace = &groups[0].traces[index];
        let thinking = trace.thinking.as_ref().expect("present");
        let prefix = [groups[0].prompt_ids.as_slice(), &thinking.ids].concat();
        TreeRow {
            prompt: 2,
            prefix,
            branches: Vec::new(),
        }
    };
    let rows = [row(0), row(1)];
    let before = log_probs(trainer.masters(), &rows);
    let figures = trainer.policy_step(&refs(&groups), 0, &go_on).expect("a step");
    let after = log_probs(trainer.masters(), &rows);
    let change = |tokens: std::ops::Range<usize>| -> f32 { tokens.map(|token| after[token] - before[token]).sum() };
    assert!(change(0..4) > 0.0, "{before:?} {after:?}");
    assert!(change(4..8) < 0.0, "{before:?} {after:?}");
    // Behaviour and recomputed log-probabilities come from the same weights.
    assert!(figures.fresh_tokens > 0);
    assert!(figures.fresh_gap / (figures.fresh_tokens as f64) < 1e-5);
    assert_eq!(figures.staleness, 0.0);
}

#[test]
fn stale_tokens_are_counted_and_trained_against_the_recomputed_policy() {
    let settings = settings(|spec| spec.training.get_or_insert_default().minibatches = Some(1));
    let mut trainer = trainer(&settings);
    let mut groups = [group(0, 3, &trainer)];
    for trace in &mut groups[0].traces {
        let thinking = trace.thinking.as_mut().expect("present");
        // Far from what the model gives: as if another model had generated.
        thinking.log_probs = vec![-9.0; thinking.log_probs.len()];
    }
    let figures = trainer.policy_step(&refs(&groups), 5, &go_on).expect("a step");
    assert_eq!(figures.fresh_tokens, 0);
    assert_eq!(figures.staleness, 2.0 * figures.trained_tokens as f64);
    assert_eq!(
        figures.clipped_tokens, 0.0,
        "the ratio to the proximal policy is 1 on the first update"
    );
}

#[test]
fn a_token_on_an_older_cache_is_not_fresh() {
    assert_eq!(fresh_tokens(&[2, 2, 2], 2), [true; 3]);
    assert_eq!(fresh_tokens(&[1, 2, 2], 2), [false; 3]);
    assert_eq!(fresh_tokens(&[2, 3], 2), [true, false]);
}

#[test]
fn supervised_steps_learn_a_row_by_heart() {
    let settings = settings(|spec| {
        spec.kind = Some(v1::JobKind::Sft.into());
        spec.training.get_or_insert_default().steps = Some(100);
    });
    let mut trainer = trainer(&settings);
    let rows = || -> Vec<TrainingRow> {
        vec![
            supervised_row(&[1, 2], &[3, 4, 5, 6]),
            supervised_row(&[7], &[8, 9]),
            supervised_row(&[10, 11, 12], &[13]),
        ]
    };
    let first = trainer.supervised_step(rows(), &go_on).expect("a step").loss;
    for _ in 0..60 {
        trainer.supervised_step(rows(), &go_on).expect("a step");
    }
    let last = trainer.supervised_step(rows(), &go_on).expect("a step").loss;
    assert!(first > 2.0 && last < 0.1, "{first} {last}");
}

/// Two steps of one minibatch are one step of two: the same parts, updates and rates, and each loss is a mean over its
/// own completion tokens.
#[test]
fn minibatches_of_a_supervised_step_are_updates_of_their_own() {
    let rows = || -> Vec<TrainingRow> {
        vec![
            supervised_row(&[1, 2], &[3, 4, 5, 6]),
            supervised_row(&[7], &[8, 9]),
            supervised_row(&[10, 11, 12], &[13]),
            supervised_row(&[14], &[15, 16]),
        ]
    };
    let trainer_of = |minibatches: u32, steps: u64| {
        trainer(&settings(|spec| {
            spec.kind = Some(v1::JobKind::Sft.into());
            let training = spec.training.get_or_insert_default();
            training.batch = Some(4);
            training.steps = Some(steps);
            training.minibatches = Some(minibatches);
            training.schedule = Some(v1::Schedule::Cosine.into());
        }))
    };
    let mut split = trainer_of(2, 1);
    let figures = split.supervised_step(rows(), &go_on).expect("a step");
    assert_eq!(split.optimiser().updates(), 2);

    let mut one_by_one = trainer_of(1, 2);
    let mut rest = rows();
    let later = rest.split_off(2);
    let first = one_by_one.supervised_step(rest, &go_on).expect("a step");
    let second = one_by_one.supervised_step(later, &go_on).expect("a step");
    assert_eq!(largest_difference(split.masters(), one_by_one.masters()), 0.0);
    assert_eq!(
        figures.gradient_norm,
        (first.gradient_norm + second.gradient_norm) / 2.0
    );
    assert_eq!(figures.learning_rate, second.learning_rate);
    assert_eq!(figures.trained_tokens, first.trained_tokens + second.trained_tokens);
    // Six completion tokens in the first two rows, three in the others.
    let mean = (6.0 * first.loss + 3.0 * second.loss) / 9.0;
    assert!((figures.loss - mean).abs() < 1e-9, "{} {mean}", figures.loss);

    // By default there is one update over all rows, as a mean over all their tokens.
    let mut whole = trainer_of(1, 2);
    whole.supervised_step(rows(), &go_on).expect("a step");
    assert_eq!(whole.optimiser().updates(), 1);
    assert!(largest_difference(whole.masters(), split.masters()) > 0.0);
}

#[test]
fn bf16_compute_updates_f32_masters() {
    let settings = settings(|spec| spec.model.get_or_insert_default().dtype = Some(v1::Dtype::Bf16.into()));
    let mut trainer = trainer(&settings);
    assert_eq!(trainer.compute_kind(), Kind::BFloat16);
    let groups = [group(0, 0, &trainer), group(1, 0, &trainer)];
    let before: Weights = trainer
        .masters()
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.detach().copy()))
        .collect();
    let figures = trainer.policy_step(&refs(&groups), 0, &go_on).expect("a step");
    assert!(figures.gradient_norm > 0.0);
    assert!(trainer.masters().values().all(|tensor| tensor.kind() == Kind::Float));
    assert!(largest_difference(&before, trainer.masters()) > 0.0);
}

#[test]
fn an_interrupted_step_stops() {
    let settings = settings(|_| ());
    let mut trainer = trainer(&settings);
    let groups = [group(0, 0, &trainer)];
    let error = trainer
        .policy_step(&refs(&groups), 0, &|| Err(anyhow::anyhow!("stop")))
        .expect_err("interrupted");
    assert_eq!(error.to_string(), "stop");
}

/// A trainer of AdaptThink and two groups with one forced trace and one that is kept from ending at once.
fn forced(sequence_ratio: bool) -> (Trainer, [v1::ScoredGroup; 2]) {
    let settings = settings(|spec| {
        let objective = spec.objective.get_or_insert_default();
        objective.settings = Some(v1::objective_spec::Settings::Adaptthink(v1::AdaptThinkSpec {
            sequence_ratio: Some(sequence_ratio),
            ..Default::default()
        }));
    });
    let mut trainer = trainer(&settings);
    let mut groups = [group(0, 0, &trainer), group(1, 0, &trainer)];
    for group in &mut groups {
        group.problem_id = "one".to_owned();
        group.no_thinking_traces = 1;
        // The first trace was forced as a whole, the second in its first token.
        let thinking = |trace: &mut v1::Trace| trace.thinking.take().expect("present");
        let mut forced = thinking(&mut group.traces[0]);
        forced.log_probs = vec![0.5_f32.ln(), 0.0, 0.0, 0.0];
        group.traces[0].thinking = Some(forced);
        let mut kept = thinking(&mut group.traces[1]);
        kept.log_probs[0] = 0.5_f32.ln();
        group.traces[1].thinking = Some(kept);
    }
    let references = std::collections::BTreeMap::from([("one".to_owned(), 0.5)]);
    trainer.add_references(references);
    (trainer, groups)
}

#[test]
fn the_ratio_of_a_response_is_the_geometric_mean_of_its_tokens() {
    for sequence_ratio in [true, false] {
        let (trainer, groups) = forced(sequence_ratio);
        let mut objective = anytime_objectives::objective(&settings(|_| {}).objective);
        let group = &groups[0];
        let mut rows = super::rows::training_rows(group, &objective.targets(group));
        rows.truncate(1);
        let tokens = rows[0].tokens.behaviour.len();
        let policy = log_probs(trainer.masters(), std::slice::from_ref(&rows[0].tree));
        let batch = trainer.policy_batch(rows, 0, &mut Trust::Full).expect("one process");
        let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor).expect("one dimension");
        let drawn = values(&batch.behaviour);
        let log_ratios: Vec<f32> = policy
            .iter()
            .zip(&drawn)
            .map(|(policy, drawn)| policy - drawn)
            .collect();
        let mean = log_ratios.iter().sum::<f32>() / tokens as f32;
        assert!(mean < -0.1, "forced tokens are unlikely: {mean}");
        let proximal = values(&batch.terms.proximal);
        for ((policy, proximal), of_token) in policy.iter().zip(&proximal).zip(&log_ratios) {
            let expected = if sequence_ratio { mean } else { *of_token };
            assert!((policy - proximal - expected).abs() < 1e-4);
        }
        // Nothing is weighed on top of the ratio.
        assert_eq!(values(&batch.terms.behaviour), proximal);
    }
}

#[test]
fn forced_tokens_are_no_disagreement_between_actor_and_learner() {
    let (mut trainer, groups) = forced(true);
    let figures = trainer.policy_step(&refs(&groups), 0, &go_on).expect("a step");
    // Two minibatches of one group; only the first is compared: three tokens of the second trace's thinking and the
    // two summaries of two tokens of each trace at the largest budget.
    assert_eq!(figures.fresh_tokens, 3 + 2 * 2 * 2);
    assert!(figures.fresh_gap < 1e-4, "{figures:?}");
}
