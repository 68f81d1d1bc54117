//! The table of training leases. It decides which problem is leased next, and which group is trained next. It is a state
//! machine without clock or I/O.
//!
//! A sequence number is the place of a problem in the order of training. At any time it is in exactly one state:
//!
//! ```text
//! new ─► leased ─► queued ─► taken ─► trained
//!   ▲      │  ▲       └─────────────► dropped (left too old by an earlier learner)
//!   │      ▼  │
//!   └── waiting ────────────────────► dropped (given up by actors too often)
//! ```
//!
//! Staleness is bounded by admission alone, and nothing that was admitted is dropped for its age. With B groups per
//! step, at most η versions of staleness, and the groups trained in the order of their sequences:
//!
//! - The group with place p in the order (see [`progress`](super::progress)) is trained by step s = ⌊p / B⌋, which
//!   starts from version s. None of its tokens may then be older than version s − η.
//! - It may be leased once version v is published with s ≤ v + η, which is AReaL's inequality: p < (η + v + 1) · B. The
//!   version that it needs is then out, s − η ≤ v.
//! - Its lease asks for version s − η or a newer one ([`LeaseTable::min_version`]). An actor that holds older weights
//!   waits for newer ones before the first token, and weights that are swapped in later are newer still. So the oldest
//!   token has the version s − η at least.
//! - A sequence that is dropped moves those behind it forward, to an earlier step, which makes them no older.
//!
//! Every version admits B more groups, and each step trains those that the next version would make too old: at full
//! admission there is no other order than that of the sequences. The trainer therefore waits for the lowest one
//! ([`LeaseTable::next_to_train`]), whoever holds it. It always comes: it is admitted at any version, a lease that is
//! lost is given again, neither a full queue nor an evaluation's end keeps it out, and five failures drop it.

#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anytime_proto::v1::{self, WaitReason};
use anytime_proto::{ActorId, WeightsVersion};

use super::actors::Holder;
pub use super::answers::{GivenBack, NextToTrain, PushCheck, Reconciled, Renewal};
pub use super::inventory::Inventory;
pub use super::lease_rules::LeaseRules;
use super::progress::{Ending, Progress};
use crate::invariants::{Standing, debug_assert_held, sound};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    /// It may be leased at once where there is none.
    pub(super) not_before: Option<Instant>,
    pub(super) failures: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leased {
    pub(super) holder: Holder,
    pub(super) since: Instant,
    expires: Instant,
    pub(super) failures: u32,
}

/// The state of every training sequence of one job. The broker leases from it and asks it about every group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseTable {
    rules: LeaseRules,
    version: Option<WeightsVersion>,
    /// Every sequence below it is in some state. Some from here on may be, too: an actor may hold one from before.
    next_new: u64,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    pub(super) leased: BTreeMap<u64, Leased>,
    /// Those of the sequences that have not ended that this table has leased itself.
    pub(super) given: BTreeSet<u64>,
    pub(super) queued: BTreeSet<u64>,
    pub(super) progress: Progress,
    /// How many delivered groups of a sequence could not be trained.
    pub(super) refusals: BTreeMap<u64, u32>,
    pub(super) skipped_in_a_row: u64,
}

impl LeaseTable {
    /// A table of what is known of the job's sequences. It leases nothing before a version is published.
    pub fn new(rules: LeaseRules, inventory: Inventory) -> Self {
        let progress = Progress::new(&inventory);
        let is_open = |sequence: &u64| progress.ending(*sequence).is_none();
        let queued: BTreeSet<u64> = inventory.queued.into_iter().filter(is_open).collect();
        let replayed = inventory.replayed.difference(&queued).copied().filter(is_open);
        Self {
            rules,
            version: None,
            next_new: inventory.ended_below,
            waiting: replayed.map(|sequence| (sequence, Waiting::default())).collect(),
            leased: BTreeMap::new(),
            given: BTreeSet::new(),
            queued,
            progress,
            refusals: BTreeMap::new(),
            skipped_in_a_row: 0,
        }
    }

    /// A new version is out, or an older one after the trainer went back to its recovery checkpoint.
    pub fn set_version(&mut self, version: WeightsVersion) {
        self.version = Some(version);
    }

    /// The step that trains a sequence, counted from 0: it starts from the version of that number.
    pub fn step_of(&self, sequence: u64) -> u64 {
        self.progress.place(sequence) / self.rules.batch.max(1)
    }

    /// The lowest version that may generate any token of a sequence: the group must not be too old for its step.
    pub fn min_version(&self, sequence: u64) -> WeightsVersion {
        WeightsVersion(self.step_of(sequence).saturating_sub(self.rules.max_staleness))
    }

