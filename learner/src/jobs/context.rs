//! The desk of a job: everything that the job's thread, which runs tensor code, asks of the rest of the process.
//!
//! Every method may be called from a plain thread. Those that wait for actors or for Redis return early with
//! [`Interrupted`].

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use anytime_proto::settings::JobSettings;
use anytime_proto::{JobId, WeightsVersion, v1};
use bytes::Bytes;

use crate::jobs::entry::JobEntry;
use crate::lock::lock;
use crate::queue::reader::GroupReader;
use crate::server_state::Hall;

/// Progress of an evaluation is an event no more often than this.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Why the job's thread should stop what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The user cancelled the job: it ends as cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The process ends: the job goes on from its recovery checkpoint at the next start.
    #[error("the learner is shutting down")]
    Shutdown,
}

/// Why a call at the desk brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The job is to stop.
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    /// The job cannot go on.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// One version of the weights, as it is sent to actors.
pub struct PublishedWeights {
    /// How many steps have been trained.
    pub version: WeightsVersion,
    /// Files of the model directory that are not weights, by name.
    pub assets: Vec<(String, Bytes)>,
    /// Named as in the checkpoint.
    pub tensors: Vec<PublishedTensor>,
}

/// One tensor, little-endian and contiguous.
pub struct PublishedTensor {
    /// Its key in the checkpoint.
    pub name: String,
    /// The safetensors name of the element type: `F32` or `BF16`.
    pub dtype: String,
    /// Its dimensions.
    pub shape: Vec<u64>,
    /// Its elements.
    pub data: Bytes,
}

/// A scored group out of the replay queue. It stays in the queue until it is acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedGroup {
    /// Its number in the order of training problems.
    pub sequence: u64,
    /// What the actor pushed.
    pub group: v1::ScoredGroup,
}

/// What is needed to lease training problems and to queue what comes back.
pub struct TrainingOpening {
    /// Problem by sequence number.
    pub problems: Box<dyn ProblemSource>,
    /// How every group is generated.
    pub plan: v1::RolloutPlan,
    /// Groups per step.
    pub batch: u32,
    /// How many versions older than the published one a token may be.
    pub max_staleness: u64,
    /// Groups that wait in the queue at most.
    pub queue_groups: u32,
    /// How long an actor may keep a lease.
    pub lease_seconds: u32,
    /// Every lease's seed derives from it.
    pub seed: u64,
    /// The lowest sequence that is not known to be consumed: everything below has been trained.
    pub next_sequence_from: u64,
    /// The sequences above it that have been trained.
    pub consumed: BTreeSet<u64>,
    /// Steps × batch: never more groups are leased than can be trained.
    pub total_groups: u64,
}

/// The problem with number `sequence` in the order of training: a pure function, so that a lease can be given again.
pub trait ProblemSource: Send {
    /// The problem with that number.
    fn problem(&self, sequence: u64) -> v1::Problem;
}

/// How long groups are tried to be acknowledged although the job is to stop.
const LAST_ACKNOWLEDGEMENT: Duration = Duration::from_secs(1);

/// One job as its thread sees it.
pub struct JobContext {
    hall: Arc<Hall>,
    entry: Arc<JobEntry>,
    settings: JobSettings,
    /// There while training is open.
    reader: Mutex<Option<GroupReader>>,
    /// Of the published version; empty before the first.
    manifest_checksum: Mutex<String>,
}

impl JobContext {
    pub(crate) fn new(hall: Arc<Hall>, entry: Arc<JobEntry>, settings: JobSettings) -> Self {
        Self {
            hall,
            entry,
            settings,
            reader: Mutex::new(None),
            manifest_checksum: Mutex::new(String::new()),
        }
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
        &self.hall.root
    }

    /// The argument `--device`.
    pub fn device(&self) -> &str {
        &self.hall.device
    }

