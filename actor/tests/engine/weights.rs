//! Log-probabilities are those of the weights that are announced, also across a swap of weights.

use std::sync::Arc;
use std::time::Duration;

use anytime_actor::engine::{CacheLimit, Command, EngineLimits, Event, GroupRequest, Model};
use anytime_policy::{Branch, Decoder, ModelConfig, TreeBatch, TreeRow, initialise_weights};
use anytime_proto::v1::{self, AbandonReason};
use tch::{Device, Tensor};

use super::common::{VOCABULARY, config_json, endless_plan, model, plan_message, request};
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

/// NaN at one token of the vocabulary that only one group's prompt has: that group ends with a reason, and the others are
/// generated as if it had not been there.
#[test]
fn logits_that_are_not_finite_end_their_group_alone() {
    const POISONED: u32 = VOCABULARY - 1;
    let poisoned_model = || {
        let json =
            config_json(32, 2, VOCABULARY).replace("\"tie_word_embeddings\":true", "\"tie_word_embeddings\":false");
        let config = ModelConfig::from_json(&json).unwrap();
        assert!(!config.tie_word_embeddings);
        let weights = initialise_weights(&config, 5, Device::Cpu);
        let embedding = &weights["model.embed_tokens.weight"];
        tch::no_grad(|| {
            let _ = embedding.get(i64::from(POISONED)).fill_(f64::NAN);
        });
        let decoder = Decoder::new(&config, &weights).unwrap();
        Model {
            config: Arc::new(config),
            decoder,
            ..model(5)
        }
    };
    let plan = plan_message();
    let healthy = [request(1, &plan), request(3, &plan)];
    let mut poisoned = request(2, &plan);
    poisoned.prompt_ids = vec![6, POISONED];
    let limits = EngineLimits {
        slots: 64,
        cache: CacheLimit::Bytes(PLENTY),
    };
    let generate = |requests: &[&GroupRequest]| {
        let (engine, mut events) = start(limits);
        engine.send(Command::SwapWeights(Box::new(poisoned_model())));
        for request in requests {
            engine.send(Command::AddGroup((*request).clone()));
        }
        let mut failed = None;
        let mut finished = Vec::new();
        let mut generated = Vec::new();
        while finished.len() + usize::from(failed.is_some()) < requests.len() {
            match next(&mut events) {
                Event::GroupFailed { group, reason, detail } => failed = Some((group, reason, detail)),
                Event::GroupFinished { group, .. } => finished.push(group),
                Event::TraceFinished {
                    group, trace, thinking, ..
                } => {
                    assert_ne!(group, 2, "a trace of the poisoned group");
                    generated.push((group, trace, thinking));
                }
                Event::NodeFinished { group, .. } => assert_ne!(group, 2),
                Event::Served(event) => panic!("nobody is served: {event:?}"),
            }
        }
        generated.sort_by_key(|(group, trace, _)| (*group, *trace));
        (failed, generated)
    };
    let (failed, generated) = generate(&[&healthy[0], &poisoned, &healthy[1]]);
    let (group, reason, detail) = failed.expect("the poisoned group fails");
    assert_eq!((group, reason), (2, AbandonReason::Engine));
    assert!(
        detail.contains("not finite") && detail.contains("version 5"),
        "{detail}"
    );
    let (failed, without) = generate(&[&healthy[0], &healthy[1]]);
    assert_eq!(failed, None);
    assert_eq!(generated.len(), without.len());
    for ((group, trace, found), (_, _, expected)) in generated.iter().zip(&without) {
        let place = format!("trace {trace} of group {group}");
        assert_eq!((&found.ids, found.finish), (&expected.ids, expected.finish), "{place}");
        // How many rows a product has decides how it is rounded.
        for (one, other) in found.log_probs.iter().zip(&expected.log_probs) {
            assert!((one - other).abs() < 1e-4, "{place}: {one} and {other}");
        }
    }
}
