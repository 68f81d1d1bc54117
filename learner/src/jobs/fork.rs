//! A job that starts from another job's recovery checkpoint (`model.from_job`). At its submission it gets a directory of its
//! own with the weights, as `start` in its directory, which appears with the job or not at all. From then on the other job
//! is not needed any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::{JOB_FORMAT, v1};

use super::staged::Staged;

/// The setting that names the other job, and the one that names the step.
const JOB: &str = "model.from_job";
const STEP: &str = "model.from_step";

/// What is said of a directory that is no model. This one was not chosen by the user.
const NO_MODEL: &str = "it must be a Hugging Face checkpoint directory: ";

/// The topic of notices about it.
const TOPIC: &str = "fork";

/// What is to be taken of which job.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The other job.
    pub job: v1::Job,
    /// Its directory.
    pub directory: PathBuf,
    /// The step of its recovery checkpoint. None means the newest that is good.
    pub step: Option<u64>,
    /// The directory to make, a model's.
    pub target: PathBuf,
    /// Whether `target` outlives the other job; else it is only looked at.
    pub is_kept: bool,
}

/// What was taken.
#[derive(Clone, Debug)]
pub struct TakenStart {
    /// The step of the checkpoint.
    pub step: u64,
    /// BLAKE3 of its weights.
    pub checksum: String,
    /// Newer checkpoints that are not good, each with the reason.
    pub damaged: Vec<String>,
}

