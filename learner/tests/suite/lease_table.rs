//! The lease table: its rules one by one, and its invariants under anything that actors, trainer and time may do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anytime_learner::rollouts::actors::Holder;
use anytime_learner::rollouts::lease_table::{
    GivenBack, Inventory, LeaseRules, LeaseTable, NextToTrain, PushCheck, Renewal,
};
use anytime_learner::rollouts::progress::Ending;
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

/// The process of that actor.
fn holder(name: &str) -> Holder {
    Holder {
        actor: actor(name),
        incarnation: format!("{name}-1"),
    }
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
    assert_eq!(table.lease(&holder("a"), now), Err(WaitReason::NoJob));
    table.set_version(WeightsVersion(0));
    let leased: Vec<u64> = (0..4).map(|_| table.lease(&holder("a"), now).unwrap()).collect();
    assert_eq!(leased, [0, 1, 2, 3]);
    assert_eq!(table.lease(&holder("a"), now), Err(WaitReason::Staleness));
    // Pushing and taking makes no room; a new version does.
    table.accepted(0);
    table.taken(0);
    assert_eq!(table.lease(&holder("a"), now), Err(WaitReason::Staleness));
    table.set_version(WeightsVersion(1));
    assert_eq!(table.lease(&holder("a"), now), Ok(4));
    table.set_version(WeightsVersion(100));
    let rest: Vec<u64> = std::iter::from_fn(|| table.lease(&holder("a"), now).ok()).collect();
    assert_eq!(rest, [5, 6, 7, 8, 9]);
    assert_eq!(table.lease(&holder("a"), now), Err(WaitReason::AllLeased));
}

#[test]
fn a_lease_asks_for_weights_that_are_fresh_enough_when_it_is_trained() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    table.set_version(WeightsVersion(2));
    let leased: Vec<u64> = std::iter::from_fn(|| table.lease(&holder("a"), now).ok()).collect();
    let versions: Vec<u64> = leased.iter().map(|sequence| table.min_version(*sequence).0).collect();
    // Two per step, one version of staleness.
    assert_eq!(versions, [0, 0, 0, 0, 1, 1, 2, 2]);
}

#[test]
fn an_expired_lease_goes_to_another_actor_and_the_first_push_counts() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    assert_eq!(table.lease(&holder("a"), now), Ok(0));
    assert_eq!(table.next_change(now), Some(now + LEASE));
    assert_eq!(table.expire(now + LEASE), 1);
    assert_eq!(table.lease(&holder("b"), now + LEASE), Ok(0));
    assert_eq!(table.check_push(0, &actor("a"), now + LEASE), PushCheck::Admit);
    table.accepted(0);
    assert_eq!(table.check_push(0, &actor("b"), now + LEASE), PushCheck::Duplicate);
    // The late one no longer holds the lease.
    assert_eq!(table.give_back(0, &holder("a"), true, now), GivenBack::NotHeld);
}

#[test]
fn what_is_given_back_is_leased_again_and_skipped_after_too_many_failures() {
    let mut now = Instant::now();
    let mut table = open_book(Inventory::default());
    assert_eq!(table.lease(&holder("a"), now), Ok(0));
    assert_eq!(table.give_back(0, &holder("a"), false, now), GivenBack::Again);
    assert_eq!(table.lease(&holder("b"), now), Ok(0));
    for failure in 1..MAX_FAILURES {
        assert_eq!(table.give_back(0, &holder("b"), true, now), GivenBack::Again);
        // There is a pause; meanwhile others go on.
        assert_ne!(table.lease(&holder("c"), now), Ok(0));
        now += Duration::from_secs(1 << failure);
        assert_eq!(table.lease(&holder("b"), now), Ok(0));
    }
    let admitted = table.admitted();
    assert_eq!(table.give_back(0, &holder("b"), true, now), GivenBack::Skipped);
    assert_eq!((table.skipped_groups(), table.admitted()), (1, admitted - 1));
    assert_eq!(table.check_push(0, &actor("b"), now), PushCheck::Unwanted);
}

