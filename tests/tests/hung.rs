//! A process that hangs is noticed within ten seconds by whoever waits for it, and one metric says so. When it goes on,
//! so does the job.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use anytime_tests::metrics::{scrape, sum};
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};
use nix::sys::signal::Signal;

/// Ten seconds, and as much again for a machine that runs other tests beside.
const FOUND: Duration = Duration::from_secs(20);

/// Waits until a metric has this value at all of these addresses, or at one of them: a process that does not ask the
/// one that hangs cannot know.
async fn wait_for(what: &str, addresses: &[String], name: &str, label: &str, value: f64, at_all: bool) {
    eventually(what, 30, async || {
        let mut has_value = 0;
        for address in addresses {
            let samples = scrape(address).await?;
            has_value += usize::from(sum(&samples, name, label) == value);
        }
        let wanted = if at_all { addresses.len() } else { 1 };
        (has_value >= wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_process_that_hangs_says_so_within_ten_seconds() {
    within(300, async {
        let mut stack = Stack::start(2).await;
        let job = stack.submit("one", stack.workplace.train("hung", 100_000)).await;
        stack.wait_for_step(&job.id, 2, 60).await;
        let actors: Vec<String> = stack.actors.iter().map(|actor| actor.metrics_address.clone()).collect();
        let learner = [stack.learner.metrics_address.clone()];
        let (redis, lease) = ("call=\"redis\"", "call=\"rollout.lease\"");
        let cases = [
            ("redis", &learner[..], "anytime_peer_up", redis, 0.0, 1.0),
            ("learner", &actors[..], "anytime_peer_up", lease, 0.0, 1.0),
            ("verifier", &actors[..], "anytime_actor_verifier_away", "", 1.0, 0.0),
            ("actor", &learner[..], "anytime_learner_actors", "", 1.0, 2.0),
        ];
        for (hangs, who, name, label, lost, back) in cases {
            wait_for(&format!("{name} before"), who, name, label, back, true).await;
            let signal = |stack: &Stack, signal: Signal| match hangs {
                "redis" => stack.redis.signal(signal),
                "learner" => stack.learner.process.signal(signal),
                "verifier" => stack.verifier.process.signal(signal),
                _ => stack.actors[0].process.signal(signal),
            };
            signal(&stack, Signal::SIGSTOP);
            let began = Instant::now();
            wait_for(
                &format!("{hangs} is found to hang"),
                who,
                name,
                label,
                lost,
                hangs != "verifier",
            )
            .await;
            let found = began.elapsed();
            println!("{hangs}: {:.1} s", found.as_secs_f64());
            assert!(found < FOUND, "{hangs} was found to hang after {found:?}");
            signal(&stack, Signal::SIGCONT);
            wait_for(&format!("{hangs} is back"), who, name, label, back, true).await;
        }
        let step = stack.job(&job.id).await.unwrap().step;
        stack.wait_for_step(&job.id, step + 3, 60).await;
        stack.assert_audit_is_clean(&job.id).await;
    })
    .await;
}
