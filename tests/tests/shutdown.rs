//! Every process ends within ten seconds of a SIGTERM in the middle of a job, and the job goes on from what it left.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use anytime_proto::v1::JobState;
use anytime_tests::process::{END_LIMIT, Process};
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;
use nix::sys::signal::Signal;

/// Recovery checkpoints are written every so many steps.
const RECOVERY_EVERY: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifier_and_actor_end_and_others_take_their_place() {
    let steps = 40;
    within(120, async {
        let mut stack = Stack::start(2).await;
        let job = stack.submit("one", stack.workplace.train("servers", steps)).await;
        stack.wait_for_step(&job.id, 2, 60).await;
        assert_eq!(stack.actors[0].process.terminate().await, 0);
        let log = stack.actors[0].process.log();
        assert!(log.contains("draining") && log.contains("actor ends"), "{log}");

        assert_eq!(stack.verifier.process.terminate().await, 0);
        stack.restart_verifier().await;
        stack.wait_for_success(&job.id, 90).await;
        stack.assert_trained_once_each(&job.id).await;
        assert_eq!(
            stack.history(&job.id).await.step_numbers(),
            (1..=steps).collect::<Vec<u64>>()
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_is_asked_to_end_goes_on_at_the_next_start() {
    let steps = 30;
    within(120, async {
        let mut stack = Stack::start(2).await;
        let job = stack.submit("one", stack.workplace.train("asked", steps)).await;
        stack.wait_for_step(&job.id, 7, 60).await;
        assert_eq!(stack.learner.process.terminate().await, 0);
        stack.restart_learner().await;
        stack.wait_for_success(&job.id, 90).await;
        assert_resumed(&stack, &job.id, steps).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_is_killed_goes_on_from_its_recovery_checkpoint() {
    let steps = 30;
    within(120, async {
        let mut stack = Stack::start(2).await;
        let job = stack.submit("one", stack.workplace.train("killed", steps)).await;
        stack.wait_for_step(&job.id, 7, 60).await;
        stack.learner.process.kill();
        stack.restart_learner().await;
        stack.wait_for_success(&job.id, 90).await;
        assert_resumed(&stack, &job.id, steps).await;

        for step in stack.history(&job.id).await.went_on() {
            assert!(step.is_multiple_of(RECOVERY_EVERY), "goes on from a checkpoint: {step}");
            assert!(step >= 7 - RECOVERY_EVERY, "from the newest one: {step}");
        }
    })
    .await;
}

/// Panics unless the job ran once through its states, never began anew, has all its steps and trained no group twice.
async fn assert_resumed(stack: &Stack, job_id: &str, steps: u64) {
    let history = stack.history(job_id).await;
    history.assert_numbered();
    assert_eq!(
        history.states(),
        [JobState::Queued, JobState::Running, JobState::Succeeded]
    );
    let expected: Vec<u64> = (1..=steps).collect();
    assert_eq!(history.step_numbers(), expected, "each step stands once");
    let job = stack.job(job_id).await.unwrap();
    assert_eq!((job.step, job.total_steps), (steps, steps));
    stack.assert_trained_once_each(job_id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_run_ends_with_everything_that_it_started_and_resumes() {
    within(120, async {
        let workplace = Workplace::new();
        let job_file = workplace.write_job(&workplace.train("interrupted", 30));
        let arguments = [
            "local",
            job_file.to_str().unwrap(),
            "--out",
            "out",
            "--actors",
            "2",
            "--device",
            "cpu",
        ];
        let logs = workplace.path("logs");
        let mut local = Process::start("local", workplace.command(&arguments), workplace.mark(), &logs);
        let log_of_learner = workplace.path("out/logs/learner.log");
        eventually("some steps", 60, async || {
            local.assert_runs();
            let text = std::fs::read_to_string(&log_of_learner).unwrap_or_default();
            (text.matches("\"message\":\"step\"").count() >= 6).then_some(())
        })
        .await;
        let started = workplace.mark().processes();
        assert_eq!(
            started.len(),
            6,
            "client, redis, verifier, learner, two actors: {started:?}"
        );

        let asked = Instant::now();
        local.signal(Signal::SIGTERM);
        assert_eq!(local.exit_code(END_LIMIT.as_secs()).await, 130);
        assert!(asked.elapsed() < END_LIMIT, "{:?}", asked.elapsed());
        workplace.assert_nothing_runs();
        assert!(local.log().contains("--resume"), "{}", local.log());

        let resumed = workplace
            .anytime(&[&arguments[..], &["--resume", "--json"]].concat(), 60)
            .await
            .expect(0);
        let document = resumed.json();
        let jobs = document["jobs"].as_array().unwrap();
        assert_eq!((jobs.len(), &jobs[0]["id"]), (1, &"interrupted".into()));
        assert_eq!((&jobs[0]["state"], &jobs[0]["step"]), (&"succeeded".into(), &30.into()));
        workplace.assert_nothing_runs();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_without_work_end_at_once() {
    within(60, async {
        let mut stack = Stack::start(1).await;
        // Before that it is the kernel that ends it.
        eventually("the actor", 30, async || {
            stack.actors[0].process.log().contains("actor starts").then_some(())
        })
        .await;
        let Stack {
            actors,
            learner,
            verifier,
            ..
        } = &mut stack;
        for server in [&mut actors[0], learner, verifier] {
            let asked = Instant::now();
            assert_eq!(server.process.terminate().await, 0);
            assert!(
                asked.elapsed() < Duration::from_secs(5),
                "{server:?}: {:?}",
                asked.elapsed()
            );
        }
    })
    .await;
}
