//! Recreates a job whose file is damaged or gone, from the specification in `job.toml` and the events in its
//! directory.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anytime_proto::settings::parse_kept_job_file;
use anytime_proto::v1::job_event::Event;
use anytime_proto::v1::{self, JobState};
use anytime_proto::{JOB_FORMAT, settings::with_defaults};
use prost_types::Timestamp;

use super::events::{EventLog, without_account};
use super::files::{JOB_FILE, SPECIFICATION_FILE, id_of};
use super::states::{MOST_NOTICES, has_ended};
use crate::outputs::FINAL_DIRECTORY;

/// The suffix of a damaged file that is put aside.
pub(super) const DAMAGED_SUFFIX: &str = ".damaged";

/// The job of a directory, from its specification and its events. `reason` says what was wrong with its file.
///
/// # Errors
/// If the specification cannot be read either, or there are no events.
pub(super) fn rebuild(directory: &Path, log: &EventLog, reason: &str) -> anyhow::Result<v1::Job> {
    let path = directory.join(SPECIFICATION_FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let spec = parse_kept_job_file(&text).with_context(|| format!("read {}", path.display()))?;
    let events = log.on_disk_after(0).read(usize::MAX)?;
    let first = events.first().context("there are no events either")?;
    let training = spec.training.clone().unwrap_or_default();
    let mut job = v1::Job {
        id: id_of(directory).to_owned(),
        total_steps: match spec.kind() {
            v1::JobKind::Evaluate => 0,
            _ => training.steps.unwrap_or_default(),
        },
        spec: Some(with_defaults(&spec)),
        created: first.time,
        format: JOB_FORMAT,
        ..v1::Job::default()
    };
    for event in events {
        if let Some(what) = event.event {
            apply(&mut job, what, event.time);
        }
    }
    anyhow::ensure!(
        job.state() != JobState::Unspecified,
        "no event says what state it was in"
    );
    let model = directory.join(FINAL_DIRECTORY);
    if job.state() == JobState::Succeeded && model.is_dir() {
        job.checkpoint = model.display().to_string();
    }
    let text = format!(
        "{reason}; the job was made again from {SPECIFICATION_FILE} and its events, and the file is kept as \
         {JOB_FILE}{DAMAGED_SUFFIX}"
    );
    job.notices.push(v1::Notice {
        topic: "job_file".to_owned(),
        text,
        step: job.step,
    });
    Ok(job)
}

/// Applies an event to the job.
fn apply(job: &mut v1::Job, event: Event, time: Option<Timestamp>) {
    match event {
        Event::State(change) => {
            let state = change.state();
            job.set_state(state);
            job.error = change.error;
            job.retry_at = change.retry_at;
            job.ended = time.filter(|_| has_ended(state));
            if state == JobState::Running && job.started.is_none() {
                job.started = time;
            }
        }
        Event::Step(step) => {
            job.step = step.step;
            job.last_step = Some(without_account(step));
        }
        Event::WentOn(went_on) => job.step = went_on.step,
        Event::Evaluation(result) => {
            job.evaluations.retain(|earlier| earlier.step != result.step);
            job.evaluations.push(result);
            job.evaluations.sort_by_key(|evaluation| evaluation.step);
        }
        Event::Notice(notice) => {
            job.notices.push(notice);
            let surplus = job.notices.len().saturating_sub(MOST_NOTICES - 1);
            job.notices.drain(..surplus);
        }
        Event::EvaluationProgress(_) => {}
    }
}

/// A job that cannot be read at all. It cannot go on, but it is listed, so that it is not silently gone.
pub(super) fn unreadable(directory: &Path, reason: &str) -> v1::Job {
    let made = fs::metadata(directory).and_then(|metadata| metadata.modified()).ok();
    let mut job = v1::Job {
        id: id_of(directory).to_owned(),
        created: made.map(Timestamp::from),
        error: format!(
            "its files in {} cannot be read: {reason}; put back {JOB_FILE}, or {SPECIFICATION_FILE} and the events, from a \
             copy, and start the learner again",
            directory.display()
        ),
        ..v1::Job::default()
    };
    job.set_state(JobState::Failed);
    job
}
