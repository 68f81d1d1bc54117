//! One update of the trainer over one trace with its summaries, AdamW included.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use anytime_learner::train::{Trainer, UpdateShape, training_rows};
use anytime_objectives::objective;
use anytime_policy::memory::DeviceMemory;
use anytime_policy::{TreeBatch, Weights};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use tch::{Device, Kind, no_grad};

use crate::engine::{END_MARKER, SUMMARY_MARKER};
use crate::model::{LoadedModel, prompt_ids};

/// The shape of a training case, whose traces all look the same.
#[derive(Clone, Debug, clap::Args)]
pub struct TrainingCase {
    /// Traces in the update
    #[arg(long, default_value_t = 1)]
    pub traces: usize,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 32)]
    pub prompt_tokens: usize,
    /// Thinking tokens at which every trace is summarised
    #[arg(long, value_delimiter = ',', default_value = "64,128,192,256")]
    pub budgets: Vec<u32>,
    /// Summaries at each budget
    #[arg(long, default_value_t = 4)]
    pub summaries: usize,
    /// Tokens of a summary
    #[arg(long, default_value_t = 16)]
    pub summary_tokens: usize,
}

impl TrainingCase {
    /// Tokens that the model computes, each once.
    pub fn packed_tokens(&self) -> usize {
        let inserted = END_MARKER.len() + SUMMARY_MARKER.len();
        self.traces * (self.prompt_tokens + self.thinking() + self.branches() * (inserted + self.summary_tokens))
    }

    /// Tokens in the loss.
    pub fn trained_tokens(&self) -> usize {
        self.traces * (self.thinking() + self.branches() * self.summary_tokens)
    }

    fn thinking(&self) -> usize {
        self.budgets.last().map_or(0, |&budget| budget as usize)
    }

    fn branches(&self) -> usize {
        self.budgets.len() * self.summaries
    }

    fn settings(&self, kind: Kind, checkpointing: bool) -> anyhow::Result<JobSettings> {
        let dtype = if kind == Kind::BFloat16 {
            v1::Dtype::Bf16
        } else {
            v1::Dtype::F32
        };
        let spec = v1::JobSpec {
            name: Some("bench".to_owned()),
            kind: Some(v1::JobKind::Train.into()),
            model: Some(v1::ModelSpec {
                path: Some("model".to_owned()),
                dtype: Some(dtype.into()),
                ..Default::default()
            }),
            data: Some(v1::DataSpec {
                path: vec!["data".to_owned()],
                ..Default::default()
            }),
            rollout: Some(v1::RolloutSpec {
                budgets: self.budgets.clone(),
                traces: Some(self.traces as u32),
                summaries: Some(self.summaries as u32),
                max_summary_tokens: Some(self.summary_tokens as u32),
                ..Default::default()
            }),
            training: Some(v1::TrainingSpec {
                steps: Some(1000),
                batch: Some(1),
                minibatches: Some(1),
                learning_rate: Some(1e-6),
                activation_checkpointing: checkpointing.then_some(true),
                ..Default::default()
            }),
            ..Default::default()
        };
        Ok(JobSettings::try_new(&spec)?)
    }

    /// A group whose summaries are right and wrong in turn, so that every token moves the weights. Behaviour
    /// log-probabilities are zero until they are computed.
    fn group(&self, vocabulary: i64) -> v1::ScoredGroup {
        let mut traces = Vec::with_capacity(self.traces);
        for trace in 0..self.traces {
            let sequence = |number: usize, length: usize| {
                let ids = prompt_ids(1 + trace * (1 + self.branches()) + number, length, vocabulary);
                generated(ids)
            };
            let mut nodes = Vec::with_capacity(self.budgets.len());
            for (index, &cut) in self.budgets.iter().enumerate() {
                let summary = |number: usize| v1::Summary {
                    generated: Some(sequence(1 + index * self.summaries + number, self.summary_tokens)),
                    verdict: v1::VerdictKind::Correct.into(),
                    formatted: true,
                    score: (number % 2) as f32,
                };
                nodes.push(v1::Node {
                    cut,
                    first_budget: index as u32,
                    multiplicity: 1,
                    inserted_ids: [END_MARKER, SUMMARY_MARKER].concat(),
                    summaries: (0..self.summaries).map(summary).collect(),
                });
            }
            traces.push(v1::Trace {
                thinking: Some(sequence(0, self.thinking())),
                nodes,
            });
        }
        v1::ScoredGroup {
            group_id: "bench/0".to_owned(),
            budgets: self.budgets.clone(),
            summaries_per_budget: self.summaries as u32,
            prompt_ids: prompt_ids(0, self.prompt_tokens, vocabulary),
            traces,
            ..Default::default()
        }
    }
}

fn generated(ids: Vec<u32>) -> v1::Generated {
    v1::Generated {
        log_probs: vec![0.0; ids.len()],
        versions: vec![0; ids.len()],
        finish: v1::FinishReason::Length.into(),
        ids,
    }
}