    /// Whether a sequence may be out under the published version.
    fn is_admitted(&self, sequence: u64) -> bool {
        let version = self.version.unwrap_or_default().0;
        let is_wanted = self.progress.place(sequence) < self.rules.total_groups;
        is_wanted && self.step_of(sequence) <= version.saturating_add(self.rules.max_staleness)
    }

    /// The bound on waiting groups, besides those that are taken, under which this one may be added to the queue.
    pub fn queue_bound(&self, sequence: u64) -> u64 {
        if self.is_due(sequence) {
            u64::MAX
        } else {
            self.rules.queue_groups
        }
    }

    /// Whether the batch that is being taken needs the sequence. A full queue does not keep such a group out, or the
    /// trainer would wait for it for ever.
    pub fn is_due(&self, sequence: u64) -> bool {
        self.progress.place(sequence) < self.progress.end_of_batch(self.rules.batch)
    }

    /// Leases the lowest sequence that is free.
    ///
    /// # Errors
    /// Why there is none.
    pub fn lease(&mut self, holder: &Holder, now: Instant) -> Result<u64, WaitReason> {
        if self.version.is_none() {
            return Err(WaitReason::NoJob);
        }
        let again = self
            .waiting
            .iter()
            .find(|(sequence, waiting)| waiting.not_before <= Some(now) && self.is_admitted(**sequence))
            .map(|(sequence, _)| *sequence);
        while self.is_known(self.next_new) {
            self.next_new += 1;
        }
        // What waits may lie above a new one: an actor had it from before the learner's restart, and lost it.
        let sequence = again.map_or(self.next_new, |again| again.min(self.next_new));
        if self.progress.place(sequence) >= self.rules.total_groups {
            return Err(WaitReason::AllLeased);
        }
        if !self.is_admitted(sequence) {
            return Err(WaitReason::Staleness);
        }
        if !self.has_room(sequence) {
            return Err(WaitReason::QueueFull);
        }
        let failures = self.waiting.remove(&sequence).map_or(0, |waiting| waiting.failures);
        if sequence == self.next_new {
            self.next_new += 1;
        }
        self.given.insert(sequence);
        self.insert_lease(sequence, holder, failures, now);
        Ok(sequence)
    }

    /// Whether the group of a sequence was asked for by an earlier process of the learner. That may have asked for older
    /// weights than this one would: where it dropped a sequence, and was killed before that was recorded, those behind it had
    /// moved forward, and move back again.
    pub fn is_of_before(&self, sequence: u64) -> bool {
        !self.given.contains(&sequence)
    }

    /// An actor lists the groups that it has in hand, and their leases start anew. It gets a lease back that was taken
    /// from it, unless somebody else has it now, and also one that the learner gave before its restart. A lease of this
    /// process that is not listed becomes free: its answer was lost, or the group was dropped without a word.
    pub fn renew(&mut self, holder: &Holder, held: &BTreeSet<u64>, now: Instant) -> Renewal {
        let freed = self.take_back(now, |sequence, leased| {
            leased.holder == *holder && !held.contains(&sequence)
        });
        let mut renewed = 0;
        for sequence in held {
            let failures = match self.leased.get_mut(sequence) {
                Some(leased) if leased.holder == *holder => {
                    leased.expires = now + self.rules.lease;
                    renewed += 1;
                    continue;
                }
                // The actor pushed it before and kept it because the queue was full.
                Some(leased) if leased.holder == Holder::unnamed(&holder.actor) => leased.failures,
                Some(_) => continue,
                None => match self.waiting.get(sequence) {
                    Some(waiting) => waiting.failures,
                    None if !self.is_known(*sequence) && self.is_admitted(*sequence) => 0,
                    None => continue,
                },
            };
            self.waiting.remove(sequence);
            self.insert_lease(*sequence, holder, failures, now);
            renewed += 1;
        }
        Renewal { renewed, freed }
    }

    /// What is said of a sequence that has come already or has ended; None where its group may come.
    pub fn is_there(&self, sequence: u64) -> Option<PushCheck> {
        match self.progress.ending(sequence) {
            Some(Ending::Trained) => return Some(PushCheck::Duplicate),
            Some(Ending::Stale | Ending::Skipped) => return Some(PushCheck::Unwanted),
            None => {}
        }
        let is_there = self.queued.contains(&sequence) || self.progress.is_taken(sequence);
        is_there.then_some(PushCheck::Duplicate)
    }

    /// Whether the queue has room for a sequence, as far as the table knows. Redis has the last word.
    pub fn has_room(&self, sequence: u64) -> bool {
        !self.is_full() || self.is_due(sequence)
    }

    /// Whether the queue is at its bound.
    pub fn is_full(&self) -> bool {
        self.queued_groups() >= self.rules.queue_groups
    }

