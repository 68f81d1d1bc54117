//! Requests that are served beside training groups: summaries while the thinking goes on, traces that go on later, an end
//! that is asked for, and what a summary must not have.

use std::collections::BTreeMap;
use std::sync::Arc;

use anytime_actor::engine::{
    CacheLimit, Command, EngineHandle, EngineLimits, Event, GroupRequest, Model, NotContinued, ServedEvent,
};
use anytime_actor::plan::{Plan, Serving};
use anytime_policy::Decoder;
use anytime_proto::v1::{self, FinishReason, Generated};
use tokio::sync::mpsc::UnboundedReceiver;

use super::common::{self, END, EOS, endless_plan, plan_message, request};
use super::{PLENTY, collect, next, start};

/// What one request came to.
#[derive(Debug, Default)]
struct Served {
    thinking: Option<Generated>,
    /// By cut.
    summaries: BTreeMap<usize, Vec<Vec<u32>>>,
    /// Cuts in the order in which their summaries came, and whether the thinking went on then.
    order: Vec<(usize, bool)>,
    started: Option<(usize, usize)>,
    drawn: Vec<u32>,
    refused: Option<NotContinued>,
}

fn served(number: u64, plan: &v1::RolloutPlan, continues: Option<u64>) -> GroupRequest {
    let mut request = request(number, plan);
    let mut plan = Plan::clone(&request.plan);
    plan.serving = Some(Serving {
        least_prefix: 200,
        least_branch: 40,
        stops: Vec::new(),
        tells_tokens: true,
        continues,
    });
    request.plan = Arc::new(plan);
    request.seed = 77;
    request.prompt_ids = vec![6, 7, 8, 9];
    request
}

fn one_trace(budgets: &[u32], plan: v1::RolloutPlan) -> v1::RolloutPlan {
    v1::RolloutPlan {
        budgets: budgets.to_vec(),
        traces: 1,
        deterministic: true,
        ..plan
    }
}

/// Everything that the request comes to.
fn collect_one(events: &mut UnboundedReceiver<Event>, request: &GroupRequest) -> Served {
    let mut outcome = Served::default();
    let mut cuts: Vec<usize> = request.plan.budgets.iter().map(|budget| *budget as usize).collect();
    loop {
        match next(events) {
            Event::TraceFinished {
                group, thinking, nodes, ..
            } if group == request.number => {
                cuts = nodes.iter().map(|node| node.cut).collect();
                outcome.thinking = Some(thinking);
            }
            Event::NodeFinished {
                group, node, summaries, ..
            } if group == request.number => {
                outcome.order.push((cuts[node], outcome.thinking.is_none()));
                let ids = summaries.into_iter().map(|summary| summary.ids).collect();
                outcome.summaries.insert(cuts[node], ids);
            }
            Event::GroupFinished { group } if group == request.number => return outcome,
            Event::GroupFailed { detail, .. } => panic!("{detail}"),
            Event::Served(ServedEvent::Started {
                group,
                cached,
                computed,
                ..
            }) if group == request.number => {
                outcome.started = Some((cached, computed));
            }
            Event::Served(ServedEvent::Drawn {
                group,
                summary: None,
                id,
                ..
            }) if group == request.number => {
                outcome.drawn.push(id);
            }
            Event::Served(ServedEvent::NotContinued { group, reason }) if group == request.number => {
                outcome.refused = Some(reason);
                return outcome;
            }
            _ => {}
        }
    }
}

fn serve_one(engine: &EngineHandle, events: &mut UnboundedReceiver<Event>, request: &GroupRequest) -> Served {
    engine.send(Command::AddGroup(request.clone()));
    collect_one(events, request)
}

fn engine(slots: usize) -> (EngineHandle, UnboundedReceiver<Event>) {
    let (engine, events) = start(EngineLimits {
        slots,
        cache: CacheLimit::Bytes(PLENTY),
    });
    engine.send(Command::SwapWeights(Box::new(packed_model())));
    (engine, events)
}

/// A model whose tokens do not depend on their company.
fn packed_model() -> Model {
    let config = common::config();
    let decoder = Decoder::new(&config, &common::weights(0)).unwrap();
    Model {
        decoder: decoder.for_generation(),
        ..common::model_of(config, 0)
    }
}

#[test]
fn a_served_thinking_is_that_of_training_and_is_summarised_while_it_goes_on() {
    let plan = one_trace(&[4, 8, 40], endless_plan(40));
    let request = served(1, &plan, None);
    let (handle, mut events) = engine(8);
    let outcome = serve_one(&handle, &mut events, &request);
    let thinking = outcome.thinking.as_ref().unwrap();
    assert_eq!(thinking.ids.len(), 40);
    assert_eq!(outcome.drawn, thinking.ids, "every token is told once");
    assert_eq!(outcome.order, [(4, true), (8, true), (40, false)]);
    assert_eq!(outcome.started, Some((0, 4)));

    let mut training = served(1, &plan, None);
    let mut plan = Plan::clone(&training.plan);
    plan.serving = None;
    training.plan = Arc::new(plan);
    handle.send(Command::AddGroup(GroupRequest { number: 2, ..training }));
    let trained = collect(&mut events, 1);
    assert_eq!(trained[&(2, 0)].thinking, *thinking);
}

