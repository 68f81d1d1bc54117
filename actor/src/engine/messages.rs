//! What crosses the border of the engine's thread: commands in, events out, and the weights that it generates with.

use std::sync::Arc;

use anytime_policy::{Decoder, ModelConfig, Tokenizer};
use anytime_proto::v1::{AbandonReason, Generated};
use anytime_proto::{JobId, WeightsVersion};

use crate::nodes::NodePlan;
use crate::plan::Plan;

/// How much the engine may run and remember at the same time. Set once, when the thread starts.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Sequences that run at the same time, at least 1.
    pub slots: usize,
    /// Bytes of the key-value cache. Fewer than `slots` sequences run where their caches would take more.
    pub cache_bytes: usize,
}

/// Names one set of weights among all that an actor may ever hold. Two sets with the same version number differ in the
/// checksum: a learner that went back to a recovery checkpoint numbers anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// The job that trains the weights.
    pub job_id: JobId,
    /// The training step after which they were published.
    pub version: WeightsVersion,
    /// Checksum of their manifest, in lower-case hexadecimal.
    pub manifest_checksum: String,
}

/// A complete, verified set of weights, ready to run. The loader builds it; [`Command::SwapWeights`] hands it over.
pub struct Model {
    /// Which weights they are.
    pub id: ModelId,
    /// The model's `config.json`.
    pub config: Arc<ModelConfig>,
    /// Decodes the text that leaves the actor.
    pub tokenizer: Arc<Tokenizer>,
    /// The decoder, on the engine's device and in the kind (bf16 or f32) that the weights were published in.
    pub decoder: Decoder,
}

/// The weights that the engine generates with, as everybody else sees them: see [`super::EngineHandle::installed`].
#[derive(Clone)]
pub struct Installed {
    /// Which weights they are.
    pub id: ModelId,
    /// Decodes the text that leaves the actor.
    pub tokenizer: Arc<Tokenizer>,
}

/// A group to generate: G traces of one problem, and their summaries.
#[derive(Clone, Debug)]
pub struct GroupRequest {
    /// Names the group in commands and events. A lease that comes twice gets two numbers.
    pub number: u64,
    /// Only weights of this job generate it.
    pub job_id: JobId,
    /// No older version generates it.
    pub min_version: WeightsVersion,
    /// Where it is given, only the weights with this manifest checksum generate it, from the first token to the last.
    pub manifest_checksum: Option<String>,
    /// The seed of every draw.
    pub seed: u64,
    /// Token ids that every thinking continues.
    pub prompt_ids: Vec<u32>,
    /// Budgets, sampling and markers.
    pub plan: Arc<Plan>,
}

/// What the engine can be told. Commands are read between two decoding steps, in the order in which they were sent.
pub enum Command {
    /// Generate this group.
    AddGroup(GroupRequest),
    /// Forget the group with this number, without an event.
    CancelGroup(u64),
    /// Generate with these weights from the next step on. Groups of another job fail.
    SwapWeights(Box<Model>),
    /// End the thread.
    Shutdown,
}

/// What the engine reports about the groups that it was asked for.
#[derive(Clone, Debug)]
pub enum Event {
    /// A thinking ended; its summaries follow, node by node.
    TraceFinished {
        /// The group's number.
        group: u64,
        /// Index of the trace, from 0 to G − 1.
        trace: usize,
        /// Token ids, log-probabilities and weights versions of the thinking.
        thinking: Generated,
        /// The points at which it is summarised, by ascending cut.
        nodes: Vec<NodePlan>,
    },
    /// All summaries of a node have ended.
    NodeFinished {
        /// The group's number.
        group: u64,
        /// Index of the trace, from 0 to G − 1.
        trace: usize,
        /// Index into the nodes of the trace.
        node: usize,
        /// Its summaries, multiplicity × A of them.
        summaries: Vec<Generated>,
    },
    /// The last sequence of the group ended.
    GroupFinished {
        /// The group's number.
        group: u64,
    },
    /// The group will not be generated.
    GroupFailed {
        /// The group's number.
        group: u64,
        /// `Shutdown` where another actor, or this one later, can generate it; `Engine` where none can.
        reason: AbandonReason,
        /// Why, in words for the log.
        detail: String,
    },
}
