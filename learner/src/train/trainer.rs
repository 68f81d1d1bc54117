//! Master weights, the optimiser, and the two updates: policy gradient and supervised.

use anyhow::Context as _;
use anytime_policy::{Config, Decoder, TreeBatch, TreeRow, Weights};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use tch::{Device, Kind, Tensor, no_grad};

use super::loss::{PolicyLoss, TokenTerms};
use super::micro_batch::micro_batches;
use super::optimiser::AdamW;
use super::rows::{RowTokens, TrainingRow, training_rows};
use super::schedule::LearningRate;
use crate::desk::{Interrupted, QueuedGroup};
use crate::objectives::{Objective, objective};

/// Elements of the logits that exist at a time: 256 MiB in f32 on CPU.
const LOGITS_ELEMENTS_CPU: i64 = 1 << 26;
/// The same on a GPU: 1 GiB in f32.
const LOGITS_ELEMENTS_CUDA: i64 = 1 << 28;
/// Padded tokens of a micro-batch where the job leaves it open.
const MICRO_BATCH_TOKENS_CPU: u32 = 8_192;
/// The same on a GPU.
const MICRO_BATCH_TOKENS_CUDA: u32 = 32_768;

/// What one training step did, summed over its tokens and updates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepFigures {
    /// Of the policy: Σ over tokens / (traces · L_max). Supervised: mean negative log-likelihood of a completion token.
    pub loss: f64,
    /// L2 norm before clipping, mean over the updates.
    pub gradient_norm: f64,
    /// Of the last update.
    pub learning_rate: f64,
    /// Tokens in the loss.
    pub trained_tokens: u64,
    /// Of these, how many had their ratio clipped.
    pub clipped_tokens: f64,
    /// Σ |log π_behaviour − log π| over tokens of the version that trains, before the first update.
    pub fresh_gap: f64,
    /// How many tokens that was.
    pub fresh_tokens: u64,
    /// Σ over tokens of the versions between generation and training.
    pub staleness: f64,
}

/// The model under training. Lives on the job's thread.
pub struct Trainer {
    config: Config,
    /// Ids from here on are never sampled.
    vocabulary: u32,
    masters: Weights,
    compute_kind: Kind,
    device: Device,
    optimiser: AdamW,
    learning_rate: LearningRate,
    objective: Box<dyn Objective>,
    policy_loss: PolicyLoss,
    temperature: f64,
    /// Whether log-probabilities of the sampling distribution are those of the whole vocabulary.
    sampling_is_whole: bool,
    minibatches: usize,
    normaliser: f64,
    micro_batch_tokens: usize,
}

impl Trainer {
    /// `masters`: f32 tensors on `device`, by the checkpoint's keys. `vocabulary`: how many ids the tokenizer has.
    pub fn new(settings: &JobSettings, config: Config, vocabulary: u32, masters: Weights, device: Device) -> Self {
        let masters: Weights = masters
            .into_iter()
            .map(|(name, tensor)| (name, tensor.detach().set_requires_grad(true)))
            .collect();
        let training = &settings.training;
        let sampling = settings.rollout.sampling;
        let by_device = if device.is_cuda() {
            MICRO_BATCH_TOKENS_CUDA
        } else {
            MICRO_BATCH_TOKENS_CPU
        };
        Self {
            compute_kind: compute_kind(settings.model.dtype, device),
            optimiser: AdamW::new(training.into(), &masters),
            learning_rate: LearningRate::new(training),
            objective: objective(&settings.objective),
            policy_loss: PolicyLoss {
                clip: training.clip,
                importance_cap: training.importance_cap,
            },
            temperature: f64::from(sampling.temperature),
            sampling_is_whole: sampling.top_p >= 1.0 && sampling.top_k == 0,
            minibatches: training.minibatches as usize,
            normaliser: training.normaliser,
            micro_batch_tokens: training.micro_batch_tokens.unwrap_or(by_device) as usize,
            config,
            vocabulary,
            masters,
            device,
        }
    }

    /// The f32 master weights.
    pub fn masters(&self) -> &Weights {
        &self.masters
    }

    /// What forward passes compute in, and weights are published as.
    pub fn compute_kind(&self) -> Kind {
        self.compute_kind
    }

    /// The optimiser, for the recovery checkpoint.
    pub fn optimiser(&self) -> &AdamW {
        &self.optimiser
    }

    /// The optimiser, for taking over a recovery checkpoint.
    pub fn optimiser_mut(&mut self) -> &mut AdamW {
        &mut self.optimiser
    }

