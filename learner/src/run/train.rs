//! A train job: it takes groups from the queue, makes one step of policy gradient, publishes the new weights, and
//! repeats.

use std::time::{Duration, Instant, SystemTime};

use anytime_proto::v1::{self, StepPart};
use anytime_service::metric_names as names;
use anytime_service::seconds::Seconds;
use anytime_service::traces::{self, Span, SpanRef};
use metrics::{counter, gauge, histogram};
use tch::Kind;
use tracing::{info, warn};

use super::account::account;
use super::figures::{GroupFigures, show_study_figures, show_tokens, show_update};
use super::job::RunningJob;
use super::keeping::keep_groups;
use super::order::TrainingOrder;
use super::parts::StepParts;
use super::plan::training_plan;
use super::reference::measure_references;
use crate::invariants::{acknowledged, debug_assert_held, step_once};
use crate::jobs::context::{ContextError, JobContext, interruption};
use crate::jobs::fault::{Fault, fault_of};
use crate::jobs::interrupt::Interrupted;
use crate::lock::lock;
use crate::rollouts::group::{ProblemSource, QueuedGroup, TrainingOpening};
use crate::train::StepFigures;

/// Mean |behaviour − recomputed log-probability| on fresh tokens above which one of the two f32 forwards is wrong.
const LARGEST_GAP: f64 = 1e-4;

/// Trains from the state's step to the last one.
pub(super) fn train(job: &mut RunningJob<'_>) -> anyhow::Result<()> {
    let outcome = train_to_the_end(job);
    // Otherwise the last value of an earlier job would be taken for one of this job.
    gauge!(names::LEARNER_REWARD_OF_BEST).set(f64::NAN);
    job.context.close_training();
    outcome
}

fn train_to_the_end(job: &mut RunningJob<'_>) -> anyhow::Result<()> {
    let settings = job.context.settings().clone();
    job.context.take_right()?;
    job.publish(&SpanRef::default())?;
    if settings.evaluation.before && job.state.step == 0 {
        evaluate(job)?;
    }
    measure_references(job)?;
    job.context.open_training(TrainingOpening {
        problems: Box::new(ShuffledProblems {
            problems: job.prepared.problems.clone(),
            order: std::sync::Mutex::new(TrainingOrder::new(
                job.prepared.problems.len(),
                settings.data.shuffle_seed,
            )),
        }),
        plan: v1::RolloutPlan {
            no_thinking_traces: job
                .trainer
                .objective()
                .needs(settings.rollout.traces)
                .no_thinking_traces,
            ..training_plan(&settings, &job.prepared)
        },
        batch: settings.training.batch,
        max_staleness: settings.training.max_staleness,
        queue_groups: settings.training.queue_groups,
        lease_seconds: settings.rollout.lease_seconds,
        seed: settings.rollout.seed,
        ended: job.state.ended.clone(),
        total_groups: settings.training.steps * u64::from(settings.training.batch),
    })?;

    let mut waiting = Seconds::new(counter!(names::LEARNER_WAIT));
    let mut training = Seconds::new(counter!(names::LEARNER_TRAIN));
    // Sequences that were trained since the last recovery checkpoint. They are acknowledged once a checkpoint holds
    // them.
    let mut unacknowledged: Vec<u64> = Vec::new();
    let mut parts = StepParts::default();
    while job.state.step < settings.training.steps {
        // Evaluates before a step and not after the last one, so that an evaluation that a restart interrupted is
        // repeated.
        let every = settings.evaluation.every;
        if every > 0 && job.state.step > 0 && job.state.step.is_multiple_of(every) {
            parts.begin(StepPart::Evaluates);
            evaluate(job)?;
        }
        parts.begin(StepPart::AwaitsGroups);
        let started = Instant::now();
        let groups = match job
            .context
            .take_groups_counting(settings.training.batch as usize, &mut waiting)
        {
            Ok(groups) => groups,
            Err(ContextError::Interrupted(Interrupted::Shutdown)) => {
                // Between two steps a checkpoint loses no work.
                job.save_recovery()?;
                let ended_below = job.state.ended.consumed_below;
                job.context.acknowledge(&unacknowledged, ended_below).ok();
                return Err(Interrupted::Shutdown.into());
            }
            Err(error) => return Err(error.into()),
        };
        let waited = started.elapsed();
        parts.begin(StepPart::Computes);
        let version = job.state.step;
        let scored: Vec<&v1::ScoredGroup> = groups.iter().map(|queued| &queued.group).collect();
        let began = SystemTime::now();
        let span = train_span(job, &groups);
        let figures = (job.trainer).policy_step(&scored, version, &|| Ok(cancelled(job.context)?))?;
        let trained = Instant::now();
        let train = span.place();
        drop(span);
        point_to_step(&groups, &train, began);
        parts.begin(StepPart::Writes);
        // Before the step counts, so that the groups of every step that does are there.
        keep_groups(job.context, &job.computation, version + 1, &groups)?;
        job.state.step += 1;
        let (left_out, replayed) = job.context.take_left_out();
        job.state.ended.replay(replayed.iter().copied());
        debug_assert_held(|| {
            let sequences = groups.iter().map(|queued| queued.sequence);
            step_once(sequences, &job.state.ended, &replayed)
        });
        job.state.ended.finish(
            groups.iter().map(|queued| queued.sequence),
            left_out.iter().map(|group| group.sequence),
        );
        unacknowledged.extend(groups.iter().map(|queued| queued.sequence));
        parts.begin(StepPart::Publishes);
        job.publish(&train)?;
        parts.begin(StepPart::Writes);
        // Reported before the checkpoint and before any wait for Redis, so that every step in a checkpoint has its
        // event.
        let account = account(job.context, &groups, left_out, replayed);
        let timeline = parts.take(&groups, trained);
        let event = EventParts { account, timeline };
        report(job, &groups, &figures, event, waited, started.elapsed());
        job.count_skipped(&figures)?;
        if job.write_due()? {
            debug_assert_held(|| acknowledged(&unacknowledged, &job.state.ended));
            job.context
                .acknowledge(&unacknowledged, job.state.ended.consumed_below)?;
            unacknowledged.clear();
        }
        job.context.wait_until_recorded()?;
        training.add(started.elapsed() - waited);
    }
    if settings.evaluation.after {
        evaluate(job)?;
    }
    job.conclude()
}

