//! One running sequence: the thinking of a trace, or one summary of a node.

#![deny(clippy::disallowed_methods)]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use anytime_policy::{Prefix, Tokenizer};
use anytime_proto::WeightsVersion;
use anytime_proto::v1::{FinishReason, Generated};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::end_text::completes;
use super::forced_start::ForcedStart;
use super::sampler::{Draw, Drawn};
use crate::plan::Plan;

/// Counts the swaps of weights: keys and values of another epoch were computed with other weights. The version number
/// would not do, because a learner that went back to its recovery checkpoint gives the same numbers again.
pub(crate) type WeightsEpoch = u64;

/// The tokens that several sequences start with in their slots: the prompt of a group, or the ids that a node inserts
/// before each of its summaries.
pub(crate) struct SharedPrompt {
    pub(crate) ids: Vec<u32>,
    /// The hidden state [1, hidden] of the last id, from which the first token of every sequence is drawn.
    pub(crate) last_hidden: RefCell<Option<(WeightsEpoch, Tensor)>>,
}

impl SharedPrompt {
    pub(crate) fn new(ids: Vec<u32>) -> Rc<Self> {
        Rc::new(Self {
            ids,
            last_hidden: RefCell::new(None),
        })
    }

    pub(crate) fn hidden_is_current(&self, epoch: WeightsEpoch) -> bool {
        self.last_hidden.borrow().as_ref().is_some_and(|(of, _)| *of == epoch)
    }
}

/// Names a trace within the engine: the engine's number of its group, and its index in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TraceKey {
    pub(crate) group: u64,
    pub(crate) trace: usize,
}

/// Whether a sequence is a thinking or a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Thinking,
    /// `seen` counts the tokens of prompt and thinking that it continues.
    Summary {
        node: usize,
        index: usize,
        seen: usize,
    },
}

/// A running sequence and everything that it has generated so far.
pub(crate) struct Sequence {
    pub(crate) key: TraceKey,
    pub(crate) task: Task,
    pub(crate) plan: Arc<Plan>,
    pub(crate) prompt: Rc<SharedPrompt>,
    /// A prefix slot where it is a thinking, a branch slot where it is a summary; given at admission.
    pub(crate) slot: usize,
    /// The thinking that a summary continues; given at admission.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) ids: Vec<u32>,
    log_probs: Vec<f32>,
    versions: Vec<u64>,
    start: ForcedStart,
    generator: ChaCha8Rng,
}

impl Sequence {
    pub(crate) fn new(key: TraceKey, task: Task, plan: Arc<Plan>, prompt: Rc<SharedPrompt>, seed: u64) -> Self {
        let generator = generator(seed, key.trace, task);
        let start = match task {
            Task::Thinking => ForcedStart::of_trace(&plan, key.trace),
            Task::Summary { .. } => ForcedStart::Free,
        };
        let (ids, log_probs, versions) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            key,
            task,
            plan,
            prompt,
            slot: 0,
            prefix: None,
            ids,
            log_probs,
            versions,
            start,
            generator,
        }
    }

    /// How many tokens the slot holds while the token drawn last has not been fed.
    pub(crate) fn cached(&self) -> usize {
        self.prompt.ids.len() + self.ids.len().saturating_sub(1)
    }

    /// The tokens that the slot holds.
    pub(crate) fn cached_ids(&self) -> Vec<u32> {
        let fed = self.ids.len().saturating_sub(1);
        [self.prompt.ids.as_slice(), &self.ids[..fed]].concat()
    }

    pub(crate) fn draw(&mut self) -> Draw {
        // The middle of one of 2³² equal parts: never 0 and never 1.
        let uniform = (f64::from(self.generator.next_u32()) + 0.5) / 4_294_967_296.0;
        Draw {
            sampling: self.plan.sampling,
            uniform,
        }
    }

    /// The id that must not be drawn as the next token.
    pub(crate) fn excluded(&self) -> Option<u32> {
        self.start.excluded(&self.plan, self.ids.len())
    }

    /// Appends a drawn token. Says why the sequence has ended, where it has.
    pub(crate) fn push(
        &mut self,
        drawn: Drawn,
        version: WeightsVersion,
        tokenizer: &Tokenizer,
    ) -> Option<FinishReason> {
        let drawn = self.start.apply(&self.plan, self.ids.len(), drawn);
        self.ids.push(drawn.id);
        self.log_probs.push(drawn.log_prob);
        self.versions.push(version.0);
        let (is_thinking, longest) = match self.task {
            Task::Thinking => (true, self.plan.largest_budget()),
            Task::Summary { .. } => (false, self.plan.max_summary_tokens),
        };
        let markers = &self.plan.markers;
        if is_thinking && (self.ids.ends_with(&markers.end) || completes(tokenizer, &self.ids, &markers.end_text)) {
            return Some(FinishReason::EndMarker);
        }
        if self.plan.eos_ids.contains(&drawn.id) {
            return Some(FinishReason::Eos);
        }
        (self.ids.len() >= longest).then_some(FinishReason::Length)
    }

    pub(crate) fn into_generated(self, finish: FinishReason) -> Generated {
        Generated {
            ids: self.ids,
            log_probs: self.log_probs,
            versions: self.versions,
            finish: finish.into(),
        }
    }
}

/// A generator for one sequence. Its draws depend on the lease's seed and on the sequence's place in the group alone.
fn generator(seed: u64, trace: usize, task: Task) -> ChaCha8Rng {
    let (node, index) = match task {
        Task::Thinking => (u64::MAX, 0),
        Task::Summary { node, index, .. } => (node as u64, index as u64),
    };
    let mut key = [0_u8; 32];
    for (part, value) in key.chunks_exact_mut(8).zip([seed, trace as u64, node, index]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