#[test]
fn groups_are_trained_in_the_order_of_their_sequences() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    assert_eq!(table.next_to_train(), NextToTrain::Free(0));
    for _ in 0..4 {
        table.lease(&holder("a"), now).unwrap();
    }
    // The others come first.
    for sequence in [3, 1, 2] {
        table.accepted(sequence);
    }
    assert_eq!(table.next_to_train(), NextToTrain::Leased(0, actor("a"), now));
    table.accepted(0);
    for sequence in 0..4 {
        assert_eq!(table.next_to_train(), NextToTrain::Queued(sequence));
        table.taken(sequence);
    }
    assert_eq!(table.next_to_train(), NextToTrain::Free(4));
    table.acknowledged(&[0, 1, 2, 3]);
    assert_eq!(table.next_to_train(), NextToTrain::Free(4));
}

#[test]
fn a_skipped_sequence_moves_those_behind_it_forward() {
    let mut now = Instant::now();
    let mut table = open_book(Inventory::default());
    table.set_version(WeightsVersion(1));
    let leased: Vec<u64> = std::iter::from_fn(|| table.lease(&holder("a"), now).ok()).collect();
    assert_eq!(leased, [0, 1, 2, 3, 4, 5]);
    assert_eq!(table.min_version(4), WeightsVersion(1));
    for _ in 0..MAX_FAILURES {
        table.give_back(0, &holder("a"), true, now);
        now += Duration::from_secs(60);
        let _ = table.lease(&holder("a"), now);
    }
    assert_eq!((table.skipped_groups(), table.next_to_train().sequence()), (1, 1));
    // The fifth is trained with the fourth now: it may be older, and there is room for one more.
    assert_eq!(table.min_version(4), WeightsVersion(0));
    assert_eq!(table.lease(&holder("b"), now), Err(WaitReason::Staleness));
    assert!(table.leased_groups() == 6 && table.min_version(6) == WeightsVersion(1));
}

#[test]
fn what_an_earlier_learner_left_too_old_leaves_its_place_to_a_new_sequence() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    for _ in 0..4 {
        table.lease(&holder("a"), now).unwrap();
    }
    assert_eq!(table.lease(&holder("a"), now), Err(WaitReason::Staleness));
    table.accepted(0);
    table.dropped_as_stale(0);
    assert_eq!((table.stale_groups(), table.next_to_train().sequence()), (1, 1));
    assert_eq!(table.check_push(0, &actor("a"), now), PushCheck::Unwanted);
    assert_eq!(table.lease(&holder("a"), now), Ok(4));
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
    for _ in 0..3 {
        table.lease(&holder("a"), now).unwrap();
    }
    table.accepted(2);
    assert_eq!(table.lease(&holder("a"), now), Err(WaitReason::QueueFull));
    assert!(!table.is_due(2) && !table.is_due(3));
    table.kept_by_actor(1, now + LEASE / 2);
    assert_eq!(table.expire(now + LEASE), 1);
    // What the next step needs is leased and let in all the same, or the trainer would wait for ever.
    assert!(table.is_due(0) && table.is_due(1));
    assert_eq!(table.lease(&holder("b"), now + LEASE), Ok(0));
    table.accepted(0);
    table.accepted(1);
    for sequence in 0..3 {
        table.taken(sequence);
    }
    assert_eq!(table.lease(&holder("a"), now), Ok(3));
}

#[test]
fn a_restarted_book_goes_on_where_the_checkpoint_and_the_queue_say() {
    let now = Instant::now();
    let inventory = Inventory {
        trained_below: 2,
        trained: BTreeSet::from([3, 4]),
        stale: BTreeSet::from([2]),
        queued: BTreeSet::from([1, 3, 5, 7]),
        ..Inventory::default()
    };
    let mut table = LeaseTable::new(rules(), inventory);
    table.set_version(WeightsVersion(2));
    // Trained: 0, 1, 3, 4. Queued: 5, 7. Steps 2 and 3 may be out: 5, 6, 7, 8.
    assert_eq!((table.admitted(), table.queued_groups()), (6, 2));
    assert_eq!(table.next_to_train(), NextToTrain::Queued(5));
    // Leased before the restart, pushed after it.
    assert_eq!(table.check_push(8, &actor("a"), now), PushCheck::Admit);
    assert_eq!(table.check_push(9, &actor("a"), now), PushCheck::Unwanted);
    assert_eq!(table.check_push(1, &actor("a"), now), PushCheck::Duplicate);
    assert_eq!(table.lease(&holder("a"), now), Ok(6));
    assert_eq!(table.lease(&holder("a"), now), Err(WaitReason::Staleness));
    table.set_version(WeightsVersion(3));
    assert_eq!(table.lease(&holder("a"), now), Ok(9));
    assert_eq!(table.check_push(1 << 60, &actor("a"), now), PushCheck::Unwanted);
}

