//! Master weights, the optimiser, and the two updates: policy gradient and supervised.

use std::cell::Cell;
use std::collections::BTreeMap;

use anytime_objectives::{InvalidState, Objective, StepContext, objective};
use anytime_policy::{Decoder, ModelConfig, TreeBatch, TreeRow, Weights};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use tch::{Device, Kind, Tensor};

use super::figures::StepFigures;
use super::gradient::PassFigures;
use super::loss::{PolicyLoss, TokenTerms};
use super::memory::UpdatePlan;
use super::micro_batch::micro_batches;
use super::model::compute_kind;
use super::optimiser::{AdamW, Update};
use super::parameters::Parameters;
use super::policy_batch::{PolicyBatch, Trust, fresh_tokens, mean_by_row};
use super::rank_group::{RankGroup, RanksError};
use super::rows::{RowTokens, TrainingRow, training_rows};
use super::schedule::LearningRate;
use super::token_sums::TokenSums;
use super::work::{Minibatch, RankWork, SupervisedPart, of_all_ranks};

/// The model under training: master weights, optimiser and objective, and the two kinds of steps. It lives on the
/// thread of its job.
pub struct Trainer {
    pub(super) config: ModelConfig,
    /// Ids from here on are never sampled.
    pub(super) vocabulary: u32,
    pub(super) parameters: Parameters,
    pub(super) compute_kind: Kind,
    pub(super) device: Device,
    pub(super) optimiser: AdamW,
    learning_rate: LearningRate,
    objective: Box<dyn Objective>,
    /// Accuracies of the starting weights by problem id.
    references: BTreeMap<String, f64>,
    /// Whether the ratio is that of a whole response (its geometric mean).
    sequence_ratio: bool,
    policy_loss: PolicyLoss,
    pub(super) temperature: f64,
    /// Whether actors sample from the full distribution: then their log-probabilities are those of the policy itself.
    sampling_is_whole: bool,
    minibatches: usize,
    normaliser: f64,
    pub(super) plan: UpdatePlan,
    /// Passes since the last update, which tell the draws of dropout apart.
    pub(super) passes: Cell<u64>,
    /// What they divide among them.
    pub(super) sharding: v1::Sharding,
    /// The other processes that compute the updates, where there are any.
    pub(super) ranks: Option<RankGroup>,
}

impl Trainer {
    /// `parameters`: what is trained, on `device`; f32 tensors by the checkpoint's keys where that is the whole model.
    /// `vocabulary`: how many ids the tokenizer has.
    /// `plan`: how updates go through their tokens, as [`UpdateShape::plan`](super::UpdateShape::plan) finds it.
    pub fn new(
        settings: &JobSettings,
        config: ModelConfig,
        vocabulary: u32,
        parameters: impl Into<Parameters>,
        device: Device,
        plan: UpdatePlan,
    ) -> Self {
        let parameters = parameters.into();
        let training = &settings.training;
        let sampling = settings.rollout.sampling();
        let objective = objective(&settings.objective);
        Self {
            compute_kind: compute_kind(settings.model.dtype, device),
            optimiser: match parameters.divided() {
                Some(divided) => AdamW::of_divided(training.into(), divided, device),
                None => AdamW::new(training.into(), parameters.trained()),
            },
            learning_rate: LearningRate::new(training),
            sequence_ratio: objective.needs(settings.rollout.traces).sequence_ratio,
            objective,
            references: BTreeMap::new(),
            policy_loss: PolicyLoss {
                clip: training.clip,
                clip_high: training.clip_high,
                importance_cap: training.importance_cap,
            },
            temperature: f64::from(sampling.temperature),
            sampling_is_whole: sampling.top_p >= 1.0 && sampling.top_k == 0,
            minibatches: training.minibatches as usize,
            normaliser: training.normaliser,
            plan,
            passes: Cell::new(0),
            sharding: training.sharding,
            ranks: None,
            config,
            vocabulary,
            parameters,
            device,
        }
    }

    /// What the optimiser updates: the f32 master weights, or the adapters alone.
    pub fn masters(&self) -> &Weights {
        self.parameters.trained()
    }

    /// What is trained, and what it is trained beside.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The type in which forward passes compute and weights are published.
    pub fn compute_kind(&self) -> Kind {
        self.compute_kind
    }

