//! The invariants of the queue (`learner/src/invariants.rs`) under anything that actors, trainer, Redis and time may do to
//! the lease table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anytime_learner::invariants::{Held, History, Trained, admission, fresh, in_order, lease_admitted, once, sound};
use anytime_learner::rollouts::actors::Holder;
use anytime_learner::rollouts::lease_table::{GivenBack, Inventory, LeaseTable, NextToTrain, PushCheck};
use anytime_proto::WeightsVersion;
use proptest::prelude::*;

use crate::lease_table::{actor, holder, open_book, rules};

#[derive(Clone, Debug)]
enum Act {
    Lease(u8),
    /// One of the sequences that were ever leased, by weights that are as old as its lease allows, or newer.
    Push(prop::sample::Index, u8),
    GiveBack(prop::sample::Index, u8, bool),
    /// A group comes that cannot be trained.
    Refuse(prop::sample::Index, u8),
    /// The trainer cannot train what the queue holds.
    Unreadable(prop::sample::Index),
    /// A person has a dropped sequence trained after all.
    Replay(prop::sample::Index),
    Wait(u8),
    Gone(u8),
    /// An actor lists what it has in hand, but for those that it lost.
    List(u8, u8),
    Take,
    Acknowledge,
    Publish,
    LoseQueue,
    /// The learner starts again, from a checkpoint that holds all that was trained. Actors keep what they have.
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..3_u8).prop_map(Act::Lease),
        6 => (index(), 0..4_u8).prop_map(|(which, newer)| Act::Push(which, newer)),
        2 => (index(), 0..3_u8, any::<bool>()).prop_map(|(which, who, failed)| Act::GiveBack(which, who, failed)),
        3 => (index(), 0..3_u8).prop_map(|(which, who)| Act::Refuse(which, who)),
        1 => index().prop_map(Act::Unreadable),
        1 => index().prop_map(Act::Replay),
        2 => (0..60_u8).prop_map(Act::Wait),
        1 => (0..3_u8).prop_map(Act::Gone),
        2 => (0..3_u8, 0..4_u8).prop_map(|(who, lost)| Act::List(who, lost)),
        6 => Just(Act::Take),
        2 => Just(Act::Acknowledge),
        3 => Just(Act::Publish),
        1 => Just(Act::LoseQueue),
        1 => Just(Act::Restart),
    ]
}

/// What the world around the table knows.
struct World {
    table: LeaseTable,
    now: Instant,
    version: u64,
    leased: BTreeSet<u64>,
    /// What each lease asked for, with its holder.
    asked: BTreeMap<u64, (u8, u64)>,
    /// What Redis holds, with the version of each.
    queue: BTreeMap<u64, u64>,
    taken: BTreeSet<u64>,
    trained: BTreeSet<u64>,
    dropped: BTreeSet<u64>,
    /// How often something was replayed: each time what lies behind it moves back by a place.
    replays: u64,
    has_restarted: bool,
    /// Every sequence that was ever replayed.
    replayed: BTreeSet<u64>,
    /// What the trainer took, in its order.
    order: Vec<Trained>,
    /// The watermark when it was last looked at.
    watermark: u64,
}

fn held(check: Held) {
    check.unwrap_or_else(|broken| panic!("{broken}"));
}

impl World {
    fn new() -> Self {
        Self {
            table: open_book(Inventory::default()),
            now: Instant::now(),
            version: 0,
            leased: BTreeSet::new(),
            asked: BTreeMap::new(),
            queue: BTreeMap::new(),
            taken: BTreeSet::new(),
            trained: BTreeSet::new(),
            dropped: BTreeSet::new(),
            replays: 0,
            has_restarted: false,
            replayed: BTreeSet::new(),
            order: Vec::new(),
            watermark: 0,
        }
    }

    fn given_back(&mut self, sequence: u64, outcome: GivenBack) {
        if let GivenBack::Skipped(failures) = outcome {
            assert!(failures >= 3);
            assert!(self.dropped.insert(sequence));
            self.queue.remove(&sequence);
        }
    }

    /// The steps so far, the last one perhaps not complete.
    fn history(&self) -> History {
        let steps = self.order.chunks(rules().batch as usize);
        History {
            steps: steps.map(<[Trained]>::to_vec).collect(),
            left_out: vec![self.dropped.clone()],
            replayed: self.replayed.clone(),
        }
    }

    fn pick(&self, which: prop::sample::Index) -> Option<u64> {
        let all: Vec<u64> = self.leased.iter().copied().collect();
        (!all.is_empty()).then(|| all[which.index(all.len())])
    }

