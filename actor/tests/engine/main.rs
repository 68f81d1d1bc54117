//! The engine's thread with a tiny model: what it generates, in how few slots, and across a swap of weights.
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod deterministic;
mod served;
mod slots;
mod thinking;
mod weights;

use std::collections::BTreeMap;
use std::time::Duration;

use anytime_actor::engine::{self, CacheLimit, Command, EngineHandle, EngineLimits, Event, GroupRequest};
use anytime_actor::nodes::NodePlan;
use anytime_policy::device;
use anytime_proto::v1::{self, Generated};
use common::model;
use tokio::sync::mpsc::UnboundedReceiver;

const PLENTY: usize = 1 << 30;

/// A trace with its nodes' summaries.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    thinking: Generated,
    nodes: Vec<NodePlan>,
    summaries: BTreeMap<usize, Vec<Generated>>,
}

type Outcomes = BTreeMap<(u64, usize), Outcome>;

fn start(limits: EngineLimits) -> (EngineHandle, UnboundedReceiver<Event>) {
    device::set_threads(1);
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    let (engine, _thread) = engine::spawn(limits, sender).unwrap();
    engine.send(Command::SwapWeights(Box::new(model(0))));
    (engine, events)
}

fn next(events: &mut UnboundedReceiver<Event>) -> Event {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let event = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(50), events.recv()).await });
    event.expect("the engine hangs").expect("the engine has ended")
}

/// Everything that the groups come to.
fn collect(events: &mut UnboundedReceiver<Event>, groups: usize) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut finished = 0;
    while finished < groups {
        match next(events) {
            Event::TraceFinished {
                group,
                trace,
                thinking,
                nodes,
            } => {
                let outcome = Outcome {
                    thinking,
                    nodes,
                    summaries: BTreeMap::new(),
                };
                assert!(outcomes.insert((group, trace), outcome).is_none());
            }
            Event::NodeFinished {
                group,
                trace,
                node,
                summaries,
            } => {
                let outcome = outcomes
                    .get_mut(&(group, trace))
                    .expect("the trace comes before its nodes");
                assert!(outcome.summaries.insert(node, summaries).is_none());
            }
            Event::GroupFinished { .. } => finished += 1,
            Event::GroupFailed { detail, .. } => panic!("{detail}"),
            Event::Served(event) => panic!("nobody is served: {event:?}"),
        }
    }
    outcomes
}

fn generate(slots: usize, cache_bytes: usize, requests: Vec<GroupRequest>) -> Outcomes {
    let (engine, mut events) = start(EngineLimits {
        slots,
        cache: CacheLimit::Bytes(cache_bytes),
    });
    let groups = requests.len();
    for request in requests {
        engine.send(Command::AddGroup(request));
    }
    collect(&mut events, groups)
}

fn ids(outcomes: &Outcomes) -> Vec<(u64, usize, Vec<u32>)> {
    let mut ids = Vec::new();
    for (&(group, trace), outcome) in outcomes {
        ids.push((group, trace, outcome.thinking.ids.clone()));
        for summary in outcome.summaries.values().flatten() {
            ids.push((group, trace, summary.ids.clone()));
        }
    }
    ids
}

fn assert_complete(outcomes: &Outcomes, plan: &v1::RolloutPlan, groups: usize) {
    assert_eq!(outcomes.len(), groups * plan.traces as usize);
    for outcome in outcomes.values() {
        assert_eq!(outcome.summaries.len(), outcome.nodes.len());
        for (node, summaries) in outcome.nodes.iter().zip(outcome.summaries.values()) {
            assert_eq!(summaries.len(), node.multiplicity * plan.summaries as usize);
        }
    }
}
