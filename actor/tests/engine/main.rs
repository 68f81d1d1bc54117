//! The engine's thread with a tiny model: what it generates, in how few slots, and across an exchange of weights.
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anytime_actor::engine::{self, Command, EngineHandle, EngineLimits, Event, GroupRequest};
use anytime_actor::nodes::NodePlan;
use anytime_policy::{Branch, Decoder, KvCache, TreeBatch, TreeRow, device};
use anytime_proto::v1::{self, AbandonReason, FinishReason, Generated};
use common::{endless_plan, model, plan_message, request};
use tch::{Device, Kind, Tensor};
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
        }
    }
    outcomes
}

fn generate(slots: usize, cache_bytes: usize, requests: Vec<GroupRequest>) -> Outcomes {
    let (engine, mut events) = start(EngineLimits { slots, cache_bytes });
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
fn thinking_ends_at_the_marker_the_budget_or_the_end_of_sequence() {
    let mut plan = plan_message();
    plan.traces = 64;
    // Likely enough that each of the three happens.
    plan.markers = Some(v1::MarkerIds {
        end: vec![9],
        cut: vec![3],
        summary: vec![4, 5],
    });
    plan.sampling = Some(v1::Sampling {
        temperature: 3.0,
        top_p: 1.0,
        top_k: 0,
    });
    let outcomes = generate(
        64,
        PLENTY,
        vec![request(1, &plan), request(2, &plan), request(3, &plan)],
    );
    let mut seen = BTreeMap::new();
    for outcome in outcomes.values() {
        let ids = &outcome.thinking.ids;
        let last = ids[ids.len() - 1];
        *seen.entry(outcome.thinking.finish().as_str_name()).or_insert(0) += 1;
        match outcome.thinking.finish() {
            FinishReason::EndMarker => assert_eq!(last, 9),
            FinishReason::Eos => assert_eq!(last, common::EOS),
            FinishReason::Length => assert_eq!(ids.len(), 16),
            FinishReason::Unspecified => panic!("a trace ended for no reason"),
        }
        let before = &ids[..ids.len() - 1];
        assert!(!before.contains(&9) && !before.contains(&common::EOS), "{ids:?}");
        for summary in outcome.summaries.values().flatten() {
            let ended = summary.ids.ends_with(&[common::EOS]);
            assert_eq!(summary.finish() == FinishReason::Eos, ended);
            assert!(ended || summary.ids.len() == 6);
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn an_end_marker_of_several_tokens_is_found_at_the_tail() {
    let mut plan = plan_message();
    plan.budgets = vec![16, 64];
    plan.traces = 48;
    plan.eos_ids = Vec::new();
    plan.vocabulary = 5;
    plan.markers = Some(v1::MarkerIds {
        end: vec![2, 3],
        cut: vec![],
        summary: vec![4],
    });
    plan.sampling = Some(v1::Sampling {
        temperature: 8.0,
        top_p: 1.0,
        top_k: 0,
    });
    let outcomes = generate(64, PLENTY, vec![request(1, &plan)]);
    let mut marked = 0;
    for outcome in outcomes.values() {
        let ids = &outcome.thinking.ids;
        assert!(!ids[..ids.len() - 1].windows(2).any(|pair| pair == [2, 3]), "{ids:?}");
        if outcome.thinking.finish() == FinishReason::EndMarker {
            assert!(ids.ends_with(&[2, 3]));
            assert_eq!(outcome.nodes.last().unwrap().inserted, [4]);
            marked += 1;
        }
    }
    assert!(marked > 10, "{marked}");
}

/// Half of six traces is made to end at once, half is kept from it.
fn half_without_thinking(end: &[u32]) -> v1::RolloutPlan {
    let mut plan = plan_message();
    (plan.traces, plan.no_thinking_traces) = (6, 3);
    plan.markers = Some(v1::MarkerIds {
        end: end.to_vec(),
        cut: vec![3],
        summary: vec![4, 5],
    });
    plan
}

#[test]
fn half_of_the_traces_end_at_once_and_half_do_not() {
    for end in [&[9][..], &[9, 10]] {
        let plan = half_without_thinking(end);
        let requests: Vec<GroupRequest> = (1..9).map(|number| request(number, &plan)).collect();
        let outcomes = generate(64, PLENTY, requests.clone());
        assert_complete(&outcomes, &plan, requests.len());
        for (&(group, trace), outcome) in &outcomes {
            let thinking = &outcome.thinking;
            if trace < 3 {
                assert_eq!(
                    (thinking.ids.as_slice(), thinking.finish()),
                    (end, FinishReason::EndMarker)
                );
                assert_eq!(thinking.log_probs[0], 0.5_f32.ln());
                assert!(thinking.log_probs[1..].iter().all(|log_prob| *log_prob == 0.0));
                assert_eq!(outcome.nodes.len(), 1);
                continue;
            }
            assert_ne!(thinking.ids[0], end[0]);
            // Half of the policy's probability among what is not the end marker's first token.
            let first = first_log_probs(&requests[group as usize - 1]);
            let of_token = first.double_value(&[i64::from(thinking.ids[0])]);
            let of_end = first.double_value(&[i64::from(end[0])]).exp();
            let expected = of_token - (1.0 - of_end).ln() + 0.5_f64.ln();
            let reported = f64::from(thinking.log_probs[0]);
            assert!((reported - expected).abs() < 1e-4, "{reported} instead of {expected}");
        }
    }
}

#[test]
fn a_likely_end_is_not_drawn_where_traces_must_think() {
    let free = {
        let mut plan = half_without_thinking(&[9]);
        plan.no_thinking_traces = 0;
        plan
    };
    // The end marker is the likeliest first token.
    let likeliest = |request: &GroupRequest| first_log_probs(request).argmax(0, false).int64_value(&[]) as u32;
    let end = likeliest(&request(1, &free));
    let plan = half_without_thinking(&[end]);
    let outcomes = generate(64, PLENTY, vec![request(1, &plan)]);
    assert!(
        outcomes
            .iter()
            .all(|((_, trace), outcome)| (*trace < 3) == (outcome.thinking.ids == [end]))
    );
}

/// Log-probabilities of the first token of a thinking, [vocabulary].
fn first_log_probs(request: &GroupRequest) -> Tensor {
    let _guard = tch::no_grad_guard();
    let decoder = model(0).decoder;
    let row = TreeRow {
        prompt: request.prompt_ids.len(),
        prefix: [request.prompt_ids.as_slice(), &[0]].concat(),
        branches: Vec::new(),
    };
    let batch = TreeBatch::pack(&[row], Device::Cpu);
    let logits = decoder.logits(&decoder.tree(&batch));
    logits
        .narrow(-1, 0, request.plan.sampling.vocabulary as i64)
        .log_softmax(-1, None)
        .view(-1)
}

/// Largest difference between what was reported and the log-probabilities of a forward over whole sequences.
fn largest_gap(decoder: &Decoder, request: &GroupRequest, outcome: &Outcome, version: u64) -> f64 {
    let _guard = tch::no_grad_guard();
    let prefix = [request.prompt_ids.as_slice(), &outcome.thinking.ids].concat();
    let mut branches = Vec::new();
    let mut reported = outcome.thinking.log_probs.clone();
    let mut versions = outcome.thinking.versions.clone();
    for (node, summaries) in outcome.nodes.iter().zip(outcome.summaries.values()) {
        for summary in summaries {
            let ids = [node.inserted.as_slice(), &summary.ids].concat();
            branches.push(Branch {
                cut: node.cut,
                inserted: node.inserted.len(),
                ids,
            });
            reported.extend(&summary.log_probs);
            versions.extend(&summary.versions);
        }
    }
    let row = TreeRow {
        prompt: request.prompt_ids.len(),
        prefix,
        branches,
    };
    let batch = TreeBatch::pack(&[row], Device::Cpu);
    // The sampler leaves out the ids beyond the tokenizer's, so the reference does too.
    let logits = decoder
        .logits(&decoder.tree(&batch))
        .narrow(-1, 0, request.plan.sampling.vocabulary as i64);
    let expected = logits
        .log_softmax(-1, None)
        .gather(-1, &batch.targets().unsqueeze(-1), false)
        .view(-1);
    let gaps = (expected - Tensor::from_slice(&reported)).abs();
    let of_version: Vec<bool> = versions.iter().map(|&of| of == version).collect();
    gaps.masked_select(&Tensor::from_slice(&of_version))
        .max()
        .double_value(&[])
}

#[test]
fn log_probs_equal_those_of_whole_sequences() {
    let plan = plan_message();
    let requests: Vec<GroupRequest> = (1..8).map(|number| request(number, &plan)).collect();
    let decoder = model(0).decoder;
    for slots in [64, 3] {
        let outcomes = generate(slots, PLENTY, requests.clone());
        for (&(group, _), outcome) in &outcomes {
            let gap = largest_gap(&decoder, &requests[group as usize - 1], outcome, 0);
            assert!(gap < 1e-4, "{slots} slots: {gap}");
        }
    }
}

/// Generates one group and exchanges the weights while it thinks.
fn across_an_exchange(policy: v1::CachePolicy) -> (GroupRequest, Outcomes) {
    let mut plan = endless_plan(400);
    plan.cache_policy = policy.into();
    let request = request(1, &plan);
    let (engine, mut events) = start(EngineLimits {
        slots: 64,
        cache_bytes: PLENTY,
    });
    engine.send(Command::AddGroup(request.clone()));
    while engine.load().outstanding() == 0 {
        std::thread::yield_now();
    }
    // Long enough for some tokens, much shorter than 400 steps.
    std::thread::sleep(Duration::from_millis(25));
    engine.send(Command::SwapWeights(Box::new(model(1))));
    (request, collect(&mut events, 1))
}

fn assert_both_versions(outcomes: &Outcomes) {
    for outcome in outcomes.values() {
        let versions = &outcome.thinking.versions;
        assert!(
            versions.is_sorted() && versions[0] == 0 && versions.last() == Some(&1),
            "{versions:?}"
        );
        assert!(
            outcome
                .summaries
                .values()
                .flatten()
                .all(|summary| summary.versions.iter().all(|&of| of == 1))
        );
    }
}

#[test]
fn traces_go_on_with_the_old_cache() {
    let (request, outcomes) = across_an_exchange(v1::CachePolicy::Keep);
    assert_both_versions(&outcomes);
    let outcome = &outcomes[&(1, 0)];
    let gap = largest_gap(&model(1).decoder, &request, outcome, 1);
    assert!(gap > 1e-3, "the cache was computed again: {gap}");
}

#[test]
fn traces_go_on_with_a_recomputed_cache() {
    let (request, outcomes) = across_an_exchange(v1::CachePolicy::Recompute);
    assert_both_versions(&outcomes);
    for outcome in outcomes.values() {
        let gap = largest_gap(&model(1).decoder, &request, outcome, 1);
        assert!(gap < 1e-4, "{gap}");
    }
}

#[test]
fn a_group_of_given_weights_fails_when_they_change() {
    let (engine, mut events) = start(EngineLimits {
        slots: 8,
        cache_bytes: PLENTY,
    });
    let mut pinned = request(1, &endless_plan(3000));
    pinned.manifest_checksum = Some("checksum-0".to_owned());
    engine.send(Command::AddGroup(pinned.clone()));
    engine.send(Command::SwapWeights(Box::new(model(1))));
    pinned.number = 2;
    engine.send(Command::AddGroup(pinned));
    let free = plan_message();
    engine.send(Command::AddGroup(request(3, &free)));
    for expected in [1, 2] {
        match next(&mut events) {
            Event::GroupFailed {
                group,
                reason: AbandonReason::Shutdown,
                ..
            } => assert_eq!(group, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_complete(&collect(&mut events, 1), &free, 1);
}

#[test]
fn another_jobs_weights_end_the_groups_of_the_old_one() {
    let (engine, mut events) = start(EngineLimits {
        slots: 8,
        cache_bytes: PLENTY,
    });
    engine.send(Command::AddGroup(request(1, &endless_plan(3000))));
    let mut other = model(5);
    other.id.job_id.0 = "other".to_owned();
    engine.send(Command::SwapWeights(Box::new(other)));
    assert!(matches!(
        next(&mut events),
        Event::GroupFailed {
            group: 1,
            reason: AbandonReason::Shutdown,
            ..
        }
    ));
    let plan = plan_message();
    let mut of_other = request(2, &plan);
    of_other.job_id.0 = "other".to_owned();
    engine.send(Command::AddGroup(of_other));
    assert_complete(&collect(&mut events, 1), &plan, 1);
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
