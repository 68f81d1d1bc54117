//! The lease table: its rules one by one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anytime_learner::rollouts::actors::Holder;
use anytime_learner::rollouts::lease_table::{
    GivenBack, Inventory, LeaseRules, LeaseTable, NextToTrain, PushCheck, Renewal,
};
use anytime_learner::rollouts::progress::Ending;
use anytime_learner::rollouts::retries::{MAX_FAILURES, MAX_REFUSALS};
use anytime_proto::v1::WaitReason;
use anytime_proto::{ActorId, WeightsVersion};

pub(crate) const LEASE: Duration = Duration::from_secs(30);

pub(crate) fn rules() -> LeaseRules {
    LeaseRules {
        batch: 2,
        max_staleness: 1,
        queue_groups: 8,
        lease: LEASE,
        total_groups: 10,
    }
}

pub(crate) fn actor(name: &str) -> ActorId {
    ActorId(name.to_owned())
}

/// The process of that actor.
pub(crate) fn holder(name: &str) -> Holder {
    Holder {
        actor: actor(name),
        incarnation: format!("{name}-1"),
    }
}

pub(crate) fn open_book(inventory: Inventory) -> LeaseTable {
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
    assert_eq!(table.give_back(0, &holder("b"), true, now), GivenBack::Skipped(5));
    assert_eq!((table.skipped_groups(), table.admitted()), (1, admitted - 1));
    assert_eq!(table.check_push(0, &actor("b"), now), PushCheck::Unwanted);
}

#[test]
fn three_deliveries_that_cannot_be_trained_drop_a_sequence() {
    let mut now = Instant::now();
    let mut table = open_book(Inventory::default());
    for delivery in 1..MAX_REFUSALS {
        assert_eq!(table.lease(&holder("a"), now), Ok(0));
        // Only of whoever has the lease.
        assert_eq!(table.refuse(0, &holder("b"), now), GivenBack::NotHeld);
        assert_eq!(table.refuse(0, &holder("a"), now), GivenBack::Again, "{delivery}");
        now += Duration::from_secs(1 << delivery);
    }
    assert_eq!(table.lease(&holder("a"), now), Ok(0));
    assert_eq!(table.refuse(0, &holder("a"), now), GivenBack::Skipped(MAX_REFUSALS));
    assert_eq!(table.next_to_train().sequence(), 1);

    // Those that the queue held count alike.
    assert_eq!(table.lease(&holder("a"), now), Ok(1));
    assert_eq!(table.refuse(1, &holder("a"), now), GivenBack::Again);
    for delivery in 2..=MAX_REFUSALS {
        now += Duration::from_secs(8);
        assert_eq!(table.lease(&holder("a"), now), Ok(1));
        table.accepted(1);
        let expected = if delivery == MAX_REFUSALS {
            GivenBack::Skipped(MAX_REFUSALS)
        } else {
            GivenBack::Again
        };
        assert_eq!(table.unreadable(1, now), expected);
        assert_eq!(table.unreadable(1, now), GivenBack::NotHeld);
    }
    assert_eq!((table.skipped_groups(), table.next_to_train().sequence()), (2, 2));
}

#[test]
fn a_replayed_sequence_is_the_next_one_and_as_fresh_as_its_step_asks() {
    let now = Instant::now();
    let rules = rules();
    // Nine groups were trained and one was left out, all below the watermark of a checkpoint.
    let inventory = Inventory {
        ended_below: 10,
        left_out_below: 1,
        dead: BTreeSet::from([4]),
        ..Inventory::default()
    };
    let mut table = open_book(inventory);
    let version = 9 / rules.batch;
    table.set_version(WeightsVersion(version));
    assert_eq!(table.lease(&holder("a"), now), Ok(10));
    let places = |table: &LeaseTable| (table.step_of(4), table.step_of(10), table.min_version(4).0);
    assert!(!table.replay(3), "it was trained");
    assert!(table.replay(4) && !table.replay(4), "the second time it is open");
    assert_eq!(table.replayed_among(&BTreeSet::from([3, 4])), [4]);
    // Both come after what was trained.
    let oldest = version.saturating_sub(rules.max_staleness);
    assert_eq!(places(&table), (9 / rules.batch, 10 / rules.batch, oldest));
    assert_eq!(table.next_to_train(), NextToTrain::Free(4));
    assert_eq!(table.lease(&holder("a"), now), Ok(4));
    table.accepted(4);
    table.taken(4);
    assert_eq!(table.next_to_train().sequence(), 10);
    assert_eq!(table.step_of(10), 10 / rules.batch);
    table.acknowledged(&[4]);
    assert_eq!((table.skipped_groups(), table.step_of(10)), (0, 10 / rules.batch));
    assert_eq!(table.check_push(4, &actor("a"), now), PushCheck::Duplicate);

    // What a checkpoint says to be open is leased first.
    let inventory = Inventory {
        ended_below: 10,
        replayed: BTreeSet::from([4]),
        ..Inventory::default()
    };
    let mut table = open_book(inventory);
    table.set_version(WeightsVersion(version));
    assert_eq!(table.next_to_train(), NextToTrain::Free(4));
    assert_eq!(table.lease(&holder("a"), now), Ok(4));
    assert_eq!(
        (table.step_of(4), table.step_of(10)),
        (9 / rules.batch, 10 / rules.batch)
    );
}

