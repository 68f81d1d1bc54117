//! One job in memory, with everything that changes it. Each change is an event on disk and wakes those who watch the
//! job.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use anytime_proto::JobId;
use anytime_proto::v1::{self, JobState, job_event::Event};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::activity::CurrentActivity;
use super::crashes::count_crash;
use super::events::{timestamp, without_account};
use super::live::{Change, Live, LiveJob};
use super::states::{Beginning, Cancellation, MOST_NOTICES, Standing, has_ended};
use super::store::{StoredJob, save_cancellation, save_job};
use crate::invariants::{debug_assert_held, job_move};
use crate::outputs::Owner;

/// The job's file is written no more often than this for finished steps, which may follow each other quickly.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// The outcome of starting a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs.
    Running,
    /// It had ended, and does not run.
    HadEnded,
    /// It does not run, and is to end as cancelled.
    WasCancelled,
    /// The process ended under it too often, so it waits for a person.
    Paused,
}

/// What watchers wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the newest event.
    pub last_event: u64,
    /// No event will follow.
    pub ended: bool,
}

/// One job in memory. The thread that runs it reports to it, requests read and cancel it, and watchers wait for its
/// events; all of them share it.
pub struct JobEntry {
    pub(super) id: JobId,
    request_id: String,
    pub(super) directory: PathBuf,
    cancelled: CancellationToken,
    /// Told when a pause is to end at once.
    pub(super) nudged: Notify,
    pub(super) live: LiveJob,
    /// How many requests work on it that a removal must not overtake. Raised only by who has the right to change it.
    pub(super) users: AtomicU32,
    progress: watch::Sender<Progress>,
    /// What the thread of jobs does with it.
    pub(super) activity: CurrentActivity,
}

