//! Log-probabilities are those of the weights that are announced, also across a swap of weights.

use std::time::Duration;

use anytime_actor::engine::{CacheLimit, Command, EngineLimits, Event, GroupRequest};
use anytime_policy::{Branch, Decoder, TreeBatch, TreeRow};
use anytime_proto::v1::{self, AbandonReason};
use tch::{Device, Tensor};

use super::common::{endless_plan, model, plan_message, request};
use super::{Outcome, Outcomes, PLENTY, assert_complete, collect, generate, next, start};

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

/// Generates one group and swaps the weights while it thinks.
fn across_a_swap(policy: v1::CachePolicy) -> (GroupRequest, Outcomes) {
    let mut plan = endless_plan(400);
    plan.cache_policy = policy.into();
    let request = request(1, &plan);
    let (engine, mut events) = start(EngineLimits {
        slots: 64,
        cache: CacheLimit::Bytes(PLENTY),
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
    let (request, outcomes) = across_a_swap(v1::CachePolicy::Keep);
    assert_both_versions(&outcomes);
    let outcome = &outcomes[&(1, 0)];
    let gap = largest_gap(&model(1).decoder, &request, outcome, 1);
    assert!(gap > 1e-3, "the cache was computed again: {gap}");
}

#[test]
fn traces_go_on_with_a_recomputed_cache() {
    let (request, outcomes) = across_a_swap(v1::CachePolicy::Recompute);
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
        cache: CacheLimit::Bytes(PLENTY),
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
        cache: CacheLimit::Bytes(PLENTY),
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