    /// One step of policy gradient over scored groups: `minibatches` optimiser updates. `version` is the one that
    /// trains; `interrupted` is asked between micro-batches, and an interrupted step leaves a half-trained model behind
    /// that must not be saved.
    ///
    /// # Errors
    /// [`Interrupted`], or a gradient that is not finite.
    pub fn policy_step(
        &mut self,
        groups: &[QueuedGroup],
        version: u64,
        interrupted: &dyn Fn() -> Result<(), Interrupted>,
    ) -> anyhow::Result<StepFigures> {
        let mut figures = StepFigures::default();
        let mut prepared = Vec::with_capacity(self.minibatches);
        for minibatch in groups.chunks(groups.len().div_ceil(self.minibatches).max(1)) {
            let traces: usize = minibatch.iter().map(|queued| queued.group.traces.len()).sum();
            let mut rows = Vec::with_capacity(traces);
            for queued in minibatch {
                rows.extend(training_rows(&queued.group, &self.objective.targets(&queued.group)));
            }
            // The proximal policy is the one at the start of the step, so it is computed before the first update.
            let mut batches = Vec::new();
            for rows in micro_batches(rows, self.micro_batch_tokens) {
                interrupted()?;
                batches.push(self.policy_batch(rows, version));
            }
            prepared.push((traces, batches));
        }

        for (index, (traces, batches)) in prepared.into_iter().enumerate() {
            let scale = 1.0 / (traces as f64 * self.normaliser);
            for batch in batches {
                interrupted()?;
                self.accumulate_policy_gradient(&batch, scale, version, index == 0, &mut figures);
            }
            self.update(&mut figures)?;
        }
        figures.gradient_norm /= self.minibatches as f64;
        Ok(figures)
    }

    /// One step of supervised training: the mean negative log-likelihood of the rows' completion tokens, in one update.
    ///
    /// # Errors
    /// [`Interrupted`], or a gradient that is not finite.
    pub fn supervised_step(
        &mut self,
        rows: Vec<TrainingRow>,
        interrupted: &dyn Fn() -> Result<(), Interrupted>,
    ) -> anyhow::Result<StepFigures> {
        let mut figures = StepFigures::default();
        let tokens: usize = rows.iter().map(|row| row.tokens.weights.len()).sum();
        let scale = 1.0 / tokens.max(1) as f64;
        for batch in micro_batches(rows, self.micro_batch_tokens) {
            interrupted()?;
            let trees: Vec<TreeRow> = batch.into_iter().map(|row| row.tree).collect();
            let tree = TreeBatch::pack(&trees, self.device);
            let loss = self.backward_in_chunks(&tree, 1.0, |log_probs, _, _| -log_probs.sum(Kind::Float) * scale);
            figures.loss += loss;
            figures.trained_tokens += tree.trained_tokens() as u64;
        }
        self.update(&mut figures)?;
        Ok(figures)
    }

    fn update(&mut self, figures: &mut StepFigures) -> anyhow::Result<()> {
        figures.learning_rate = self.learning_rate.at(self.optimiser.updates());
        figures.gradient_norm += self.optimiser.update(&self.masters, figures.learning_rate)?;
        Ok(())
    }

    fn decoder(&self) -> Decoder {
        Decoder::with_compute_kind(&self.config, &self.masters, self.compute_kind)
            .expect("the weights were checked when the job started and keep their names and shapes")
            .limit_vocabulary(self.vocabulary)
    }

    /// Packs rows, and computes the proximal log-probabilities of a batch that holds tokens of older versions.
    fn policy_batch(&self, rows: Vec<TrainingRow>, version: u64) -> PolicyBatch {
        let (trees, tokens): (Vec<TreeRow>, Vec<RowTokens>) =
            rows.into_iter().map(|row| (row.tree, row.tokens)).unzip();
        let tree = TreeBatch::pack(&trees, self.device);
        let versions: Vec<u64> = tokens.iter().flat_map(|row| row.versions.iter().copied()).collect();
        let column = |values: fn(&RowTokens) -> &Vec<f32>| {
            let all: Vec<f32> = tokens.iter().flat_map(|row| values(row).iter().copied()).collect();
            Tensor::from_slice(&all).to_device(self.device)
        };
        let behaviour = column(|row| &row.behaviour);
        let fresh: Vec<bool> = versions.iter().map(|generated| *generated == version).collect();
        let fresh = Tensor::from_slice(&fresh).to_device(self.device);
        let all_fresh = versions.iter().all(|generated| *generated == version);
        let proximal = if all_fresh && self.sampling_is_whole {
            behaviour.shallow_clone()
        } else {
            let recomputed = no_grad(|| self.log_probs(&tree));
            // Truncated sampling makes the behaviour another distribution than the policy, fresh or not.
            if self.sampling_is_whole {
                behaviour.where_self(&fresh, &recomputed)
            } else {
                recomputed
            }
        };
        let terms = TokenTerms {
            proximal,
            behaviour,
            advantages: column(|row| &row.advantages),
            weights: column(|row| &row.weights),
        };
        let staleness = versions
            .iter()
            .map(|generated| version.saturating_sub(*generated) as f64)
            .sum();
        PolicyBatch {
            tree,
            terms,
            fresh,
            staleness,
        }
    }

