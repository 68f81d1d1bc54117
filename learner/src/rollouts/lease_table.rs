//! The table of training leases. It decides which problem is leased next, and judges the age of a group. It is a state
//! machine without clock or I/O.
//!
//! A sequence number is the place of a problem in the order of training. At any time it is in exactly one state:
//!
//! ```text
//! new ─► leased ─► queued ─► taken ─► trained
//!   ▲      │  ▲       └─────────────► dropped (too old)
//!   │      ▼  │
//!   └── waiting ────────────────────► dropped (given up by actors too often)
//! ```
//!
//! Admission is AReaL's inequality: of all sequences ever leased and not dropped there are at most
//! (max_staleness + version + 1) · batch, and never more than the job trains. A dropped one makes room for a new one.

#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anytime_proto::v1::WaitReason;
use anytime_proto::{ActorId, WeightsVersion};

use super::retries::{MAX_FAILURES, pause_after};

/// The rules of a job, which stay the same over the life of its table.
#[derive(Clone, Debug)]
pub struct LeaseRules {
    /// Groups per step.
    pub batch: u64,
    /// A token may be at most this many versions older than the published one.
    pub max_staleness: u64,
    /// At most this many groups wait in the queue.
    pub queue_groups: u64,
    /// How long an actor may keep a lease.
    pub lease: Duration,
    /// Steps × batch.
    pub total_groups: u64,
}

/// What is known of a job's sequences when its table is made: from its recovery checkpoint and from Redis.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// All sequences below this one have been trained.
    pub trained_below: u64,
    /// Trained sequences from `trained_below` on.
    pub trained: BTreeSet<u64>,
    /// Dropped as too old.
    pub stale: BTreeSet<u64>,
    /// Given up by actors too often.
    pub skipped: BTreeSet<u64>,
    /// In the queue.
    pub queued: BTreeSet<u64>,
}

#[derive(Debug)]
struct Waiting {
    not_before: Instant,
    failures: u32,
}

#[derive(Debug)]
struct Leased {
    actor: ActorId,
    expires: Instant,
    failures: u32,
}

/// Whether a pushed group may go into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushCheck {
    /// It may.
    Admit,
    /// It is in the queue, or was.
    Duplicate,
    /// It was dropped, or was never leased and is not admitted.
    Unwanted,
}

/// What follows for a lease that an actor gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// The actor does not hold that lease any more.
    NotHeld,
    /// It will be leased again.
    Again,
    /// It has failed too often and is dropped.
    Skipped,
}

/// What the trainer does with a group out of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Trains it.
    Train,
    /// Drops it: too old.
    Stale,
    /// Nothing: it holds the group already.
    Held,
    /// Settles it: it was trained or dropped before.
    Finished,
}

/// The state of every training sequence of one job. The broker leases from it and asks it about every group.
#[derive(Debug)]
pub struct LeaseTable {
    rules: LeaseRules,
    version: Option<WeightsVersion>,
    /// No sequence from here on has been leased from this table.
    next_new: u64,
    waiting: BTreeMap<u64, Waiting>,
    leased: BTreeMap<u64, Leased>,
    queued: BTreeSet<u64>,
    taken: BTreeSet<u64>,
    /// All sequences below this one are trained or dropped.
    finished_below: u64,
    /// Trained sequences from `finished_below` on.
    trained_above: BTreeSet<u64>,
    dropped: BTreeSet<u64>,
    trained: u64,
    stale: u64,
    skipped: u64,
    skipped_in_a_row: u64,
}