impl JobEntry {
    /// A job that is on disk.
    pub fn new(stored: StoredJob) -> Self {
        let cancelled = CancellationToken::new();
        if stored.was_cancelled {
            cancelled.cancel();
        }
        let progress = Progress {
            last_event: stored.log.last_number(),
            ended: has_ended(stored.job.state()),
        };
        Self {
            id: JobId(stored.job.id.clone()),
            request_id: stored.request_id.clone(),
            directory: stored.directory.clone(),
            cancelled,
            nudged: Notify::new(),
            live: LiveJob::new(Live::new(stored)),
            users: AtomicU32::new(0),
            progress: watch::Sender::new(progress),
            activity: CurrentActivity::default(),
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
        let seen = self.live.seen();
        let mut job = seen.job.clone();
        job.seconds = seen.seconds();
        job
    }

    /// Its state: queued, running, or how it ended.
    pub fn state(&self) -> JobState {
        self.live.seen().job.state()
    }

    /// The setting `checkpoint.output`; none where the job writes its model into its own directory.
    pub(super) fn output(&self) -> Option<String> {
        let seen = self.live.seen();
        seen.job.spec.as_ref()?.checkpoint.as_ref()?.output.clone()
    }

    /// Whether the job goes on when the process starts: it ran, it was to be tried again, or it still has to be told that
    /// it was cancelled.
    pub(super) fn goes_on_at_start(&self) -> bool {
        self.standing(&self.live.change()).goes_on_at_start()
    }

    /// What its next state depends on.
    pub(super) fn standing(&self, live: &Live) -> Standing {
        Standing {
            state: live.job.state(),
            is_held: live.is_held,
            is_cancelled: self.cancelled.is_cancelled(),
            will_be_tried: live.job.retry_at.is_some(),
        }
    }

    /// When it was submitted, in a form that sorts, and that tells it from another job of the same id.
    pub fn created(&self) -> (i64, i32) {
        let created = self.live.seen().job.created;
        created.map_or((0, 0), |time| (time.seconds, time.nanos))
    }

    /// The job, told from every other one of the same name.
    pub fn owner(&self) -> Owner {
        owner_of(&self.live.seen().job)
    }

    /// The number of the newest event.
    pub fn last_event(&self) -> u64 {
        self.live.seen().last_event
    }

    /// How many steps were undone, and how many bytes of the event log belong to no whole event.
    pub fn undone_and_damaged(&self) -> (u64, u64) {
        let seen = self.live.seen();
        (seen.undone_steps, seen.damaged)
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
        let on_disk = {
            let live = self.live.change();
            if let Some(events) = live.log.recent_after(after, limit) {
                return Ok(events);
            }
            live.log.on_disk_after(after)
        };
        on_disk.read(limit)
    }

    /// Writes the first event of a new job, at the time at which it was created.
    pub fn announce(&self) {
        let mut live = self.live.change();
        let (state, created) = (live.job.state(), live.job.created.unwrap_or_else(timestamp));
        if let Err(failure) = live.log.append_at(state_event(state, ""), created) {
            error!(job_id = %self.id, error = format!("{failure:#}"), "cannot record the job; it is kept in memory until it can");
        }
        self.change_locked(live, None, true, |_| {});
    }

    /// Marks the job as running: at its first start, after a restart of the process, or after a pause.
    pub fn start(&self) -> Started {
        let mut live = self.live.change();
        let state = live.job.state();
        match self.standing(&live).beginning() {
            Beginning::HasEnded => return Started::HadEnded,
            Beginning::WasCancelled => return Started::WasCancelled,
            Beginning::RunsAgain => {
                if let Some(reason) = count_crash(&mut live.job) {
                    self.pause_locked(live, &reason, None);
                    return Started::Paused;
                }
            }
            Beginning::Runs => {}
        }
        live.running = Some((Instant::now(), live.job.seconds));
        live.is_held = true;
        live.series.begin();
        self.activity.begin(v1::Activity::Prepares);
        let event = (state != JobState::Running).then(|| state_event(JobState::Running, ""));
        self.change_locked(live, event, true, |job| {
            job.set_state(JobState::Running);
            job.error.clear();
            job.retry_at = None;
            job.started.get_or_insert_with(timestamp);
        });
        Started::Running
    }

    /// Notes that the process was told to end while the job runs. The job is resumed at the next start.
    pub fn suspend(&self) {
        self.change(None, true, |job| {
            job.crashes = Some(v1::Crashes {
                expected: true,
                ..v1::Crashes::default()
            });
        });
    }

    /// Notes that the thread has let go of a suspended job.
    pub(super) fn let_go(&self) {
        let mut live = self.live.change();
        live.job.seconds = live.seconds();
        live.running = None;
        live.is_held = false;
    }

    /// Records something that a user should know, in the job's events and with the job.
    pub fn notice(&self, topic: &str, text: &str) {
        let mut live = self.live.change();
        let notice = v1::Notice {
            topic: topic.to_owned(),
            text: text.to_owned(),
            step: live.job.step,
        };
        let notices = &mut live.job.notices;
        notices.push(notice.clone());
        let surplus = notices.len().saturating_sub(MOST_NOTICES);
        notices.drain(..surplus);
        self.change_locked(live, Some(Event::Notice(notice)), true, |_| {});
    }

    /// Writes what the disk has refused so far: events, the job.
    ///
    /// # Errors
    /// If it still refuses.
    pub(super) fn record(&self) -> anyhow::Result<()> {
        let mut live = self.live.change();
        if !live.is_unsaved && !live.log.has_unwritten() {
            return Ok(());
        }
        self.save_locked(&mut live)
    }

    /// Makes sure that the events so far survive a loss of power.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn sync_events(&self) -> anyhow::Result<()> {
        let mut live = self.live.change();
        live.log.write()?;
        live.log.sync()
    }

    fn save_locked(&self, live: &mut Live) -> anyhow::Result<()> {
        live.is_unsaved = true;
        live.log.write()?;
        live.log.sync()?;
        save_job(&self.directory, &live.job)?;
        live.is_unsaved = false;
        live.saved = Instant::now();
        Ok(())
    }

    /// Marks the job as ended, with the reason where it failed.
    pub fn finish(&self, state: JobState, reason: &str) {
        self.finish_locked(self.live.change(), state, reason);
    }

    fn finish_locked(&self, mut live: Change<'_>, state: JobState, reason: &str) {
        live.job.seconds = live.seconds();
        live.running = None;
        live.is_held = false;
        self.change_locked(live, Some(state_event(state, reason)), true, |job| {
            job.set_state(state);
            reason.clone_into(&mut job.error);
            job.retry_at = None;
            job.ended = Some(timestamp());
        });
    }