    /// Asked between pieces of long work.
    ///
    /// # Errors
    /// If the job is to stop.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.entry.cancelled().is_cancelled() {
            return Err(Interrupted::Cancelled);
        }
        if self.hall.shutdown.is_cancelled() {
            return Err(Interrupted::Shutdown);
        }
        Ok(())
    }

    /// A step is done.
    pub fn report_step(&self, metrics: v1::StepMetrics) {
        self.entry.report_step(metrics);
    }

    /// An evaluation is done. After a restart it takes the place of the one of the same step.
    pub fn report_evaluation(&self, result: v1::EvaluationResult) {
        self.entry.report_evaluation(result);
    }

    /// An evaluation goes on. [`JobContext::evaluate`] does this by itself.
    pub fn report_evaluation_progress(&self, done: u32, total: u32) {
        self.entry.report_evaluation_progress(done, total);
    }

    /// A Hugging Face export has been written.
    pub fn report_checkpoint(&self, directory: &Path) {
        self.entry.report_checkpoint(directory);
    }

    /// The evaluations that were reported, also before a restart, by step.
    pub fn evaluations(&self) -> Vec<v1::EvaluationResult> {
        self.entry.evaluations()
    }

    /// Makes a version the current one: it is announced, and leases follow it. Takes as long as hashing the bytes.
    pub fn publish(&self, weights: PublishedWeights) {
        let held = self.hall.shelf.publish(self.job_id(), weights);
        held.manifest_checksum.clone_into(&mut lock(&self.manifest_checksum));
        self.hall.exchange.set_version(self.job_id(), held.version);
    }

    /// The checksum of the published version's manifest, which evaluation leases carry; empty before the first.
    pub fn manifest_checksum(&self) -> String {
        lock(&self.manifest_checksum).clone()
    }

    /// From now on training problems are leased, once a version is published. Waits for Redis.
    ///
    /// # Errors
    /// If the job is to stop, training is open already, or the opening makes no sense.
    pub fn open_training(&self, opening: TrainingOpening) -> Result<(), DeskError> {
        let (seconds, nanos) = self.entry.created();
        let owner = format!("{seconds}.{nanos:09}");
        let reader = self.wait(self.hall.exchange.open_training(self.job_id(), owner, opening))??;
        *lock(&self.reader) = Some(reader);
        Ok(())
    }

    /// Takes groups out of the queue that are fresh enough for the published version, waiting until there are `count`.
    /// They are in the order of their sequences, and stay in Redis until they are acknowledged.
    ///
    /// # Errors
    /// If the job is to stop, training is not open, or actors give every problem up.
    pub fn take_groups(&self, count: usize) -> Result<Vec<QueuedGroup>, DeskError> {
        let mut reader = lock(&self.reader);
        let reader = reader.as_mut().context("training is not open")?;
        Ok(self.wait(self.hall.exchange.take(self.job_id(), reader, count))??)
    }

    /// Removes groups from Redis, after a recovery checkpoint that holds what came of them. Waits for Redis; when the job
    /// is to stop it is tried all the same, briefly. What stays in Redis is removed when training is opened again.
    ///
    /// # Errors
    /// If the job is to stop, or training is not open.
    pub fn acknowledge(&self, sequences: &[u64]) -> Result<(), DeskError> {
        let reader = lock(&self.reader);
        let stream = reader.as_ref().context("training is not open")?.stream();
        let exchange = &self.hall.exchange;
        let first_try = async {
            let settled = exchange.acknowledge(self.job_id(), stream, sequences);
            tokio::time::timeout(LAST_ACKNOWLEDGEMENT, settled).await.is_ok()
        };
        if self.hall.runtime.block_on(first_try) {
            return Ok(());
        }
        Ok(self.wait(exchange.acknowledge(self.job_id(), stream, sequences))?)
    }

    /// Scored groups that wait in the queue.
    pub fn queue_depth(&self) -> u64 {
        self.hall.exchange.queue_figures(self.job_id()).0
    }

    /// Groups dropped as too old since the job started.
    pub fn dropped_groups(&self) -> u64 {
        self.hall.exchange.queue_figures(self.job_id()).1
    }

    /// No training problem is leased any more. What is queued stays in Redis until the job has ended.
    pub fn close_training(&self) {
        self.hall.exchange.close_training(self.job_id());
        lock(&self.reader).take();
    }

    /// Leases groups out for evaluation and collects them, in the order of the leases; progress is reported. Meanwhile
    /// no training problem of the job is leased.
    ///
    /// # Errors
    /// If the job is to stop, or a group fails too often.
    pub fn evaluate(&self, leases: Vec<v1::Lease>) -> Result<Vec<v1::ScoredGroup>, DeskError> {
        let mut reported: Option<(u32, Instant)> = None;
        let progress = |done: u32, total: u32| {
            let is_due =
                reported.is_none_or(|(last, time)| done > last && (done == total || time.elapsed() >= PROGRESS_EVERY));
            if is_due {
                reported = Some((done, Instant::now()));
                self.entry.report_evaluation_progress(done, total);
            }
        };
        let outcome = self.wait(self.hall.exchange.evaluate(self.job_id(), leases, progress));
        self.hall.exchange.close_evaluation(self.job_id());
        Ok(outcome??)
    }

    /// Waits for what the asynchronous side brings, or for the end.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, Interrupted> {
        self.hall.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.entry.cancelled().cancelled() => Err(Interrupted::Cancelled),
                () = self.hall.shutdown.cancelled() => Err(Interrupted::Shutdown),
                output = future => Ok(output),
            }
        })
    }
}