impl LeaseTable {
    /// A table of what is known of the job's sequences. It leases nothing before a version is published.
    pub fn new(rules: LeaseRules, inventory: Inventory) -> Self {
        let trained_below = inventory.trained_below;
        let trained_above: BTreeSet<u64> = inventory
            .trained
            .into_iter()
            .filter(|sequence| *sequence >= trained_below)
            .collect();
        let is_trained = |sequence: &u64| *sequence < trained_below || trained_above.contains(sequence);
        let stale: BTreeSet<u64> = inventory
            .stale
            .into_iter()
            .filter(|sequence| !is_trained(sequence))
            .collect();
        let skipped: BTreeSet<u64> = inventory
            .skipped
            .into_iter()
            .filter(|sequence| !is_trained(sequence))
            .collect();
        let dropped: BTreeSet<u64> = stale.union(&skipped).copied().collect();
        let queued = inventory
            .queued
            .into_iter()
            .filter(|sequence| !is_trained(sequence) && !dropped.contains(sequence))
            .collect();
        let mut table = Self {
            rules,
            version: None,
            next_new: trained_below,
            waiting: BTreeMap::new(),
            leased: BTreeMap::new(),
            queued,
            taken: BTreeSet::new(),
            finished_below: trained_below,
            trained: trained_below + trained_above.len() as u64,
            trained_above,
            stale: stale.len() as u64,
            skipped: skipped.len() as u64,
            dropped,
            skipped_in_a_row: 0,
        };
        table.raise_finished_below();
        table
    }

    /// A new version is out, or an older one after the trainer went back to its recovery checkpoint.
    pub fn set_version(&mut self, version: WeightsVersion) {
        self.version = Some(version);
    }

    /// The lowest version that may generate a leased sequence. The number of groups ahead of it decides which step will
    /// train it, and so how old its tokens may be: the last group that admission allows must be generated by the
    /// published version, the first one may be generated by older ones.
    pub fn min_version(&self, sequence: u64) -> WeightsVersion {
        let leased_before = self.leased.range(..sequence).count() + self.waiting.range(..sequence).count();
        let ahead = self.trained + (self.queued.len() + self.taken.len() + leased_before) as u64;
        let trained_at = ahead / self.rules.batch.max(1);
        let published = self.version.unwrap_or_default().0;
        WeightsVersion(trained_at.saturating_sub(self.rules.max_staleness).min(published))
    }

    /// Leases the lowest sequence that is free.
    ///
    /// # Errors
    /// Why there is none.
    pub fn lease(&mut self, actor: &ActorId, now: Instant) -> Result<u64, WaitReason> {
        if self.version.is_none() {
            return Err(WaitReason::NoJob);
        }
        if self.queued.len() as u64 >= self.rules.queue_groups {
            return Err(WaitReason::QueueFull);
        }
        let again = self
            .waiting
            .iter()
            .find(|(_, waiting)| waiting.not_before <= now)
            .map(|(sequence, _)| *sequence);
        if let Some(sequence) = again {
            let failures = self.waiting.remove(&sequence).map_or(0, |waiting| waiting.failures);
            self.insert_lease(sequence, actor, failures, now);
            return Ok(sequence);
        }
        if self.admitted() >= self.rules.total_groups {
            return Err(WaitReason::AllLeased);
        }
        if self.room() == 0 {
            return Err(WaitReason::Staleness);
        }
        while self.is_known(self.next_new) {
            self.next_new += 1;
        }
        let sequence = self.next_new;
        self.next_new += 1;
        self.insert_lease(sequence, actor, 0, now);
        Ok(sequence)
    }

    /// Judges a pushed group. One that was leased by the learner before its restart becomes a lease of the pusher, so
    /// that nothing is admitted beyond the bound while the group is on its way into the queue.
    pub fn check_push(&mut self, sequence: u64, actor: &ActorId, now: Instant) -> PushCheck {
        if self.dropped.contains(&sequence) {
            return PushCheck::Unwanted;
        }
        if self.is_trained(sequence) || self.queued.contains(&sequence) || self.taken.contains(&sequence) {
            return PushCheck::Duplicate;
        }
        if self.leased.contains_key(&sequence) || self.waiting.contains_key(&sequence) {
            return PushCheck::Admit;
        }
        let window = self
            .rules
            .max_staleness
            .saturating_add(1)
            .saturating_mul(self.rules.batch);
        if sequence >= self.highest_known().saturating_add(window) || self.room() == 0 {
            return PushCheck::Unwanted;
        }
        self.insert_lease(sequence, actor, 0, now);
        PushCheck::Admit
    }

