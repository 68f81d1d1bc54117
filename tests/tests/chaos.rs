//! Random faults of real processes and connections, and then the audit: nothing lost, nothing trained twice.
//!
//! A short form runs with the tests. The long one is `make chaos FAULTS=300 SEED=7`.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use anytime_proto::v1::JobState;
use anytime_tests::chaos::{Chaos, Pace};
use anytime_tests::stack::Stack;
use anytime_tests::wait::within;

const TICK: Duration = Duration::from_millis(100);

/// How long a job may take to go on and end once everything has healed.
const HEALED: Duration = Duration::from_secs(120);

/// Steps of one job. Where it ends before all faults are out, another one follows.
const STEPS: u64 = 60;

async fn run(faults: usize, seed: u64, pace: Pace) {
    let (mut stack, to_redis, to_learner) = Stack::start_linked(2).await;
    let mut chaos = Chaos::new(seed, pace);
    let began = Instant::now();
    let (mut jobs, mut steps, mut resumed) = (0, 0, 0);
    while chaos.count() < faults {
        jobs += 1;
        let name = format!("chaos-{jobs}");
        let spec = stack.workplace.train(&name, STEPS);
        submit(&mut stack, &name, spec, &mut chaos, &to_redis, &to_learner).await;
        let mut healed: Option<Instant> = None;
        loop {
            if chaos.count() < faults {
                chaos.tick(&mut stack, &to_redis, &to_learner).await;
            } else if healed.is_none() {
                chaos.end(&mut stack, &to_redis, &to_learner).await;
                healed = Some(Instant::now());
            } else {
                chaos.heal_due(&mut stack, &to_redis, &to_learner).await;
            }
            // A learner that stands still answers only once it is healed, which this loop does.
            let asked = tokio::time::timeout(Duration::from_secs(1), stack.job(&name));
            let job = asked.await.ok().flatten();
            if let Some(job) = &job {
                assert!(
                    !matches!(job.state(), JobState::Failed | JobState::Cancelled),
                    "seed {seed}, {} faults: {}",
                    chaos.count(),
                    job.error
                );
                if job.state() == JobState::Succeeded {
                    break;
                }
                // Killed three times at one step, a job waits for a person, since it might be what kills the process.
                if job.state() == JobState::Paused && job.retry_at.is_none() {
                    let by_hand = tokio::time::timeout(Duration::from_secs(5), stack.resume(&name)).await;
                    resumed += usize::from(by_hand.is_ok_and(|is_resumed| is_resumed));
                }
            }
            if let Some(healed) = healed {
                assert!(
                    healed.elapsed() < HEALED,
                    "seed {seed}: {HEALED:?} after the last fault the job is at {:?}",
                    job.map(|job| (job.state(), job.step, job.error))
                );
            }
            tokio::time::sleep(TICK).await;
        }
        // With the learner and Redis as they are, the directory says it all; once healed, the learner is asked too.
        stack.assert_directory_is_clean(&name).await;
        steps += STEPS;
    }
    chaos.end(&mut stack, &to_redis, &to_learner).await;
    stack.assert_trained_once_each(&format!("chaos-{jobs}")).await;
    println!(
        "seed {seed}: {} faults in {} s, {jobs} jobs, {steps} steps, every group trained once",
        chaos.count(),
        began.elapsed().as_secs()
    );
    for ((kind, target), count) in &chaos.injected {
        println!("  {count:4} {kind:?} {target}");
    }
    println!("  resumed by hand, after three kills at one step: {resumed}");
    println!(
        "  ended by themselves and were started again: {:?}",
        chaos.ended_by_itself
    );
}

/// Submits under faults: again and again with the same request, as a script would.
async fn submit(
    stack: &mut Stack,
    name: &str,
    spec: anytime_proto::v1::JobSpec,
    chaos: &mut Chaos,
    to_redis: &anytime_tests::link::Link,
    to_learner: &anytime_tests::link::Link,
) {
    let request = anytime_proto::v1::SubmitJobRequest {
        request_id: name.to_owned(),
        spec: Some(spec),
    };
    loop {
        let submitted = tokio::time::timeout(Duration::from_secs(1), stack.jobs().submit(request.clone())).await;
        match submitted {
            Ok(Ok(job)) => {
                assert_eq!(job.into_inner().id, name);
                return;
            }
            Ok(Err(status)) => assert_ne!(status.code(), tonic::Code::InvalidArgument, "{status}"),
            Err(_) => {}
        }
        chaos.heal_due(stack, to_redis, to_learner).await;
        tokio::time::sleep(TICK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_faults_lose_nothing_and_train_nothing_twice() {
    let pace = Pace {
        between: (Duration::from_millis(200), Duration::from_millis(1200)),
        lasts: (Duration::from_millis(300), Duration::from_millis(2000)),
        restart: Duration::from_millis(300),
    };
    within(400, run(20, 1, pace)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a quarter of an hour for 300 faults: make chaos"]
async fn many_faults() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let faults = number("CHAOS_FAULTS").unwrap_or(300) as usize;
    let seed = number("CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}");
    let pace = Pace {
        between: (Duration::from_millis(500), Duration::from_millis(5000)),
        lasts: (Duration::from_millis(500), Duration::from_secs(15)),
        restart: Duration::from_millis(500),
    };
    within(24 * 3600, run(faults, seed, pace)).await;
}