#[test]
fn a_trace_that_goes_on_is_the_trace_that_was_run_at_once() {
    let (handle, mut events) = engine(8);
    let whole = served(1, &one_trace(&[7, 16, 33], endless_plan(40)), None);
    let whole = serve_one(&handle, &mut events, &whole);

    let first = served(2, &one_trace(&[7], endless_plan(40)), None);
    let first = serve_one(&handle, &mut events, &first);
    assert_eq!(
        first.started,
        Some((3, 1)),
        "the prompt of the first request is still there"
    );
    let then = served(3, &one_trace(&[16, 33], endless_plan(40)), Some(2));
    let then = serve_one(&handle, &mut events, &then);
    assert_eq!(then.started, Some((4 + 7, 0)), "nothing is computed again");
    assert_eq!(then.thinking.unwrap().ids, whole.thinking.unwrap().ids);
    assert_eq!(then.drawn.len(), 33 - 7);
    assert_eq!(first.summaries[&7], whole.summaries[&7]);
    assert_eq!(then.summaries[&16], whole.summaries[&16]);
    assert_eq!(then.summaries[&33], whole.summaries[&33]);
}

#[test]
fn a_trace_that_was_stopped_goes_on_as_well() {
    let (handle, mut events) = engine(8);
    let whole = served(1, &one_trace(&[60], endless_plan(60)), None);
    let whole = serve_one(&handle, &mut events, &whole);
    let stopped = served(2, &one_trace(&[3, 60], endless_plan(60)), None);
    handle.send(Command::AddGroup(stopped.clone()));
    let mut drawn = 0;
    loop {
        match next(&mut events) {
            Event::Served(ServedEvent::Drawn { summary: None, .. }) => {
                drawn += 1;
                if drawn == 5 {
                    handle.send(Command::StopGroup(2));
                }
            }
            Event::GroupFinished { group: 2 } => break,
            Event::TraceFinished { .. } => return, // The engine was faster than this thread.
            _ => {}
        }
    }
    assert!(drawn < 60);
    let then = served(3, &one_trace(&[60], endless_plan(60)), Some(2));
    let then = serve_one(&handle, &mut events, &then);
    assert_eq!(
        then.started,
        Some((4 + drawn - 1, 1)),
        "only the token that was drawn last was never fed"
    );
    assert_eq!(then.thinking.unwrap().ids, whole.thinking.unwrap().ids);
    assert_eq!(then.summaries[&60], whole.summaries[&60]);
}

#[test]
fn what_cannot_go_on_is_said() {
    let (handle, mut events) = engine(2);
    let plan = one_trace(&[6], endless_plan(40));
    let unknown = serve_one(&handle, &mut events, &served(1, &plan, Some(99)));
    assert_eq!(unknown.refused, Some(NotContinued::Gone));
    serve_one(&handle, &mut events, &served(2, &plan, None));
    let same = serve_one(&handle, &mut events, &served(3, &plan, Some(2)));
    assert_eq!(same.refused, Some(NotContinued::NotLarger(6)));

    // Two rows have four prefix slots: the oldest trace goes for the fifth. A prompt that began alike would be a use of it.
    for number in 4..8 {
        let mut other = served(number, &plan, None);
        other.prompt_ids[0] = 10 + number as u32;
        serve_one(&handle, &mut events, &other);
    }
    let further = one_trace(&[9], endless_plan(40));
    let gone = serve_one(&handle, &mut events, &served(9, &further, Some(2)));
    assert_eq!(gone.refused, Some(NotContinued::Gone));
    let there = serve_one(&handle, &mut events, &served(10, &further, Some(7)));
    assert_eq!(there.thinking.unwrap().ids.len(), 9);

    let mut ends = one_trace(&[64], plan_message());
    ends.vocabulary = 4;
    let ended = serve_one(&handle, &mut events, &served(11, &ends, None));
    let thinking = ended.thinking.unwrap();
    assert_ne!(thinking.finish(), FinishReason::Length);
    let over = serve_one(&handle, &mut events, &served(12, &further, Some(11)));
    assert_eq!(over.refused, Some(NotContinued::Ended(thinking.ids.len())));
}

#[test]
fn a_summary_has_no_end_marker_and_does_not_begin_with_its_end() {
    let (handle, mut events) = engine(16);
    let mut plan = one_trace(&[2, 5, 9], plan_message());
    plan.vocabulary = 5;
    plan.summaries = 4;
    plan.sampling = Some(v1::Sampling {
        temperature: 6.0,
        top_p: 1.0,
        top_k: 0,
    });
    let mut summaries = 0;
    let mut nodes = 0;
    for number in 1..40 {
        let mut request = served(number, &plan, None);
        request.seed = number;
        let outcome = serve_one(&handle, &mut events, &request);
        nodes += outcome.summaries.len();
        for ids in outcome.summaries.values().flatten() {
            summaries += 1;
            assert!(!ids.contains(&END), "{ids:?}");
            assert_ne!(ids[0], EOS);
        }
    }
    assert_eq!(
        summaries,
        4 * nodes,
        "every node has A summaries, whatever its multiplicity"
    );
}

#[test]
fn cancelled_and_stopped_requests_leave_every_slot_free() {
    let (handle, mut events) = engine(3);
    let plan = one_trace(&[5, 30, 120], endless_plan(120));
    for number in 1..60_u64 {
        handle.send(Command::AddGroup(served(number, &plan, None)));
        for _ in 0..number % 7 {
            if let Event::GroupFailed { detail, .. } = next(&mut events) {
                panic!("{detail}");
            }
        }
        match number % 3 {
            0 => handle.send(Command::StopGroup(number)),
            _ => handle.send(Command::CancelGroup(number)),
        }
    }
    // Three at a time, again and again: with a slot lost some would wait for ever.
    for number in 100..109 {
        handle.send(Command::AddGroup(served(number, &plan, None)));
    }
    let mut finished = 0;
    while finished < 9 {
        if let Event::GroupFinished { group: 100.. } = next(&mut events) {
            finished += 1;
        }
    }
}
