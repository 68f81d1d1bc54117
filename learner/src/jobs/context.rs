//! A job as its thread sees it. This is the one place where tensor code, which runs on a plain thread, meets the
//! asynchronous side of the process.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1::Activity;
use anytime_proto::{JobId, v1};
use anytime_service::seconds::Seconds;
use tracing::warn;

use super::checked::FileStamp;
use super::entry::JobEntry;
use super::fault::{Fault, advice, fault_of, is_of_ranks};
use super::interrupt::Interrupted;
use super::pauses::retry_pause;
use super::store::checked_files;
use crate::hub::HubSource;
use crate::lock::lock;
use crate::outputs::{Owner, Places};
use crate::queue::reader::GroupReader;
use crate::rollouts::group::{EvaluatedGroup, QueuedGroup, TrainingOpening};
use crate::server_state::ServerState;
use crate::weights::published::PublishedWeights;

/// Progress of an evaluation is an event no more often than this.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Why a call of the job's thread brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The job is to stop; the call may have waited for actors or for Redis until then.
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    /// The job cannot go on.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Whether a failure is that the job was asked to stop.
pub fn interruption(failure: &anyhow::Error) -> Option<Interrupted> {
    failure.chain().find_map(|cause| {
        if let Some(interrupted) = cause.downcast_ref::<Interrupted>() {
            return Some(*interrupted);
        }
        match cause.downcast_ref::<ContextError>() {
            Some(ContextError::Interrupted(interrupted)) => Some(*interrupted),
            _ => None,
        }
    })
}

/// How long a job that is to stop still tries to acknowledge groups.
const LAST_ACKNOWLEDGEMENT: Duration = Duration::from_secs(1);

/// One job as its thread sees it: what it is to do, and everything it asks of the rest of the process.
///
/// Every method may be called from a plain thread. Those that wait for actors or for Redis return early with
/// [`Interrupted`] when the job is to stop.
pub struct JobContext {
    state: Arc<ServerState>,
    entry: Arc<JobEntry>,
    settings: JobSettings,
    /// The queue's reader, while training is open.
    reader: Mutex<Option<GroupReader>>,
    /// The manifest checksum of the published version; empty before the first.
    manifest_checksum: Mutex<String>,
    /// What waits until the job is recorded as succeeded.
    afterwards: Mutex<Option<Afterwards>>,
}

/// What is done once a job is recorded as succeeded.
pub(super) type Afterwards = Box<dyn FnOnce() + Send>;

impl JobContext {
    pub(crate) fn new(state: Arc<ServerState>, entry: Arc<JobEntry>, settings: JobSettings) -> Self {
        Self {
            state,
            entry,
            settings,
            reader: Mutex::new(None),
            manifest_checksum: Mutex::new(String::new()),
            afterwards: Mutex::new(None),
        }
    }

    /// Runs `work` once the job is recorded as succeeded, and never if it does not succeed: for the removal of files
    /// that the job needs as long as its success is not on disk. A second call replaces the `work` of the first.
    pub fn once_succeeded(&self, work: impl FnOnce() + Send + 'static) {
        *lock(&self.afterwards) = Some(Box::new(work));
    }

    pub(super) fn take_afterwards(&self) -> Option<Afterwards> {
        lock(&self.afterwards).take()
    }

    /// The job's id.
    pub fn job_id(&self) -> &JobId {
        self.entry.id()
    }

    /// What the job is to do.
    pub fn settings(&self) -> &JobSettings {
        &self.settings
    }

    /// Where the job keeps its files. The names that [`crate::jobs::store`] lists are taken.
    pub fn directory(&self) -> &Path {
        self.entry.directory()
    }

    /// Where relative paths of the specification start.
    pub fn root(&self) -> &Path {
        &self.state.root
    }

    /// The argument `--device`.
    pub fn device(&self) -> &str {
        &self.state.device
    }

    /// The argument `--memory-share`.
    pub fn memory_share(&self) -> f64 {
        self.state.memory_share
    }

    /// Where models may be written.
    pub fn places(&self) -> &Places {
        &self.state.places
    }

    /// Where the Hugging Face hub is.
    pub fn hub(&self) -> &HubSource {
        &self.state.hub
    }