    /// Asks the job to end. A job that waits for its turn, is paused or has failed ends at once; one that the thread
    /// works on ends when its thread notices. May be repeated. Returns whether this ended a job that kept its queue.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn cancel(&self) -> anyhow::Result<bool> {
        let live = self.live.change();
        let cancellation = self.standing(&live).cancellation();
        if live.is_removed || cancellation == Cancellation::Nothing {
            return Ok(false);
        }
        let keeps_queue = matches!(live.job.state(), JobState::Failed | JobState::Paused);
        // Under the lock: the directory of a job that is removed meanwhile may be another job's.
        save_cancellation(&self.directory)?;
        self.cancelled.cancel();
        if cancellation == Cancellation::AtOnce {
            self.finish_locked(live, JobState::Cancelled, "");
            return Ok(keeps_queue);
        }
        Ok(false)
    }

    /// Records a finished step.
    pub fn report_step(&self, metrics: v1::StepMetrics) {
        self.activity.has_prepared();
        self.change(Some(Event::Step(metrics.clone())), false, |job| {
            job.step = metrics.step;
            job.last_step = Some(without_account(metrics));
        });
    }

    /// Records that the job goes on from the checkpoint of this step. Steps that were reported behind it are undone.
    pub fn report_going_on(&self, step: u64) {
        let live = self.live.change();
        if live.job.step <= step {
            return;
        }
        let event = Event::WentOn(v1::WentOn { step });
        self.change_locked(live, Some(event), true, |job| job.step = step);
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

    /// Records that the recovery checkpoint of this step has been written.
    pub fn report_recovery(&self, step: u64) {
        self.change(None, true, |job| job.recovery_step = Some(step));
    }

    /// The finished evaluations, by step.
    pub fn evaluations(&self) -> Vec<v1::EvaluationResult> {
        self.live.seen().job.evaluations.clone()
    }

    /// Makes up for figures of a job that is over which an earlier process could not write for other tools.
    pub(super) fn make_up_for_figures(&self) {
        let mut live = self.live.change();
        let Live { series, log, job, .. } = &mut *live;
        if has_ended(job.state()) {
            series.make_up(log, job);
        }
    }

    /// Changes the job, logs the event and wakes watchers. `durably` says that a crash must not undo the change. An
    /// error of the disk is logged and no more, since the job itself can go on.
    pub(super) fn change(&self, event: Option<Event>, durably: bool, change: impl FnOnce(&mut v1::Job)) {
        self.change_locked(self.live.change(), event, durably, change);
    }

    pub(super) fn change_locked(
        &self,
        mut live: Change<'_>,
        event: Option<Event>,
        durably: bool,
        change: impl FnOnce(&mut v1::Job),
    ) {
        if live.is_removed {
            return;
        }
        let before = live.job.state();
        change(&mut live.job);
        debug_assert_held(|| job_move(before, live.job.state()));
        live.job.seconds = live.seconds();
        let mut outcome = event.map_or(Ok(()), |event| live.log.append(event));
        let Live { series, log, job, .. } = &mut *live;
        if has_ended(job.state()) {
            series.conclude(log, job);
        } else {
            series.follow(log, job);
        }
        if durably || live.saved.elapsed() >= SAVE_EVERY {
            outcome = outcome.and(self.save_locked(&mut live));
        }
        if let Err(failure) = outcome {
            error!(job_id = %self.id, error = format!("{failure:#}"), "cannot record the job; it is kept in memory until it can");
        }
        let progress = Progress {
            last_event: live.log.last_number(),
            ended: has_ended(live.job.state()),
        };
        drop(live);
        self.progress.send_replace(progress);
    }
}

/// The job, told from every other one of the same name.
pub fn owner_of(job: &v1::Job) -> Owner {
    let (seconds, nanos) = job.created.as_ref().map_or((0, 0), |time| (time.seconds, time.nanos));
    Owner {
        job: job.id.clone(),
        created: format!("{seconds}.{nanos:09}"),
    }
}

pub(super) fn state_event(state: JobState, error: &str) -> Event {
    Event::State(v1::StateChanged {
        state: state.into(),
        error: error.to_owned(),
        retry_at: None,
    })
}
