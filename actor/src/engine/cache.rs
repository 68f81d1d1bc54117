//! Knows which slot of the key-value cache holds what.
//!
//! A trace has one prefix slot from the start of its thinking until its last summary has ended: all summaries read the
//! thinking where it is. What a summary adds goes into a branch slot of its own. Nothing ever moves.

#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};

use super::sequence::{TraceKey, WeightsEpoch};
use crate::plan::Plan;

/// The prefix slot of a trace: its prompt and its thinking, which its summaries read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TracePrefix {
    pub(crate) slot: usize,
    /// How many tokens the slot holds, once its thinking has ended.
    pub(crate) length: usize,
    /// The epoch of the weights that computed the keys and values of the prompt.
    pub(crate) prompt_epoch: WeightsEpoch,
}

/// Who has which slot. The lowest free slot is given first, because neighbours are read in one operation.
pub(crate) struct SlotMap {
    total: usize,
    free_prefixes: BTreeSet<usize>,
    free_branches: BTreeSet<usize>,
    prefixes: BTreeMap<TraceKey, TracePrefix>,
}

impl SlotMap {
    pub(crate) fn new(prefixes: usize, branches: usize) -> Self {
        Self {
            total: prefixes + branches,
            free_prefixes: (0..prefixes).collect(),
            free_branches: (0..branches).collect(),
            prefixes: BTreeMap::new(),
        }
    }

    /// How many slots of both sorts there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// How many slots of both sorts are taken.
    pub(crate) fn used(&self) -> usize {
        self.total - self.free_prefixes.len() - self.free_branches.len()
    }

    pub(crate) fn has_prefix(&self) -> bool {
        !self.free_prefixes.is_empty()
    }

    pub(crate) fn has_branch(&self) -> bool {
        !self.free_branches.is_empty()
    }

    /// Gives a trace its prefix slot, if one is free.
    pub(crate) fn take_prefix(&mut self, key: TraceKey, prompt_epoch: WeightsEpoch) -> Option<usize> {
        debug_assert!(!self.prefixes.contains_key(&key), "a trace has one prefix slot");
        let slot = self.free_prefixes.pop_first()?;
        let length = 0;
        self.prefixes.insert(
            key,
            TracePrefix {
                slot,
                length,
                prompt_epoch,
            },
        );
        Some(slot)
    }

    pub(crate) fn take_branch(&mut self) -> Option<usize> {
        self.free_branches.pop_first()
    }

    pub(crate) fn release_branch(&mut self, slot: usize) {
        self.free_branches.insert(slot);
    }

    pub(crate) fn prefix_mut(&mut self, key: TraceKey) -> Option<&mut TracePrefix> {
        self.prefixes.get_mut(&key)
    }

    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (TraceKey, TracePrefix)> + '_ {
        self.prefixes.iter().map(|(key, prefix)| (*key, *prefix))
    }

    /// A trace that is kept goes on under another key.
    pub(crate) fn rename(&mut self, from: TraceKey, to: TraceKey) {
        if let Some(prefix) = self.prefixes.remove(&from) {
            self.prefixes.insert(to, prefix);
        }
    }

    pub(crate) fn release_trace(&mut self, key: TraceKey) {
        if let Some(prefix) = self.prefixes.remove(&key) {
            self.free_prefixes.insert(prefix.slot);
        }
    }

    pub(crate) fn release_group(&mut self, group: u64) {
        self.release_group_but(group, |_| false);
    }

    /// Releases the traces of a group but those that are kept.
    pub(crate) fn release_group_but(&mut self, group: u64, is_kept: impl Fn(TraceKey) -> bool) {
        let is_released = |key: &TraceKey| key.group == group && !is_kept(*key);
        let of_group: Vec<TraceKey> = self.prefixes.keys().copied().filter(is_released).collect();
        for key in of_group {
            self.release_trace(key);
        }
    }
}

/// How many tokens the slots of a cache are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotLengths {
    pub(crate) prefix: usize,
    pub(crate) branch: usize,
}

impl SlotLengths {
    /// The longest sequences of a plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            prefix: plan.longest_prefix(),
            branch: plan.longest_branch(),
        }
    }

    pub(crate) fn at_least(self, other: Self) -> Self {
        Self {
            prefix: self.prefix.max(other.prefix),
            branch: self.branch.max(other.branch),
        }
    }

    pub(crate) fn fits(self, held: Self) -> bool {
        held.prefix >= self.prefix && held.branch >= self.branch
    }
}

/// How many slots of each sort fit into `bytes`: as many branches as rows run, and twice as many prefixes, so that a
/// thinking can begin while the summaries of others are under way. Where memory is short, a quarter of it is for
/// branches. `None` where not even one of each fits.
pub(crate) fn affordable_slots(
    rows: usize,
    bytes: usize,
    prefix_bytes: usize,
    branch_bytes: usize,
) -> Option<(usize, usize)> {
    let (most_prefixes, most_branches) = (2 * rows, rows);
    if most_prefixes * prefix_bytes + most_branches * branch_bytes <= bytes {
        return Some((most_prefixes, most_branches));
    }
    let quarter = (bytes / 4 / branch_bytes.max(1)).clamp(1, most_branches);
    // At least one prefix comes before a second branch.
    [quarter, 1].into_iter().find_map(|branches| {
        let left = bytes.checked_sub(branches * branch_bytes)?;
        let prefixes = (left / prefix_bytes.max(1)).min(most_prefixes);
        (prefixes > 0).then_some((prefixes, branches))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: u64, trace: usize) -> TraceKey {
        TraceKey { group, trace }
    }

    #[test]
    fn a_trace_keeps_its_slot_until_it_is_released() {
        let mut slots = SlotMap::new(2, 1);
        assert_eq!(slots.take_prefix(key(1, 0), 1), Some(0));
        assert_eq!(slots.take_prefix(key(2, 0), 1), Some(1));
        assert!(!slots.has_prefix());
        assert_eq!(slots.take_prefix(key(2, 1), 1), None);
        assert_eq!(slots.take_branch(), Some(0));
        assert_eq!(slots.take_branch(), None);
        assert_eq!(slots.used(), 3);

        slots.release_trace(key(1, 0));
        slots.release_branch(0);
        assert_eq!(slots.used(), 1);
        assert_eq!(slots.prefix_mut(key(1, 0)), None);
        assert_eq!(slots.take_prefix(key(3, 5), 2), Some(0));
    }

    #[test]
    fn a_group_gives_all_its_slots_back() {
        let mut slots = SlotMap::new(4, 1);
        for trace in 0..3 {
            slots.take_prefix(key(7, trace), 1);
        }
        slots.take_prefix(key(8, 0), 1);
        slots.release_group(7);
        assert_eq!(slots.prefixes().map(|(key, _)| key.group).collect::<Vec<_>>(), [8]);
        assert_eq!(slots.used(), 1);
    }

    #[test]
    fn slots_by_memory() {
        assert_eq!(affordable_slots(8, 16 * 100 + 8 * 10, 100, 10), Some((16, 8)));
        // A quarter of 1,000 for branches, the rest for prefixes.
        assert_eq!(affordable_slots(64, 1_000, 100, 10), Some((7, 25)));
        assert_eq!(affordable_slots(8, 110, 100, 10), Some((1, 1)));
        assert_eq!(affordable_slots(8, 109, 100, 10), None);
        assert_eq!(affordable_slots(8, 0, 100, 10), None);
    }
}
