//! Where a thinking ends, and traces that must end at once or must not.

use std::collections::BTreeMap;

use anytime_actor::engine::GroupRequest;
use anytime_policy::{TreeBatch, TreeRow};
use anytime_proto::v1::{self, FinishReason};
use tch::{Device, Tensor};

use super::common::{self, model, plan_message, request};
use super::{PLENTY, assert_complete, generate};

#[test]
fn thinking_ends_at_the_marker_the_budget_or_the_end_of_sequence() {
    let mut plan = plan_message();
    plan.traces = 64;
    // Likely enough that each of the three happens.
    plan.markers = Some(v1::MarkerIds {
        end: vec![9],
        cut: vec![3],
        summary: vec![4, 5],
        end_text: String::new(),
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
        end_text: String::new(),
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

#[test]
fn an_end_marker_is_found_in_the_text_of_other_tokens() {
    let mut plan = plan_message();
    plan.budgets = vec![16, 64];
    plan.traces = 48;
    plan.eos_ids = Vec::new();
    plan.vocabulary = 20;
    // The tokens of these tests are spelled t0, t1, …, with a blank between two: the text is that of 9 and 1, of 19 and
    // 12, and so on.
    plan.markers = Some(v1::MarkerIds {
        end: vec![9, 1],
        cut: vec![],
        summary: vec![4],
        end_text: "9 t1".to_owned(),
    });
    plan.sampling = Some(v1::Sampling {
        temperature: 8.0,
        top_p: 1.0,
        top_k: 0,
    });
    let is_marker = |pair: &[u32]| [9, 19].contains(&pair[0]) && (pair[1] == 1 || (10..20).contains(&pair[1]));
    let mut by_text = 0;
    for outcome in generate(64, PLENTY, vec![request(1, &plan)]).values() {
        let ids = &outcome.thinking.ids;
        assert!(!ids[..ids.len() - 1].windows(2).any(is_marker), "{ids:?}");
        if outcome.thinking.finish() == FinishReason::EndMarker {
            assert!(ids.windows(2).next_back().is_some_and(is_marker), "{ids:?}");
            assert_eq!(outcome.nodes.last().unwrap().inserted, [4]);
            by_text += usize::from(!ids.ends_with(&[9, 1]));
        } else {
            assert!(!ids.windows(2).any(is_marker), "{ids:?}");
        }
    }
    assert!(by_text > 10, "{by_text}");
}

/// Half of six traces is made to end at once, half is kept from it.
fn half_without_thinking(end: &[u32]) -> v1::RolloutPlan {
    let mut plan = plan_message();
    (plan.traces, plan.no_thinking_traces) = (6, 3);
    plan.markers = Some(v1::MarkerIds {
        end: end.to_vec(),
        cut: vec![3],
        summary: vec![4, 5],
        end_text: String::new(),
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

/// Log-probabilities of the first token of a thinking, `[vocabulary]`.
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
