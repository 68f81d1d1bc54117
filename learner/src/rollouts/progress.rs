//! How far training is: which sequences were trained, taken or dropped, and the place of every other one in the order
//! of training.
//!
//! Groups are trained in the order of their sequences, a batch for each version. The place of a sequence, counted from
//! 0 over everything that is ever trained, therefore says which step trains it: step ⌊place / batch⌋, which starts from
//! the version of that number.

#![deny(clippy::disallowed_methods)]

use std::collections::BTreeSet;

use super::inventory::Inventory;
use crate::queue::groups::Settlement;

/// How a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A recovery checkpoint holds its update.
    Trained,
    /// It was dropped as too old.
    Stale,
    /// Actors gave it up too often.
    Skipped,
}

impl From<Ending> for Settlement {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Trained => Self::Trained,
            Ending::Stale => Self::Stale,
            Ending::Skipped => Self::Skipped,
        }
    }
}

/// How many of the newest sequences that actors gave up are remembered one by one.
const MOST_SKIPPED: usize = 1024;

/// The trainer's side of the lease table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    /// All sequences below this one have ended.
    finished_below: u64,
    /// Trained sequences from `finished_below` on.
    trained_above: BTreeSet<u64>,
    /// Dropped as too old, as far as no recovery checkpoint says that everything up to them has ended.
    stale: BTreeSet<u64>,
    /// Given up by actors. Of those that a recovery checkpoint holds as ended, only the newest.
    skipped: BTreeSet<u64>,
    /// How many were dropped as too old.
    stale_groups: u64,
    /// How many were given up.
    skipped_groups: u64,
    /// Left out before, and to be trained after all. Of the sequences below `finished_below`, these alone have not
    /// ended.
    replayed: BTreeSet<u64>,
    /// Held by the trainer, and by no recovery checkpoint.
    taken: BTreeSet<u64>,
    trained: u64,
    /// All sequences below this one have ended or are taken.
    next_to_take: u64,
}

impl Progress {
    /// What a recovery checkpoint and Redis know. A sequence that the checkpoint holds was trained, whatever else is said
    /// of it.
    pub(super) fn new(inventory: &Inventory) -> Self {
        let ended_below = inventory.ended_below;
        let replayed: BTreeSet<u64> = inventory.replayed.range(..ended_below).copied().collect();
        let not_trained = inventory.left_out_below + replayed.len() as u64;
        let trained_below = ended_below.saturating_sub(not_trained);
        let trained_above: BTreeSet<u64> = inventory
            .trained
            .iter()
            .copied()
            .filter(|sequence| *sequence >= ended_below)
            .collect();
        let is_open = |sequence: &u64| *sequence >= ended_below && !trained_above.contains(sequence);
        let mut progress = Self {
            finished_below: ended_below,
            stale: inventory.stale.iter().copied().filter(is_open).collect(),
            skipped: inventory.skipped.iter().copied().filter(is_open).collect(),
            replayed,
            stale_groups: 0,
            skipped_groups: 0,
            taken: BTreeSet::new(),
            trained: trained_below + trained_above.len() as u64,
            trained_above,
            next_to_take: ended_below,
        };
        progress.skipped = progress.skipped.difference(&progress.stale).copied().collect();
        let dead = inventory.dead.range(..ended_below).copied();
        let was_not_replayed = |sequence: &u64| !progress.replayed.contains(sequence);
        progress
            .skipped
            .extend(dead.filter(was_not_replayed).collect::<Vec<_>>());
        progress.stale_groups = progress.stale.len() as u64;
        progress.skipped_groups = progress.skipped.len() as u64;
        progress.advance();
        progress
    }

    /// How a sequence ended; none while it has not.
    pub(super) fn ending(&self, sequence: u64) -> Option<Ending> {
        if self.stale.contains(&sequence) {
            return Some(Ending::Stale);
        }
        if self.skipped.contains(&sequence) {
            return Some(Ending::Skipped);
        }
        let is_below = sequence < self.finished_below && !self.replayed.contains(&sequence);
        let is_trained = is_below || self.trained_above.contains(&sequence);
        is_trained.then_some(Ending::Trained)
    }

    /// Those that have not ended.
    pub(super) fn open_among(&self, sequences: &BTreeSet<u64>) -> Vec<u64> {
        let is_open = |sequence: &&u64| self.ending(**sequence).is_none();
        sequences.iter().filter(is_open).copied().collect()
    }

    pub(super) fn is_taken(&self, sequence: u64) -> bool {
        self.taken.contains(&sequence)
    }

