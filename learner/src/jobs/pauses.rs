//! A job that is held up: it pauses, and goes on by itself or when somebody resumes it.

use std::time::{Duration, Instant};

use anytime_proto::settings::InvalidSetting;
use anytime_proto::v1::{self, JobState, job_event::Event};
use anytime_proto::{JOB_FORMAT, JobId, ShortName as _};

use super::entry::{JobEntry, state_event};
use super::events::time_after;
use super::live::Change;
use super::states::Resumption;
use super::store::save_specification;

/// The first pause before a paused job is tried again; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// How long to wait before the next try, after this many tries at the same place.
pub(super) fn retry_pause(tries: u32) -> Duration {
    FIRST_RETRY
        .saturating_mul(2_u32.saturating_pow(tries))
        .min(LONGEST_RETRY)
}

/// Why a job cannot be resumed, or not so.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The job is over.
    #[error("job {id} {how}; only a failed or paused job can go on{hint}")]
    HasEnded {
        /// Its id.
        id: JobId,
        /// How it ended.
        how: &'static str,
        /// What can be done instead.
        hint: &'static str,
    },
    /// It was removed meanwhile.
    #[error("job `{0}` does not exist")]
    IsGone(JobId),
    /// Its settings cannot change while a thread works with them.
    #[error("job {id} is {state}, so its settings cannot change now; {hint}")]
    IsHeld {
        /// Its id.
        id: JobId,
        /// Queued, running or paused.
        state: String,
        /// What can be done instead.
        hint: &'static str,
    },
    /// Another version of the learner wrote it.
    #[error("job {0} was written by another version of the learner; submit its job file again")]
    OtherFormat(JobId),
    /// Its files are damaged beyond what can be made again.
    #[error("the files of job {0} cannot be read, so that it cannot go on; `anytime get {0}` says what to put back")]
    Unreadable(JobId),
    /// Another job writes its model to the same place.
    #[error(transparent)]
    Refused(#[from] InvalidSetting),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] anyhow::Error),
}

impl JobEntry {
    /// Notes why the process is about to end while the job runs.
    pub fn note_process_fault(&self, reason: &str) {
        self.change(None, true, |job| {
            reason.clone_into(&mut job.crashes.get_or_insert_default().reason);
        });
    }

    /// Pauses the job, which keeps everything. With `retry` it is tried again after this time; without, a person must
    /// resume it.
    pub fn pause(&self, reason: &str, retry: Option<Duration>) {
        self.pause_locked(self.live.change(), reason, retry);
    }

    pub(super) fn pause_locked(&self, mut live: Change<'_>, reason: &str, retry: Option<Duration>) {
        live.job.seconds = live.seconds();
        live.running = None;
        let retry_at = retry.map(time_after);
        let event = Event::State(v1::StateChanged {
            state: JobState::Paused.into(),
            error: reason.to_owned(),
            retry_at,
        });
        self.change_locked(live, Some(event), true, |job| {
            job.set_state(JobState::Paused);
            reason.clone_into(&mut job.error);
            job.retry_at = retry_at;
        });
    }

    /// Pauses a job whose thread has let go of it, until a person resumes it.
    pub(super) fn wait_for_person(&self, reason: &str) {
        let mut live = self.live.change();
        live.is_held = false;
        self.pause_locked(live, reason, None);
    }

    /// Pauses a job whose thread has let go of it, and returns after which time it is to be tried again. The time grows
    /// while the job stays at the same step.
    pub(super) fn put_aside(&self, reason: &str) -> Duration {
        let mut live = self.live.change();
        live.is_held = false;
        let step = live.job.step;
        let (at, tries) = live.put_aside;
        let tries = if at == step { tries } else { 0 };
        live.put_aside = (step, tries + 1);
        let pause = retry_pause(tries);
        self.pause_locked(live, reason, Some(pause));
        pause
    }

    /// Goes on after a pause in which the thread kept the job.
    pub(super) fn go_on(&self) {
        let mut live = self.live.change();
        live.running = Some((Instant::now(), live.job.seconds));
        self.change_locked(live, Some(state_event(JobState::Running, "")), true, |job| {
            job.set_state(JobState::Running);
            job.error.clear();
            job.retry_at = None;
        });
    }

    /// Waits until somebody wants a pause to end.
    pub(super) async fn nudged(&self) {
        self.nudged.notified().await;
    }

    /// Lets a failed or paused job wait for its turn again, with other settings where `spec` has some. Returns whether
    /// it is to be queued; a job that is queued or running already is left alone, and one that waits within its thread
    /// is nudged.
    ///
    /// # Errors
    /// If it has ended for good, its settings cannot change now, or the disk refuses.
    pub(super) fn resume(&self, spec: Option<v1::JobSpec>) -> Result<bool, ResumeError> {
        let live = self.live.change();
        let state = live.job.state();
        let id = self.id.clone();
        if live.is_removed {
            return Err(ResumeError::IsGone(id));
        }
        let says = state.short_name();
        match self.standing(&live).resumption(spec.is_some()) {
            Resumption::HasEnded => {
                let (how, hint) = match state {
                    JobState::Succeeded => (
                        "has succeeded",
                        "; to train on, submit a job that starts from it (model.from_job)",
                    ),
                    _ => (
                        "was cancelled",
                        "; `anytime export` writes its newest checkpoint as a model",
                    ),
                };
                return Err(ResumeError::HasEnded { id, how, hint });
            }
            Resumption::IsHeld => {
                let hint = match state {
                    JobState::Paused => "resume it without them, or restart the learner",
                    _ => "resume it with them when it is paused or has failed",
                };
                return Err(ResumeError::IsHeld { id, state: says, hint });
            }
            Resumption::Nudge => {
                drop(live);
                self.nudged.notify_one();
                return Ok(false);
            }
            Resumption::Leave => return Ok(false),
            Resumption::Queue => {}
        }
        if live.job.spec.is_none() {
            return Err(ResumeError::Unreadable(id));
        }
        if live.job.format != JOB_FORMAT {
            return Err(ResumeError::OtherFormat(id));
        }
        if let Some(spec) = &spec {
            save_specification(&self.directory, spec)?;
        }
        self.change_locked(live, Some(state_event(JobState::Queued, "")), true, |job| {
            job.set_state(JobState::Queued);
            job.error.clear();
            job.retry_at = None;
            job.ended = None;
            job.crashes = None;
            if let Some(spec) = spec {
                job.spec = Some(spec);
            }
        });
        Ok(true)
    }
}