/// Evaluates between two steps. At a shutdown the step before is saved first. An evaluation that fails for a reason of
/// its own costs its result and not the training.
fn evaluate(job: &mut RunningJob<'_>) -> anyhow::Result<()> {
    let Err(failure) = job.evaluate() else {
        return Ok(());
    };
    match interruption(&failure) {
        Some(Interrupted::Shutdown) => {
            job.save_recovery()?;
            Err(failure)
        }
        None if fault_of(&failure) == Fault::Own => {
            let step = job.state.step;
            let text = format!("the evaluation after step {step} failed, and training goes on without it: {failure:#}");
            job.context.notice("evaluation_failed", &text);
            Ok(())
        }
        _ => Err(failure),
    }
}

/// Stops a step that is being computed only if the job is cancelled. At a shutdown the step is worth finishing, and if
/// that takes too long, the last recovery checkpoint is still there.
fn cancelled(context: &JobContext) -> Result<(), Interrupted> {
    match context.check() {
        Err(Interrupted::Cancelled) => Err(Interrupted::Cancelled),
        _ => Ok(()),
    }
}

/// Problems in the order of training.
struct ShuffledProblems {
    problems: Vec<v1::Problem>,
    /// Behind a lock, because it keeps the permutations of the latest epochs.
    order: std::sync::Mutex<TrainingOrder>,
}

impl ProblemSource for ShuffledProblems {
    fn problem(&self, sequence: u64) -> v1::Problem {
        let mut order = lock(&self.order);
        self.problems[order.row(sequence)].clone()
    }
}

/// The span of a step's update. It is in the trace of the first group, and points to those of all.
fn train_span(job: &RunningJob<'_>, groups: &[QueuedGroup]) -> Span {
    let first = groups.first().map(|queued| &queued.journey.span);
    let mut span = Span::begin("train", first.unwrap_or(&SpanRef::default()));
    span.text("job_id", job.context.job_id())
        .number("step", job.state.step + 1)
        .number("version", job.state.step)
        .number("groups", groups.len() as u64);
    for queued in groups {
        span.link(&queued.journey.span);
    }
    span
}

/// Has the traces of the other groups of a step end with its update too, and point to the trace that goes on with it.
fn point_to_step(groups: &[QueuedGroup], train: &SpanRef, began: SystemTime) {
    for queued in groups.iter().skip(1).filter(|_| traces::is_on()) {
        let mut span = Span::begin_at("train", &queued.journey.span, began);
        span.text("job_id", &queued.group.job_id)
            .text("group_id", &queued.group.group_id)
            .number("sequence", queued.sequence)
            .link(train);
    }
}