#[test]
fn a_hole_below_a_full_queue_is_leased_before_anything_else() {
    let now = Instant::now();
    // The learner went back to its first step. Redis holds what eleven versions trained, but for one group.
    let queued: BTreeSet<u64> = (0..24).filter(|sequence| *sequence != 3).collect();
    let rules = LeaseRules {
        total_groups: 100,
        ..rules()
    };
    let mut table = LeaseTable::new(
        rules,
        Inventory {
            queued,
            ..Inventory::default()
        },
    );
    table.set_version(WeightsVersion(0));
    assert_eq!(table.lease(&holder("a"), now), Err(WaitReason::QueueFull));
    for sequence in 0..3 {
        table.taken(sequence);
    }
    table.set_version(WeightsVersion(1));
    assert_eq!(table.next_to_train(), NextToTrain::Free(3));
    assert_eq!(table.lease(&holder("a"), now), Ok(3));
    assert!(table.is_due(3));
}

#[test]
fn what_redis_lost_is_leased_again_and_what_it_got_unnoticed_is_queued() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    for _ in 0..4 {
        table.lease(&holder("a"), now).unwrap();
    }
    table.accepted(0);
    table.accepted(1);
    table.taken(1);
    let before = table.queued().clone();
    let reconciled = table.reconcile(&before, &BTreeSet::from([2]), now);
    assert_eq!((reconciled.lost, reconciled.ended), (1, Vec::new()));
    assert_eq!(
        (table.queued_groups(), table.taken_groups(), table.leased_groups()),
        (1, 1, 1)
    );
    assert_eq!(table.lease(&holder("b"), now), Ok(0));
}

#[test]
fn what_comes_back_after_its_end_is_to_be_settled_and_what_comes_meanwhile_stays() {
    let now = Instant::now();
    let inventory = Inventory {
        trained_below: 2,
        skipped: BTreeSet::from([2]),
        queued: BTreeSet::from([3]),
        ..Inventory::default()
    };
    let mut table = LeaseTable::new(rules(), inventory);
    table.set_version(WeightsVersion(1));
    let before = table.queued().clone();
    // Pushed after Redis was asked.
    table.accepted(4);
    let reconciled = table.reconcile(&before, &BTreeSet::from([0, 1, 2, 3]), now);
    let ended = [(0, Ending::Trained), (1, Ending::Trained), (2, Ending::Skipped)];
    assert_eq!((reconciled.lost, reconciled.ended), (0, ended.to_vec()));
    assert_eq!(*table.queued(), BTreeSet::from([3, 4]));
}

#[test]
fn a_list_of_what_is_in_hand_renews_frees_and_takes_up_again() {
    let mut now = Instant::now();
    let mut table = open_book(Inventory::default());
    for _ in 0..3 {
        table.lease(&holder("a"), now).unwrap();
    }
    // The answer with 2 was lost.
    now += LEASE / 2;
    let renewal = table.renew(&holder("a"), &BTreeSet::from([0, 1]), now);
    assert_eq!(renewal, Renewal { renewed: 2, freed: 1 });
    assert_eq!(table.lease(&holder("b"), now), Ok(2));
    // Renewed again and again, a lease lasts.
    for _ in 0..5 {
        now += LEASE / 2;
        table.renew(&holder("a"), &BTreeSet::from([0, 1]), now);
        table.renew(&holder("b"), &BTreeSet::from([2]), now);
        assert_eq!(table.expire(now), 0);
    }
    // Silence ends it, and the list takes it up again, unless another one has it.
    assert_eq!(table.expire(now + LEASE), 3);
    assert_eq!(table.lease(&holder("b"), now + LEASE), Ok(0));
    let renewal = table.renew(&holder("a"), &BTreeSet::from([0, 1]), now + LEASE);
    assert_eq!(renewal, Renewal { renewed: 1, freed: 0 });
    // A learner that has started again believes what is admitted, and nothing else.
    let mut restarted = open_book(Inventory::default());
    let renewal = restarted.renew(&holder("a"), &BTreeSet::from([1, 3, 4, 1 << 60]), now);
    assert_eq!(renewal, Renewal { renewed: 2, freed: 0 });
    assert_eq!(restarted.lease(&holder("b"), now), Ok(0));
    assert_eq!(restarted.lease(&holder("b"), now), Ok(2));
}

