//! One job from its first weights to its last checkpoint.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use anytime_policy::Weights;
use anytime_proto::{WeightsVersion, v1};
use anytime_service::metric_names as names;
use metrics::{gauge, histogram};
use tch::{Device, Kind};
use tracing::{info, warn};

use super::plan::evaluation_plan;
use super::prepare::Prepared;
use crate::checkpoint::{self, RecoveryState};
use crate::evaluation::generations::{self, Reading};
use crate::evaluation::result::{evaluation_leases, evaluation_result};
use crate::jobs::context::JobContext;
use crate::train::{Trainer, check_model};

/// A job whose model is loaded, with what all kinds of jobs do with it.
pub(super) struct RunningJob<'a> {
    pub(super) context: &'a JobContext,
    pub(super) prepared: Prepared,
    pub(super) trainer: Trainer,
    pub(super) state: RecoveryState,
}

impl<'a> RunningJob<'a> {
    /// Loads the model, and the recovery checkpoint where there is one.
    pub(super) fn open(context: &'a JobContext, prepared: Prepared, device: Device) -> anyhow::Result<Self> {
        let settings = context.settings();
        let recovered = checkpoint::load_newest(context.directory(), device)?;
        let (weights, recovered) = match recovered {
            Some(recovered) => (recovered.weights, Some((recovered.state, recovered.optimiser))),
            None => (first_weights(context, &prepared, device)?, None),
        };
        check_model(&prepared.config, &weights)?;
        let parameters: i64 = weights.values().map(|tensor| tensor.numel() as i64).sum();
        let mut trainer = Trainer::new(
            settings,
            prepared.config.clone(),
            prepared.tokenizer.vocabulary_size(),
            weights,
            device,
        );
        let mut state = RecoveryState::default();
        if let Some((saved, optimiser)) = recovered {
            trainer.optimiser_mut().restore(saved.updates, optimiser)?;
            trainer.add_references(saved.references.clone());
            if let Some(objective) = saved.objective.clone() {
                trainer.restore_objective(objective)?;
            }
            state = saved;
        }
        info!(
            job_id = %context.job_id(), parameters, device = ?device, compute = ?trainer.compute_kind(),
            step = state.step, "model loaded"
        );
        Ok(Self {
            context,
            prepared,
            trainer,
            state,
        })
    }

    /// Publishes the current weights to the actors.
    pub(super) fn publish(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let version = WeightsVersion(self.state.step);
        let kind = self.trainer.compute_kind();
        let weights = checkpoint::publishable(version, self.trainer.masters(), kind, &self.prepared.model_directory)?;
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
        let leases = evaluation_leases(
            self.context.job_id().as_str(),
            step,
            problems,
            &plan,
            settings.evaluation.seed,
            (step, self.context.manifest_checksum()),
            settings.rollout.lease_seconds,
        );
        let groups = self.context.evaluate(leases)?;
        let mut result = evaluation_result(&groups, &settings.evaluation.budgets);
        result.step = step;
        result.weights_version = step;
        result.seconds = started.elapsed().as_secs_f64();
        result.generations = self.keep_generations(&groups, plan.extraction())?;
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
        self.context.report_evaluation(result);
        Ok(())
    }

    /// Writes the generations of an evaluation to a file for people, and returns its path. A failure to write is logged
    /// and no more, since the evaluation is worth more than its generations.
    fn keep_generations(&self, groups: &[v1::ScoredGroup], extraction: v1::Extraction) -> anyhow::Result<String> {
        if !self.context.settings().evaluation.keep_generations {
            return Ok(String::new());
        }
        let reading = Reading {
            tokenizer: &self.prepared.tokenizer,
            extraction,
        };
        let written = generations::write(
            self.context.directory(),
            self.state.step,
            &reading,
            groups,
            &self.prepared.evaluation_rows,
            &|| Ok(self.context.check()?),
        );
        // A job that is to stop has not failed to write.
        self.context.check()?;
        match written {
            Ok(path) => Ok(path.display().to_string()),
            Err(error) => {
                warn!(job_id = %self.context.job_id(), error = format!("{error:#}"), "generations were not kept");
                Ok(String::new())
            }
        }
    }

    /// Writes the recovery checkpoint of the current step.
    pub(super) fn save_recovery(&mut self) -> anyhow::Result<()> {
        self.state.updates = self.trainer.optimiser().updates();
        self.state.objective = self.trainer.objective_state();
        self.state.references = self.trainer.references().clone();
        checkpoint::save(self.context.directory(), &self.state, &self.trainer)
    }

    /// Writes a Hugging Face checkpoint and makes it the job's newest.
    pub(super) fn export(&self, target: PathBuf) -> anyhow::Result<()> {
        // f32 models stay f32 on disk; what computes in bf16 is published and exported in bf16.
        let kind = if self.trainer.compute_kind() == Kind::BFloat16 {
            Kind::BFloat16
        } else {
            Kind::Float
        };
        checkpoint::export(
            &target,
            &self.prepared.config,
            self.trainer.masters(),
            kind,
            &self.prepared.model_directory,
        )?;
        info!(job_id = %self.context.job_id(), step = self.state.step, checkpoint = %target.display(), "exported");
        self.context.report_checkpoint(&target);
        Ok(())
    }

    /// The directory of the final export.
    pub(super) fn final_directory(&self) -> PathBuf {
        match &self.context.settings().checkpoint.output {
            Some(output) => self.context.root().join(output),
            None => self.context.directory().join("final"),
        }
    }

    /// Writes what is due after the step that has just been finished: an export, a recovery checkpoint. Returns whether
    /// a recovery checkpoint was written.
    pub(super) fn write_due(&mut self) -> anyhow::Result<bool> {
        let settings = self.context.settings();
        let (step, schedule) = (self.state.step, settings.checkpoint.clone());
        let is_last = step == settings.training.steps;
        if schedule.export_every > 0 && step.is_multiple_of(schedule.export_every) && !is_last {
            self.export(self.context.directory().join(format!("step-{step:08}")))?;
        }
        let is_due = schedule.recovery_every > 0 && step.is_multiple_of(schedule.recovery_every);
        if is_due || is_last {
            self.save_recovery()?;
        }
        Ok(is_due || is_last)
    }
}

fn first_weights(context: &JobContext, prepared: &Prepared, device: Device) -> anyhow::Result<Weights> {
    let model = &context.settings().model;
    if model.initialise {
        return Ok(anytime_policy::initialise_weights(&prepared.config, model.seed, device));
    }
    anytime_policy::read_weights(&prepared.model_directory, &prepared.config, Kind::Float, device)
        .with_context(|| format!("model {}", prepared.model_directory.display()))
}
