//! The traces of served requests that have ended and may go on. Each keeps its prefix slot until another sequence needs
//! one; then the trace goes whose last use was
//! longest ago.

#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, VecDeque};

use anytime_proto::v1::FinishReason;

use super::messages::NotContinued;
use super::sequence::{Sequence, TraceKey};

/// A thinking that has ended, with everything that it takes to go on.
pub(crate) struct KeptTrace {
    pub(crate) sequence: Sequence,
    pub(crate) finish: FinishReason,
}

/// The kept traces by the request that they are of. Requests of several traces keep none.
#[derive(Default)]
pub(crate) struct KeptTraces {
    by_group: BTreeMap<u64, KeptTrace>,
    /// The same requests, in the order of their last use.
    order: VecDeque<u64>,
}

impl KeptTraces {
    pub(crate) fn len(&self) -> usize {
        self.by_group.len()
    }

    pub(crate) fn insert(&mut self, kept: KeptTrace) {
        let group = kept.sequence.key.group;
        self.by_group.insert(group, kept);
        self.order.push_back(group);
    }

    /// The trace of this request has been of use again.
    pub(crate) fn touch(&mut self, group: u64) {
        if self.by_group.contains_key(&group) {
            self.order.retain(|other| *other != group);
            self.order.push_back(group);
        }
    }

    /// Takes the trace of a request that is to go on to the budgets, which ascend.
    ///
    /// # Errors
    /// Why it cannot. A trace that is there stays then.
    pub(crate) fn take(&mut self, group: u64, budgets: &[u32]) -> Result<KeptTrace, NotContinued> {
        let Some(kept) = self.by_group.get(&group) else {
            return Err(NotContinued::Gone);
        };
        let length = kept.sequence.ids.len();
        if kept.finish != FinishReason::Length {
            return Err(NotContinued::Ended(length));
        }
        if budgets.first().is_none_or(|&first| first as usize <= length) {
            return Err(NotContinued::NotLarger(length));
        }
        self.remove(group).ok_or(NotContinued::Gone)
    }

    /// Forgets the trace whose last use was longest ago. The caller frees its slot.
    pub(crate) fn forget_oldest(&mut self) -> Option<TraceKey> {
        let group = *self.order.front()?;
        self.remove(group).map(|kept| kept.sequence.key)
    }

    /// Forgets all, with the cache that held them.
    pub(crate) fn clear(&mut self) {
        self.by_group.clear();
        self.order.clear();
    }

    /// The tokens that the slot of a kept trace begins with, by key: its prompt, and the thinking behind it.
    pub(crate) fn tokens(&self, key: TraceKey) -> Option<(&[u32], &[u32])> {
        let sequence = &self.by_group.get(&key.group)?.sequence;
        (sequence.key == key).then_some((sequence.prompt.ids.as_slice(), sequence.ids.as_slice()))
    }

    fn remove(&mut self, group: u64) -> Option<KeptTrace> {
        self.order.retain(|other| *other != group);
        self.by_group.remove(&group)
    }
}