/// Writes the model's own log-probabilities into the group, so that all tokens are fresh.
fn fill_behaviour(group: &mut v1::ScoredGroup, settings: &JobSettings, model: &LoadedModel) -> anyhow::Result<()> {
    let decoder = model.decoder()?;
    let targets = objective(&settings.objective).targets(group);
    let rows = training_rows(group, &targets);
    ensure!(rows.len() == group.traces.len(), "a trace would not be trained");
    for (trace, row) in group.traces.iter_mut().zip(rows) {
        let batch = TreeBatch::pack(std::slice::from_ref(&row.tree), decoder.device());
        let log_probs = no_grad(|| decoder.log_probs(&decoder.tree(&batch), batch.targets(), 1.0));
        let values = Vec::<f32>::try_from(&log_probs.to_device(Device::Cpu))?;
        let mut rest = values.as_slice();
        let summaries = trace.nodes.iter_mut().flat_map(|node| &mut node.summaries);
        let generated = trace
            .thinking
            .iter_mut()
            .chain(summaries.filter_map(|summary| summary.generated.as_mut()));
        for generated in generated {
            let (own, others) = rest.split_at(generated.ids.len());
            // Rounding may lift a certain token a hair above probability 1.
            generated.log_probs = own.iter().map(|value| value.min(0.0)).collect();
            rest = others;
        }
    }
    Ok(())
}

/// A trainer with the groups that it trains, one update at a time.
pub(crate) struct Updates {
    trainer: Trainer,
    groups: Vec<v1::ScoredGroup>,
    device: Device,
    trained_tokens: u64,
}

impl Updates {
    /// One update over a group for each case. `model` holds the f32 masters; `kind` is what forward and backward passes
    /// compute in, and `checkpointing` whether activations are computed again in the backward pass.
    ///
    /// # Errors
    /// The settings are refused, or there is no case.
    pub(crate) fn try_new(
        model: LoadedModel,
        cases: &[TrainingCase],
        kind: Kind,
        checkpointing: bool,
    ) -> anyhow::Result<Self> {
        let first = cases.first().context("an update needs a case")?;
        let settings = first.settings(kind, checkpointing)?;
        let mut groups = Vec::with_capacity(cases.len());
        for (number, case) in cases.iter().enumerate() {
            let mut group = case.group(model.config.vocab_size);
            group.group_id = format!("bench/{number}");
            fill_behaviour(&mut group, &settings, &model)?;
            anytime_proto::check_group(&group)?;
            groups.push(group);
        }
        let vocabulary = model.config.vocab_size as u32;
        let device = model.device();
        let longest = |case: &TrainingCase| case.packed_tokens() / case.traces;
        let plan = UpdateShape {
            config: &model.config,
            compute_kind: kind,
            is_cuda: device.is_cuda(),
            longest_row: cases.iter().map(longest).max().unwrap_or(0),
            micro_batch_tokens: None,
            activation_checkpointing: checkpointing.then_some(true),
            lora: None,
            has_dropout: false,
            sharding: v1::Sharding::None,
            ranks: 1,
        }
        .plan(DeviceMemory::ask(device).ok())?;
        let trainer = Trainer::new(&settings, model.config, vocabulary, model.weights, device, plan);
        Ok(Self {
            trainer,
            groups,
            device,
            trained_tokens: cases.iter().map(|case| case.trained_tokens() as u64).sum(),
        })
    }

    /// The parameters as they are now.
    pub(crate) fn masters(&self) -> &Weights {
        self.trainer.masters()
    }

    /// One update, until the device has done it.
    ///
    /// # Errors
    /// A gradient is not finite, or another number of tokens was trained than the case has.
    pub(crate) fn update(&mut self) -> anyhow::Result<()> {
        let groups: Vec<&v1::ScoredGroup> = self.groups.iter().collect();
        let figures = self.trainer.policy_step(&groups, 0, &|| Ok(()))?;
        // Reading the figures has waited for the device; the optimiser's last kernels are waited for here.
        crate::limits::synchronise(self.device);
        let (trained, expected) = (figures.trained_tokens, self.trained_tokens);
        ensure!(
            trained == expected,
            "{trained} tokens were trained, the case has {expected}"
        );
        Ok(())
    }
}

/// Seconds of each update, after one that is not counted. `model` holds the f32 masters; `kind` is what forward and
/// backward passes compute in.
///
/// # Errors
/// The settings are refused, a gradient is not finite, or another number of tokens was trained than the case has.
pub fn measure(model: LoadedModel, case: &TrainingCase, kind: Kind, repetitions: usize) -> anyhow::Result<Vec<f64>> {
    let mut updates = Updates::try_new(model, std::slice::from_ref(case), kind, false)?;
    updates.update()?;
    updates.measure(repetitions)
}

impl Updates {
    /// Seconds of each of `repetitions` updates.
    ///
    /// # Errors
    /// As for [`Updates::update`].
    pub(crate) fn measure(&mut self, repetitions: usize) -> anyhow::Result<Vec<f64>> {
        let mut seconds = Vec::with_capacity(repetitions);
        for _ in 0..repetitions {
            let started = Instant::now();
            self.update()?;
            seconds.push(started.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }
}
