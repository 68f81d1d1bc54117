//! Measures the accuracies of the starting weights on the training problems, for an objective that compares with them.
//! This happens in parts before the first step. Every part is written to a file of the job, so that after a restart
//! only the missing problems are measured. Of each group only the accuracy is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::ensure;
use anytime_files::write_durably;
use anytime_objectives::ScoreTable;
use anytime_objectives::statistics::mean;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::job::RunningJob;
use super::plan::training_plan;
use super::prepare::Prepared;
use crate::checkpoint::Fingerprint;
use crate::evaluation::result::evaluation_leases;
use crate::rollouts::group::EvaluatedGroup;

/// How many problems are measured together.
const PROBLEMS_AT_A_TIME: usize = 512;

/// Measures the reference accuracies that the objective needs and does not have yet. The published weights must be the
/// starting weights.
///
/// # Errors
/// If the job is to stop, a group fails too often, or the job is beyond its starting weights.
pub(super) fn measure_references(job: &mut RunningJob<'_>) -> anyhow::Result<()> {
    let settings = job.context.settings().clone();
    let needs = job.trainer.objective().needs(settings.rollout.traces);
    let Some(samples) = needs.reference_samples else {
        return Ok(());
    };
    let kept = read_kept(job);
    job.trainer.add_references(kept);
    let problems = &job.prepared.problems;
    let missing: Vec<(usize, v1::Problem)> = problems
        .iter()
        .cloned()
        .enumerate()
        .filter(|(_, problem)| !job.trainer.references().contains_key(&problem.id))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        job.state.step == 0,
        "the recovery checkpoint of step {} lacks the reference accuracy of {} of {} problems, which only the starting \
         weights can give",
        job.state.step,
        missing.len(),
        problems.len()
    );
    let started = Instant::now();
    let plan = reference_plan(&settings, &job.prepared, samples);
    for part in missing.chunks(PROBLEMS_AT_A_TIME) {
        let (mut measured, wanted) = (0, part.len());
        let mut accuracies = BTreeMap::new();
        let leases = leases(job, &settings, part, &plan);
        job.context.evaluate(leases, |EvaluatedGroup { group, .. }| {
            measured += 1;
            accuracies.insert(group.problem_id.clone(), accuracy(&group));
        })?;
        job.trainer.add_references(accuracies);
        keep(job)?;
        ensure!(
            measured == wanted,
            "the reference accuracy of {} problems could not be measured, because their groups failed too often",
            wanted - measured
        );
    }
    job.save_recovery()?;
    let (problems, seconds) = (missing.len(), started.elapsed().as_secs_f64());
    info!(job_id = %job.context.job_id(), problems, samples, seconds, "reference accuracies measured");
    Ok(())
}

/// What has been measured, in a file that is written after every part.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What the job read when they were measured.
    fingerprint: Option<Fingerprint>,
    references: BTreeMap<String, f64>,
}

fn kept_path(job_directory: &Path) -> PathBuf {
    job_directory.join("references.json")
}

fn keep(job: &RunningJob<'_>) -> anyhow::Result<()> {
    let kept = Kept {
        fingerprint: job.state.fingerprint.clone(),
        references: job.trainer.references().clone(),
    };
    let bytes = serde_json::to_vec(&kept)?;
    job.context
        .write_or_wait(|| Ok(write_durably(&kept_path(job.context.directory()), &bytes)?))?;
    Ok(())
}

/// The accuracies of an earlier start over the same problems; empty where there are none.
fn read_kept(job: &RunningJob<'_>) -> BTreeMap<String, f64> {
    read_file(&kept_path(job.context.directory()))
        .filter(|kept| kept.fingerprint == job.state.fingerprint)
        .map(|kept| kept.references)
        .unwrap_or_default()
}

fn read_file(path: &Path) -> Option<Kept> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The accuracies of the starting weights that a job has kept; empty where it has none.
pub(super) fn measured_references(job_directory: &Path) -> BTreeMap<String, f64> {
    read_file(&kept_path(job_directory))
        .map(|kept| kept.references)
        .unwrap_or_default()
}

/// As in training, but at the largest budget alone.
fn reference_plan(settings: &JobSettings, prepared: &Prepared, samples: u32) -> v1::RolloutPlan {
    v1::RolloutPlan {
        budgets: settings.rollout.budgets.last().copied().into_iter().collect(),
        traces: samples,
        summaries: 1,
        ..training_plan(settings, prepared)
    }
}

fn leases(
    job: &RunningJob<'_>,
    settings: &JobSettings,
    part: &[(usize, v1::Problem)],
    plan: &v1::RolloutPlan,
) -> Vec<v1::Lease> {
    let problems: Vec<v1::Problem> = part.iter().map(|(_, problem)| problem.clone()).collect();
    let job_id = job.context.job_id().as_str();
    let mut leases = evaluation_leases(
        job_id,
        job.state.step,
        &problems,
        plan,
        settings.rollout.seed,
        (job.state.step, job.context.manifest_checksum()),
        settings.rollout.lease_seconds,
    );
    // The numbers differ between parts, so that a late group of an earlier part is not taken for one of this part.
    for (lease, (number, _)) in leases.iter_mut().zip(part) {
        lease.group_id = format!("{job_id}/reference/{number:08}");
    }
    leases
}

/// Mean score over the samples at the one budget.
fn accuracy(group: &v1::ScoredGroup) -> f64 {
    let scores = ScoreTable::of_group(group).mean_per_budget();
    mean(scores.iter().map(|row| row[0]))
}
