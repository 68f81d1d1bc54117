//! Groups share few slots and little memory, and each comes out the same in any company.

use std::time::{Duration, Instant};

use anytime_actor::engine::{self, CacheLimit, Command, EngineError, EngineLimits, Event, GroupRequest};
use anytime_policy::KvCache;
use anytime_policy::actor_memory::words;
use anytime_policy::memory::DeviceMemory;
use anytime_proto::v1::{self, AbandonReason};
use tch::{Device, Kind};

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
        cache: CacheLimit::Bytes(3 * slot_pair(&request(1, &small))),
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

/// Memory for four sequences of the long plan, with their summaries.
fn memory_of_four(long: &GroupRequest) -> EngineLimits {
    EngineLimits {
        slots: 64,
        cache: CacheLimit::Bytes(4 * slot_pair(long)),
    }
}

#[test]
fn the_cache_becomes_short_again_after_a_longer_plan() {
    let (short, long) = (plan_message(), endless_plan(400));
    let (engine, mut events) = start(memory_of_four(&request(2, &long)));
    let mut slots_after = |number: u64, plan: &v1::RolloutPlan| {
        engine.send(Command::AddGroup(request(number, plan)));
        let outcomes = collect(&mut events, 1);
        assert_eq!(outcomes.len(), plan.traces as usize);
        engine.load().slots()
    };
    let before = slots_after(1, &short);
    let with_long_slots = slots_after(2, &long);
    assert!(with_long_slots < before, "{with_long_slots} of {before}");
    assert_eq!(slots_after(3, &short), before);
}

#[test]
fn the_cache_becomes_short_again_while_there_is_always_more_to_do() {
    let (short, long) = (plan_message(), endless_plan(400));
    let (engine, mut events) = start(memory_of_four(&request(1, &long)));
    engine.send(Command::AddGroup(request(1, &long)));
    // All of them wait from the beginning, so that the engine never runs out of work.
    for number in 2..40 {
        engine.send(Command::AddGroup(request(number, &short)));
    }
    let mut together = collect(&mut events, 39);
    let alone = generate(64, PLENTY, vec![request(39, &short)]);
    assert_eq!(
        engine.load().slots(),
        {
            let (fresh, mut events) = start(memory_of_four(&request(1, &long)));
            fresh.send(Command::AddGroup(request(1, &short)));
            collect(&mut events, 1);
            fresh.load().slots()
        },
        "as many as where nothing was ever long"
    );
    together.retain(|(group, _), _| *group == 39);
    assert_eq!(ids(&together), ids(&alone));
}

#[test]
fn a_share_of_the_memory_that_leaves_nothing_fails_the_group_with_the_numbers() {
    let plan = plan_message();
    let outcome = |share: f64| {
        let (engine, mut events) = start(EngineLimits {
            slots: 4,
            cache: CacheLimit::Share(share),
        });
        engine.send(Command::AddGroup(request(1, &plan)));
        next(&mut events)
    };
    match outcome(1e-9) {
        Event::GroupFailed { reason, detail, .. } => {
            assert_eq!(reason, AbandonReason::Engine);
            for part in ["a sequence of ", "the device has ", "leaves 0.0 MiB for the cache"] {
                assert!(detail.contains(part), "{part}: {detail}");
            }
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(outcome(0.5), Event::TraceFinished { .. }));
}

#[test]
fn a_cache_that_cannot_be_had_ends_the_engine_with_the_numbers() {
    let plan = plan_message();
    let all = DeviceMemory::ask(Device::Cpu).unwrap().total as usize;
    // Every sequence gets a slot, and together they take twice what the machine has.
    let slots = 2 * all / slot_pair(&request(1, &plan));
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let limits = EngineLimits {
        slots,
        cache: CacheLimit::Bytes(usize::MAX),
    };
    let (engine, thread) = engine::spawn(limits, sender).unwrap();
    engine.send(Command::SwapWeights(Box::new(common::model(0))));
    engine.send(Command::AddGroup(request(1, &plan)));
    let Err(EngineError::NoRoom(reason)) = thread.join().unwrap() else {
        panic!("the engine ended without a reason");
    };
    assert!(
        reason.starts_with("the key-value cache needs ") && reason.contains(&words(all as u64)),
        "{reason}"
    );
    assert!(events.blocking_recv().is_none());
}

#[test]
fn a_cancelled_group_makes_room() {
    let (engine, mut events) = start(EngineLimits {
        slots: 2,
        cache: CacheLimit::Bytes(PLENTY),
    });
    engine.send(Command::AddGroup(request(1, &endless_plan(3000))));
    engine.send(Command::CancelGroup(1));
    let plan = plan_message();
    engine.send(Command::AddGroup(request(2, &plan)));
    assert_complete(&collect(&mut events, 1), &plan, 1);
    // The engine updates the load after it has sent the events.
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
