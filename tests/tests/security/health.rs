//! Health checks: NOT_SERVING while Redis is away, and in a drain.

use std::time::{Duration, Instant};

use anytime_tests::stack::{Stack, channel};
use anytime_tests::wait::{eventually, within};
use nix::sys::signal::Signal;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const ROLLOUTS: &str = "anytime.v1.RolloutService";
const JOBS: &str = "anytime.v1.JobService";
const VERIFIER: &str = "anytime.v1.VerifierService";

/// Ten seconds, and as much again for a machine that runs other tests beside.
const FOUND: Duration = Duration::from_secs(20);

/// What a new connection is told; None where there is none.
async fn health(address: &str, service: &str) -> Option<ServingStatus> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel(address)).check(request).await.ok()?;
    Some(answer.into_inner().status())
}

async fn wait_for(address: &str, service: &str, status: ServingStatus) -> Duration {
    let began = Instant::now();
    eventually(&format!("`{service}` is {status:?}"), 60, async || {
        (health(address, service).await == Some(status)).then_some(())
    })
    .await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_learner_serves_no_groups_while_redis_is_away() {
    within(240, async {
        let mut stack = Stack::start(0).await;
        let address = stack.learner.address.clone();
        for service in ["", ROLLOUTS, JOBS] {
            wait_for(&address, service, ServingStatus::Serving).await;
        }
        // It hangs, and goes on.
        stack.redis.signal(Signal::SIGSTOP);
        let found = wait_for(&address, "", ServingStatus::NotServing).await;
        println!("a Redis that hangs: {:.1} s", found.as_secs_f64());
        assert!(found < FOUND, "{found:?}");
        assert_eq!(health(&address, ROLLOUTS).await, Some(ServingStatus::NotServing));
        // Jobs are listed without Redis.
        assert_eq!(health(&address, JOBS).await, Some(ServingStatus::Serving));
        stack.redis.signal(Signal::SIGCONT);
        let back = wait_for(&address, "", ServingStatus::Serving).await;
        println!("back after {:.1} s", back.as_secs_f64());
        assert!(back < FOUND, "{back:?}");
        // It dies, and another one takes its place.
        stack.redis.kill();
        let found = wait_for(&address, ROLLOUTS, ServingStatus::NotServing).await;
        println!("a Redis that died: {:.1} s", found.as_secs_f64());
        assert!(found < FOUND, "{found:?}");
        assert_eq!(health(&address, "").await, Some(ServingStatus::NotServing));
        stack.spawn_redis();
        let back = wait_for(&address, "", ServingStatus::Serving).await;
        assert!(back < FOUND, "{back:?}");
        assert_eq!(health(&address, ROLLOUTS).await, Some(ServingStatus::Serving));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_the_health_is_told_of_the_drain_and_does_not_hold_it_up() {
    within(120, async {
        let mut stack = Stack::start(0).await;
        for (name, service) in [("learner", JOBS), ("verifier", VERIFIER)] {
            let server = if name == "learner" {
                &mut stack.learner
            } else {
                &mut stack.verifier
            };
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let mut client = HealthClient::new(channel(&server.address));
            let mut answers = client.watch(request).await.unwrap().into_inner();
            assert_eq!(
                answers.message().await.unwrap().unwrap().status(),
                ServingStatus::Serving
            );
            let began = Instant::now();
            assert_eq!(server.process.terminate().await, 0, "{name}");
            assert!(
                began.elapsed() < Duration::from_secs(6),
                "{name}: the watcher held the drain up"
            );
            assert_eq!(
                answers.message().await.unwrap().unwrap().status(),
                ServingStatus::NotServing,
                "{name}"
            );
        }
    })
    .await;
}