    /// The group is in the queue.
    pub fn accepted(&mut self, sequence: u64) {
        self.waiting.remove(&sequence);
        self.leased.remove(&sequence);
        self.skipped_in_a_row = 0;
        if !self.taken.contains(&sequence) && !self.is_finished(sequence) {
            self.queued.insert(sequence);
        }
    }

    /// The queue was full: the actor keeps its group and pushes it again, and its lease starts anew.
    pub fn kept_by_actor(&mut self, sequence: u64, now: Instant) {
        let expires = now + self.rules.lease;
        if let Some(leased) = self.leased.get_mut(&sequence) {
            leased.expires = expires;
        }
    }

    /// An actor gives a lease back. It is leased again: at once, or after a pause where the actor `failed` to use it.
    pub fn give_back(&mut self, sequence: u64, actor: &ActorId, failed: bool, now: Instant) -> GivenBack {
        let failures = match self.leased.get(&sequence) {
            Some(leased) if leased.actor == *actor => leased.failures + u32::from(failed),
            _ => return GivenBack::NotHeld,
        };
        self.leased.remove(&sequence);
        if failures >= MAX_FAILURES {
            self.skipped += 1;
            self.skipped_in_a_row += 1;
            self.drop_sequence(sequence);
            return GivenBack::Skipped;
        }
        let pause = if failed { pause_after(failures) } else { Duration::ZERO };
        self.waiting.insert(
            sequence,
            Waiting {
                not_before: now + pause,
                failures,
            },
        );
        GivenBack::Again
    }

    /// Takes leases back that have run out. Returns how many.
    pub fn expire(&mut self, now: Instant) -> u64 {
        self.take_back(now, |leased| leased.expires <= now)
    }

    /// Takes back all leases of an actor that is gone. Returns how many.
    pub fn take_back_from(&mut self, actor: &ActorId, now: Instant) -> u64 {
        self.take_back(now, |leased| leased.actor == *actor)
    }

