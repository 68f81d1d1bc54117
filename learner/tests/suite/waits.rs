//! Calls that wait: for a lease, for room in the queue, for groups to train.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anytime_learner::jobs::context::JobContext;
use anytime_proto::v1::JobState;
use anytime_service::seconds::Seconds;
use metrics::Counter;
use tempfile::TempDir;

use crate::rollouts::{lease, opening, push};
use crate::support::eventually;
use crate::support::groups::group_for;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::weights;

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
