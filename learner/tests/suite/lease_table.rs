//! The lease table: its rules one by one, and its invariants under anything that actors, trainer and time may do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anytime_learner::rollouts::lease_table::{GivenBack, Inventory, Judgement, LeaseRules, LeaseTable, PushCheck};
use anytime_learner::rollouts::retries::MAX_FAILURES;
use anytime_proto::v1::WaitReason;
use anytime_proto::{ActorId, WeightsVersion};
use proptest::prelude::*;

const LEASE: Duration = Duration::from_secs(30);

fn rules() -> LeaseRules {
    LeaseRules {
        batch: 2,
        max_staleness: 1,
        queue_groups: 8,
        lease: LEASE,
        total_groups: 10,
    }
}

fn actor(name: &str) -> ActorId {
    ActorId(name.to_owned())
}

fn open_book(inventory: Inventory) -> LeaseTable {
    let mut table = LeaseTable::new(rules(), inventory);
    table.set_version(WeightsVersion(0));
    table
}

#[test]
fn admission_follows_the_published_version() {
    let now = Instant::now();
    let mut table = LeaseTable::new(rules(), Inventory::default());
    assert_eq!(table.lease(&actor("a"), now), Err(WaitReason::NoJob));
    table.set_version(WeightsVersion(0));
    let leased: Vec<u64> = (0..4).map(|_| table.lease(&actor("a"), now).unwrap()).collect();
    assert_eq!(leased, [0, 1, 2, 3]);
    assert_eq!(table.lease(&actor("a"), now), Err(WaitReason::Staleness));
    // Pushing and taking makes no room; a new version does.
    table.accepted(0);
    table.taken(0);
    assert_eq!(table.lease(&actor("a"), now), Err(WaitReason::Staleness));
    table.set_version(WeightsVersion(1));
    assert_eq!(table.lease(&actor("a"), now), Ok(4));
    table.set_version(WeightsVersion(100));
    let rest: Vec<u64> = std::iter::from_fn(|| table.lease(&actor("a"), now).ok()).collect();
    assert_eq!(rest, [5, 6, 7, 8, 9]);
    assert_eq!(table.lease(&actor("a"), now), Err(WaitReason::AllLeased));
}

#[test]
fn a_lease_asks_for_weights_that_are_fresh_enough_when_it_is_trained() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    table.set_version(WeightsVersion(2));
    let leased: Vec<u64> = std::iter::from_fn(|| table.lease(&actor("a"), now).ok()).collect();
    let versions: Vec<u64> = leased.iter().map(|sequence| table.min_version(*sequence).0).collect();
    // Two per step, one version of staleness.
    assert_eq!(versions, [0, 0, 0, 0, 1, 1, 2, 2]);
}

#[test]
fn an_expired_lease_goes_to_another_actor_and_the_first_push_counts() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    assert_eq!(table.lease(&actor("a"), now), Ok(0));
    assert_eq!(table.next_change(now), Some(now + LEASE));
    assert_eq!(table.expire(now + LEASE), 1);
    assert_eq!(table.lease(&actor("b"), now + LEASE), Ok(0));
    assert_eq!(table.check_push(0, &actor("a"), now + LEASE), PushCheck::Admit);
    table.accepted(0);
    assert_eq!(table.check_push(0, &actor("b"), now + LEASE), PushCheck::Duplicate);
    // The late one no longer holds the lease.
    assert_eq!(table.give_back(0, &actor("a"), true, now), GivenBack::NotHeld);
}

#[test]
fn what_is_given_back_is_leased_again_and_skipped_after_too_many_failures() {
    let mut now = Instant::now();
    let mut table = open_book(Inventory::default());
    assert_eq!(table.lease(&actor("a"), now), Ok(0));
    assert_eq!(table.give_back(0, &actor("a"), false, now), GivenBack::Again);
    assert_eq!(table.lease(&actor("b"), now), Ok(0));
    for failure in 1..MAX_FAILURES {
        assert_eq!(table.give_back(0, &actor("b"), true, now), GivenBack::Again);
        // There is a pause; meanwhile others go on.
        assert_ne!(table.lease(&actor("c"), now), Ok(0));
        now += Duration::from_secs(1 << failure);
        assert_eq!(table.lease(&actor("b"), now), Ok(0));
    }
    let admitted = table.admitted();
    assert_eq!(table.give_back(0, &actor("b"), true, now), GivenBack::Skipped);
    assert_eq!((table.skipped_groups(), table.admitted()), (1, admitted - 1));
    assert_eq!(table.check_push(0, &actor("b"), now), PushCheck::Unwanted);
}