    /// Judges a pushed group. One that was leased by the learner before its restart becomes a lease of the pusher, so
    /// that nothing is admitted beyond the bound while the group is on its way into the queue.
    pub fn check_push(&mut self, sequence: u64, actor: &ActorId, now: Instant) -> PushCheck {
        if let Some(answer) = self.is_there(sequence) {
            return answer;
        }
        if self.leased.contains_key(&sequence) || self.waiting.contains_key(&sequence) {
            return PushCheck::Admit;
        }
        if !self.is_admitted(sequence) {
            return PushCheck::Unwanted;
        }
        self.insert_lease(sequence, &Holder::unnamed(actor), 0, now);
        PushCheck::Admit
    }

    /// The group is in the queue.
    pub fn accepted(&mut self, sequence: u64) {
        self.waiting.remove(&sequence);
        self.leased.remove(&sequence);
        self.skipped_in_a_row = 0;
        if !self.progress.is_taken(sequence) && self.progress.ending(sequence).is_none() {
            self.queued.insert(sequence);
        }
        self.assert_sound(0);
    }

    /// The queue was full: the actor keeps its group and pushes it again, and its lease starts anew.
    pub fn kept_by_actor(&mut self, sequence: u64, now: Instant) {
        let expires = now + self.rules.lease;
        if let Some(leased) = self.leased.get_mut(&sequence) {
            leased.expires = expires;
        }
    }

    pub(super) fn wait(&mut self, sequence: u64, not_before: Instant, failures: u32) {
        let waiting = Waiting {
            not_before: Some(not_before),
            failures,
        };
        self.waiting.insert(sequence, waiting);
    }

    /// Takes leases back that have run out. Returns how many.
    pub fn expire(&mut self, now: Instant) -> u64 {
        self.take_back(now, |_, leased| leased.expires <= now)
    }

    /// Takes back all leases of a process that is gone. Returns how many.
    pub fn take_back_from(&mut self, holder: &Holder, now: Instant) -> u64 {
        self.take_back(now, |_, leased| leased.holder == *holder)
    }

    fn take_back(&mut self, now: Instant, applies: impl Fn(u64, &Leased) -> bool) -> u64 {
        let sequences: Vec<u64> = self
            .leased
            .iter()
            .filter(|(sequence, leased)| applies(**sequence, leased))
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in &sequences {
            let failures = self.leased.remove(sequence).map_or(0, |leased| leased.failures);
            self.wait(*sequence, now, failures);
        }
        sequences.len() as u64
    }

