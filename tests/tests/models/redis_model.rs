//! Redis as the queue uses it: what the scripts of `learner/src/queue/` do to the keys of one job, without their groups'
//! contents. `redis.rs` holds it against a real Redis.

use std::collections::{BTreeMap, BTreeSet};

use anytime_learner::queue::groups::{PushOutcome, Settlement, Survey};

/// What the hash says of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// It is in the stream; of this version.
    Queued(u64),
    Trained,
    Stale,
    Skipped,
}

/// The keys of one job, without the right to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RedisModel {
    /// The keys are there, and this learner's job is their owner.
    pub(crate) is_open: bool,
    pub(crate) seen: BTreeMap<u64, Entry>,
    /// The sequences that have a dead letter.
    pub(crate) dead: BTreeSet<u64>,
}

/// The keys are not there: it came back without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeysGone;

impl RedisModel {
    pub(crate) fn open(&mut self) -> Survey {
        if !self.is_open {
            *self = Self {
                is_open: true,
                ..Self::default()
            };
        }
        let mut survey = Survey::default();
        for (sequence, entry) in &self.seen {
            let set = match entry {
                Entry::Queued(_) => &mut survey.queued,
                Entry::Trained => &mut survey.trained,
                Entry::Stale => &mut survey.stale,
                Entry::Skipped => &mut survey.skipped,
            };
            set.insert(*sequence);
        }
        survey
    }

    /// The version of the group, if the queue holds it.
    pub(crate) fn read(&self, sequence: u64) -> Option<u64> {
        match self.seen.get(&sequence) {
            Some(Entry::Queued(version)) => Some(*version),
            _ => None,
        }
    }

    pub(crate) fn push(&mut self, sequence: u64, version: u64, bound: u64, taken: u64) -> PushOutcome {
        if !self.is_open {
            return PushOutcome::KeysGone;
        }
        if self.seen.contains_key(&sequence) {
            return PushOutcome::Duplicate;
        }
        if i128::from(self.length()) - i128::from(taken) >= i128::from(bound) {
            return PushOutcome::Full;
        }
        self.seen.insert(sequence, Entry::Queued(version));
        PushOutcome::Accepted
    }

    pub(crate) fn settle(&mut self, sequences: &[u64], settlement: Settlement) -> Result<(), KeysGone> {
        // Without any, no script runs.
        if sequences.is_empty() {
            return Ok(());
        }
        if !self.is_open {
            return Err(KeysGone);
        }
        for sequence in sequences {
            let entry = match settlement {
                Settlement::Trained => Entry::Trained,
                Settlement::Stale => Entry::Stale,
                Settlement::Skipped => Entry::Skipped,
                Settlement::Forgotten => {
                    self.seen.remove(sequence);
                    continue;
                }
            };
            self.seen.insert(*sequence, entry);
        }
        Ok(())
    }

    /// Settles a sequence as skipped and writes its letter, unless it is settled so already.
    // The simulated network shares this file, and buries nothing.
    #[allow(dead_code)]
    pub(crate) fn bury(&mut self, sequence: u64) -> Result<(), KeysGone> {
        if !self.is_open {
            return Err(KeysGone);
        }
        if self.seen.insert(sequence, Entry::Skipped) != Some(Entry::Skipped) {
            self.dead.insert(sequence);
        }
        Ok(())
    }

    /// Removes the letter of a sequence, whose group may come again.
    // As above.
    #[allow(dead_code)]
    pub(crate) fn dig_up(&mut self, sequence: u64) -> Result<(), KeysGone> {
        if !self.is_open {
            return Err(KeysGone);
        }
        self.dead.remove(&sequence);
        if self.seen.get(&sequence) == Some(&Entry::Skipped) {
            self.seen.remove(&sequence);
        }
        Ok(())
    }

    pub(crate) fn length(&self) -> u64 {
        self.queued().len() as u64
    }

    pub(crate) fn queued(&self) -> BTreeSet<u64> {
        let queued = |(sequence, entry): (&u64, &Entry)| matches!(entry, Entry::Queued(_)).then_some(*sequence);
        self.seen.iter().filter_map(queued).collect()
    }
}
