//! `rollout.deterministic`: the same job comes to the same weights and metrics, bit by bit, with any number of actors and
//! slots, and whatever is killed on the way.
//!
//! A short form runs with the tests. The long one, with 20 killed runs, is `make deterministic RUNS=20 SEED=7 THREADS=2`.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use anytime_proto::v1::{self, JobSpec, JobState};
use anytime_tests::outcome::Outcome;
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};
use nix::sys::signal::Signal;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A job may take this long to come to its end after its last kill.
const LONGEST: u64 = 120;

/// A train job on the warm-started model, whose rewards differ, so that the weights follow every number of a rollout.
fn job(stack: &Stack, name: &str, steps: u64) -> JobSpec {
    let mut spec = stack.workplace.train(name, steps);
    let model = spec.model.get_or_insert_default();
    model.path = Some(stack.workplace.path("sft").display().to_string());
    model.initialise = Some(false);
    let rollout = spec.rollout.get_or_insert_default();
    rollout.budgets = vec![6, 12, 18];
    rollout.traces = Some(6);
    rollout.deterministic = Some(true);
    let training = spec.training.get_or_insert_default();
    training.max_staleness = None;
    training.batch = Some(6);
    training.minibatches = Some(2);
    let checkpoint = spec.checkpoint.get_or_insert_default();
    checkpoint.recovery_every = Some(4);
    checkpoint.output = Some(format!("out/{name}"));
    spec.evaluation = Some(v1::EvaluationSpec {
        budgets: vec![6, 12],
        samples: Some(2),
        every: Some(steps / 2),
        // Distributions are cut off, unlike those of training that are drawn beside them.
        top_p: Some(0.9),
        before: Some(false),
        ..stack.workplace.demo_train().evaluation.unwrap()
    });
    spec
}

/// What dies.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Learner,
    Actor(usize),
    Actors,
    Verifier,
    Redis,
    All,
    /// A further rank of the learner.
    Rank(usize),
    /// The same, which hangs for so long instead.
    Hanging(usize),
}

/// When it dies, counted from the submission.
#[derive(Clone, Copy, Debug)]
struct Kill {
    after: Duration,
    victim: Victim,
    /// How long it stays away.
    away: Duration,
}

fn draw(random: &mut ChaCha8Rng, took: Duration, actors: usize) -> Kill {
    let victims = [
        Victim::Learner,
        Victim::Learner,
        Victim::Actor(0),
        Victim::Actors,
        Victim::Verifier,
        Victim::Redis,
        Victim::All,
    ];
    let victim = match *victims.choose(random).unwrap() {
        Victim::Actor(_) => Victim::Actor(random.random_range(0..actors)),
        other => other,
    };
    Kill {
        after: took.mul_f64(random.random_range(0.0..1.0)),
        victim,
        away: Duration::from_millis(random.random_range(0..800)),
    }
}

/// SIGKILL, and again after a while as a supervisor starts it.
async fn strike(stack: &mut Stack, kill: Kill) {
    match kill.victim {
        Victim::Rank(rank) => {
            stack.ranks[rank - 1].kill();
            tokio::time::sleep(kill.away).await;
            stack.spawn_rank(rank);
            return;
        }
        Victim::Hanging(rank) => {
            stack.ranks[rank - 1].signal(Signal::SIGSTOP);
            tokio::time::sleep(kill.away).await;
            stack.ranks[rank - 1].signal(Signal::SIGCONT);
            return;
        }
        _ => {}
    }
    let is_all = matches!(kill.victim, Victim::All);
    let learner = is_all || matches!(kill.victim, Victim::Learner);
    let verifier = is_all || matches!(kill.victim, Victim::Verifier);
    let redis = is_all || matches!(kill.victim, Victim::Redis);
    let actors: Vec<usize> = match kill.victim {
        Victim::Actor(index) => vec![index],
        Victim::Actors | Victim::All => (0..stack.actors.len()).collect(),
        Victim::Learner | Victim::Verifier | Victim::Redis | Victim::Rank(_) | Victim::Hanging(_) => Vec::new(),
    };
    if learner {
        stack.learner.process.kill();
    }
    for &index in &actors {
        stack.actors[index].process.kill();
    }
    if verifier {
        stack.verifier.process.kill();
    }
    if redis {
        stack.redis.kill();
    }
    tokio::time::sleep(kill.away).await;
    if redis {
        stack.spawn_redis();
    }
    if verifier {
        stack.spawn_verifier();
    }
    if learner {
        stack.spawn_learner();
    }
    for &index in &actors {
        stack.spawn_actor(index);
    }
}

