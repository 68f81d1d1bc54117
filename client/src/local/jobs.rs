//! Runs the jobs of a local run one after another on the learner that was started for them.

use std::path::Path;
use std::time::{Duration, Instant};

use anytime_proto::ShortName as _;
use anytime_proto::settings::{check_resumed, with_defaults};
use anytime_proto::v1;
use anytime_service::channel::Backoff;

use super::request::LocalRun;
use crate::arguments::SecurityArgs;
use crate::display::{Display, Style};
use crate::follow::follow;
use crate::job_view::{conclude, has_ended, kind};
use crate::learner::{Learner, is_unreachable};
use crate::output::print_line;
use crate::report::{Report, ReportFiles, table, write};

/// How long a learner that has told its port may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long a learner may be away while it is started again; one that keeps dying is noticed earlier.
const PATIENCE: Duration = Duration::from_secs(300);

/// A job that has succeeded.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) job: v1::Job,
    pub(crate) report: Report,
    /// The files of its report; only train and evaluate jobs have one.
    pub(crate) files: Option<ReportFiles>,
}

pub(super) async fn run_all(
    learner_address: &str,
    run: &LocalRun,
    style: Style,
    json: bool,
) -> anyhow::Result<Vec<Finished>> {
    let mut learner = Learner::at(learner_address, &SecurityArgs::default())?;
    let earlier = list_when_ready(&mut learner).await?;
    let reused = reusable(&run.specs, &earlier, run.resume);
    for job in earlier.iter().filter(|job| !has_ended(job)) {
        if reused.iter().flatten().all(|id| *id != job.id) {
            eprintln!(
                "cancelling job {}, which an earlier run in this directory left unfinished",
                job.id
            );
            learner.cancel(&job.id).await?;
        }
    }

    let mut finished = Vec::new();
    let last_measured = run.specs.iter().rposition(|spec| spec.kind() != v1::JobKind::Sft);
    for (index, (spec, reused_id)) in run.specs.iter().zip(&reused).enumerate() {
        let job = match reused_id {
            Some(id) => take_up(&mut learner, id, spec).await?,
            None => learner.submit(&uuid::Uuid::now_v7().to_string(), spec).await?,
        };
        // The report of the run is the last one; those before it keep theirs beside it.
        let is_last = last_measured == Some(index);
        let report_directory = if is_last {
            run.out.clone()
        } else {
            run.out.join("reports").join(&job.id)
        };
        finished.push(run_one(&mut learner, &job, &report_directory, style, json).await?);
    }
    Ok(finished)
}

/// Uses an earlier job again. A job that has failed or is paused goes on, with the settings that the job file has now.
async fn take_up(learner: &mut Learner, id: &str, spec: &v1::JobSpec) -> anyhow::Result<v1::Job> {
    let job = learner.get(id).await?;
    if !is_stopped(&job) {
        return Ok(job);
    }
    eprintln!(
        "job {id} goes on, which had stopped ({}): {}",
        job.state().short_name(),
        job.error
    );
    // A job that is paused and tried again by itself goes on with the settings that it has.
    let is_held = job.state() == v1::JobState::Paused && job.retry_at.is_some();
    let found = job
        .spec
        .as_ref()
        .map(|found| as_written(spec, found))
        .unwrap_or_default();
    let changed = !is_held && found != with_defaults(spec);
    learner.resume(id, changed.then(|| spec.clone())).await
}

/// Whether the job did not get to its end, and can go on.
fn is_stopped(job: &v1::Job) -> bool {
    matches!(job.state(), v1::JobState::Failed | v1::JobState::Paused)
}

async fn run_one(
    learner: &mut Learner,
    job: &v1::Job,
    report_directory: &Path,
    style: Style,
    json: bool,
) -> anyhow::Result<Finished> {
    let mut display = Display::new(style, job);
    let ended = follow(learner, &job.id, &mut display, PATIENCE).await?;
    let steps = display.into_steps();
    conclude(&ended)?;
    let report = Report::new(&ended, steps);
    let files = match kind(&ended) {
        v1::JobKind::Sft => None,
        _ => Some(write(&report, report_directory)?),
    };
    // The table of a train job is the last thing a run prints.
    if !json && kind(&ended) != v1::JobKind::Train {
        print_line(&format!(
            "{} {}\n{}",
            kind(&ended).short_name(),
            report.name,
            table(&report)
        ))?;
    }
    Ok(Finished {
        job: ended,
        report,
        files,
    })
}