/// Why nothing was taken.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// The setting cannot work.
    #[error(transparent)]
    Refused(#[from] InvalidSetting),
    /// The disk refuses.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Makes a model's directory of a job's recovery checkpoint.
pub type TakeStart = Arc<dyn Fn(&StartRequest) -> Result<TakenStart, ForkError> + Send + Sync>;

/// What a new job starts from, until the job exists.
#[derive(Debug)]
pub struct Fork {
    /// For the job's record.
    pub from: v1::ForkedFrom,
    /// The model's directory.
    start: PathBuf,
    damaged: Vec<String>,
    /// The directory that becomes the job's, with `start` in it. It goes with this value where it does not become that.
    staged: Option<Staged>,
}

impl Fork {
    /// Takes what a request names, and writes the step into the specification. `staged` holds the request's `target`.
    ///
    /// # Errors
    /// `model.from_job` or `model.from_step` where that cannot be started from; or if the disk refuses.
    pub fn of(
        request: &StartRequest,
        take: &TakeStart,
        spec: &mut v1::JobSpec,
        staged: Option<Staged>,
    ) -> Result<Self, ForkError> {
        let job = &request.job;
        if job.format != JOB_FORMAT {
            let reason = format!(
                "another version of the learner wrote that job (format {}; this version reads {JOB_FORMAT}), so that no job \
                 can start from it; `anytime export {}` of that version writes its checkpoint as a model",
                job.format, job.id
            );
            return Err(InvalidSetting::new(JOB, job.id.as_str(), reason).into());
        }
        let taken = take(request)?;
        let model = spec.model.get_or_insert_default();
        model.from_step = Some(taken.step);
        Ok(Self {
            from: v1::ForkedFrom {
                job_id: job.id.clone(),
                created: job.created,
                step: taken.step,
                checksum: taken.checksum,
            },
            start: request.target.clone(),
            damaged: taken.damaged,
            staged,
        })
    }

    /// The directory that becomes the job's.
    pub(super) fn staged(&self) -> Option<&Path> {
        self.staged.as_ref().map(Staged::path)
    }

    /// The specification as if it named the directory of what was taken.
    pub(super) fn placed(&self, spec: &v1::JobSpec) -> v1::JobSpec {
        placed(spec, &self.start)
    }

    /// An error about what was taken in terms of the setting that a user has written.
    pub(super) fn explain(&self, error: InvalidSetting) -> InvalidSetting {
        in_terms_of_job(error, &self.from.job_id, &self.start)
    }

    /// What a user should know.
    pub(super) fn notice(&self) -> v1::Notice {
        let v1::ForkedFrom {
            job_id, step, checksum, ..
        } = &self.from;
        let mut text = format!(
            "{JOB}: the job starts from the weights of step {step} of job {job_id} (BLAKE3 {checksum}), with an optimiser that \
             begins anew"
        );
        if !self.damaged.is_empty() {
            text.push_str(&format!(
                "; that is its newest good recovery checkpoint: {}",
                self.damaged.join("; ")
            ));
        }
        v1::Notice {
            topic: TOPIC.to_owned(),
            text,
            step: 0,
        }
    }
}

/// Refuses a job that this learner does not have.
pub fn unknown(id: &str) -> InvalidSetting {
    InvalidSetting::new(
        JOB,
        id,
        "it must be a job of this learner, which has none of this id; `anytime list` shows those that there are",
    )
}

/// Refuses what a job was to start from: the step that was asked for, or all of the job.
pub fn refused(request: &StartRequest, is_of_step: bool, reason: &str) -> InvalidSetting {
    match request.step.filter(|_| is_of_step) {
        Some(step) => InvalidSetting::new(STEP, step, reason),
        None => InvalidSetting::new(JOB, request.job.id.as_str(), reason),
    }
}

/// Where a job that was forked keeps what it started from.
pub fn start_directory(job_directory: &Path) -> PathBuf {
    job_directory.join("start")
}

/// Writes the step that a job was forked at into a specification that leaves it open.
pub fn pin(spec: &mut v1::JobSpec, own: &v1::JobSpec) {
    let (Some(model), Some(own)) = (&mut spec.model, &own.model) else {
        return;
    };
    if model.from_job.is_some() && model.from_job == own.from_job && model.from_step.is_none() {
        model.from_step = own.from_step;
    }
}

/// The settings of a job that runs, with the directory that it starts from.
pub fn settings_in_place(settings: &JobSettings, job_directory: &Path) -> JobSettings {
    let mut here = settings.clone();
    if here.model.from_job.is_some() {
        here.model.path = start_directory(job_directory).display().to_string();
    }
    here
}

/// An error about the directory in terms of the setting that a user has written.
pub fn in_terms_of_job(mut error: InvalidSetting, id: &str, start: &Path) -> InvalidSetting {
    if error.field == "model.path" {
        let reason = error.reason.replace(&format!("{}/", start.display()), "");
        let reason = reason.strip_prefix(NO_MODEL).unwrap_or(&reason);
        let reason = format!("its recovery checkpoint must be a model that this job can start from: {reason}");
        error = InvalidSetting::new(JOB, id, reason);
    }
    error
}

/// The specification as if it named this directory.
pub(super) fn placed(spec: &v1::JobSpec, start: &Path) -> v1::JobSpec {
    let mut placed = spec.clone();
    let model = placed.model.get_or_insert_default();
    model.path = Some(start.display().to_string());
    model.from_job = None;
    model.from_step = None;
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(from_step: Option<u64>) -> v1::JobSpec {
        v1::JobSpec {
            model: Some(v1::ModelSpec {
                from_job: Some("other".to_owned()),
                from_step,
                ..v1::ModelSpec::default()
            }),
            ..v1::JobSpec::default()
        }
    }

    #[test]
    fn a_job_file_that_leaves_the_step_open_means_the_one_that_was_taken() {
        let own = spec(Some(20));
        let mut same = spec(None);
        pin(&mut same, &own);
        assert_eq!(same, own);
        let mut other_step = spec(Some(10));
        pin(&mut other_step, &own);
        assert_eq!(other_step, spec(Some(10)), "what is written stays");
        let mut other_job = spec(None);
        other_job.model.as_mut().expect("a model").from_job = Some("third".to_owned());
        pin(&mut other_job, &own);
        assert_eq!(other_job.model.expect("a model").from_step, None);
    }
}
