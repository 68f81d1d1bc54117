//! A run that gets worse says so, and the best of its weights by evaluation are still there.

use std::fs;

use anytime_proto::nodes::{inserted_ids, node_spans};
use anytime_proto::v1::{self, JobState, Purpose};

use crate::real_jobs::{Answer, Place, good, work_until};
use crate::support::groups::group_for;

/// From this step on no answer of training is right.
const FALLS_AFTER: u64 = 20;

/// Enough for the mean of twenty steps to come below half of what it was.
const STEPS: u64 = 32;

/// At each budget, how many of four traces answer rightly in the evaluation after a step. By the largest budget that after
/// step 5 is the best, by the mean over budgets that after step 10.
fn right_after(step: u64) -> [usize; 2] {
    match step {
        5 => [0, 4],
        10 => [3, 3],
        _ => [1, 1],
    }
}

/// A group of an evaluation whose traces think past the first budget.
fn evaluated(lease: &v1::Lease, right: [usize; 2]) -> Box<v1::ScoredGroup> {
    let mut group = Box::new(group_for(lease, "a", lease.min_weights_version));
    let plan = lease.plan.clone().unwrap();
    let markers = plan.markers.clone().unwrap();
    let version = lease.min_weights_version;
    let length = plan.budgets[0] as usize + 1;
    for (number, trace) in group.traces.iter_mut().enumerate() {
        trace.thinking = Some(v1::Generated {
            ids: vec![3; length],
            log_probs: vec![-0.5; length],
            versions: vec![version; length],
            finish: v1::FinishReason::EndMarker.into(),
        });
        let summary = trace.nodes[0].summaries[0].clone();
        let spans = node_spans(&plan.budgets, length);
        assert_eq!(spans.len(), right.len());
        let node = |(span, right): (_, usize)| {
            let span: anytime_proto::nodes::NodeSpan = span;
            let mut summary = summary.clone();
            if number >= right {
                summary.verdict = v1::VerdictKind::Wrong.into();
                summary.score = 0.0;
            }
            v1::Node {
                cut: span.cut as u32,
                first_budget: span.first_budget as u32,
                multiplicity: span.multiplicity as u32,
                inserted_ids: inserted_ids(&markers.cut, &markers.end, &markers.summary, span.cut == length),
                summaries: vec![summary; span.multiplicity * plan.summaries as usize],
            }
        };
        trace.nodes = spans.into_iter().zip(right).map(node).collect();
    }
    group
}

/// Nothing is right.
fn wrong(lease: &v1::Lease) -> Box<v1::ScoredGroup> {
    let mut group = good(lease);
    for summary in group
        .traces
        .iter_mut()
        .flat_map(|trace| &mut trace.nodes)
        .flat_map(|node| &mut node.summaries)
    {
        summary.verdict = v1::VerdictKind::Wrong.into();
        summary.score = 0.0;
    }
    group
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_gets_worse_says_so_and_keeps_its_best_weights() {
    for (by, best) in [("anytime", 10), ("final", 5)] {
        let place = Place::new(2);
        let learner = place.learner("runs").await;
        let settings = format!(
            "training = {{ steps = {STEPS}, batch = 2, minibatches = 1, max_staleness = 0 }}\nevaluation = {{ path = {:?}, \
             every = 5, before = false, samples = 4 }}\ncheckpoint = {{ keep_best = 1, best_by = {by:?} }}\n",
            place.path("data.jsonl")
        );
        learner.submit(by, place.job(by, &settings)).await.unwrap();
        let job = work_until(&learner, by, JobState::Succeeded, |lease| {
            Answer::Push(match lease.purpose() {
                Purpose::Evaluate => evaluated(lease, right_after(lease.min_weights_version)),
                _ if lease.min_weights_version < FALLS_AFTER => good(lease),
                _ => wrong(lease),
            })
        })
        .await;

        let measured: Vec<(u64, f64, f64)> = job
            .evaluations
            .iter()
            .map(|it| (it.step, it.anytime, it.r#final))
            .collect();
        assert_eq!(
            measured[..3],
            [(5, 0.5, 1.0), (10, 0.75, 0.75), (15, 0.25, 0.25)],
            "{by}"
        );
        let kept: Vec<String> = fs::read_dir(place.path("runs").join(by))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("best-"))
            .collect();
        assert_eq!(kept, [format!("best-{best:08}")], "{by}");

        let said: Vec<(u64, &str)> = job
            .notices
            .iter()
            .filter(|notice| notice.topic == "collapse")
            .map(|notice| (notice.step, notice.text.as_str()))
            .collect();
        let says = |step: u64, what: &str| said.iter().any(|(at, text)| *at == step && text.contains(what));
        assert!(
            says(10, "the accuracy at the largest budget has fallen"),
            "{by}: {said:?}"
        );
        assert!(
            says(15, "the accuracy at the largest budget has collapsed"),
            "{by}: {said:?}"
        );
        let of_rewards = said
            .iter()
            .filter(|(_, text)| text.contains("the reward at the largest budget is"));
        assert!(of_rewards.clone().count() > 0, "{by}: {said:?}");
        assert!(
            of_rewards.clone().all(|(step, _)| *step > FALLS_AFTER),
            "{by}: {said:?}"
        );
        let path = place.path("runs").join(by).join(format!("best-{best:08}"));
        let names_it = format!(
            "the best weights by evaluation, of step {best}, are in {}",
            path.display()
        );
        for (step, text) in &said {
            assert!(text.contains(&names_it), "{by}, step {step}: {text}");
        }
        learner.stop().await;
    }
}