#[test]
fn a_stale_group_leaves_its_place_to_a_new_sequence() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    for _ in 0..4 {
        table.lease(&actor("a"), now).unwrap();
    }
    table.accepted(0);
    table.set_version(WeightsVersion(2));
    assert_eq!(table.judge(0, WeightsVersion(1)), Judgement::Train);
    assert_eq!(table.judge(0, WeightsVersion(0)), Judgement::Stale);
    let room = table.room();
    table.dropped_as_stale(0);
    assert_eq!((table.room(), table.stale_groups()), (room + 1, 1));
    assert_eq!(table.judge(0, WeightsVersion(2)), Judgement::Finished);
    assert_eq!(table.check_push(0, &actor("a"), now), PushCheck::Unwanted);
    assert_eq!(table.lease(&actor("a"), now), Ok(4));
}

#[test]
fn a_full_queue_stops_leases_and_keeps_the_actors_lease() {
    let now = Instant::now();
    let mut table = LeaseTable::new(
        LeaseRules {
            queue_groups: 1,
            ..rules()
        },
        Inventory::default(),
    );
    table.set_version(WeightsVersion(0));
    table.lease(&actor("a"), now).unwrap();
    table.lease(&actor("a"), now).unwrap();
    table.accepted(0);
    assert_eq!(table.lease(&actor("a"), now), Err(WaitReason::QueueFull));
    table.kept_by_actor(1, now + LEASE / 2);
    assert_eq!(table.expire(now + LEASE), 0);
    table.taken(0);
    assert_eq!(table.lease(&actor("a"), now), Ok(2));
}

#[test]
fn a_restarted_book_goes_on_where_the_checkpoint_and_the_queue_say() {
    let now = Instant::now();
    let inventory = Inventory {
        trained_below: 2,
        trained: BTreeSet::from([3]),
        stale: BTreeSet::from([2]),
        queued: BTreeSet::from([1, 3, 4, 6]),
        ..Inventory::default()
    };
    let mut table = LeaseTable::new(rules(), inventory);
    table.set_version(WeightsVersion(1));
    // Trained: 0, 1, 3. Queued: 4, 6.
    assert_eq!((table.admitted(), table.queued_groups(), table.room()), (5, 2, 1));
    // Leased before the restart, pushed after it.
    assert_eq!(table.check_push(7, &actor("a"), now), PushCheck::Admit);
    assert_eq!(table.check_push(8, &actor("a"), now), PushCheck::Unwanted);
    assert_eq!(table.check_push(1, &actor("a"), now), PushCheck::Duplicate);
    assert_eq!(table.room(), 0);
    table.set_version(WeightsVersion(2));
    assert_eq!(table.lease(&actor("a"), now), Ok(5));
    assert_eq!(table.lease(&actor("a"), now), Ok(8));
    assert_eq!(table.lease(&actor("a"), now), Err(WaitReason::Staleness));
    assert_eq!(table.check_push(1 << 60, &actor("a"), now), PushCheck::Unwanted);
}

#[test]
fn what_redis_lost_is_leased_again_and_what_it_got_unnoticed_is_queued() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    for _ in 0..4 {
        table.lease(&actor("a"), now).unwrap();
    }
    table.accepted(0);
    table.accepted(1);
    table.taken(1);
    assert_eq!(table.reconcile(&BTreeSet::from([2]), now), 1);
    assert_eq!(
        (table.queued_groups(), table.taken_groups(), table.leased_groups()),
        (1, 1, 1)
    );
    assert_eq!(table.lease(&actor("b"), now), Ok(0));
}

#[derive(Clone, Debug)]
enum Act {
    Lease(u8),
    /// One of the sequences that were ever leased; the version is this much older than the published one.
    Push(prop::sample::Index, u8),
    GiveBack(prop::sample::Index, u8, bool),
    Wait(u8),
    Gone(u8),
    Take(prop::sample::Index),
    Acknowledge,
    Publish,
    LoseQueue,
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..3_u8).prop_map(Act::Lease),
        6 => (index(), 0..4_u8).prop_map(|(which, age)| Act::Push(which, age)),
        2 => (index(), 0..3_u8, any::<bool>()).prop_map(|(which, who, failed)| Act::GiveBack(which, who, failed)),
        2 => (0..60_u8).prop_map(Act::Wait),
        1 => (0..3_u8).prop_map(Act::Gone),
        6 => index().prop_map(Act::Take),
        2 => Just(Act::Acknowledge),
        3 => Just(Act::Publish),
        1 => Just(Act::LoseQueue),
    ]
}

