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
use super::messages::{Event, ServedEvent};
use super::sampler::{Draw, Drawn};
use crate::plan::Plan;

/// Tells cuts from nodes among the keys of generators.
const OF_CUTS: u64 = 1 << 63;

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

/// The seed of a request, and what its summaries are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seed {
    /// Of a training group: by node.
    ByNode(u64),
    /// Of a served request, whose prompt has `prompt` tokens: by cut.
    ByCut { seed: u64, prompt: usize },
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
    /// `seed` is the request's. The draws of a summary follow its node and index; of a served request they follow the
    /// cut instead of the node, so that they are the same whatever other budgets there are.
    pub(crate) fn new(key: TraceKey, task: Task, plan: Arc<Plan>, prompt: Rc<SharedPrompt>, seed: Seed) -> Self {
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

    /// Whether a served request must not have this token next: in a summary nothing may complete the end marker, and it
    /// may not end before its first visible character, neither by an end of sequence nor by its length.
    pub(crate) fn must_not_draw(&self, id: u32, tokenizer: &Tokenizer) -> bool {
        if self.plan.serving.is_none() || self.task == Task::Thinking {
            return false;
        }
        let is_blank = |ids: &[u32]| tokenizer.decode(ids).unwrap_or_default().trim().is_empty();
        if self.plan.eos_ids.contains(&id) {
            return is_blank(&self.ids);
        }
        let ids = [self.ids.as_slice(), &[id]].concat();
        if ids.len() >= self.plan.max_summary_tokens && is_blank(&ids) {
            return true;
        }
        let markers = &self.plan.markers;
        ids.ends_with(&markers.end) || completes(tokenizer, &ids, &markers.end_text)
    }

    /// The token drawn last, where the request wants to be told of each.
    pub(crate) fn telling(&self) -> Option<Event> {
        let serving = self.plan.serving.as_ref()?;
        let id = *self.ids.last().filter(|_| serving.tells_tokens)?;
        let version = WeightsVersion(*self.versions.last()?);
        let summary = match self.task {
            Task::Thinking => None,
            Task::Summary { node, index, .. } => Some((node, index)),
        };
        let TraceKey { group, trace } = self.key;
        Some(Event::Served(ServedEvent::Drawn {
            group,
            trace,
            summary,
            id,
            version,
        }))
    }

    /// The budget (from 0) that a served thinking, which goes on, has just passed: its token behind the cut is drawn, so
    /// that the cache holds everything up to the cut.
    pub(crate) fn passed_budget(&self) -> Option<usize> {
        if self.plan.serving.is_none() || self.task != Task::Thinking {
            return None;
        }
        let cut = u32::try_from(self.ids.len()).ok()?.checked_sub(1)?;
        self.plan.budgets.iter().position(|&budget| budget == cut)
    }

    /// The same thinking, kept: the hidden state of its last token has a place of its own.
    pub(crate) fn for_later(self) -> Self {
        let prompt = SharedPrompt::new(self.prompt.ids.clone());
        Self { prompt, ..self }
    }

    /// Whether it has drawn tokens already.
    pub(crate) fn has_begun(&self) -> bool {
        !self.ids.is_empty()
    }

    /// Goes on as the trace of another request.
    pub(crate) fn go_on(&mut self, key: TraceKey, plan: Arc<Plan>) {
        self.key = key;
        self.plan = plan;
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
        let stops = self.plan.serving.as_ref().filter(|_| !is_thinking);
        if stops.is_some_and(|serving| serving.stops.iter().any(|stop| completes(tokenizer, &self.ids, stop))) {
            return Some(FinishReason::EndMarker);
        }
        (self.ids.len() >= longest).then_some(FinishReason::Length)
    }

    /// What has been generated so far, of a sequence that is kept.
    pub(crate) fn generated(&self, finish: FinishReason) -> Generated {
        Generated {
            ids: self.ids.clone(),
            log_probs: self.log_probs.clone(),
            versions: self.versions.clone(),
            finish: finish.into(),
        }
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
fn generator(seed: Seed, trace: usize, task: Task) -> ChaCha8Rng {
    let (node, index) = match (task, seed) {
        (Task::Thinking, _) => (u64::MAX, 0),
        (Task::Summary { node, index, .. }, Seed::ByNode(_)) => (node as u64, index as u64),
        (Task::Summary { index, seen, .. }, Seed::ByCut { prompt, .. }) => {
            (OF_CUTS | (seen - prompt) as u64, index as u64)
        }
    };
    let (Seed::ByNode(seed) | Seed::ByCut { seed, .. }) = seed;
    let mut key = [0_u8; 32];
    for (part, value) in key.chunks_exact_mut(8).zip([seed, trace as u64, node, index]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
