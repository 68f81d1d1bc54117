//! Calls that wait: for a lease, for room in the queue, for groups to train.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anytime_learner::jobs::context::JobContext;
use anytime_proto::v1::{self, JobState};
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