    /// The lowest sequence that is neither taken nor ended: the trainer takes it next.
    pub(super) fn next_to_take(&self) -> u64 {
        let replayed = self.replayed.iter().find(|sequence| !self.taken.contains(sequence));
        replayed.map_or(self.next_to_take, |sequence| self.next_to_take.min(*sequence))
    }

    /// How many groups are trained before this one, if all that have not ended are: its place.
    pub(super) fn place(&self, sequence: u64) -> u64 {
        let below = |list: &BTreeSet<u64>| list.range(..sequence.min(self.finished_below)).count() as u64;
        let replayed_below = below(&self.replayed) - below(&self.taken);
        let sequence = sequence.max(self.finished_below);
        let below = |list: &BTreeSet<u64>| list.range(self.finished_below..sequence).count() as u64;
        let ended = below(&self.trained_above) + below(&self.stale) + below(&self.skipped);
        let open_below = sequence - self.finished_below - ended - below(&self.taken);
        self.trained + self.taken.len() as u64 + replayed_below + open_below
    }

    /// The place at which the batch that is being taken ends. Batches end at multiples of their size.
    pub(super) fn end_of_batch(&self, batch: u64) -> u64 {
        let batch = batch.max(1);
        ((self.trained + self.taken.len() as u64) / batch + 1).saturating_mul(batch)
    }

    pub(super) fn take(&mut self, sequence: u64) {
        if self.ending(sequence).is_none() {
            self.taken.insert(sequence);
            self.advance();
        }
    }

    pub(super) fn acknowledge(&mut self, sequences: &[u64]) {
        for sequence in sequences {
            if self.taken.remove(sequence) {
                self.trained += 1;
                self.replayed.remove(sequence);
                if *sequence >= self.finished_below {
                    self.trained_above.insert(*sequence);
                }
            }
        }
        self.advance();
    }

    pub(super) fn drop_as_stale(&mut self, sequence: u64) {
        self.stale_groups += u64::from(self.stale.insert(sequence));
        self.replayed.remove(&sequence);
        self.advance();
    }

    pub(super) fn skip(&mut self, sequence: u64) {
        self.skipped_groups += u64::from(self.skipped.insert(sequence));
        self.replayed.remove(&sequence);
        self.advance();
    }

    /// Forgets how each sequence below this one ended, except for the last that were given up.
    pub(super) fn forget_below(&mut self, sequence: u64) {
        let below = sequence.min(self.finished_below);
        self.stale = self.stale.split_off(&below);
        let too_many = self.skipped.range(..below).count().saturating_sub(MOST_SKIPPED);
        for _ in 0..too_many {
            self.skipped.pop_first();
        }
    }

    /// How many sequences are remembered one by one.
    pub(super) fn remembered(&self) -> usize {
        self.trained_above.len() + self.stale.len() + self.skipped.len() + self.replayed.len() + self.taken.len()
    }

    /// Replays a sequence that was skipped: it comes next, behind those that are taken. Returns whether it had been
    /// skipped.
    pub(super) fn replay(&mut self, sequence: u64) -> bool {
        let was_skipped = self.skipped.remove(&sequence);
        if was_skipped {
            self.skipped_groups = self.skipped_groups.saturating_sub(1);
            self.replayed.insert(sequence);
        }
        was_skipped
    }

    pub(super) fn trained(&self) -> u64 {
        self.trained
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.len() as u64
    }

    pub(super) fn taken_sequences(&self) -> &BTreeSet<u64> {
        &self.taken
    }

    /// Those that were left out and are replayed, as long as they have not ended.
    pub(super) fn replayed_sequences(&self) -> &BTreeSet<u64> {
        &self.replayed
    }

    /// The watermark: every lower sequence has ended, but for those that were replayed.
    pub(super) fn finished_below(&self) -> u64 {
        self.finished_below
    }

    /// Those that have ended from the watermark on.
    pub(super) fn ended_above(&self) -> BTreeSet<u64> {
        let lists = [&self.trained_above, &self.stale, &self.skipped];
        let above = lists.into_iter().flat_map(|list| list.range(self.finished_below..));
        above.copied().collect()
    }

    pub(super) fn stale(&self) -> u64 {
        self.stale_groups
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped_groups
    }

    fn advance(&mut self) {
        while self.ending(self.finished_below).is_some() {
            self.trained_above.remove(&self.finished_below);
            self.finished_below += 1;
        }
        self.next_to_take = self.next_to_take.max(self.finished_below);
        while self.taken.contains(&self.next_to_take) || self.ending(self.next_to_take).is_some() {
            self.next_to_take += 1;
        }
    }
}
