//! Two learners on one Redis: a job has one learner, and clusters do not know each other.

use std::path::Path;
use std::time::Duration;

use anytime_proto::v1::JobState;
use redis::AsyncCommands as _;
use tempfile::TempDir;

use crate::support::actor::FakeActor;
use crate::support::eventually;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::FakeTrainer;

fn slow_trainer() -> FakeTrainer {
    FakeTrainer {
        steps: 40,
        checkpoint_every: 4,
        step_time: Duration::from_millis(50),
        ..FakeTrainer::default()
    }
}

async fn start(redis: &RedisServer, runs: &Path, trainer: &FakeTrainer) -> TestLearner {
    let trainer = trainer.clone();
    TestLearner::start(&redis.url(), runs, move |context| trainer.run(context)).await
}

async fn wait_for_steps(trainer: &FakeTrainer, steps: usize) {
    eventually("the trainer gets there", async || {
        trainer.trained.lock().unwrap().len() >= steps * trainer.batch as usize
    })
    .await;
}

/// What a restored backup is.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_on_a_copied_directory_is_refused_with_the_address_of_the_first() {
    let (redis, runs, copied) = (RedisServer::start(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let trainer = slow_trainer();
    let first = start(&redis, runs.path(), &trainer).await;
    let actor = FakeActor::start(first.address, "a");
    first.submit("request", spec("demo")).await.unwrap();
    wait_for_steps(&trainer, 6).await;

    copy(runs.path(), copied.path());
    let intruder = slow_trainer();
    let second = start(&redis, copied.path(), &intruder).await;
    let _idle = FakeActor::start(second.address, "b");
    let refused = second.wait_for_state("demo", JobState::Paused).await;
    let address = first.address.to_string();
    assert!(
        refused.error.contains("another learner") && refused.error.contains(&address),
        "{}",
        refused.error
    );
    assert!(refused.retry_at.is_some());
    assert_eq!(intruder.trained.lock().unwrap().len(), 0);
    second.stop().await;

    first.wait_for_state("demo", JobState::Succeeded).await;
    assert_eq!(trainer.trained.lock().unwrap().len() as u64, trainer.total());
    drop(actor);
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_has_lost_its_right_stops() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = slow_trainer();
    let learner = start(&redis, runs.path(), &trainer).await;
    let _actor = FakeActor::start(learner.address, "a");
    learner.submit("request", spec("demo")).await.unwrap();
    wait_for_steps(&trainer, 6).await;
    // As if it had been frozen for longer than its right lasts.
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = connection
        .set("anytime:demo:learner", "somebody 10.0.0.7:7100 on another-host")
        .await
        .unwrap();
    let paused = learner.wait_for_state("demo", JobState::Paused).await;
    assert!(
        paused.error.contains("10.0.0.7:7100 on another-host"),
        "{}",
        paused.error
    );
    let trained = trainer.trained.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(trainer.trained.lock().unwrap().len(), trained, "it has stopped");
    // Nothing of the other one was touched, and once it is gone the job goes on.
    let holder: String = connection.get("anytime:demo:learner").await.unwrap();
    assert!(holder.starts_with("somebody"), "{holder}");
    let _: () = connection.del("anytime:demo:learner").await.unwrap();
    learner.resume("demo", None).await.unwrap();
    learner.wait_for_state("demo", JobState::Succeeded).await;
    assert_eq!(trainer.trained.lock().unwrap().len() as u64, trainer.total());
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_leaves_the_queue_of_another_learners_job_of_its_name_alone() {
    let (redis, runs, others) = (RedisServer::start(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let trainer = slow_trainer();
    let first = start(&redis, runs.path(), &trainer).await;
    let _actor = FakeActor::start(first.address, "a");
    first.submit("request", spec("demo")).await.unwrap();
    wait_for_steps(&trainer, 3).await;
    // It trains nothing, and is over at once: there is nothing to be deleted.
    let second = TestLearner::start(&redis.url(), others.path(), |_| Ok(())).await;
    second.submit("request", spec("demo")).await.unwrap();
    second.wait_for_state("demo", JobState::Succeeded).await;
    first.wait_for_state("demo", JobState::Succeeded).await;
    assert_eq!(trainer.trained.lock().unwrap().len() as u64, trainer.total());
    assert!(trainer.undone.lock().unwrap().is_empty());
    // Once both are over nothing of them is in Redis, and nobody renews a right.
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = connection.keys("*").await.unwrap();
    assert_eq!(keys, Vec::<String>::new());
    second.stop().await;
    first.stop().await;
}
