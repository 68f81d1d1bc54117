//! What crosses the border of the engine's thread: commands in, events out, and the weights that it generates with.

use std::sync::Arc;

use anytime_policy::memory::is_exhaustion;
use anytime_policy::{Decoder, ModelConfig, Tokenizer};
use anytime_proto::v1::{AbandonReason, Generated};
use anytime_proto::{JobId, WeightsVersion};
use thiserror::Error;

use crate::nodes::NodePlan;
use crate::plan::Plan;

/// How much the engine may run and remember at the same time. Set once, when the thread starts.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Sequences that run at the same time, at least 1.
    pub slots: usize,
    /// What bounds the key-value cache. Fewer than `slots` sequences run where their caches would take more.
    pub cache: CacheLimit,
}

/// What bounds the key-value cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CacheLimit {
    /// This many bytes.
    Bytes(usize),
    /// What a share of the device's memory, in (0, 1], leaves beside the weights, those that are loaded next, and a step.
    Share(f64),
}

/// Why the engine's thread ended by itself.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// The cache that the limits ask for cannot be had.
    #[error("{0}")]
    NoRoom(String),
    /// Memory ran out while it generated.
    #[error("the engine ran out of memory ({0}); a smaller --cache-gib or --memory-share, or fewer --slots, need less")]
    OutOfMemory(String),
    /// One step has taken longer than any should. In whole seconds.
    #[error(
        "the engine has been inside one step for {0} s, longer than --step-timeout allows; what the device or its driver \
         says (dmesg, nvidia-smi) may tell why"
    )]
    Stuck(u64),
    /// Anything else that should not happen.
    #[error("the engine failed: {0}")]
    Failed(String),
}

impl EngineError {
    /// The error that a text of libtorch or of a panic stands for. Its first line says what is wrong; addresses of code
    /// follow.
    pub(crate) fn of_text(text: &str) -> Self {
        let line = text.lines().next().unwrap_or_default().to_owned();
        if is_exhaustion(text) {
            Self::OutOfMemory(line)
        } else {
            Self::Failed(line)
        }
    }
}

/// Names one set of weights among all that an actor may ever hold. Two sets with the same version number differ in the
/// checksum: a learner that went back to a recovery checkpoint gives the same numbers again.
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
    /// The model's `config.json`.
    pub config: Arc<ModelConfig>,
    /// Decodes the text that leaves the actor.
    pub tokenizer: Arc<Tokenizer>,
    /// The latest weights that generated, oldest first. The last of them are these.
    pub recent: Arc<[ModelId]>,
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
    /// End the thinking of a served request where it is, without further summaries, and keep its trace.
    StopGroup(u64),
    /// Give up this trace (from 0) of a served request, with its summaries. The others go on.
    PruneTrace(u64, usize),
    /// Generate with these weights from the next step on. Groups of another job fail.
    SwapWeights(Box<Model>),
    /// End the thread.
    Shutdown,
}

/// Why a request cannot go on from an earlier trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotContinued {
    /// The trace is not kept, or not any more.
    Gone,
    /// Its thinking has ended by itself after this many tokens.
    Ended(usize),
    /// It has thought for this many tokens already, and a budget is not above that.
    NotLarger(usize),
}

/// What only served requests are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedEvent {
    /// A trace of a served request has its slot, and its thinking begins or goes on.
    Started {
        /// The group's number.
        group: u64,
        /// Index of the trace, from 0 to G − 1.
        trace: usize,
        /// How many tokens of prompt and earlier thinking the cache had already.
        cached: usize,
        /// How many of them were computed for this request.
        computed: usize,
    },
    /// A token of a served request that wants to be told of each.
    Drawn {
        /// The group's number.
        group: u64,
        /// Index of the trace, from 0 to G − 1.
        trace: usize,
        /// Node and index of the summary that it belongs to; None for the thinking.
        summary: Option<(usize, usize)>,
        /// The token.
        id: u32,
        /// The weights that it was drawn with.
        version: WeightsVersion,
    },
    /// A served request cannot go on from the trace that it names.
    NotContinued {
        /// The group's number.
        group: u64,
        /// Why.
        reason: NotContinued,
    },
}

impl ServedEvent {
    /// The number of the request.
    pub fn group(self) -> u64 {
        match self {
            Self::Started { group, .. } | Self::Drawn { group, .. } | Self::NotContinued { group, .. } => group,
        }
    }
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
    /// Something that only served requests are told.
    Served(ServedEvent),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_ran_out_is_told_from_other_ends_in_one_line() {
        let cuda = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB. \
                    GPU 0 has a total capacity of 79.10 GiB\nException raised from malloc\nframe #0\")";
        let error = EngineError::of_text(cuda);
        assert!(matches!(&error, EngineError::OutOfMemory(line) if line.contains("79.10 GiB")));
        let text = error.to_string();
        assert!(text.contains("--cache-gib") && text.lines().count() == 1, "{text}");
        let other = EngineError::of_text("index out of range\nmore");
        assert_eq!(other, EngineError::Failed("index out of range".to_owned()));
    }
}