    fn lease(&mut self, who: u8) {
        if let Ok(sequence) = self.table.lease(&holder(&who.to_string()), self.now) {
            assert!(!self.trained.contains(&sequence) && !self.dropped.contains(&sequence));
            assert!(!self.queue.contains_key(&sequence) && !self.taken.contains(&sequence));
            let min_version = self.table.min_version(sequence).0;
            assert!(min_version <= self.version, "no actor can have such weights");
            let left_out_below = self.dropped.range(..sequence).count() as u64;
            held(lease_admitted(
                sequence,
                left_out_below,
                self.version,
                &rules().bounds(),
            ));
            self.leased.insert(sequence);
            self.asked.insert(sequence, (who, min_version));
        }
    }

    /// The push of whoever had the group last, by weights between those that the lease asked for and the newest.
    fn push(&mut self, sequence: u64, newer: u64) {
        let was_there =
            self.queue.contains_key(&sequence) || self.taken.contains(&sequence) || self.trained.contains(&sequence);
        match self.table.check_push(sequence, &actor("late"), self.now) {
            // How a sequence ended is forgotten once a checkpoint holds that all up to it have.
            PushCheck::Duplicate => assert!(was_there || self.dropped.contains(&sequence)),
            // What is replayed takes its place back, so that a later group which a table does not know, because it was made
            // anew since, is not admitted any more. It is leased again when it is.
            PushCheck::Unwanted => {
                assert!(self.dropped.contains(&sequence) || (self.has_restarted && self.replays > 0));
            }
            PushCheck::Admit => {
                assert!(!was_there && !self.dropped.contains(&sequence));
                let (_, min_version) = self.asked[&sequence];
                let version = (min_version + newer).min(self.version);
                if version < self.table.min_version(sequence).0 {
                    assert!(self.replays > 0, "refused for its age");
                    let outcome = self.table.refuse(sequence, &Holder::unnamed(&actor("late")), self.now);
                    self.given_back(sequence, outcome);
                    return;
                }
                self.queue.insert(sequence, version);
                self.table.accepted(sequence);
            }
        }
    }

    /// The trainer takes the next group where it is there, unless it has to publish first.
    fn take(&mut self) {
        let next = self.table.next_to_train();
        let sequence = next.sequence();
        if !self.queue.contains_key(&sequence) || self.stepped() >= (self.version + 1) * rules().batch {
            return;
        }
        assert_eq!(next, NextToTrain::Queued(sequence));
        let oldest_version = self.queue[&sequence];
        if self.version - oldest_version > rules().max_staleness {
            assert!(self.replays > 0, "too old when its turn came");
            self.table.lost(sequence, self.now);
            self.queue.remove(&sequence);
            return;
        }
        self.table.taken(sequence);
        self.order.push(Trained {
            sequence,
            oldest_version,
        });
        self.taken.insert(sequence);
        self.queue.remove(&sequence);
    }

    fn stepped(&self) -> u64 {
        (self.taken.len() + self.trained.len()) as u64
    }

    fn list(&mut self, who: u8, lost: u8) {
        let held: BTreeSet<u64> = self
            .asked
            .iter()
            .filter(|(_, (holder, _))| *holder == who)
            .map(|(sequence, _)| *sequence)
            .filter(|sequence| sequence % 4 != u64::from(lost))
            .collect();
        self.table.renew(&holder(&who.to_string()), &held, self.now);
    }

    /// The trainer publishes a version for every batch that it took.
    fn publish(&mut self) {
        if self.stepped() >= (self.version + 1) * rules().batch {
            self.version += 1;
            self.table.set_version(WeightsVersion(self.version));
        }
    }

    fn acknowledge(&mut self) {
        let taken: Vec<u64> = std::mem::take(&mut self.taken).into_iter().collect();
        self.table.acknowledged(&taken);
        self.trained.extend(taken);
        let has_ended = |sequence: &u64| self.trained.contains(sequence) || self.dropped.contains(sequence);
        self.table.forget_below((0..).take_while(has_ended).count() as u64);
    }

