//! Slow groups and a slow actor cost time and nothing else: what is trained is what was leased, at every length.
//!
//! Lengths have a long tail here: the weights are random, so that a thinking ends at each token with about the same small
//! probability. One of three actors has a fifth of the time of the others. The test in the suite is short;
//!
//! ```sh
//! cargo test --release -p anytime-tests --test system slow_actor:: -- --ignored --nocapture
//! ```
//!
//! is the same with more steps, and prints its figures.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use anytime_objectives::statistics::kolmogorov_smirnov;
use anytime_tests::metrics::sum;
use anytime_tests::stack::Stack;
use anytime_tests::wait::within;
use nix::sys::signal::Signal;

/// The slow actor runs for a fifth of each period.
const PERIOD: Duration = Duration::from_millis(100);

/// A group as the learner's log tells of it.
#[derive(Clone, Debug)]
struct Group {
    id: String,
    problem: f64,
    tokens: f64,
}

/// What one run brought.
struct Outcome {
    /// Every group that actors sent in, each once.
    came: Vec<Group>,
    /// In the order of training.
    trained: Vec<Group>,
    /// Groups that were dropped for their age.
    stale: f64,
    seconds_per_step: f64,
}

async fn run(steps: u64, is_uneven: bool) -> Outcome {
    let mut stack = Stack::start_logging(3, "info,anytime_learner=debug").await;
    let mut spec = stack.workplace.train("tail", steps);
    let rollout = spec.rollout.get_or_insert_default();
    rollout.budgets = vec![8, 32, 128];
    rollout.lease_seconds = Some(60);
    let training = spec.training.get_or_insert_default();
    // The weights stay as they are, and with them the lengths.
    training.learning_rate = Some(1e-9);
    training.batch = Some(8);
    let job = stack.submit("tail", spec).await;
    let ended = {
        let slow = stack.actors.pop().unwrap();
        let hold_back = async {
            loop {
                slow.process.signal(Signal::SIGCONT);
                tokio::time::sleep(PERIOD / 5).await;
                slow.process.signal(Signal::SIGSTOP);
                tokio::time::sleep(PERIOD * 4 / 5).await;
            }
        };
        let ended = tokio::select! {
            ended = stack.wait_for_success(&job.id, 1200) => ended,
            () = hold_back, if is_uneven => unreachable!("it never ends"),
        };
        slow.process.signal(Signal::SIGCONT);
        ended
    };
    let samples = stack.learner_metrics().await;
    let log = stack.learner.process.log();
    let mut came: Vec<Group> = groups(&log, "a group has come");
    came.sort_by(|a, b| a.id.cmp(&b.id));
    came.dedup_by(|a, b| a.id == b.id);
    Outcome {
        came,
        trained: groups(&log, "a group is trained"),
        stale: sum(&samples, "anytime_learner_groups_total", "outcome=\"stale\""),
        seconds_per_step: ended.seconds / steps as f64,
    }
}

/// The groups that lines with this message name.
fn groups(log: &str, message: &str) -> Vec<Group> {
    let mut numbers: BTreeMap<String, f64> = BTreeMap::new();
    let mut found = Vec::new();
    for line in log.lines() {
        let Ok(fields) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        if fields["message"] != message {
            continue;
        }
        let problem = fields["problem_id"].as_str().unwrap().to_owned();
        let next = numbers.len() as f64;
        found.push(Group {
            id: fields["group_id"].as_str().unwrap().to_owned(),
            problem: problem
                .parse()
                .unwrap_or_else(|_| *numbers.entry(problem).or_insert(next)),
            tokens: fields["thinking_tokens"].as_f64().unwrap(),
        });
    }
    found
}

fn check(outcome: &Outcome, steps: u64) {
    assert_eq!(outcome.stale, 0.0, "groups were dropped for their age");
    let in_order: Vec<String> = (0..steps * 8).map(|number| format!("tail/train/{number:08}")).collect();
    let trained: Vec<String> = outcome.trained.iter().map(|group| group.id.clone()).collect();
    assert_eq!(trained, in_order);
    for of in [|group: &Group| group.tokens, |group: &Group| group.problem] {
        let came: Vec<f64> = outcome.came.iter().map(of).collect();
        let trained: Vec<f64> = outcome.trained.iter().map(of).collect();
        let p = kolmogorov_smirnov(&came, &trained);
        assert!(p > 0.1, "p = {p}");
    }
    let longest = outcome.trained.iter().map(|group| group.tokens).fold(0.0, f64::max);
    let mean = outcome.trained.iter().map(|group| group.tokens).sum::<f64>() / outcome.trained.len() as f64;
    assert!(longest >= 2.0 * mean, "the lengths have no tail: {mean} and {longest}");
}

#[test]
fn a_bias_would_show() {
    let all: Vec<f64> = (0..400).map(f64::from).collect();
    assert!(kolmogorov_smirnov(&all, &all) > 0.99);
    // A fifth of the longest is missing.
    let short: Vec<f64> = all
        .iter()
        .copied()
        .filter(|value| *value < 300.0 || value % 5.0 != 0.0)
        .collect();
    assert!(
        kolmogorov_smirnov(&all, &short) > 0.1,
        "400 values do not show so little"
    );
    let shorter: Vec<f64> = all
        .iter()
        .copied()
        .filter(|value| *value < 300.0 || value % 2.0 != 0.0)
        .collect();
    assert!(kolmogorov_smirnov(&all, &shorter) < 0.2);
    let cut: Vec<f64> = all.iter().copied().filter(|value| *value < 340.0).collect();
    assert!(kolmogorov_smirnov(&all, &cut) < 0.01);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_actor_biases_nothing() {
    within(300, async {
        let steps = 12;
        let outcome = run(steps, true).await;
        check(&outcome, steps);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; its figures are for BENCHMARKS"]
async fn a_slow_actor_and_even_ones_over_many_steps() {
    within(2400, async {
        let steps = 150;
        for is_uneven in [true, false] {
            let outcome = run(steps, is_uneven).await;
            let of = |groups: &[Group]| groups.iter().map(|group| group.tokens).collect::<Vec<f64>>();
            let problems = |groups: &[Group]| groups.iter().map(|group| group.problem).collect::<Vec<f64>>();
            println!(
                "one actor five times slower: {is_uneven}; came {}, trained {}, dropped for age {}, p(lengths) {:.3}, \
                 p(problems) {:.3}, {:.3} s per step",
                outcome.came.len(),
                outcome.trained.len(),
                outcome.stale,
                kolmogorov_smirnov(&of(&outcome.came), &of(&outcome.trained)),
                kolmogorov_smirnov(&problems(&outcome.came), &problems(&outcome.trained)),
                outcome.seconds_per_step,
            );
            check(&outcome, steps);
        }
    })
    .await;
}
