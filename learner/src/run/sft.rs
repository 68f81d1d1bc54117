//! An sft job: supervised training on prompt and completion, the warm start of a train job.

use std::time::Instant;

use anytime_proto::v1;
use anytime_service::metric_names as names;
use metrics::{counter, gauge, histogram};
use tracing::info;

use super::figures::show_update;
use super::job::RunningJob;
use super::order::TrainingOrder;
use crate::jobs::interrupt::Interrupted;
use crate::train::supervised_row;

/// An sft job reports one step in this many, since its steps are short.
const REPORT_EVERY: u64 = 10;

/// Trains from the state's step to the last one, then exports.
pub(super) fn fine_tune(job: &mut RunningJob<'_>) -> anyhow::Result<()> {
    let settings = job.context.settings().clone();
    let batch = u64::from(settings.training.batch);
    let mut order = TrainingOrder::new(job.prepared.completions.len(), settings.data.shuffle_seed);
    while job.state.step < settings.training.steps {
        if let Err(interrupted) = job.context.check() {
            if interrupted == Interrupted::Shutdown {
                job.save_recovery()?;
            }
            return Err(interrupted.into());
        }
        let started = Instant::now();
        let first = job.state.step * batch;
        let rows = (first..first + batch).map(|sequence| {
            let (prompt, completion) = &job.prepared.completions[order.row(sequence)];
            supervised_row(prompt, completion)
        });
        let figures = job
            .trainer
            .supervised_step(rows.collect(), &|| Ok(job.context.check()?))?;
        job.state.step += 1;

        let seconds = started.elapsed().as_secs_f64();
        let step = job.state.step;
        counter!(names::LEARNER_TOKENS).increment(figures.trained_tokens);
        histogram!(names::LEARNER_STEP_SECONDS).record(seconds);
        gauge!(names::LEARNER_STEP).set(step as f64);
        gauge!(names::LEARNER_LOSS).set(figures.loss);
        show_update(job.context.job_id(), step, &figures);
        let is_due = step.is_multiple_of(REPORT_EVERY) || step == settings.training.steps;
        if is_due || figures.skipped_updates > 0 {
            info!(job_id = %job.context.job_id(), step, loss = figures.loss, seconds, "step");
            job.context.report_step(v1::StepMetrics {
                step,
                loss: figures.loss,
                learning_rate: figures.learning_rate,
                gradient_norm: figures.gradient_norm,
                trained_tokens: figures.trained_tokens,
                step_seconds: seconds,
                skipped_updates: figures.skipped_updates,
                clipped_gradient_share: figures.clipped_gradient_share,
                largest_token_share: figures.largest_token_share,
                update_size: figures.update_size,
                ..v1::StepMetrics::default()
            });
        }
        job.count_skipped(&figures)?;
        job.write_due()?;
        job.context.wait_until_recorded()?;
    }
    job.conclude()
}