    /// The optimiser, of which the ranks may have a part each.
    pub fn optimiser(&self) -> &AdamW {
        &self.optimiser
    }

    /// The optimiser, for taking over a recovery checkpoint.
    pub fn optimiser_mut(&mut self) -> &mut AdamW {
        &mut self.optimiser
    }

    /// The objective, which turns groups into advantages.
    pub fn objective(&self) -> &dyn Objective {
        &*self.objective
    }

    /// Accuracies of the starting weights by problem id, as far as they have been measured.
    pub fn references(&self) -> &BTreeMap<String, f64> {
        &self.references
    }

    /// Adds accuracies of the starting weights by problem id, which every step shows to the objective.
    pub fn add_references(&mut self, accuracies: BTreeMap<String, f64>) {
        self.references.extend(accuracies);
    }

    /// The state that the objective must find again after a restart.
    pub fn objective_state(&self) -> Option<serde_json::Value> {
        self.objective.state()
    }

    /// Takes over what [`Trainer::objective_state`] gave.
    ///
    /// # Errors
    /// If it is the state of another objective.
    pub fn restore_objective(&mut self, state: serde_json::Value) -> Result<(), InvalidState> {
        self.objective.restore(state)
    }

    /// One step of policy gradient over scored groups: `minibatches` optimiser updates. `version` is the number of the
    /// weights before the step. `check` is called between micro-batches, and an error of it ends the step; the model is
    /// then half trained and must not be saved.
    ///
    /// An update whose gradient is not finite is skipped, which the figures tell; a minibatch in which no token has an
    /// advantage leaves weights and moments as they are.
    ///
    /// # Errors
    /// The error of `check`.
    pub fn policy_step(
        &mut self,
        groups: &[&v1::ScoredGroup],
        version: u64,
        check: &dyn Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<StepFigures> {
        self.objective.begin_step(&StepContext {
            groups,
            references: &self.references,
        });
        let mut minibatches = Vec::with_capacity(self.minibatches);
        let mut groups_without_gradient = 0;
        for minibatch in groups.chunks(groups.len().div_ceil(self.minibatches).max(1)) {
            let traces: usize = minibatch.iter().map(|group| group.traces.len()).sum();
            let mut rows = Vec::with_capacity(traces);
            for group in minibatch {
                let of_group = training_rows(group, &self.objective.targets(group));
                groups_without_gradient += u64::from(of_group.is_empty());
                rows.extend(of_group);
            }
            minibatches.push(Minibatch { traces, rows });
        }
        let work = RankWork::Policy { version, minibatches };
        let mut figures = self.compute(self.dealt(work)?, check)?;
        figures.groups_without_gradient = groups_without_gradient;
        Ok(figures)
    }

    pub(super) fn compute(
        &mut self,
        work: RankWork,
        check: &dyn Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<StepFigures> {
        match work {
            RankWork::Policy { version, minibatches } => self.policy_updates(minibatches, version, check),
            RankWork::Supervised { parts } => self.supervised_updates(parts, check),
        }
    }

    fn policy_updates(
        &mut self,
        minibatches: Vec<Minibatch>,
        version: u64,
        check: &dyn Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<StepFigures> {
        let mut figures = StepFigures::default();
        let mut prepared = Vec::with_capacity(minibatches.len());
        let mut trust = Trust::at_start(self.compute_kind);
        for Minibatch { traces, rows } in minibatches {
            // The proximal policy is the one at the start of the step, so it is computed before the first update.
            let mut batches = Vec::new();
            for rows in self.in_step(micro_batches(rows, self.plan.micro_batch_tokens))? {
                check()?;
                batches.push(match rows {
                    Some(rows) => Some(self.policy_batch(rows, version, &mut trust)?),
                    None => {
                        self.log_probs_in_step(None)?;
                        None
                    }
                });
            }
            prepared.push((traces, batches));
        }

        for (index, (traces, batches)) in prepared.into_iter().enumerate() {
            let scale = 1.0 / (traces as f64 * self.normaliser);
            let mut pass = PassFigures::default();
            for batch in batches {
                check()?;
                // Measured only before the first update, and where actor and trainer mean the same distribution.
                let measure_gap = index == 0 && self.sampling_is_whole;
                pass.add(match batch {
                    Some(batch) => self.accumulate_policy_gradient(&batch, scale, measure_gap, &mut figures)?,
                    None => self.pass_without_rows()?,
                });
            }
            self.update(pass, &mut figures)?;
        }
        self.finish(figures, self.minibatches)
    }

    /// One step of supervised training: the rows are split into `minibatches` parts of one size, and each part makes
    /// one optimiser update with the mean negative log-likelihood of its completion tokens. `check` is called between
    /// micro-batches, and an error of it ends the step; the model is then half trained and must not be saved. Updates are
    /// skipped as in [`policy_step`](Self::policy_step).
    ///
    /// # Errors
    /// The error of `check`.
    pub fn supervised_step(
        &mut self,
        rows: Vec<TrainingRow>,
        check: &dyn Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<StepFigures> {
        let parts = SupervisedPart::split(rows, self.minibatches);
        let work = self.dealt(RankWork::Supervised { parts })?;
        self.compute(work, check)
    }

    fn supervised_updates(
        &mut self,
        parts: Vec<SupervisedPart>,
        check: &dyn Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<StepFigures> {
        let mut figures = StepFigures::default();
        let updates = parts.len();
        for part in parts {
            let (tokens, all_tokens) = (part.tokens.max(1) as f64, part.all_tokens.max(1) as f64);
            let scale = 1.0 / tokens;
            let mut pass = PassFigures::default();
            for batch in self.in_step(micro_batches(part.rows, self.plan.micro_batch_tokens))? {
                check()?;
                let Some(batch) = batch else {
                    pass.add(self.pass_without_rows()?);
                    continue;
                };
                let trees: Vec<TreeRow> = batch.into_iter().map(|row| row.tree).collect();
                let tree = TreeBatch::pack(&trees, self.device);
                let found =
                    self.backward_in_chunks(&tree, 1.0, |log_probs, _, _| -log_probs.sum(Kind::Float) * scale)?;
                pass.add(found);
                // The figure is a mean over the tokens of the step, whichever update trained them.
                figures.loss += found.loss * (tokens / all_tokens);
                figures.trained_tokens += tree.trained_tokens() as u64;
            }
            self.update(pass, &mut figures)?;
        }
        self.finish(figures, updates)
    }

    /// Updates the weights with the gradients that the passes of a minibatch have added up. `pass` has their figures.
    fn update(&mut self, mut pass: PassFigures, figures: &mut StepFigures) -> anyhow::Result<()> {
        if let Some(ranks) = &self.ranks {
            pass = of_all_ranks(&pass, ranks)?;
            // Those of divided weights have been summed where they came to be.
            if pass.tokens > 0 && self.parameters.divided().is_none() {
                ranks.sum_gradients(self.parameters.trained())?;
            }
        }
        self.passes.set(0);
        figures.learning_rate = self.learning_rate.at(self.optimiser.updates());
        figures.update_size = 0.0;
        if pass.tokens == 0 {
            if let Some(divided) = self.parameters.divided() {
                divided.clear();
            }
            self.optimiser.pass();
            return Ok(());
        }
        figures.updates += 1;
        let ranks = self.ranks.as_ref();
        let sum = |numbers: &mut [f64]| ranks.map_or(Ok(()), |ranks| ranks.sum(numbers));
        let parameters = self.parameters.trained();
        match self.optimiser.update_with(parameters, figures.learning_rate, &sum)? {
            Update::Made(made) => {
                figures.update_size = self.put_together()?;
                self.parameters.refresh();
                figures.gradient_norm += made.gradient_norm;
                figures.clipped_gradient_share += made.clipped_share;
                figures.largest_token_share = figures.largest_token_share.max(pass.largest_token_share());
                figures.was_skipped.push(false);
            }
            Update::Skipped { reason } => {
                figures.skipped_updates += 1;
                figures.was_skipped.push(true);
                figures.skip_reason = Some(reason);
            }
        }
        Ok(())
    }

    pub(super) fn decoder(&self, dropout_seed: Option<u64>) -> Decoder {
        self.parameters
            .decoder(&self.config, self.compute_kind, dropout_seed)
            .expect("the weights were checked when the job started and keep their names and shapes")
            .limit_vocabulary(self.vocabulary)
    }

    /// Packs rows, and computes the proximal log-probabilities of a batch where those of the actors do not do: where it
    /// holds tokens of older versions, or actors are not trusted.
    pub(super) fn policy_batch(
        &self,
        rows: Vec<TrainingRow>,
        version: u64,
        trust: &mut Trust,
    ) -> Result<PolicyBatch, RanksError> {
        let (trees, tokens): (Vec<TreeRow>, Vec<RowTokens>) =
            rows.into_iter().map(|row| (row.tree, row.tokens)).unzip();
        let tree = TreeBatch::pack(&trees, self.device);
        let versions: Vec<u64> = tokens.iter().flat_map(|row| row.versions.iter().copied()).collect();
        let column = |values: fn(&RowTokens) -> &Vec<f32>| {
            let all: Vec<f32> = tokens.iter().flat_map(|row| values(row).iter().copied()).collect();
            Tensor::from_slice(&all).to_device(self.device)
        };
        let behaviour = column(|row| &row.behaviour);
        let fresh: Vec<bool> = tokens
            .iter()
            .flat_map(|row| fresh_tokens(&row.versions, version))
            .collect();
        let sequence_ratio = self.sequence_ratio;
        let all_fresh = fresh.iter().all(|is_fresh| *is_fresh);
        let fresh = Tensor::from_slice(&fresh).to_device(self.device);
        let free: Vec<bool> = tokens.iter().flat_map(RowTokens::are_free).collect();
        let comparable = fresh.logical_and(&Tensor::from_slice(&free).to_device(self.device));
        let do_behaviours = all_fresh && self.sampling_is_whole && *trust == Trust::Full;
        let is_computed = sequence_ratio || !do_behaviours;
        let recomputed = self.log_probs_in_step(is_computed.then_some(&tree))?;
        let proximal = if let Some(recomputed) = recomputed.as_ref().filter(|_| sequence_ratio) {
            recomputed - mean_by_row(&(recomputed - &behaviour), &tokens)
        } else if let Some(recomputed) = recomputed {
            trust.judge(|| {
                let gap = (&recomputed - &behaviour).abs() * comparable.to_kind(Kind::Float);
                let can_compare = self.sampling_is_whole && comparable.any().int64_value(&[]) == 1;
                can_compare.then(|| gap.max().double_value(&[]))
            });
            // Under truncated sampling actors draw from another distribution than the policy, also with fresh weights.
            if self.sampling_is_whole && *trust == Trust::Full {
                behaviour.where_self(&fresh, &recomputed)
            } else {
                recomputed
            }
        } else {
            behaviour.shallow_clone()
        };
        let terms = TokenTerms {
            // The ratio of a whole response already holds π_prox/π_behaviour, so that no token gets that weight again.
            behaviour: if sequence_ratio { &proximal } else { &behaviour }.shallow_clone(),
            proximal,
            advantages: column(|row| &row.advantages),
            weights: column(|row| &row.weights),
        };
        let staleness = versions
            .iter()
            .map(|generated| version.saturating_sub(*generated) as f64)
            .sum();
        Ok(PolicyBatch {
            tree,
            terms,
            behaviour,
            comparable,
            staleness,
        })
    }

    fn accumulate_policy_gradient(
        &self,
        batch: &PolicyBatch,
        scale: f64,
        measure_gap: bool,
        figures: &mut StepFigures,
    ) -> Result<PassFigures, RanksError> {
        let mut sums = TokenSums::new(self.device);
        let pass = self.backward_in_chunks(&batch.tree, self.temperature, |log_probs, start, length| {
            let terms = batch.terms.narrow(start, length);
            let (loss, found) = self.policy_loss.sum(log_probs, &terms);
            sums.add(&found);
            if measure_gap {
                let of_chunk = |tensor: &Tensor| tensor.narrow(0, start, length);
                sums.compare(log_probs, &of_chunk(&batch.behaviour), &of_chunk(&batch.comparable));
            }
            loss * scale
        })?;
        figures.loss += pass.loss / self.minibatches as f64;
        sums.read(figures);
        figures.trained_tokens += batch.tree.trained_tokens() as u64;
        figures.staleness += batch.staleness;
        Ok(pass)
    }
}
