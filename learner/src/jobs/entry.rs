//! One job in memory, with everything that changes it. Each change is an event on disk and wakes those who watch the
//! job.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anytime_proto::JobId;
use anytime_proto::v1::{self, JobState, job_event::Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::events::{EventLog, read_after, timestamp};
use super::store::{StoredJob, events_path, save_cancellation, save_job};
use crate::lock::lock;

/// Steps follow each other quickly; the job's file is written no more often than this for their sake.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// What watchers wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the newest event.
    pub last_event: u64,
    /// No event will follow.
    pub ended: bool,
}

struct Live {
    job: v1::Job,
    log: EventLog,
    /// When the job started to run in this process, and how many seconds it had run before; none while it does not run.
    running: Option<(Instant, f64)>,
    saved: Instant,
}

/// One job in memory. The thread that runs it reports to it, requests read and cancel it, and watchers wait for its
/// events; all of them share it.
pub struct JobEntry {
    id: JobId,
    request_id: String,
    directory: PathBuf,
    cancelled: CancellationToken,
    live: Mutex<Live>,
    progress: watch::Sender<Progress>,
}

impl JobEntry {
    /// A job that is on disk.
    pub fn new(stored: StoredJob) -> Self {
        let StoredJob {
            job,
            request_id,
            directory,
            log,
            was_cancelled,
        } = stored;
        let cancelled = CancellationToken::new();
        if was_cancelled {
            cancelled.cancel();
        }
        let progress = Progress {
            last_event: log.last_number(),
            ended: has_ended(job.state()),
        };
        Self {
            id: JobId(job.id.clone()),
            request_id,
            directory,
            cancelled,
            live: Mutex::new(Live {
                job,
                log,
                running: None,
                saved: Instant::now(),
            }),
            progress: watch::Sender::new(progress),
        }
    }

    /// Its id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The request that submitted it.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The token that is cancelled when a user cancels the job.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// The job as it is now.
    pub fn job(&self) -> v1::Job {
        let live = lock(&self.live);
        let mut job = live.job.clone();
        job.seconds = seconds_of(&live);
        job
    }

    /// Its state: queued, running, or how it ended.
    pub fn state(&self) -> JobState {
        lock(&self.live).job.state()
    }

    /// When it was submitted, in a form that sorts, and that tells it from another job of the same id.
    pub fn created(&self) -> (i64, i32) {
        lock(&self.live)
            .job
            .created
            .as_ref()
            .map_or((0, 0), |time| (time.seconds, time.nanos))
    }

    /// A receiver that is told of every event.
    pub fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Up to `limit` events after a number. May read the disk.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn events_after(&self, after: u64, limit: usize) -> anyhow::Result<Vec<v1::JobEvent>> {
        if let Some(events) = lock(&self.live).log.recent_after(after, limit) {
            return Ok(events);
        }
        read_after(&events_path(&self.directory), after, limit)
    }

    /// Writes the first event of a new job.
    pub fn announce(&self) {
        let state = self.state();
        self.change(Some(state_event(state, "")), true, |_| {});
    }

    /// Marks the job as running, at its first start or after a restart of the process. Returns false if it has ended.
    pub fn start(&self) -> bool {
        let mut live = lock(&self.live);
        let state = live.job.state();
        if has_ended(state) {
            return false;
        }
        live.running = Some((Instant::now(), live.job.seconds));
        let event = (state == JobState::Queued).then(|| state_event(JobState::Running, ""));
        self.change_locked(live, event, true, |job| {
            job.set_state(JobState::Running);
            job.started.get_or_insert_with(timestamp);
        });
        true
    }

    /// Notes that the process ends while the job runs. The job is resumed at the next start.
    pub fn suspend(&self) {
        self.change(None, true, |_| {});
        lock(&self.live).running = None;
    }

    /// Marks the job as ended, with the reason where it failed.
    pub fn finish(&self, state: JobState, reason: &str) {
        self.finish_locked(lock(&self.live), state, reason);
    }