#[test]
fn a_replayed_sequence_waits_for_a_lower_one_that_is_open() {
    let mut now = Instant::now();
    let mut table = open_book(Inventory::default());
    assert_eq!(table.lease(&holder("a"), now), Ok(0));
    for _ in 0..MAX_REFUSALS {
        assert_eq!(table.lease(&holder("b"), now), Ok(1));
        table.refuse(1, &holder("b"), now);
        now += Duration::from_secs(8);
    }
    assert!(table.replay(1));
    assert_eq!(table.next_to_train().sequence(), 0);
    table.accepted(0);
    table.taken(0);
    assert_eq!(table.next_to_train(), NextToTrain::Free(1));
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
        ended_below: 2,
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
fn what_was_left_out_below_the_watermark_takes_no_place() {
    // Of six that have ended two were left out: two steps of two.
    let inventory = Inventory {
        ended_below: 6,
        left_out_below: 2,
        skipped: BTreeSet::from([7]),
        ..Inventory::default()
    };
    let table = LeaseTable::new(rules(), inventory);
    assert_eq!((table.step_of(6), table.step_of(8), table.step_of(9)), (2, 2, 3));
    assert_eq!(table.next_to_train(), NextToTrain::Free(6));
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
        ended_below: 2,
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

#[test]
fn a_table_remembers_no_more_after_many_groups_than_after_few() {
    let now = Instant::now();
    let endless = LeaseRules {
        total_groups: u64::MAX,
        ..rules()
    };
    let mut table = LeaseTable::new(endless, Inventory::default());
    let mut most = 0;
    for step in 0..20_000 {
        table.set_version(WeightsVersion(step));
        let mut trained = Vec::new();
        while trained.len() < 2 {
            let sequence = table.lease(&holder("a"), now).unwrap();
            // Some are given up, and some come too old.
            if sequence % 11 == 3 {
                for _ in 1..MAX_FAILURES {
                    assert_eq!(table.give_back(sequence, &holder("a"), true, now), GivenBack::Again);
                    assert_eq!(table.lease(&holder("a"), now + 60 * LEASE), Ok(sequence));
                }
                assert_eq!(
                    table.give_back(sequence, &holder("a"), true, now),
                    GivenBack::Skipped(MAX_FAILURES)
                );
                continue;
            }
            table.accepted(sequence);
            if sequence % 13 == 5 {
                table.dropped_as_stale(sequence);
                continue;
            }
            table.taken(sequence);
            trained.push(sequence);
        }
        let ended_below = trained[1] + 1;
        table.acknowledged(&trained);
        table.forget_below(ended_below);
        most = most.max(table.remembered());
    }
    // Those of the last steps, and the last 1,024 that were given up.
    assert!(most <= 1024 + 2, "{most} sequences were remembered one by one");
    // What was counted stays counted.
    let left_out = table.stale_groups() + table.skipped_groups();
    assert!(
        table.skipped_groups() > 3_000 && table.stale_groups() > 3_000,
        "{left_out}"
    );
    assert_eq!(table.admitted(), 40_000);
    assert_eq!(table.check_push(3, &actor("a"), now), PushCheck::Duplicate);
}
