//! The desk of a job: everything that the job's thread, which runs tensor code, asks of the rest of the process.
//!
//! Every method may be called from a plain thread. Those that wait for actors or for Redis return early with
//! [`Interrupted`].

use std::collections::BTreeSet;
use std::path::Path;

use anytime_proto::settings::JobSettings;
use anytime_proto::{JobId, WeightsVersion, v1};
use bytes::Bytes;

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

/// One job as its thread sees it.
pub struct JobContext {}

#[allow(missing_docs, unused_variables)]
impl JobContext {
    pub fn job_id(&self) -> &JobId {
        unimplemented!()
    }
    pub fn settings(&self) -> &JobSettings {
        unimplemented!()
    }
    pub fn directory(&self) -> &Path {
        unimplemented!()
    }
    pub fn root(&self) -> &Path {
        unimplemented!()
    }
    pub fn device(&self) -> &str {
        unimplemented!()
    }
    pub fn check(&self) -> Result<(), Interrupted> {
        unimplemented!()
    }
    pub fn report_step(&self, metrics: v1::StepMetrics) {
        unimplemented!()
    }
    pub fn report_evaluation(&self, result: v1::EvaluationResult) {
        unimplemented!()
    }
    pub fn report_evaluation_progress(&self, done: u32, total: u32) {
        unimplemented!()
    }
    pub fn report_checkpoint(&self, directory: &Path) {
        unimplemented!()
    }
    pub fn evaluations(&self) -> Vec<v1::EvaluationResult> {
        unimplemented!()
    }
    pub fn publish(&self, weights: PublishedWeights) {
        unimplemented!()
    }
    pub fn manifest_checksum(&self) -> String {
        unimplemented!()
    }
    pub fn open_training(&self, opening: TrainingOpening) -> Result<(), DeskError> {
        unimplemented!()
    }
    pub fn take_groups(&self, count: usize) -> Result<Vec<QueuedGroup>, DeskError> {
        unimplemented!()
    }
    pub fn acknowledge(&self, sequences: &[u64]) -> Result<(), DeskError> {
        unimplemented!()
    }
    pub fn queue_depth(&self) -> u64 {
        unimplemented!()
    }
    pub fn dropped_groups(&self) -> u64 {
        unimplemented!()
    }
    pub fn close_training(&self) {
        unimplemented!()
    }
    pub fn evaluate(&self, leases: Vec<v1::Lease>) -> Result<Vec<v1::ScoredGroup>, DeskError> {
        unimplemented!()
    }
}