/// Runs the job to its end, with these kills on the way. Returns what it came to, how long it took and how many kills met
/// it before its end.
async fn run(stack: &mut Stack, name: &str, steps: u64, kills: &[Kill]) -> (Outcome, Duration, usize) {
    let spec = job(stack, name, steps);
    run_job(stack, name, spec, kills).await
}

async fn run_job(stack: &mut Stack, name: &str, spec: v1::JobSpec, kills: &[Kill]) -> (Outcome, Duration, usize) {
    let job = stack.submit(name, spec).await;
    let began = Instant::now();
    let mut struck = 0;
    for kill in kills {
        let has_ended = async |stack: &Stack| {
            let job = stack.job(&job.id).await;
            job.is_some_and(|job| job.state() == JobState::Succeeded)
        };
        while began.elapsed() < kill.after && !has_ended(stack).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if has_ended(stack).await {
            break;
        }
        strike(stack, *kill).await;
        struck += 1;
    }
    let ended = eventually(&format!("the end of {name}"), LONGEST, async || {
        let job = stack.job(&job.id).await?;
        // Killed three times at one step, a job waits for a person.
        if job.state() == JobState::Paused && job.retry_at.is_none() {
            stack.resume(&job.id).await;
            return None;
        }
        (!matches!(job.state(), JobState::Queued | JobState::Running | JobState::Paused)).then_some(job)
    })
    .await;
    assert_eq!(ended.state(), JobState::Succeeded, "{}", ended.error);
    let took = began.elapsed();
    let history = stack.history(&job.id).await;
    let model = stack.workplace.path(&format!("out/{name}"));
    stack.assert_trained_once_each(&job.id).await;
    (Outcome::of(&ended, &history, &model), took, struck)
}

/// A stack with a warm-started model in `sft/`.
async fn stack(slots: &[usize], threads: usize) -> Stack {
    let mut stack = Stack::start_with_threads(0, threads).await;
    let warm = stack.submit("warm", stack.workplace.sft(80)).await;
    stack.wait_for_success(&warm.id, 90).await;
    for &slots in slots {
        stack.add_actor_with(&["--slots", &slots.to_string()]);
    }
    stack
}