    /// Log-probabilities of all trained tokens of a batch, [n].
    fn log_probs(&self, tree: &TreeBatch) -> Tensor {
        let decoder = self.decoder();
        let hidden = decoder.tree(tree);
        let mut parts = Vec::new();
        for (start, length) in self.chunks(tree) {
            let (hidden, targets) = (hidden.narrow(0, start, length), tree.targets().narrow(0, start, length));
            parts.push(decoder.log_probs(&hidden, &targets, self.temperature));
        }
        if parts.is_empty() {
            Tensor::zeros([0], (Kind::Float, self.device))
        } else {
            Tensor::cat(&parts, 0)
        }
    }

    fn accumulate_policy_gradient(
        &self,
        batch: &PolicyBatch,
        scale: f64,
        version: u64,
        measure_gap: bool,
        figures: &mut StepFigures,
    ) {
        let zero = || Tensor::zeros([1], (Kind::Float, self.device));
        let mut clipped = zero();
        let mut gap = zero();
        let loss = self.backward_in_chunks(&batch.tree, self.temperature, |log_probs, start, length| {
            let terms = batch.terms.narrow(start, length);
            let (loss, clipped_count) = self.policy_loss.sum(log_probs, &terms);
            clipped += clipped_count;
            if measure_gap {
                let difference = (log_probs.detach() - &terms.behaviour).abs();
                gap += (difference * batch.fresh.narrow(0, start, length).to_kind(Kind::Float)).sum(Kind::Float);
            }
            loss * scale
        });
        debug_assert!(loss.is_finite(), "the loss of version {version} is {loss}");
        figures.loss += loss / self.minibatches as f64;
        figures.clipped_tokens += clipped.double_value(&[0]);
        figures.trained_tokens += batch.tree.trained_tokens() as u64;
        figures.staleness += batch.staleness;
        if measure_gap {
            figures.fresh_gap += gap.double_value(&[0]);
            figures.fresh_tokens += batch.fresh.sum(Kind::Int64).int64_value(&[]) as u64;
        }
    }

    /// Runs the model over a batch and adds the gradient of a loss that is a sum over tokens. The vocabulary exists for
    /// one chunk of tokens at a time: each chunk's gradient stops at the hidden states, which then go through the
    /// decoder once. Returns the loss.
    fn backward_in_chunks(
        &self,
        tree: &TreeBatch,
        temperature: f64,
        mut chunk_loss: impl FnMut(&Tensor, i64, i64) -> Tensor,
    ) -> f64 {
        if tree.trained_tokens() == 0 {
            return 0.0;
        }
        let decoder = self.decoder();
        let hidden = decoder.tree(tree);
        let boundary = hidden.detach().set_requires_grad(true);
        let mut total = Tensor::zeros([1], (Kind::Float, self.device));
        for (start, length) in self.chunks(tree) {
            let targets = tree.targets().narrow(0, start, length);
            let log_probs = decoder.log_probs(&boundary.narrow(0, start, length), &targets, temperature);
            let loss = chunk_loss(&log_probs, start, length);
            loss.backward();
            total += loss.detach();
        }
        (hidden * boundary.grad()).sum(Kind::Float).backward();
        total.double_value(&[0])
    }

    /// (start, length) of runs of tokens whose logits may exist together.
    fn chunks(&self, tree: &TreeBatch) -> Vec<(i64, i64)> {
        let elements = if self.device.is_cuda() {
            LOGITS_ELEMENTS_CUDA
        } else {
            LOGITS_ELEMENTS_CPU
        };
        let most = (elements / self.config.vocab_size).max(1);
        let tokens = tree.trained_tokens() as i64;
        let mut chunks = Vec::new();
        let mut start = 0;
        while start < tokens {
            let length = most.min(tokens - start);
            chunks.push((start, length));
            start += length;
        }
        chunks
    }
}

/// A packed micro-batch of the policy gradient.
struct PolicyBatch {
    tree: TreeBatch,
    terms: TokenTerms,
    /// [n], whether the version that trains generated the token.
    fresh: Tensor,
    staleness: f64,
}

/// What the job asks for, else what suits the device.
fn compute_kind(dtype: v1::Dtype, device: Device) -> Kind {
    match dtype {
        v1::Dtype::F32 => Kind::Float,
        v1::Dtype::Bf16 => Kind::BFloat16,
        v1::Dtype::Auto | v1::Dtype::Unspecified => anytime_policy::device::default_kind(device),
    }
}

/// Checks that the weights make a model, before a job relies on it.
///
/// # Errors
/// What the decoder says of them.
pub(crate) fn check_model(config: &Config, weights: &Weights) -> anyhow::Result<()> {
    Decoder::new(config, weights)
        .map(|_| ())
        .context("the weights do not fit config.json")
}
