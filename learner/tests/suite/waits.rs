//! Calls that wait: for a lease, for room in the queue, for groups to train.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anytime_learner::jobs::context::JobContext;
use anytime_learner::rollouts::group::TrainingOpening;
use anytime_proto::v1::{self, JobState, PushStatus};
use anytime_service::seconds::Seconds;
use metrics::Counter;
use tempfile::TempDir;
use tonic::Code;

use crate::rollouts::{lease, opening, push};
use crate::support::eventually;
use crate::support::groups::group_for;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::weights;

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_waited_for_as_the_learner_ends_is_unavailable() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    let mut rollouts = learner.rollouts();
    let asked = tokio::spawn(async move {
        let request = v1::LeaseRequest {
            actor_id: "a".to_owned(),
            max_groups: 1,
            wait_ms: 10_000,
            ..v1::LeaseRequest::default()
        };
        rollouts.lease(request).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asked.is_finished(), "it waits");
    learner.tell_to_end();
    let status = asked.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("shutting down"), "{status}");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_meets_a_full_queue_is_taken_in_as_soon_as_there_is_room() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let may_take = Arc::new(AtomicBool::new(false));
    let told = may_take.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context: &JobContext| {
        context.publish(weights(0));
        context.open_training(TrainingOpening {
            max_staleness: 2,
            ..opening(2, 2)
        })?;
        while !told.load(Ordering::SeqCst) {
            context.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        context.take_groups(4)?;
        loop {
            context.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    let leases = lease(&learner, "a", 6, 5000).await.leases;
    for number in [2, 3, 0, 1] {
        let pushed = push(&learner, group_for(&leases[number], "a", 0)).await;
        assert_eq!(pushed.unwrap(), PushStatus::Accepted, "{number}");
    }
    let started = Instant::now();
    let full = push(&learner, group_for(&leases[4], "a", 0)).await.unwrap();
    assert_eq!(full, PushStatus::QueueFull);
    assert!(started.elapsed() >= Duration::from_millis(900), "it waits first");

    // Whoever took the group 5 in hand does not have to come back for it.
    let waits = push(&learner, group_for(&leases[5], "a", 0));
    let take = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        may_take.store(true, Ordering::SeqCst);
    };
    let (pushed, ()) = tokio::join!(waits, take);
    assert_eq!(pushed.unwrap(), PushStatus::Accepted);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_in_which_the_trainer_waits_is_counted_while_it_waits() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let waited = Arc::new(AtomicU64::new(0));
    let counted = waited.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context: &JobContext| {
        context.publish(weights(0));
        context.open_training(opening(2, 2))?;
        let mut seconds = Seconds::new(Counter::from_arc(counted.clone()));
        context.take_groups_counting(2, &mut seconds)?;
        Ok(())
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    let leases = lease(&learner, "a", 2, 5000).await.leases;
    // No group comes.
    eventually("the wait is counted", async || waited.load(Ordering::SeqCst) >= 2).await;
    for lease in &leases {
        push(&learner, group_for(lease, "a", 0)).await.unwrap();
    }
    learner.wait_for_state("demo", JobState::Succeeded).await;
    learner.stop().await;
}