/// What only the event of a step holds.
struct EventParts {
    account: v1::StepAccount,
    timeline: v1::StepTimeline,
}

/// Reports the step as an event, as metrics and as a log line.
fn report(
    job: &mut RunningJob<'_>,
    groups: &[QueuedGroup],
    figures: &StepFigures,
    event: EventParts,
    waited: Duration,
    elapsed: Duration,
) {
    let (waited, seconds) = (waited.as_secs_f64(), elapsed.as_secs_f64());
    let settings = job.context.settings();
    let of_groups = GroupFigures::of(groups, settings);
    let tokens = figures.trained_tokens.max(1) as f64;
    let metrics = v1::StepMetrics {
        step: job.state.step,
        weights_version: job.state.step,
        loss: figures.loss,
        learning_rate: figures.learning_rate,
        gradient_norm: figures.gradient_norm,
        anytime: of_groups.anytime(),
        r#final: of_groups.reward_per_budget.last().copied().unwrap_or(0.0),
        reward_per_budget: of_groups.reward_per_budget,
        mean_thinking_tokens: of_groups.mean_thinking_tokens,
        trained_tokens: figures.trained_tokens,
        generated_tokens_per_second: of_groups.generated_tokens as f64 / seconds,
        queue_depth: job.context.queue_depth(),
        mean_staleness: figures.staleness / tokens,
        dropped_groups: job.context.dropped_groups(),
        fresh_log_prob_gap: figures.fresh_gap / figures.fresh_tokens.max(1) as f64,
        clipped_share: figures.clipped_tokens / tokens,
        wait_seconds: waited,
        step_seconds: seconds,
        formatted_share: of_groups.formatted_share,
        finished_share: of_groups.finished_share,
        segments: of_groups.segments,
        overthinking_share: of_groups.overthinking_share,
        generated_tokens: of_groups.generated_tokens,
        skipped_updates: figures.skipped_updates,
        clipped_gradient_share: figures.clipped_gradient_share,
        largest_token_share: figures.largest_token_share,
        update_size: figures.update_size,
        largest_log_prob_gap: figures.largest_fresh_gap,
        account: Some(event.account),
        timeline: Some(event.timeline),
    };
    gauge!(names::LEARNER_STEP).set(metrics.step as f64);
    gauge!(names::LEARNER_LOSS).set(metrics.loss);
    gauge!(names::LEARNER_THINKING_TOKENS).set(metrics.mean_thinking_tokens);
    gauge!(names::LEARNER_STALENESS).set(metrics.mean_staleness);
    if figures.fresh_tokens > 0 {
        gauge!(names::LEARNER_LOG_PROB_GAP).set(metrics.fresh_log_prob_gap);
        gauge!(names::LEARNER_LARGEST_LOG_PROB_GAP).set(metrics.largest_log_prob_gap);
    }
    if metrics.fresh_log_prob_gap > LARGEST_GAP && job.trainer.compute_kind() == Kind::Float {
        let (step, gap) = (metrics.step, metrics.fresh_log_prob_gap);
        warn!(job_id = %job.context.job_id(), step, gap, "actor and learner disagree about the same weights");
    }
    for (budget, reward) in settings.rollout.budgets.iter().zip(&metrics.reward_per_budget) {
        gauge!(names::LEARNER_REWARD, "budget" => budget.to_string()).set(*reward);
    }
    show_update(job.context.job_id(), metrics.step, figures);
    show_tokens(groups, figures);
    show_study_figures(&metrics);
    counter!(names::LEARNER_TOKENS).increment(metrics.trained_tokens);
    histogram!(names::LEARNER_STEP_SECONDS).record(seconds);
    info!(
        job_id = %job.context.job_id(), step = metrics.step, loss = metrics.loss, reward = ?metrics.reward_per_budget,
        thinking_tokens = metrics.mean_thinking_tokens, gradient_norm = metrics.gradient_norm,
        staleness = metrics.mean_staleness, log_prob_gap = metrics.fresh_log_prob_gap,
        queue_groups = metrics.queue_depth, waited, seconds, "step"
    );
    let step = metrics.step;
    let reward = metrics.r#final;
    job.context.report_step(metrics);
    let seen = job.watch.add(step, reward);
    gauge!(names::LEARNER_REWARD_OF_BEST).set(seen.share.unwrap_or(f64::NAN));
    if let Some(says) = seen.says {
        job.notice_collapse(&says);
    }
}
