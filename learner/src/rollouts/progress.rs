//! How far training is: which sequences were trained, taken or dropped, and the place of every other one in the order
//! of training.
//!
//! Groups are trained in the order of their sequences, a batch for each version. The place of a sequence, counted from
//! 0 over everything that is ever trained, therefore says which step trains it: step ⌊place / batch⌋, which starts from
//! the version of that number.

#![deny(clippy::disallowed_methods)]

use std::collections::BTreeSet;

use crate::queue::stream::Settlement;

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

/// The trainer's side of the lease table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    /// All sequences below this one have ended.
    finished_below: u64,
    /// Trained sequences from `finished_below` on.
    trained_above: BTreeSet<u64>,
    stale: BTreeSet<u64>,
    skipped: BTreeSet<u64>,
    /// Held by the trainer, and by no recovery checkpoint.
    taken: BTreeSet<u64>,
    trained: u64,
    /// All sequences below this one have ended or are taken.
    next_to_take: u64,
}

impl Progress {
    /// What a recovery checkpoint and Redis know: all sequences below `ended_below` have ended, and `trained_below` of
    /// them were trained; `trained` are those from there on. A sequence that the checkpoint holds was trained, whatever else is
    /// said of it.
    pub(super) fn new(
        ended_below: u64,
        trained_below: u64,
        trained: BTreeSet<u64>,
        stale: BTreeSet<u64>,
        skipped: BTreeSet<u64>,
    ) -> Self {
        let trained_above: BTreeSet<u64> = trained
            .into_iter()
            .filter(|sequence| *sequence >= ended_below)
            .collect();
        let is_open = |sequence: &u64| *sequence >= ended_below && !trained_above.contains(sequence);
        let mut progress = Self {
            finished_below: ended_below,
            stale: stale.into_iter().filter(is_open).collect(),
            skipped: skipped.into_iter().filter(is_open).collect(),
            taken: BTreeSet::new(),
            trained: trained_below + trained_above.len() as u64,
            trained_above,
            next_to_take: ended_below,
        };
        progress.skipped = progress.skipped.difference(&progress.stale).copied().collect();
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
        let is_trained = sequence < self.finished_below || self.trained_above.contains(&sequence);
        is_trained.then_some(Ending::Trained)
    }

    pub(super) fn is_taken(&self, sequence: u64) -> bool {
        self.taken.contains(&sequence)
    }

    /// The lowest sequence that is neither taken nor ended: the trainer takes it next.
    pub(super) fn next_to_take(&self) -> u64 {
        self.next_to_take
    }

    /// How many groups are trained before this one, if all that have not ended are: its place.
    pub(super) fn place(&self, sequence: u64) -> u64 {
        let sequence = sequence.max(self.finished_below);
        let below = |list: &BTreeSet<u64>| list.range(self.finished_below..sequence).count() as u64;
        let ended = below(&self.trained_above) + below(&self.stale) + below(&self.skipped);
        let taken_below = self.taken.range(..sequence).count() as u64;
        let open_below = sequence - self.finished_below - ended - taken_below;
        self.trained + self.taken.len() as u64 + open_below
    }

    /// The places of a batch end at multiples of its size. This is the end of the one that is being taken.
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
                self.trained_above.insert(*sequence);
            }
        }
        self.advance();
    }

    pub(super) fn drop_as_stale(&mut self, sequence: u64) {
        self.stale.insert(sequence);
        self.advance();
    }

    pub(super) fn skip(&mut self, sequence: u64) {
        self.skipped.insert(sequence);
        self.advance();
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

    /// The watermark: every lower sequence has ended.
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
        self.stale.len() as u64
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped.len() as u64
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