async fn list_when_ready(learner: &mut Learner) -> anyhow::Result<Vec<v1::Job>> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    let mut backoff = Backoff::default();
    loop {
        match learner.list().await {
            Ok(jobs) => return Ok(jobs),
            Err(error) if is_unreachable(&error) && Instant::now() < deadline => {
                tokio::time::sleep(backoff.pause()).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// For each specification, the newest earlier job that can be used instead of a new one: it has the same settings and
/// was not cancelled. A job that has failed or is paused may differ in the settings that may change on a resume. After
/// the first specification without such a job none is used, because later jobs build on earlier ones.
fn reusable(specs: &[v1::JobSpec], earlier: &[v1::Job], resume: bool) -> Vec<Option<String>> {
    let mut reused = Vec::new();
    let mut is_unbroken = resume;
    for spec in specs {
        let wanted = with_defaults(spec);
        let is_same = |job: &&v1::Job| {
            job.state() != v1::JobState::Cancelled
                && job.spec.as_ref().is_some_and(|found| {
                    let found = as_written(&wanted, found);
                    found == wanted || (is_stopped(job) && check_resumed(&found, &wanted).is_ok())
                })
        };
        let found = if is_unbroken {
            earlier.iter().find(is_same)
        } else {
            None
        };
        is_unbroken = found.is_some();
        reused.push(found.map(|job| job.id.clone()));
    }
    reused
}

/// Compares the settings that the job file gives. The learner fills in some that depend on the model, the device and
/// the job's directory; those are not compared where the file leaves them open.
pub(crate) fn is_same_job(wanted: &v1::JobSpec, found: &v1::JobSpec) -> bool {
    as_written(wanted, found) == *wanted
}

/// The settings that were found, without those that the job file leaves open.
fn as_written(wanted: &v1::JobSpec, found: &v1::JobSpec) -> v1::JobSpec {
    let mut found = with_defaults(found);
    if let (Some(wanted), Some(found)) = (&wanted.model, &mut found.model)
        && wanted.from_step.is_none()
    {
        found.from_step = None;
    }
    if let (Some(wanted), Some(found)) = (&wanted.data, &mut found.data)
        && wanted.chat_template.is_none()
    {
        found.chat_template = None;
    }
    if let (Some(wanted), Some(found)) = (&wanted.training, &mut found.training) {
        if wanted.micro_batch_tokens.is_none() {
            found.micro_batch_tokens = None;
        }
        if wanted.activation_checkpointing.is_none() {
            found.activation_checkpointing = None;
        }
    }
    if let (Some(wanted), Some(found)) = (&wanted.checkpoint, &mut found.checkpoint)
        && wanted.output.is_none()
    {
        found.output = None;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> v1::JobSpec {
        v1::JobSpec {
            name: Some(name.to_owned()),
            kind: Some(v1::JobKind::Train.into()),
            ..Default::default()
        }
    }

    fn job(name: &str, state: v1::JobState) -> v1::Job {
        let mut filled = with_defaults(&spec(name));
        filled.checkpoint.get_or_insert_default().output = Some("somewhere".to_owned());
        v1::Job {
            id: format!("{name}-1"),
            spec: Some(filled),
            state: state.into(),
            ..Default::default()
        }
    }

    #[test]
    fn resuming_takes_what_is_done_and_what_is_under_way() {
        let specs = [spec("warm"), spec("train"), spec("more")];
        let earlier = [
            job("train", v1::JobState::Running),
            job("warm", v1::JobState::Succeeded),
        ];
        let some = |id: &str| Some(id.to_owned());
        assert_eq!(
            reusable(&specs, &earlier, true),
            [some("warm-1"), some("train-1"), None]
        );
        assert_eq!(reusable(&specs, &earlier, false), [None, None, None]);
    }

    #[test]
    fn nothing_is_reused_after_a_job_that_must_run_again() {
        let specs = [spec("warm"), spec("train")];
        let earlier = [
            job("train", v1::JobState::Succeeded),
            job("warm", v1::JobState::Cancelled),
        ];
        assert_eq!(reusable(&specs, &earlier, true), [None, None]);
    }

    #[test]
    fn what_has_failed_or_is_paused_goes_on_also_with_settings_that_may_change() {
        let mut changed = spec("train");
        changed.training.get_or_insert_default().micro_batch_tokens = Some(512);
        let mut other = spec("train");
        other.training.get_or_insert_default().batch = Some(2);
        for state in [v1::JobState::Failed, v1::JobState::Paused] {
            let earlier = [job("train", state)];
            let reused = |spec: &v1::JobSpec| reusable(std::slice::from_ref(spec), &earlier, true);
            assert_eq!(reused(&spec("train")), [Some("train-1".to_owned())]);
            assert_eq!(reused(&changed), [Some("train-1".to_owned())]);
            assert_eq!(reused(&other), [None]);
        }
        let running = [job("train", v1::JobState::Running)];
        assert_eq!(reusable(&[changed], &running, true), [None]);
    }
}