    /// The job, told from every other one of the same name.
    pub fn owner(&self) -> Owner {
        self.entry.owner()
    }

    /// To be called between pieces of long work.
    ///
    /// # Errors
    /// If the job is to stop.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.entry.cancelled().is_cancelled() {
            return Err(Interrupted::Cancelled);
        }
        if self.state.shutdown.is_cancelled() {
            return Err(Interrupted::Shutdown);
        }
        Ok(())
    }

    /// Writes something that a job must not lose. Where the disk refuses for a reason that may pass, the job pauses with
    /// its state in memory and tries again, until the disk takes it or the job is to stop. Where the ranks that have a part
    /// of it cannot go on together, the run is over, and the next one begins at the last checkpoint.
    ///
    /// # Errors
    /// If the job is to stop, or the failure is none that may pass.
    pub fn write_or_wait<T>(&self, mut write: impl FnMut() -> anyhow::Result<T>) -> Result<T, ContextError> {
        let mut tries = 0;
        loop {
            let outcome = write();
            let reason = match &outcome {
                Err(failure) if fault_of(failure) == Fault::Passing && !is_of_ranks(failure) => format!("{failure:#}"),
                _ => {
                    if tries > 0 {
                        self.entry.go_on();
                    }
                    return Ok(outcome?);
                }
            };
            let pause = retry_pause(tries);
            tries += 1;
            let advice = advice(&reason);
            warn!(job_id = %self.job_id(), reason, seconds = pause.as_secs_f64(), "a job is paused until the disk takes it");
            self.entry.pause(
                &format!("{reason}; {advice}: the job goes on by itself, and has lost nothing"),
                Some(pause),
            );
            let pausing = async {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.entry.nudged() => {}
                }
            };
            self.during(Activity::AwaitsDisk, || self.wait(pausing))?;
        }
    }

    /// To be called between steps: where the disk has refused events or the job's figures, waits until it takes them.
    ///
    /// # Errors
    /// If the job is to stop, or the disk refuses for a reason that does not pass.
    pub fn wait_until_recorded(&self) -> Result<(), ContextError> {
        self.write_or_wait(|| self.entry.record())
    }

    /// Records something that a user should know about the job: a word for what it is about, and a sentence.
    pub fn notice(&self, topic: &str, text: &str) {
        warn!(job_id = %self.job_id(), topic, text, "notice");
        self.entry.notice(topic, text);
    }

    /// What was noticed about the job so far, also before a restart: the newest.
    pub fn notices(&self) -> Vec<v1::Notice> {
        self.entry.job().notices
    }

    /// Records that the job goes on from the checkpoint of this step. Steps that were reported behind it are undone.
    pub fn report_going_on(&self, step: u64) {
        self.entry.report_going_on(step);
    }

    /// Makes sure that the events so far survive a loss of power. Call it before a checkpoint is written, so that no
    /// checkpoint holds a step whose event is lost.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sync_events(&self) -> anyhow::Result<()> {
        self.entry.sync_events()
    }

    /// Records a finished step.
    pub fn report_step(&self, metrics: v1::StepMetrics) {
        self.entry.report_step(metrics);
    }

    /// Records a finished evaluation. After a restart it replaces the evaluation of the same step.
    pub fn report_evaluation(&self, result: v1::EvaluationResult) {
        self.entry.report_evaluation(result);
    }

    /// Records how far an evaluation is. [`JobContext::evaluate`] does this by itself.
    pub fn report_evaluation_progress(&self, done: u32, total: u32) {
        self.entry.report_evaluation_progress(done, total);
    }

    /// Records that a Hugging Face export has been written.
    pub fn report_checkpoint(&self, directory: &Path) {
        self.entry.report_checkpoint(directory);
    }

    /// Records that the recovery checkpoint of this step has been written.
    pub fn report_recovery(&self, step: u64) {
        self.entry.report_recovery(step);
    }

    /// The files that were read when the job was submitted, as they were then.
    pub fn checked_files(&self) -> Vec<FileStamp> {
        checked_files(self.directory())
    }

    /// The job as it is recorded, also before a restart.
    pub fn job(&self) -> v1::Job {
        self.entry.job()
    }

    /// The evaluations that were reported, also before a restart, by step.
    pub fn evaluations(&self) -> Vec<v1::EvaluationResult> {
        self.entry.evaluations()
    }

    /// Makes a version the current one: it is announced to actors, and leases follow it. Takes as long as hashing the
    /// bytes.
    pub fn publish(&self, weights: PublishedWeights) {
        let held = self.state.weights.publish(self.job_id(), weights);
        held.manifest_checksum.clone_into(&mut lock(&self.manifest_checksum));
        self.state
            .broker
            .set_version(self.job_id(), held.version, &held.manifest_checksum);
    }

    /// The checksum of the published version's manifest, which evaluation leases carry; empty before the first.
    pub fn manifest_checksum(&self) -> String {
        lock(&self.manifest_checksum).clone()
    }

    /// Lets actors lease training problems, from the first published version on. Waits for Redis.
    ///
    /// # Errors
    /// If the job is to stop, training is open already, or the opening makes no sense.
    pub fn open_training(&self, opening: TrainingOpening) -> Result<(), ContextError> {
        let opened = self.during(Activity::AwaitsRedis, || {
            self.wait((self.state.broker).open_training(self.job_id(), self.owner().created, opening))
        });
        let reader = opened??;
        *lock(&self.reader) = Some(reader);
        Ok(())
    }

    /// Takes this learner's right to the job, which keeps other learners on the same Redis out.
    ///
    /// # Errors
    /// If the job is to stop, or another learner works on it.
    pub fn take_right(&self) -> Result<(), ContextError> {
        let taken = self.during(Activity::AwaitsRedis, || {
            self.wait(self.state.broker.take_right(self.job_id()))
        });
        let outcome = taken?;
        Ok(outcome.map_err(anyhow::Error::new)?)
    }

    /// Checks that no other learner has taken the job, before something is written to the job's own directory, which
    /// only one learner can lock. A Redis that does not answer for a moment is no error here, so that no checkpoint is
    /// lost.
    ///
    /// # Errors
    /// If another learner has it.
    pub fn check_right(&self) -> anyhow::Result<()> {
        let confirmed = self.state.broker.confirm_right(self.job_id());
        let first_try = async { tokio::time::timeout(LAST_ACKNOWLEDGEMENT, confirmed).await };
        match self.state.runtime.block_on(first_try) {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Ok(()),
        }
    }

    /// Makes sure that no other learner has taken the job, before something is written that the other one would write
    /// too. Waits for Redis; a job that is to stop tries for a moment.
    ///
    /// # Errors
    /// If the job is to stop, or another learner has it.
    pub fn confirm_right(&self) -> Result<(), ContextError> {
        let broker = &self.state.broker;
        let first_try = async { tokio::time::timeout(LAST_ACKNOWLEDGEMENT, broker.confirm_right(self.job_id())).await };
        let outcome = match self.state.runtime.block_on(first_try) {
            Ok(outcome) => outcome,
            Err(_) => self.during(Activity::AwaitsRedis, || self.wait(broker.confirm_right(self.job_id())))?,
        };
        Ok(outcome.map_err(anyhow::Error::new)?)
    }

    /// Takes the next `count` groups in the order of training, waiting for each. They stay in Redis until they are
    /// acknowledged.
    ///
    /// # Errors
    /// If the job is to stop, training is not open, or actors give every problem up.
    pub fn take_groups(&self, count: usize) -> Result<Vec<QueuedGroup>, ContextError> {
        let mut reader = lock(&self.reader);
        let reader = reader.as_mut().context("training is not open")?;
        self.entry.activity.begin(Activity::AwaitsGroups);
        let taken = self.wait(self.state.broker.take(self.job_id(), reader, count));
        self.entry.activity.begin(Activity::Computes);
        Ok(taken??)
    }

    /// The same, and counts the time that it takes, while it goes on.
    ///
    /// # Errors
    /// As [`take_groups`](Self::take_groups).
    pub fn take_groups_counting(&self, count: usize, waited: &mut Seconds) -> Result<Vec<QueuedGroup>, ContextError> {
        let mut reader = lock(&self.reader);
        let reader = reader.as_mut().context("training is not open")?;
        self.entry.activity.begin(Activity::AwaitsGroups);
        let taken = self.wait(waited.during(self.state.broker.take(self.job_id(), reader, count)));
        self.entry.activity.begin(Activity::Computes);
        Ok(taken??)
    }

    /// Removes groups from Redis, once a recovery checkpoint holds the updates that they made. By that checkpoint all
    /// sequences below `ended_below` have ended, so Redis forgets how each of them did. Waits for Redis; a job that is
    /// to stop still tries for a moment. Groups that stay in Redis are removed when training is opened again.
    ///
    /// # Errors
    /// If the job is to stop, or training is not open.
    pub fn acknowledge(&self, sequences: &[u64], ended_below: u64) -> Result<(), ContextError> {
        let reader = lock(&self.reader);
        let queue = reader.as_ref().context("training is not open")?.queue();
        let broker = &self.state.broker;
        let first_try = async {
            let settled = broker.acknowledge(self.job_id(), queue, sequences, ended_below);
            tokio::time::timeout(LAST_ACKNOWLEDGEMENT, settled).await.is_ok()
        };
        if self.state.runtime.block_on(first_try) {
            return Ok(());
        }
        let settled = broker.acknowledge(self.job_id(), queue, sequences, ended_below);
        Ok(self.during(Activity::AwaitsRedis, || self.wait(settled))?)
    }

    /// How many scored groups wait in the queue.
    pub fn queue_depth(&self) -> u64 {
        self.state.broker.queue_figures(self.job_id()).0
    }

    /// How many groups were dropped as too old since the job started.
    pub fn dropped_groups(&self) -> u64 {
        self.state.broker.queue_figures(self.job_id()).1
    }

    /// The groups that were left out since the last call (dropped as too old, or given up by the actors), and those that
    /// were replayed.
    pub fn take_left_out(&self) -> (Vec<v1::LeftOutGroup>, Vec<u64>) {
        self.state.broker.take_left_out(self.job_id())
    }

    /// Stops leasing training problems. Queued groups stay in Redis until the job has ended.
    pub fn close_training(&self) {
        self.state.broker.close_training(self.job_id());
        lock(&self.reader).take();
    }

    /// Leases groups out for evaluation and hands them to `take` one by one, in the order in which they come, until all
    /// are there but those that failed too often. `take` should keep what it needs of a group and no more: actors push
    /// only as fast as it takes, and no more groups than a few wait in memory. Progress is reported. Meanwhile no
    /// training problem of the job is leased.
    ///
    /// # Errors
    /// If the job is to stop.
    pub fn evaluate(&self, leases: Vec<v1::Lease>, take: impl FnMut(EvaluatedGroup)) -> Result<(), ContextError> {
        self.state.broker.open_evaluation(self.job_id(), leases);
        let outcome = self.during(Activity::Evaluates, || self.take_evaluated(take));
        self.state.broker.close_evaluation(self.job_id());
        outcome
    }

    fn take_evaluated(&self, mut take: impl FnMut(EvaluatedGroup)) -> Result<(), ContextError> {
        let mut reported: Option<(u32, Instant)> = None;
        let mut progress = |done: u32, total: u32| {
            let is_due =
                reported.is_none_or(|(last, time)| done > last && (done == total || time.elapsed() >= PROGRESS_EVERY));
            if is_due {
                reported = Some((done, Instant::now()));
                self.entry.report_evaluation_progress(done, total);
            }
        };
        while let Some(group) = self.wait(self.state.broker.next_evaluated(self.job_id(), &mut progress))?? {
            take(group);
        }
        Ok(())
    }

    /// Does some work, and says meanwhile what is done.
    fn during<T>(&self, activity: Activity, work: impl FnOnce() -> T) -> T {
        let before = self.entry.activity.begin(activity);
        let outcome = work();
        self.entry.activity.begin(before);
        outcome
    }

    /// Waits for a future of the asynchronous side, or for the request to stop.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, Interrupted> {
        self.state.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.entry.cancelled().cancelled() => Err(Interrupted::Cancelled),
                () = self.state.shutdown.cancelled() => Err(Interrupted::Shutdown),
                output = future => Ok(output),
            }
        })
    }
}