    fn take_back(&mut self, now: Instant, applies: impl Fn(&Leased) -> bool) -> u64 {
        let sequences: Vec<u64> = self
            .leased
            .iter()
            .filter(|(_, leased)| applies(leased))
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in &sequences {
            let failures = self.leased.remove(sequence).map_or(0, |leased| leased.failures);
            self.waiting.insert(
                *sequence,
                Waiting {
                    not_before: now,
                    failures,
                },
            );
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
            .map(|waiting| waiting.not_before)
            .filter(|time| *time > now)
            .min();
        [expiry, pause].into_iter().flatten().min()
    }

    /// What the trainer should do with a group out of the queue whose oldest token has this version.
    pub fn judge(&self, sequence: u64, oldest: WeightsVersion) -> Judgement {
        if self.is_finished(sequence) {
            return Judgement::Finished;
        }
        if self.taken.contains(&sequence) {
            return Judgement::Held;
        }
        let age = self.version.unwrap_or_default().0.saturating_sub(oldest.0);
        if age > self.rules.max_staleness {
            Judgement::Stale
        } else {
            Judgement::Train
        }
    }

    /// The trainer holds the group.
    pub fn taken(&mut self, sequence: u64) {
        self.accepted(sequence);
        if self.queued.remove(&sequence) {
            self.taken.insert(sequence);
        }
    }

    /// The group was dropped as too old: its place is free.
    pub fn dropped_as_stale(&mut self, sequence: u64) {
        self.accepted(sequence);
        if self.queued.remove(&sequence) {
            self.stale += 1;
            self.drop_sequence(sequence);
        }
    }

    /// The queue holds the group, but it cannot be read: it is leased again.
    pub fn lost(&mut self, sequence: u64, now: Instant) {
        if self.queued.remove(&sequence) {
            self.waiting.insert(
                sequence,
                Waiting {
                    not_before: now,
                    failures: 0,
                },
            );
        }
    }

    /// The trainer's recovery checkpoint holds the updates that these groups made.
    pub fn acknowledged(&mut self, sequences: &[u64]) {
        for sequence in sequences {
            if self.taken.remove(sequence) {
                self.trained += 1;
                self.trained_above.insert(*sequence);
            }
        }
        self.raise_finished_below();
    }

    /// Brings the table in line with the queue after an outage of Redis: groups that the queue lost are leased again,
    /// and groups that it holds although their push was not answered count as queued. Returns how many were lost.
    pub fn reconcile(&mut self, in_queue: &BTreeSet<u64>, now: Instant) -> u64 {
        let lost: Vec<u64> = self.queued.difference(in_queue).copied().collect();
        for sequence in &lost {
            self.lost(*sequence, now);
        }
        for sequence in in_queue {
            if !self.queued.contains(sequence) && !self.taken.contains(sequence) && !self.is_finished(*sequence) {
                self.accepted(*sequence);
            }
        }
        lost.len() as u64
    }

    /// Sequences ever leased and not dropped: what admission bounds.
    pub fn admitted(&self) -> u64 {
        let live = self.waiting.len() + self.leased.len() + self.queued.len() + self.taken.len();
        self.trained + live as u64
    }

    /// How many more may be admitted under the published version.
    pub fn room(&self) -> u64 {
        let version = self.version.unwrap_or_default().0;
        let steps = self.rules.max_staleness.saturating_add(version).saturating_add(1);
        let bound = steps.saturating_mul(self.rules.batch).min(self.rules.total_groups);
        bound.saturating_sub(self.admitted())
    }

    /// Groups in the queue that the trainer has not taken.
    pub fn queued_groups(&self) -> u64 {
        self.queued.len() as u64
    }

    /// Groups that the trainer holds and has not acknowledged.
    pub fn taken_groups(&self) -> u64 {
        self.taken.len() as u64
    }

    /// Groups that are leased and not yet pushed.
    pub fn leased_groups(&self) -> u64 {
        self.leased.len() as u64
    }

    /// Groups dropped as too old.
    pub fn stale_groups(&self) -> u64 {
        self.stale
    }

    /// Groups that actors gave up too often.
    pub fn skipped_groups(&self) -> u64 {
        self.skipped
    }

    /// How many were given up since the last group arrived.
    pub fn skipped_in_a_row(&self) -> u64 {
        self.skipped_in_a_row
    }

    /// The rules, which stay the same over the life of the table.
    pub fn rules(&self) -> &LeaseRules {
        &self.rules
    }

    fn insert_lease(&mut self, sequence: u64, actor: &ActorId, failures: u32, now: Instant) {
        let lease = Leased {
            actor: actor.clone(),
            expires: now + self.rules.lease,
            failures,
        };
        self.leased.insert(sequence, lease);
    }

    fn drop_sequence(&mut self, sequence: u64) {
        self.dropped.insert(sequence);
        self.raise_finished_below();
    }

    fn is_trained(&self, sequence: u64) -> bool {
        !self.dropped.contains(&sequence) && (sequence < self.finished_below || self.trained_above.contains(&sequence))
    }

    fn is_finished(&self, sequence: u64) -> bool {
        self.dropped.contains(&sequence) || self.is_trained(sequence)
    }

    fn is_known(&self, sequence: u64) -> bool {
        self.is_finished(sequence)
            || self.queued.contains(&sequence)
            || self.taken.contains(&sequence)
            || self.leased.contains_key(&sequence)
            || self.waiting.contains_key(&sequence)
    }

    /// One above the highest sequence that is in any state.
    fn highest_known(&self) -> u64 {
        let lists = [&self.queued, &self.taken, &self.trained_above, &self.dropped];
        let highest = lists.into_iter().filter_map(|list| list.last()).max();
        highest.map_or(self.next_new, |sequence| self.next_new.max(sequence + 1))
    }

    fn raise_finished_below(&mut self) {
        while self.trained_above.remove(&self.finished_below) || self.dropped.contains(&self.finished_below) {
            self.finished_below += 1;
        }
    }
}