    fn restart(&mut self) {
        // Replays are a matter of the checkpoint's, which this world does not have.
        if self.replays > 0 {
            return;
        }
        self.has_restarted = true;
        self.acknowledge();
        let has_ended = |sequence: &u64| self.trained.contains(sequence) || self.dropped.contains(sequence);
        let ended_below = (0..).take_while(has_ended).count() as u64;
        let inventory = Inventory {
            ended_below,
            left_out_below: self.dropped.range(..ended_below).count() as u64,
            trained: self.trained.range(ended_below..).copied().collect(),
            skipped: self.dropped.range(ended_below..).copied().collect(),
            dead: self.dropped.clone(),
            queued: self.queue.keys().copied().collect(),
            ..Inventory::default()
        };
        self.table = LeaseTable::new(rules(), inventory);
        self.table.set_version(WeightsVersion(self.version));
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Lease(who) => self.lease(*who),
            Act::Push(which, newer) => {
                if let Some(sequence) = self.pick(*which) {
                    self.push(sequence, u64::from(*newer));
                }
            }
            Act::GiveBack(which, who, failed) => {
                if let Some(sequence) = self.pick(*which) {
                    let holder = holder(&who.to_string());
                    let outcome = self.table.give_back(sequence, &holder, *failed, self.now);
                    self.given_back(sequence, outcome);
                }
            }
            Act::Refuse(which, who) => {
                if let Some(sequence) = self.pick(*which) {
                    let outcome = self.table.refuse(sequence, &holder(&who.to_string()), self.now);
                    self.given_back(sequence, outcome);
                }
            }
            Act::Unreadable(which) => {
                let queued: Vec<u64> = self.queue.keys().copied().collect();
                if !queued.is_empty() {
                    let sequence = queued[which.index(queued.len())];
                    let outcome = self.table.unreadable(sequence, self.now);
                    assert_ne!(outcome, GivenBack::NotHeld);
                    self.queue.remove(&sequence);
                    self.given_back(sequence, outcome);
                }
            }
            Act::Replay(which) => {
                if let Some(sequence) = self.pick(*which) {
                    let was_dropped = self.dropped.remove(&sequence);
                    assert_eq!(self.table.replay(sequence), was_dropped);
                    if was_dropped {
                        self.replays += 1;
                        self.replayed.insert(sequence);
                    }
                }
            }
            Act::Wait(seconds) => {
                self.now += Duration::from_secs(u64::from(*seconds));
                self.table.expire(self.now);
            }
            Act::Gone(who) => {
                self.table.take_back_from(&holder(&who.to_string()), self.now);
            }
            Act::List(who, lost) => self.list(*who, *lost),
            Act::Take => self.take(),
            Act::Acknowledge => self.acknowledge(),
            Act::Publish => self.publish(),
            Act::LoseQueue => {
                let lost = std::mem::take(&mut self.queue).len() as u64;
                let before = self.table.queued().clone();
                let reconciled = self.table.reconcile(&before, &BTreeSet::new(), self.now);
                assert_eq!((reconciled.lost, reconciled.ended), (lost, Vec::new()));
            }
            Act::Restart => self.restart(),
        }
    }

    fn check(&mut self) {
        // A replayed group takes its place back, which another group was admitted to before.
        let out = self.table.admitted().saturating_sub(self.replays);
        held(admission(out, self.version, &rules().bounds()));
        held(sound(self.watermark, &self.table.standing()));
        self.watermark = self.table.standing().ended_below;
        let history = self.history();
        held(once(&history));
        held(in_order(&history));
        held(fresh(&history, rules().max_staleness));
        assert_eq!(self.table.queued_groups(), self.queue.len() as u64);
        assert_eq!(self.table.taken_groups(), self.taken.len() as u64);
        assert_eq!(
            self.table.stale_groups() + self.table.skipped_groups(),
            self.dropped.len() as u64
        );
        assert!(self.trained.is_disjoint(&self.dropped));
    }

    /// Well-behaved actors and a trainer finish the job from wherever it is.
    fn finish(&mut self) {
        for _ in 0..1000 {
            self.act(&Act::Wait(60));
            self.lease(0);
            let open: Vec<u64> = self.leased.iter().copied().collect();
            for sequence in open {
                self.push(sequence, 0);
            }
            for _ in 0..rules().batch {
                self.take();
            }
            self.acknowledge();
            self.publish();
            self.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_trained_twice_too_old_or_over_admitted(acts in prop::collection::vec(act(), 0..200)) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
            world.check();
        }
        world.finish();
        prop_assert_eq!(world.trained.len() as u64, rules().total_groups);
        // Every sequence that was ever leased has ended one way.
        let ended: BTreeSet<u64> = world.trained.union(&world.dropped).copied().collect();
        prop_assert_eq!(ended, world.leased);
        prop_assert_eq!(world.table.stale_groups(), 0);
    }
}
