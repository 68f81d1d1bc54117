//! The leases of a job that does not run: the very ones that its learner would give, so that an actor generates its groups
//! from a model on the disk.

use std::path::Path;

use anytime_objectives::objective;
use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::{JobId, v1};

use super::order::TrainingOrder;
use super::plan::{evaluation_plan, training_plan};
use super::prepare::{Prepared, prepare};
use crate::evaluation::repeats;
use crate::evaluation::result::evaluation_leases;
use crate::rollouts::session::{lease_seed, training_group_id};

/// Leases from the place `first` on: of a train job those of its training, in order, and as many as a step has unless
/// `count` says otherwise; of another job those of its evaluation.
///
/// # Errors
/// The first setting that cannot work.
pub fn leases(
    spec: &v1::JobSpec,
    root: &Path,
    first: u64,
    count: Option<u64>,
) -> Result<Vec<v1::Lease>, InvalidSetting> {
    let settings = JobSettings::try_new(spec)?;
    if settings.kind == v1::JobKind::Sft {
        let reason = "it must be train or evaluate: fine-tuning asks for no groups";
        return Err(InvalidSetting::new("kind", "sft", reason));
    }
    let prepared = prepare(&settings, root, None)?;
    if settings.kind == v1::JobKind::Train {
        let count = count.unwrap_or_else(|| u64::from(settings.training.batch));
        return Ok(training_leases(&settings, &prepared, first, count));
    }
    let plan = evaluation_plan(&settings, &prepared);
    let rows = prepared.evaluation_rows.iter().map(|row| row.repeats);
    let (problems, _) = repeats::repeated(&prepared.evaluation_problems, rows);
    let all = evaluation_leases(
        &settings.name,
        0,
        &problems,
        &plan,
        settings.evaluation.seed,
        (0, String::new()),
        settings.rollout.lease_seconds,
    );
    let first = usize::try_from(first).unwrap_or(usize::MAX);
    let count = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    Ok(all.into_iter().skip(first).take(count).collect())
}

fn training_leases(settings: &JobSettings, prepared: &Prepared, first: u64, count: u64) -> Vec<v1::Lease> {
    let needs = objective(&settings.objective).needs(settings.rollout.traces);
    let plan = v1::RolloutPlan {
        no_thinking_traces: needs.no_thinking_traces,
        ..training_plan(settings, prepared)
    };
    let mut order = TrainingOrder::new(prepared.problems.len(), settings.data.shuffle_seed);
    let job_id = JobId(settings.name.clone());
    (first..first.saturating_add(count))
        .map(|sequence| v1::Lease {
            job_id: job_id.to_string(),
            group_id: training_group_id(&job_id, sequence).to_string(),
            purpose: v1::Purpose::Train.into(),
            problem: Some(prepared.problems[order.row(sequence)].clone()),
            plan: Some(plan.clone()),
            seed: lease_seed(settings.rollout.seed, sequence),
            seconds: settings.rollout.lease_seconds,
            ..v1::Lease::default()
        })
        .collect()
}