    fn finish_locked(&self, live: MutexGuard<'_, Live>, state: JobState, reason: &str) {
        self.change_locked(live, Some(state_event(state, reason)), true, |job| {
            job.set_state(state);
            reason.clone_into(&mut job.error);
            job.ended = Some(timestamp());
        });
        lock(&self.live).running = None;
    }

    /// Asks the job to end. A job that waits for its turn ends at once; one that runs ends when its thread notices. May
    /// be repeated.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn cancel(&self) -> anyhow::Result<()> {
        if has_ended(self.state()) || self.cancelled.is_cancelled() {
            return Ok(());
        }
        save_cancellation(&self.directory)?;
        self.cancelled.cancel();
        let live = lock(&self.live);
        // One that runs is ended by its thread.
        if live.job.state() == JobState::Queued {
            self.finish_locked(live, JobState::Cancelled, "");
        }
        Ok(())
    }

    /// Records a finished step.
    pub fn report_step(&self, metrics: v1::StepMetrics) {
        self.change(Some(Event::Step(metrics.clone())), false, |job| {
            job.step = metrics.step;
            job.last_step = Some(metrics);
        });
    }

    /// Records a finished evaluation. After a restart it replaces the evaluation of the same step.
    pub fn report_evaluation(&self, result: v1::EvaluationResult) {
        self.change(Some(Event::Evaluation(result.clone())), true, |job| {
            job.evaluations.retain(|earlier| earlier.step != result.step);
            let place = job.evaluations.partition_point(|earlier| earlier.step < result.step);
            job.evaluations.insert(place, result);
        });
    }

    /// Records how far an evaluation is.
    pub fn report_evaluation_progress(&self, done_groups: u32, total_groups: u32) {
        let progress = v1::EvaluationProgress {
            done_groups,
            total_groups,
        };
        self.change(Some(Event::EvaluationProgress(progress)), false, |_| {});
    }

    /// Records that a Hugging Face checkpoint has been written.
    pub fn report_checkpoint(&self, directory: &Path) {
        self.change(None, true, |job| job.checkpoint = directory.display().to_string());
    }

    /// The finished evaluations, by step.
    pub fn evaluations(&self) -> Vec<v1::EvaluationResult> {
        lock(&self.live).job.evaluations.clone()
    }

    /// Changes the job, logs the event and wakes watchers. `durably` says that a crash must not undo the change. An
    /// error of the disk is logged and no more, since the job itself can go on.
    fn change(&self, event: Option<Event>, durably: bool, change: impl FnOnce(&mut v1::Job)) {
        self.change_locked(lock(&self.live), event, durably, change);
    }

    fn change_locked(
        &self,
        mut live: MutexGuard<'_, Live>,
        event: Option<Event>,
        durably: bool,
        change: impl FnOnce(&mut v1::Job),
    ) {
        change(&mut live.job);
        live.job.seconds = seconds_of(&live);
        let mut outcome = event.map_or(Ok(()), |event| live.log.append(event));
        if durably || live.saved.elapsed() >= SAVE_EVERY {
            outcome = outcome
                .and_then(|()| live.log.sync())
                .and_then(|()| save_job(&self.directory, &live.job));
            live.saved = Instant::now();
        }
        if let Err(failure) = outcome {
            error!(job_id = %self.id, error = format!("{failure:#}"), "cannot record the job");
        }
        let progress = Progress {
            last_event: live.log.last_number(),
            ended: has_ended(live.job.state()),
        };
        drop(live);
        self.progress.send_replace(progress);
    }
}

/// Whether a job in this state will not change any more.
fn has_ended(state: JobState) -> bool {
    matches!(state, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
}

fn state_event(state: JobState, error: &str) -> Event {
    Event::State(v1::StateChanged {
        state: state.into(),
        error: error.to_owned(),
    })
}

fn seconds_of(live: &Live) -> f64 {
    live.running.map_or(live.job.seconds, |(since, before)| {
        before + since.elapsed().as_secs_f64()
    })
}
