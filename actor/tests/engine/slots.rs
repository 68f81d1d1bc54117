//! Groups share few slots and little memory, and each comes out the same in any company.

use std::time::{Duration, Instant};

use anytime_actor::engine::{Command, EngineLimits, Event, GroupRequest};
use anytime_policy::KvCache;
use anytime_proto::v1::AbandonReason;
use tch::Kind;

use super::common::{self, endless_plan, plan_message, request};
use super::{PLENTY, assert_complete, collect, generate, ids, next, start};

#[test]
fn a_group_is_the_same_alone_and_in_company_in_few_slots_and_in_many() {
    let plan = plan_message();
    let alone = generate(64, PLENTY, vec![request(7, &plan)]);
    assert_complete(&alone, &plan, 1);
    let company: Vec<GroupRequest> = (1..12).map(|number| request(number, &plan)).collect();
    for slots in [64, 5, 1] {
        let mut together = generate(slots, PLENTY, company.clone());
        assert_complete(&together, &plan, company.len());
        together.retain(|(group, _), _| *group == 7);
        assert_eq!(ids(&together), ids(&alone), "{slots} slots");
    }
}

/// Bytes of a prefix slot and a branch slot.
fn slot_pair(request: &GroupRequest) -> usize {
    let bytes = |capacity| KvCache::slot_bytes(&common::config(), capacity, Kind::Float);
    bytes(request.plan.longest_prefix()) + bytes(request.plan.longest_branch())
}

#[test]
fn large_groups_finish_in_one_and_two_slots_of_memory() {
    let mut plan = endless_plan(24);
    (plan.traces, plan.summaries) = (10, 5);
    plan.budgets = vec![6, 12, 18, 24];
    let request = request(1, &plan);
    let many = generate(64, PLENTY, vec![request.clone()]);
    assert_complete(&many, &plan, 1);
    for slots in [1, 2, 3, 4] {
        let few = generate(
            64,
            slots * slot_pair(&request),
            vec![request.clone(), common::request(2, &plan)],
        );
        assert_complete(&few, &plan, 2);
        let mut first = few;
        first.retain(|(group, _), _| *group == 1);
        assert_eq!(ids(&first), ids(&many), "{slots} slots");
    }
}

#[test]
fn a_sequence_that_does_not_fit_fails_its_group_only() {
    let small = plan_message();
    let (engine, mut events) = start(EngineLimits {
        slots: 4,
        cache_bytes: 3 * slot_pair(&request(1, &small)),
    });
    engine.send(Command::AddGroup(request(1, &endless_plan(2000))));
    engine.send(Command::AddGroup(request(2, &small)));
    match next(&mut events) {
        Event::GroupFailed { group: 1, reason, .. } => assert_eq!(reason, AbandonReason::Engine),
        other => panic!("{other:?}"),
    }
    assert_complete(&collect(&mut events, 1), &small, 1);
}

#[test]
fn the_cache_grows_for_a_longer_plan() {
    let (short, long) = (plan_message(), endless_plan(60));
    let outcomes = generate(
        4,
        PLENTY,
        vec![request(1, &short), request(2, &long), request(3, &short)],
    );
    assert_eq!(outcomes.len(), 9);
    assert_eq!(outcomes[&(2, 0)].thinking.ids.len(), 60);
}

#[test]
fn a_cancelled_group_makes_room() {
    let (engine, mut events) = start(EngineLimits {
        slots: 2,
        cache_bytes: PLENTY,
    });
    engine.send(Command::AddGroup(request(1, &endless_plan(3000))));
    engine.send(Command::CancelGroup(1));
    let plan = plan_message();
    engine.send(Command::AddGroup(request(2, &plan)));
    assert_complete(&collect(&mut events, 1), &plan, 1);
    // The load is told after the events.
    let deadline = Instant::now() + Duration::from_secs(10);
    while engine.load().outstanding() > 0 {
        assert!(
            Instant::now() < deadline,
            "{} sequences are left over",
            engine.load().outstanding()
        );
        std::thread::yield_now();
    }
}