/// The job once with one actor, and then again and again with several and with kills.
async fn compare(runs: usize, steps: u64, seed: u64, threads: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut stack = stack(&[3], threads).await;
    let (expected, took, _) = run(&mut stack, "one-actor", steps, &[]).await;
    assert_eq!(expected.steps.len() as u64, steps);
    assert!(!expected.evaluations.is_empty());
    // Steps without a gradient would be the same whatever was generated.
    let moved = expected
        .steps
        .iter()
        .filter(|step| !step.contains("gradient_norm: 0.0,"))
        .count();
    assert!(
        moved * 2 > expected.steps.len(),
        "{moved} of {steps} steps have a gradient"
    );

    for slots in [5, 64] {
        stack.add_actor_with(&["--slots", &slots.to_string()]);
    }
    let (again, also_took, _) = run(&mut stack, "three-actors", steps, &[]).await;
    let took = took.min(also_took);
    assert_eq!(expected.difference(&again), None, "seed {seed}, without a kill");
    let mut met = 0;
    for number in 1..=runs {
        let mut kills: Vec<Kill> = (0..random.random_range(1..=3))
            .map(|_| draw(&mut random, took, 3))
            .collect();
        kills.sort_by_key(|kill| kill.after);
        let (killed, seconds, struck) = run(&mut stack, &format!("killed-{number}"), steps, &kills).await;
        println!("run {number}: {struck} of {kills:?} in {seconds:?}");
        assert_eq!(
            expected.difference(&killed),
            None,
            "seed {seed}, run {number}: {kills:?}"
        );
        met += usize::from(struck > 0);
    }
    println!("seed {seed}: {runs} of {runs} runs, {met} of them killed, equal the one that was not, bit by bit");
    assert!(met > 0, "seed {seed}: every run ended before its first kill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_equals_the_one_that_was_not() {
    within(200, compare(1, 12, 1, 1)).await;
}

/// Two ranks, of which one is killed, hangs for longer than the other waits for it, and loses rank 0: each time the job goes
/// on from its recovery checkpoint with whoever comes back, and comes to the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranks_that_are_lost_change_nothing() {
    within(300, async {
        let mut stack = stack(&[8], 1).await;
        stack.add_ranks(1).await;
        let divided = |stack: &Stack, name: &str| {
            let mut spec = job(stack, name, 10);
            spec.training.get_or_insert_default().sharding = Some(v1::Sharding::Full.into());
            spec
        };
        let spec = divided(&stack, "two-ranks");
        let (expected, took, _) = run_job(&mut stack, "two-ranks", spec, &[]).await;
        let log = stack.ranks[0].log();
        assert!(log.contains("a run begins"), "{log}");
        let at = |share: f64, victim, milliseconds| Kill {
            after: took.mul_f64(share),
            victim,
            away: Duration::from_millis(milliseconds),
        };
        let kills = [
            at(0.2, Victim::Rank(1), 200),
            at(0.5, Victim::Hanging(1), 9000),
            at(0.7, Victim::Learner, 100),
        ];
        let spec = divided(&stack, "lost-ranks");
        let (lost, _, struck) = run_job(&mut stack, "lost-ranks", spec, &kills).await;
        assert_eq!(expected.difference(&lost), None);
        assert!(struck > 0);
    })
    .await;
}

/// A part of the last checkpoint is with the rank that is told to end at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranks_that_are_told_to_end_together_lose_no_step() {
    within(200, async {
        let mut stack = stack(&[8], 1).await;
        stack.add_ranks(1).await;
        let mut spec = job(&stack, "stopped", 30);
        spec.training.get_or_insert_default().sharding = Some(v1::Sharding::Optimizer.into());
        spec.checkpoint.get_or_insert_default().recovery_every = Some(0);
        spec.evaluation = None;
        let job = stack.submit("stopped", spec).await;
        eventually("some steps", LONGEST, async || {
            stack.job(&job.id).await.filter(|job| job.step >= 3)
        })
        .await;
        stack.learner.process.signal(Signal::SIGTERM);
        stack.ranks[0].signal(Signal::SIGTERM);
        assert_eq!(stack.learner.process.exit_code(20).await, 0);
        assert_eq!(stack.ranks[0].exit_code(20).await, 0);
        stack.spawn_rank(1);
        stack.spawn_learner();
        stack.wait_for_success(&job.id, 120).await;
        let history = stack.history(&job.id).await;
        assert_eq!(history.went_on(), Vec::<u64>::new(), "no step is made twice");
        let ended = stack.job(&job.id).await.expect("it is there");
        assert!(ended.recovery_step.is_some(), "{ended:?}");
        stack.assert_trained_once_each(&job.id).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes for 20 runs: make deterministic"]
async fn many_killed_runs_equal_the_one_that_was_not() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let runs = number("DETERMINISTIC_RUNS").unwrap_or(20) as usize;
    let seed = number("DETERMINISTIC_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let threads = number("DETERMINISTIC_THREADS").unwrap_or(1) as usize;
    println!("seed {seed}, {threads} threads for the tensors of each process");
    within(3600, compare(runs, 40, seed, threads)).await;
}
