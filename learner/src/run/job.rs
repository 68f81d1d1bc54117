//! One job from its first weights to its last checkpoint.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::ensure;
use anytime_policy::Weights;
use anytime_proto::{WeightsVersion, v1};
use anytime_service::metric_names as names;
use anytime_service::traces::{Span, SpanRef};
use metrics::{gauge, histogram};
use tch::Device;
use tracing::info;

use super::beginning::{Beginning, beginning, kept_adapters};
use super::computation::computation;
use super::fingerprint::{check_fingerprint, fingerprint};
use super::gone::check_recovery;
use super::keeping::Keeping;
use super::memory::{UpdatePlace, update_plan};
use super::plan::evaluation_plan;
use super::prepare::Prepared;
use super::reward_watch::{RewardWatch, said_of_accuracy};
use crate::checkpoint::{self, Assets, Export, Exported, FrozenBase, Published, RecoveryState};
use crate::evaluation::generations::{Asked, Reading};
use crate::evaluation::repeats;
use crate::evaluation::result::{evaluation_leases, evaluation_result};
use crate::evaluation::tally::Tally;
use crate::jobs::context::JobContext;
use crate::jobs::fault::{Fault, NeedsPerson, fault_of};
use crate::outputs::{FINAL_DIRECTORY, Owner};
use crate::ranks::{Meeting, Place, tell_beginning};
use crate::rollouts::group::EvaluatedGroup;
use crate::train::{RankGroup, StateSource, StepFigures, Trainer, check_model, divides_weights};

/// A job whose model is loaded, with what all kinds of jobs do with it.
pub(super) struct RunningJob<'a> {
    pub(super) context: &'a JobContext,
    pub(super) prepared: Prepared,
    pub(super) trainer: Trainer,
    pub(super) state: RecoveryState,
    pub(super) watch: RewardWatch,
    /// How updates are computed.
    pub(super) computation: v1::Computation,
    /// The files beside the weights, as they were when the job started.
    assets: Assets,
    /// What adapters are trained on; none where all weights are trained.
    base: Option<FrozenBase>,
    owner: Owner,
}

impl<'a> RunningJob<'a> {
    /// Loads the model, and the recovery checkpoint where there is one.
    pub(super) fn open(
        context: &'a JobContext,
        prepared: Prepared,
        device: Device,
        meeting: Option<&Meeting>,
    ) -> anyhow::Result<Self> {
        let settings = context.settings();
        let owner = context.owner();
        let assets = Assets::read(&prepared.model_directory)?;
        // Checked here so that an output that cannot be written is found before the first step.
        context.places().check_job(settings, Some(&owner))?;
        if settings.kind != v1::JobKind::Evaluate {
            assets.keep(context.directory())?;
        }
        let place = UpdatePlace {
            device,
            share: context.memory_share(),
            ranks: meeting.map_or(1, Meeting::world),
        };
        // Before gigabytes are read, and long before the first rollout.
        let plan = update_plan(settings, &prepared, place)?;
        let is_damage = |error: &anyhow::Error| fault_of(error) == Fault::Own;
        // Masters that the ranks divide go to the device in parts.
        let trains = settings.kind != v1::JobKind::Evaluate;
        let is_divided = meeting.is_some()
            && trains
            && divides_weights(settings.training.sharding)
            && settings.training.lora.is_none();
        let home = if is_divided { Device::Cpu } else { device };
        let recovered = checkpoint::load_newest(context.directory(), home, &is_damage)?;
        let current = fingerprint(&prepared, &assets);
        check_recovery(context, recovered.as_ref())?;
        let kept = recovered
            .as_ref()
            .and_then(|recovered| recovered.state.adapters.clone());
        let (weights, recovered) = match recovered {
            Some(recovered) => {
                for reason in &recovered.damaged {
                    let step = recovered.state.step;
                    context.notice(
                        "checkpoint",
                        &format!("{reason}; the job goes on from the one before, of step {step}"),
                    );
                }
                check_fingerprint(recovered.state.fingerprint.as_ref(), &current, settings)?;
                (Some(recovered.weights), Some((recovered.state, recovered.optimiser)))
            }
            None => (None, None),
        };
        let Beginning { parameters, base } = beginning(context, &prepared, home, weights)?;
        if let (Some(base), Some(kept)) = (&base, kept) {
            base.check(&kept.base_checksum)?;
        }
        check_model(&prepared.config, parameters.all())?;
        let count = |weights: &Weights| -> i64 { weights.values().map(|tensor| tensor.numel() as i64).sum() };
        let (all, trained) = (count(parameters.all()), count(parameters.trained()));
        let mut trainer = Trainer::new(
            settings,
            prepared.config.clone(),
            prepared.vocabulary(),
            parameters,
            device,
            plan,
        );
        if let (Some(meeting), true) = (meeting, trains) {
            trainer.join(meeting.gather(device, &|| Ok(context.check()?))?);
        }
        let mut state = RecoveryState::default();
        let mut kept_state = None;
        if let Some((saved, optimiser)) = recovered {
            if trainer.ranks().is_none() {
                trainer.optimiser_mut().restore(saved.updates, &optimiser)?;
            }
            kept_state = Some((saved.updates, optimiser));
            trainer.add_references(saved.references.clone());
            if let Some(objective) = saved.objective.clone() {
                trainer.restore_objective(objective)?;
            }
            state = saved;
        }
        if trainer.ranks().is_some() {
            let place = Place {
                spec: &context.job().spec.unwrap_or_default(),
                config: assets.config()?,
                vocabulary: prepared.vocabulary(),
                plan,
            };
            let kept_state = kept_state.as_ref();
            let kept_state = kept_state.map(|(updates, state)| (*updates, state as &dyn StateSource));
            tell_beginning(&mut trainer, kept_state, &place)?;
        }
        let ranks = trainer.ranks().map_or(1, RankGroup::world);
        state.fingerprint = Some(current);
        state.compute = trainer.compute_kind().into();
        state.adapters = base.as_ref().and_then(|base| kept_adapters(settings, &trainer, base));
        let watch = RewardWatch::restore(state.reward.as_ref());
        info!(
            job_id = %context.job_id(), parameters = all, trained, device = ?device, compute = ?trainer.compute_kind(),
            step = state.step, micro_batch_tokens = plan.micro_batch_tokens,
            activation_checkpointing = plan.activation_checkpointing, "model loaded"
        );
        context.report_going_on(state.step);
        Ok(Self {
            context,
            prepared,
            trainer,
            state,
            watch,
            computation: computation(device, plan, ranks),
            base,
            assets,
            owner,
        })
    }