    /// The next time at which a lease or a pause runs out.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let expiry = self
            .leased
            .values()
            .map(|leased| leased.expires)
            .filter(|time| *time > now)
            .min();
        let pause = self
            .waiting
            .values()
            .filter_map(|waiting| waiting.not_before)
            .filter(|time| *time > now)
            .min();
        [expiry, pause].into_iter().flatten().min()
    }

    /// The group that the trainer takes next: the lowest that is neither taken nor ended.
    pub fn next_to_train(&self) -> NextToTrain {
        let sequence = self.progress.next_to_take();
        if self.queued.contains(&sequence) {
            return NextToTrain::Queued(sequence);
        }
        match self.leased.get(&sequence) {
            Some(leased) => NextToTrain::Leased(sequence, leased.holder.actor.clone(), leased.since),
            None => NextToTrain::Free(sequence),
        }
    }

    /// The trainer holds the group.
    pub fn taken(&mut self, sequence: u64) {
        self.accepted(sequence);
        self.given.remove(&sequence);
        self.refusals.remove(&sequence);
        if self.queued.remove(&sequence) {
            let before = self.progress.finished_below();
            self.progress.take(sequence);
            self.assert_sound(before);
        }
    }

    /// The group was dropped as too old: an earlier learner, with other rules, had left it. Its place is free.
    pub fn dropped_as_stale(&mut self, sequence: u64) {
        self.accepted(sequence);
        if self.queued.remove(&sequence) {
            self.given.remove(&sequence);
            let before = self.progress.finished_below();
            self.progress.drop_as_stale(sequence);
            self.assert_sound(before);
        }
    }

    /// The queue holds the group, but it cannot be read: it is leased again.
    pub fn lost(&mut self, sequence: u64, now: Instant) {
        if self.queued.remove(&sequence) {
            self.wait(sequence, now, 0);
        }
    }

    /// The trainer's recovery checkpoint holds the updates that these groups made.
    pub fn acknowledged(&mut self, sequences: &[u64]) {
        let before = self.progress.finished_below();
        self.progress.acknowledge(sequences);
        self.assert_sound(before);
    }

    /// Forgets how each of the sequences below this one ended, except for the last that were given up, so that the
    /// table does not grow with the run. A recovery checkpoint holds that all of them have ended. If one is pushed
    /// again, it counts as trained.
    pub fn forget_below(&mut self, ended_below: u64) {
        self.progress.forget_below(ended_below);
    }

    /// How many sequences the table remembers one by one, in all its lists.
    pub fn remembered(&self) -> usize {
        let live = self.waiting.len() + self.leased.len() + self.queued.len() + self.given.len();
        live + self.refusals.len() + self.progress.remembered()
    }

    /// Brings the table in line with the queue, after an outage of Redis or where the queue is not what it should be.
    /// Groups that the queue lost are leased again; groups that it holds although their push was not answered count as
    /// queued; and groups that it holds again although they have ended are to be settled. `before` is what the table
    /// held for queued when Redis was asked, since pushes go on meanwhile.
    pub fn reconcile(&mut self, before: &BTreeSet<u64>, in_queue: &BTreeSet<u64>, now: Instant) -> Reconciled {
        let lost: Vec<u64> = before.difference(in_queue).copied().collect();
        let mut reconciled = Reconciled::default();
        for sequence in lost {
            reconciled.lost += u64::from(self.queued.contains(&sequence));
            self.lost(sequence, now);
        }
        for sequence in in_queue {
            match self.progress.ending(*sequence) {
                Some(ending) => reconciled.ended.push((*sequence, ending)),
                None if self.progress.is_taken(*sequence) => {}
                None => self.accepted(*sequence),
            }
        }
        reconciled
    }

    /// Of sequences that Redis has for skipped, those that have not ended: it came back from before they were replayed.
    pub fn replayed_among(&self, skipped: &BTreeSet<u64>) -> Vec<u64> {
        self.progress.open_among(skipped)
    }

    /// The sequences that have not ended, by state.
    pub fn account(&self) -> v1::QueueAccount {
        v1::QueueAccount {
            version: self.version.unwrap_or_default().0,
            queued: self.queued.iter().copied().collect(),
            leased: self.leased.keys().copied().collect(),
            waiting: self.waiting.keys().copied().collect(),
            taken: self.progress.taken_sequences().iter().copied().collect(),
        }
    }

    /// Groups that are out or were trained: leased, waiting, queued, taken, trained.
    pub fn admitted(&self) -> u64 {
        let live = self.waiting.len() + self.leased.len() + self.queued.len();
        self.progress.trained() + self.progress.taken() + live as u64
    }

    /// The sequences in the queue that the trainer has not taken.
    pub fn queued(&self) -> &BTreeSet<u64> {
        &self.queued
    }

    /// Groups in the queue that the trainer has not taken.
    pub fn queued_groups(&self) -> u64 {
        self.queued.len() as u64
    }

    /// Groups that the trainer holds and has not acknowledged.
    pub fn taken_groups(&self) -> u64 {
        self.progress.taken()
    }

    /// Groups that are leased and not yet pushed.
    pub fn leased_groups(&self) -> u64 {
        self.leased.len() as u64
    }

    /// Groups dropped as too old.
    pub fn stale_groups(&self) -> u64 {
        self.progress.stale()
    }

    /// Groups that actors gave up too often.
    pub fn skipped_groups(&self) -> u64 {
        self.progress.skipped()
    }

    /// How many sequences in a row were given up since the last group arrived.
    pub fn skipped_in_a_row(&self) -> u64 {
        self.skipped_in_a_row
    }

    /// The rules, which stay the same over the life of the table.
    pub fn rules(&self) -> &LeaseRules {
        &self.rules
    }

    fn insert_lease(&mut self, sequence: u64, holder: &Holder, failures: u32, now: Instant) {
        let lease = Leased {
            holder: holder.clone(),
            since: now,
            expires: now + self.rules.lease,
            failures,
        };
        self.leased.insert(sequence, lease);
        self.assert_sound(0);
    }

    /// The state of every sequence, in the form that the invariants check.
    pub fn standing(&self) -> Standing<'_> {
        Standing {
            ended_below: self.progress.finished_below(),
            ended_above: self.progress.ended_above(),
            replayed: self.progress.replayed_sequences(),
            taken: self.progress.taken_sequences(),
            queued: &self.queued,
            leased: self.leased.keys().copied().collect(),
            waiting: self.waiting.keys().copied().collect(),
            next_to_take: self.progress.next_to_take(),
            next_new: self.next_new,
        }
    }

    /// Checks in debug builds the invariants that the table can see. `watermark_before` is the watermark before the
    /// change.
    pub(super) fn assert_sound(&self, watermark_before: u64) {
        debug_assert_held(|| sound(watermark_before, &self.standing()));
    }

    fn is_known(&self, sequence: u64) -> bool {
        self.progress.ending(sequence).is_some()
            || self.queued.contains(&sequence)
            || self.progress.is_taken(sequence)
            || self.leased.contains_key(&sequence)
            || self.waiting.contains_key(&sequence)
    }
}