/// What the world around the table knows.
struct World {
    table: LeaseTable,
    now: Instant,
    version: u64,
    leased: BTreeSet<u64>,
    /// What Redis holds, with the version of each.
    queue: BTreeMap<u64, u64>,
    taken: BTreeSet<u64>,
    trained: BTreeSet<u64>,
    dropped: BTreeSet<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            table: open_book(Inventory::default()),
            now: Instant::now(),
            version: 0,
            leased: BTreeSet::new(),
            queue: BTreeMap::new(),
            taken: BTreeSet::new(),
            trained: BTreeSet::new(),
            dropped: BTreeSet::new(),
        }
    }

    fn bound(&self) -> u64 {
        ((rules().max_staleness + self.version + 1) * rules().batch).min(rules().total_groups)
    }

    fn pick(&self, which: prop::sample::Index) -> Option<u64> {
        let all: Vec<u64> = self.leased.iter().copied().collect();
        (!all.is_empty()).then(|| all[which.index(all.len())])
    }

    fn lease(&mut self, who: u8) {
        if let Ok(sequence) = self.table.lease(&actor(&who.to_string()), self.now) {
            assert!(!self.trained.contains(&sequence) && !self.dropped.contains(&sequence));
            assert!(!self.queue.contains_key(&sequence) && !self.taken.contains(&sequence));
            self.leased.insert(sequence);
        }
    }

    fn push(&mut self, sequence: u64, age: u64) {
        let was_there =
            self.queue.contains_key(&sequence) || self.taken.contains(&sequence) || self.trained.contains(&sequence);
        match self.table.check_push(sequence, &actor("late"), self.now) {
            PushCheck::Duplicate => assert!(was_there),
            PushCheck::Unwanted => assert!(self.dropped.contains(&sequence)),
            PushCheck::Admit => {
                assert!(!was_there && !self.dropped.contains(&sequence));
                self.queue.insert(sequence, self.version.saturating_sub(age));
                self.table.accepted(sequence);
            }
        }
    }

    fn take(&mut self, sequence: u64) {
        let version = self.queue[&sequence];
        match self.table.judge(sequence, WeightsVersion(version)) {
            Judgement::Train => {
                assert!(self.version - version <= rules().max_staleness);
                self.table.taken(sequence);
                self.taken.insert(sequence);
            }
            Judgement::Stale => {
                self.table.dropped_as_stale(sequence);
                assert!(self.dropped.insert(sequence));
            }
            Judgement::Held | Judgement::Finished => panic!("{sequence} was in the queue twice"),
        }
        self.queue.remove(&sequence);
    }

    /// The trainer publishes a version for every batch that it took.
    fn publish(&mut self) {
        let stepped = (self.taken.len() + self.trained.len()) as u64;
        if stepped >= (self.version + 1) * rules().batch {
            self.version += 1;
            self.table.set_version(WeightsVersion(self.version));
        }
    }

    fn acknowledge(&mut self) {
        let taken: Vec<u64> = std::mem::take(&mut self.taken).into_iter().collect();
        self.table.acknowledged(&taken);
        self.trained.extend(taken);
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Lease(who) => self.lease(*who),
            Act::Push(which, age) => {
                if let Some(sequence) = self.pick(*which) {
                    self.push(sequence, u64::from(*age));
                }
            }
            Act::GiveBack(which, who, failed) => {
                if let Some(sequence) = self.pick(*which)
                    && self
                        .table
                        .give_back(sequence, &actor(&who.to_string()), *failed, self.now)
                        == GivenBack::Skipped
                {
                    assert!(self.dropped.insert(sequence));
                }
            }
            Act::Wait(seconds) => {
                self.now += Duration::from_secs(u64::from(*seconds));
                self.table.expire(self.now);
            }
            Act::Gone(who) => {
                self.table.take_back_from(&actor(&who.to_string()), self.now);
            }
            Act::Take(which) => {
                let queued: Vec<u64> = self.queue.keys().copied().collect();
                if !queued.is_empty() {
                    self.take(queued[which.index(queued.len())]);
                }
            }
            Act::Acknowledge => self.acknowledge(),
            Act::Publish => self.publish(),
            Act::LoseQueue => {
                let lost = std::mem::take(&mut self.queue).len() as u64;
                assert_eq!(self.table.reconcile(&BTreeSet::new(), self.now), lost);
            }
        }
    }

    fn check(&self) {
        assert!(
            self.table.admitted() <= self.bound(),
            "more is out than admission allows"
        );
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
            while let Some(sequence) = self.queue.keys().next().copied() {
                self.take(sequence);
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
    fn nothing_is_lost_trained_twice_or_over_admitted(acts in prop::collection::vec(act(), 0..200)) {
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
    }
}
