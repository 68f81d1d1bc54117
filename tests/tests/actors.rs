//! Actors come and go, and the job loses nothing but their work in flight.
#![allow(clippy::unwrap_used)]

use anytime_proto::v1::JobState;
use anytime_tests::metrics::{scrape, sum};
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_four_actors_is_killed_and_nothing_is_lost_but_its_work() {
    let steps = 16;
    within(120, async {
        let mut stack = Stack::start(4).await;
        let job = stack.submit("one", stack.workplace.train("four", steps)).await;
        stack.wait_for_step(&job.id, 3, 60).await;

        // This actor is in the middle of a group, whose lease must come back.
        let victim = eventually("an actor at work", 20, async || {
            for (index, actor) in stack.actors.iter().enumerate() {
                let samples = scrape(&actor.metrics_address).await?;
                if sum(&samples, "anytime_actor_sequences", "state=\"running\"") > 0.0 {
                    return Some(index);
                }
            }
            None
        })
        .await;
        stack.actors[victim].process.kill();

        let ended = stack.wait_for_success(&job.id, 90).await;
        assert_eq!((ended.step, ended.total_steps), (steps, steps));
        let history = stack.history(&job.id).await;
        history.assert_numbered();
        assert_eq!(
            history.step_numbers(),
            (1..=steps).collect::<Vec<u64>>(),
            "once each and in order"
        );
        assert_eq!(
            history.states(),
            [JobState::Queued, JobState::Running, JobState::Succeeded]
        );
        stack.assert_trained_once_each(&job.id).await;

        let samples = stack.learner_metrics().await;
        let expired = sum(&samples, "anytime_learner_groups_total", "outcome=\"expired\"");
        assert!(expired > 0.0, "the leases of the dead actor came back");
        for (index, actor) in stack.actors.iter_mut().enumerate() {
            if index != victim {
                actor.process.assert_runs();
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_joins_late_takes_part() {
    let steps = 60;
    within(120, async {
        let mut stack = Stack::start(1).await;
        let job = stack.submit("one", stack.workplace.train("late", steps)).await;
        stack.wait_for_step(&job.id, 2, 60).await;
        stack.add_actor();
        let late = stack.actors[1].metrics_address.clone();
        eventually("a group of the late actor", 60, async || {
            let samples = scrape(&late).await?;
            (sum(&samples, "anytime_actor_groups_total", "outcome=\"pushed\"") > 0.0).then_some(())
        })
        .await;
        stack.wait_for_success(&job.id, 90).await;
        let history = stack.history(&job.id).await;
        assert_eq!(history.step_numbers(), (1..=steps).collect::<Vec<u64>>());
        stack.assert_trained_once_each(&job.id).await;
    })
    .await;
}