#[test]
fn a_process_can_give_back_only_its_own_lease() {
    let now = Instant::now();
    let mut table = open_book(Inventory::default());
    table.lease(&holder("a"), now).unwrap();
    let earlier = Holder {
        incarnation: "a-0".to_owned(),
        ..holder("a")
    };
    assert_eq!(table.give_back(0, &earlier, false, now), GivenBack::NotHeld);
    assert_eq!(table.take_back_from(&earlier, now), 0);
    assert_eq!(table.give_back(0, &holder("a"), false, now), GivenBack::Again);
}

#[derive(Clone, Debug)]
enum Act {
    Lease(u8),
    /// One of the sequences that were ever leased, by weights that are as old as its lease allows, or newer.
    Push(prop::sample::Index, u8),
    GiveBack(prop::sample::Index, u8, bool),
    Wait(u8),
    Gone(u8),
    /// An actor lists what it has in hand, but for those that it lost.
    List(u8, u8),
    Take,
    Acknowledge,
    Publish,
    LoseQueue,
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..3_u8).prop_map(Act::Lease),
        6 => (index(), 0..4_u8).prop_map(|(which, newer)| Act::Push(which, newer)),
        2 => (index(), 0..3_u8, any::<bool>()).prop_map(|(which, who, failed)| Act::GiveBack(which, who, failed)),
        2 => (0..60_u8).prop_map(Act::Wait),
        1 => (0..3_u8).prop_map(Act::Gone),
        2 => (0..3_u8, 0..4_u8).prop_map(|(who, lost)| Act::List(who, lost)),
        6 => Just(Act::Take),
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
    /// What each lease asked for, with its holder.
    asked: BTreeMap<u64, (u8, u64)>,
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
            asked: BTreeMap::new(),
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
        if let Ok(sequence) = self.table.lease(&holder(&who.to_string()), self.now) {
            assert!(!self.trained.contains(&sequence) && !self.dropped.contains(&sequence));
            assert!(!self.queue.contains_key(&sequence) && !self.taken.contains(&sequence));
            let min_version = self.table.min_version(sequence).0;
            assert!(min_version <= self.version, "no actor can have such weights");
            self.leased.insert(sequence);
            self.asked.insert(sequence, (who, min_version));
        }
    }

    /// The push of whoever had the group last, by weights between those that the lease asked for and the newest.
    fn push(&mut self, sequence: u64, newer: u64) {
        let was_there =
            self.queue.contains_key(&sequence) || self.taken.contains(&sequence) || self.trained.contains(&sequence);
        match self.table.check_push(sequence, &actor("late"), self.now) {
            PushCheck::Duplicate => assert!(was_there),
            PushCheck::Unwanted => assert!(self.dropped.contains(&sequence)),
            PushCheck::Admit => {
                assert!(!was_there && !self.dropped.contains(&sequence));
                let (_, min_version) = self.asked[&sequence];
                let version = (min_version + newer).min(self.version);
                assert!(self.table.min_version(sequence).0 <= min_version, "refused for its age");
                self.queue.insert(sequence, version);
                self.table.accepted(sequence);
            }
        }
    }

    /// The trainer takes the next group where it is there, unless it has to publish first.
    fn take(&mut self) {
        let next = self.table.next_to_train();
        let sequence = next.sequence();
        let lowest_open =
            (0..).find(|it| !self.taken.contains(it) && !self.trained.contains(it) && !self.dropped.contains(it));
        assert_eq!(Some(sequence), lowest_open);
        if !self.queue.contains_key(&sequence) || self.stepped() >= (self.version + 1) * rules().batch {
            return;
        }
        assert_eq!(next, NextToTrain::Queued(sequence));
        let version = self.queue[&sequence];
        assert!(
            self.version - version <= rules().max_staleness,
            "too old when its turn came"
        );
        self.table.taken(sequence);
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
                if let Some(sequence) = self.pick(*which)
                    && self
                        .table
                        .give_back(sequence, &holder(&who.to_string()), *failed, self.now)
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