    /// Publishes the current weights to the actors, traced below `span`.
    ///
    /// # Errors
    /// The ranks that hold them do not give them.
    pub(super) fn publish(&self, span: &SpanRef) -> anyhow::Result<()> {
        let mut publish = Span::begin("publish", span);
        let (job_id, step) = (self.context.job_id(), self.state.step);
        publish.text("job_id", job_id).number("version", step);
        let started = Instant::now();
        let version = WeightsVersion(self.state.step);
        let kind = self.trainer.compute_kind();
        let model = checkpoint::Model {
            shapes: &self.trainer.model_shapes(),
            weight: &|shape| self.trainer.weight(shape),
        };
        let published = Published::of(self.trainer.parameters(), &model, self.base.as_ref(), kind);
        let mut weights = checkpoint::publishable(version, published, &self.assets)?;
        weights.traceparent = publish.place().traceparent();
        weights.asking = checkpoint::asking(self.context.settings());
        self.context.publish(weights);
        histogram!(names::LEARNER_PUBLISH_SECONDS).record(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Measures the accuracy of the published weights and records it. Does nothing where there are no problems, or
    /// where a restarted job already has the result of this step.
    pub(super) fn evaluate(&self) -> anyhow::Result<()> {
        let settings = self.context.settings();
        let step = self.state.step;
        let problems = &self.prepared.evaluation_problems;
        let is_known = self.context.evaluations().iter().any(|known| known.step == step);
        if problems.is_empty() || is_known {
            return Ok(());
        }
        let started = Instant::now();
        let plan = evaluation_plan(settings, &self.prepared);
        let rows = &self.prepared.evaluation_rows;
        let (repeated, leases_of) = repeats::repeated(problems, rows.iter().map(|row| row.repeats));
        let leases = evaluation_leases(
            self.context.job_id().as_str(),
            step,
            &repeated,
            &plan,
            settings.evaluation.seed,
            (step, self.context.manifest_checksum()),
            settings.rollout.lease_seconds,
        );
        let asked = leases.len();
        let mut tally = Tally::new(leases_of, settings.evaluation.budgets.len());
        let reading = Reading {
            tokenizer: &self.prepared.tokenizer,
            extraction: plan.extraction(),
        };
        let mut keeping = Keeping::begin(self.context, reading, asked);
        self.context.evaluate(leases, |EvaluatedGroup { place, group }| {
            tally.add(place, &group);
            keeping.add(place, &group);
        })?;
        let left_out = asked - tally.groups();
        ensure!(
            tally.groups() > 0,
            "all {asked} groups failed too often; the learner's log has the reasons"
        );
        if left_out > 0 {
            let text = format!(
                "the evaluation after step {step} leaves out {left_out} of {asked} groups, which failed too often"
            );
            self.context.notice("evaluation_incomplete", &text);
        }
        let mut result = evaluation_result(&tally, &settings.evaluation.budgets);
        result.left_out_groups = left_out as u32;
        result.step = step;
        result.weights_version = step;
        result.seconds = started.elapsed().as_secs_f64();
        let asked = Asked {
            rows,
            budgets: &plan.budgets,
            summaries_per_budget: plan.summaries,
        };
        result.generations = keeping.finish(step, &tally, &asked)?;
        gauge!(names::LEARNER_EVALUATION_ANYTIME).set(result.anytime);
        gauge!(names::LEARNER_EVALUATION_OVERTHINKING).set(result.overthinking_share);
        for (budget, accuracy) in result.budgets.iter().zip(&result.accuracy) {
            gauge!(names::LEARNER_ACCURACY, "budget" => budget.to_string()).set(*accuracy);
        }
        info!(
            job_id = %self.context.job_id(), version = step, anytime = result.anytime, r#final = result.r#final,
            accuracy = ?result.accuracy, thinking_tokens = result.mean_thinking_tokens, seconds = result.seconds,
            "evaluated"
        );
        if settings.kind == v1::JobKind::Train {
            // Kept before the result is recorded, so that a restart in between repeats both.
            self.keep_if_best(&result)?;
            if let Some(says) = said_of_accuracy(&self.context.evaluations(), &result) {
                self.notice_collapse(&says);
            }
        }
        self.context.report_evaluation(result);
        Ok(())
    }

    /// Says that the run is worse than it was, and where its best weights are.
    pub(super) fn notice_collapse(&self, says: &str) {
        let best = checkpoint::best_exports(self.context.directory());
        let kept = match best.first() {
            Some((_, step, path)) => format!(
                "; the best weights by evaluation, of step {step}, are in {}",
                path.display()
            ),
            None => String::new(),
        };
        self.context.notice("collapse", &format!("{says}{kept}"));
    }

    /// Exports the weights that were evaluated where they are among the best so far. The starting weights are the
    /// model's own and are not exported again.
    fn keep_if_best(&self, result: &v1::EvaluationResult) -> anyhow::Result<()> {
        let checkpoint = &self.context.settings().checkpoint;
        if checkpoint.keep_best == 0 || result.step == 0 {
            return Ok(());
        }
        let score = score(result, checkpoint.best_by);
        let best = checkpoint::best_exports(self.context.directory());
        let others: Vec<_> = best.iter().filter(|(_, step, _)| *step != result.step).collect();
        let worst = others.get(checkpoint.keep_best as usize - 1);
        if worst.is_some_and(|(worst, _, _)| score <= *worst) {
            return Ok(());
        }
        let target = self.context.directory().join(format!("best-{:08}", result.step));
        self.write_export(&target, Some(score), Some(result))?;
        checkpoint::prune_best(self.context.directory(), checkpoint.keep_best);
        Ok(())
    }

    /// Writes the recovery checkpoint of the current step. Where the disk refuses for a reason that may pass, the job
    /// pauses until it takes it.
    pub(super) fn save_recovery(&mut self) -> anyhow::Result<()> {
        self.state.updates = self.trainer.optimiser().updates();
        self.state.objective = self.trainer.objective_state();
        self.state.references = self.trainer.references().clone();
        self.state.reward = self.watch.state();
        self.state.weights_checksum = self.context.manifest_checksum();
        self.context.check_right()?;
        let save = || {
            self.context.sync_events()?;
            checkpoint::save(self.context.directory(), &self.state, &self.trainer)
        };
        self.context.write_or_wait(save)?;
        self.context.report_recovery(self.state.step);
        Ok(())
    }

    /// Writes a Hugging Face checkpoint and makes it the job's newest.
    pub(super) fn export(&self, target: &Path) -> anyhow::Result<()> {
        self.write_export(target, None, None)?;
        info!(job_id = %self.context.job_id(), step = self.state.step, checkpoint = %target.display(), "exported");
        self.context.report_checkpoint(target);
        Ok(())
    }

    /// Writes a Hugging Face checkpoint with its card. `newest` is an evaluation that the job has not recorded yet.
    fn write_export(
        &self,
        target: &Path,
        score: Option<f64>,
        newest: Option<&v1::EvaluationResult>,
    ) -> anyhow::Result<()> {
        // What stands at the place that the user chose may have changed since the job started.
        self.context.confirm_right()?;
        let is_chosen = !target.starts_with(self.context.directory());
        let check = || -> anyhow::Result<()> {
            if is_chosen {
                self.context
                    .places()
                    .check_job(self.context.settings(), Some(&self.owner))?;
            }
            Ok(())
        };
        let mut job = self.context.job();
        job.evaluations.extend(newest.cloned());
        let card = self.assets.card(&job, self.state.step);
        let is_merged = self.state.adapters.as_ref().is_none_or(|adapters| adapters.is_merged);
        let whole = self.trainer.whole_model()?;
        let model = Export {
            config: &self.prepared.config,
            weights: Exported::of(
                self.trainer.parameters(),
                &whole,
                self.base.as_ref(),
                is_merged,
                self.state.compute.into(),
            ),
            assets: &self.assets,
            card: card.as_ref(),
            owner: &self.owner,
            step: self.state.step,
            score,
        };
        self.context.write_or_wait(|| {
            check()?;
            checkpoint::export(target, &model, &check)
        })?;
        Ok(())
    }

    /// Writes the final export, and removes what the job does not need any more.
    pub(super) fn conclude(&self) -> anyhow::Result<()> {
        let settings = self.context.settings();
        let place = self.context.write_or_wait(|| {
            let place = self.context.places().check_job(settings, Some(&self.owner))?;
            Ok(place.unwrap_or_else(|| self.context.directory().join(FINAL_DIRECTORY)))
        })?;
        self.export(&place)?;
        let (directory, kept) = (self.context.directory(), settings.checkpoint.keep_last);
        // The groups that are kept are trained again from the one before the last.
        let kept = kept.unwrap_or(if settings.training.keep_groups > 0 { 2 } else { 1 });
        checkpoint::prune_recovery(directory, kept.clamp(1, 2));
        if kept == 0 {
            // They are removed only after the success is recorded, because a job that has not succeeded needs one.
            let directory = directory.to_owned();
            self.context
                .once_succeeded(move || checkpoint::prune_recovery(&directory, 0));
        }
        Ok(())
    }

    /// Writes what is due after the step that has just been finished: an export, a recovery checkpoint. Returns whether
    /// a recovery checkpoint was written.
    pub(super) fn write_due(&mut self) -> anyhow::Result<bool> {
        let settings = self.context.settings();
        let (step, schedule) = (self.state.step, settings.checkpoint.clone());
        let is_last = step == settings.training.steps;
        if schedule.export_every > 0 && step.is_multiple_of(schedule.export_every) && !is_last {
            self.export(&self.export_directory())?;
            if let Some(newest) = schedule.keep_last {
                checkpoint::prune_exports(self.context.directory(), newest, schedule.keep_every);
            }
        }
        let is_due = schedule.recovery_every > 0 && step.is_multiple_of(schedule.recovery_every);
        if is_due || is_last {
            self.save_recovery()?;
        }
        Ok(is_due || is_last)
    }

    fn export_directory(&self) -> PathBuf {
        self.context.directory().join(format!("step-{:08}", self.state.step))
    }

    /// Counts the updates of a step that were left out because their gradient was not finite, and pauses the job after
    /// too many in a row.
    pub(super) fn count_skipped(&mut self, figures: &StepFigures) -> anyhow::Result<()> {
        let counted = figures.skipped_in_a_row(self.state.skipped_in_a_row);
        self.state.skipped_in_a_row = counted.at_end;
        let (skipped, updates) = (figures.skipped_updates, figures.updates);
        if skipped == 0 {
            return Ok(());
        }
        let (step, in_a_row) = (self.state.step, counted.most);
        self.context.notice(
            "skipped_update",
            &format!(
                "{skipped} of {updates} updates of step {step} were left out, because their gradient was not finite"
            ),
        );
        if in_a_row < self.context.settings().training.max_skipped_updates {
            return Ok(());
        }
        let happened = if in_a_row == counted.at_end {
            format!(
                "the last {in_a_row} updates were not finite, up to step {step}, and these updates were left out \
                     (training.max_skipped_updates); the weights are those before them"
            )
        } else {
            format!(
                "{in_a_row} updates in a row were not finite, up to step {step}, and these updates were left out \
                     (training.max_skipped_updates); a later one of the step was made"
            )
        };
        // Who resumes the job gives it another chance.
        self.state.skipped_in_a_row = 0;
        self.save_recovery()?;
        let id = self.context.job_id();
        Err(NeedsPerson(format!(
            "the gradients of {happened}; `anytime resume {id}` tries again, best with a smaller training.learning_rate or \
             training.gradient_clip (--set), or from other data"
        ))
        .into())
    }
}

/// The accuracy by which weights are compared.
fn score(result: &v1::EvaluationResult, by: v1::BestBy) -> f64 {
    match by {
        v1::BestBy::Final => result.r#final,
        v1::BestBy::Anytime | v1::BestBy::Unspecified => result.anytime,
    }
}
