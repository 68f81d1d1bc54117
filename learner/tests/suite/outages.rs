//! The learner or Redis goes away in the middle of a job: nothing that was accepted is lost, nothing is trained twice.

use std::collections::BTreeSet;
use std::time::Duration;

use anytime_proto::v1::{self, JobState};
use redis::AsyncCommands as _;
use tempfile::TempDir;
use tonic::Code;

use crate::support::actor::FakeActor;
use crate::support::eventually;
use crate::support::groups::sequence_of;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::FakeTrainer;

fn slow_trainer() -> FakeTrainer {
    FakeTrainer {
        steps: 30,
        checkpoint_every: 4,
        step_time: Duration::from_millis(20),
        lease_seconds: 2,
        ..FakeTrainer::default()
    }
}

async fn wait_for_step(trainer: &FakeTrainer, step: u64) {
    let wanted = step as usize * trainer.batch as usize;
    eventually("the trainer gets there", async || {
        trainer.trained.lock().unwrap().len() >= wanted
    })
    .await;
}

/// Each group of the job was trained exactly once by the steps that count, and every accepted one was trained, but for
/// those that were dropped as too old.
fn check(trainer: &FakeTrainer, actors: &[FakeActor]) {
    let trained = trainer.trained.lock().unwrap().clone();
    let distinct: BTreeSet<u64> = trained.iter().copied().collect();
    assert_eq!(trained.len() as u64, trainer.total());
    assert_eq!(distinct.len(), trained.len(), "a group was trained twice");
    let mut untrained = BTreeSet::new();
    for actor in actors {
        let accepted = actor.accepted.lock().unwrap();
        untrained.extend(
            accepted
                .iter()
                .map(|it| sequence_of(it))
                .filter(|it| !distinct.contains(it)),
        );
    }
    let dropped = *trainer.dropped.lock().unwrap();
    assert!(
        untrained.len() as u64 <= dropped,
        "lost: {untrained:?}, dropped as too old: {dropped}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_learner_loses_nothing_and_trains_nothing_twice() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = slow_trainer();
    let run_job = {
        let trainer = trainer.clone();
        move |context: &anytime_learner::jobs::context::JobContext| trainer.run(context)
    };
    let mut learner = TestLearner::start(&redis.url(), runs.path(), run_job.clone()).await;
    let address = learner.address;
    let actors = ["a", "b"].map(|name| FakeActor::start(address, name));
    learner.submit("request", spec("demo")).await.unwrap();
    for step in [6, 13, 22] {
        wait_for_step(&trainer, step).await;
        learner.stop().await;
        learner = TestLearner::start_at(&address.to_string(), &redis.url(), runs.path(), run_job.clone()).await;
    }
    learner.wait_for_state("demo", JobState::Succeeded).await;
    check(&trainer, &actors);
    // The restarts did undo steps, and their groups came back.
    assert!(!trainer.undone.lock().unwrap().is_empty());
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_is_waited_for_and_keeps_what_was_accepted() {
    let (mut redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = slow_trainer();
    let runner = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| runner.run(context)).await;
    let actors = ["a", "b"].map(|name| FakeActor::start(learner.address, name));
    learner.submit("request", spec("demo")).await.unwrap();
    for step in [5, 15] {
        wait_for_step(&trainer, step).await;
        redis.kill();
        // The server goes on, and says what is missing.
        let request = v1::LeaseRequest {
            actor_id: "c".to_owned(),
            max_groups: 1,
            wait_ms: 0,
            ..v1::LeaseRequest::default()
        };
        let mut rollouts = learner.rollouts();
        eventually("leases are refused", async || {
            rollouts
                .lease(request.clone())
                .await
                .is_err_and(|status| status.code() == Code::Unavailable)
        })
        .await;
        assert_eq!(learner.get("demo").await.state(), JobState::Running);
        redis.restart();
    }
    learner.wait_for_state("demo", JobState::Succeeded).await;
    check(&trainer, &actors);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_its_data_costs_work_but_not_the_job() {
    let (mut redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = slow_trainer();
    let runner = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| runner.run(context)).await;
    let actors = ["a", "b"].map(|name| FakeActor::start(learner.address, name));
    learner.submit("request", spec("demo")).await.unwrap();
    wait_for_step(&trainer, 10).await;
    redis.kill();
    redis.wipe();
    redis.restart();
    learner.wait_for_state("demo", JobState::Succeeded).await;
    check(&trainer, &actors);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_somebody_deletes_are_leased_again() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = slow_trainer();
    let runner = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| runner.run(context)).await;
    let actors = ["a", "b"].map(|name| FakeActor::start(learner.address, name));
    learner.submit("request", spec("demo")).await.unwrap();
    let mut connection = redis.connection().await;
    wait_for_step(&trainer, 2).await;
    let _: () = redis::cmd("DEL")
        .arg("anytime:demo:seen")
        .query_async(&mut connection)
        .await
        .unwrap();
    // Each script runs until it has deleted something. Here no push and no settlement notices anything.
    let all_groups = "local count = redis.call('HLEN', KEYS[1]) redis.call('DEL', KEYS[1]) return count";
    let one_group =
        "local some = redis.call('HKEYS', KEYS[1])[1] return some and redis.call('HDEL', KEYS[1], some) or 0";
    for (step, script) in [(4, all_groups), (10, one_group), (16, all_groups), (22, one_group)] {
        wait_for_step(&trainer, step).await;
        let script = redis::Script::new(script);
        eventually("something is deleted", async || {
            let call = script.key("anytime:demo:groups");
            call.invoke_async::<u64>(&mut connection.clone()).await.unwrap() > 0
        })
        .await;
    }
    learner.wait_for_state("demo", JobState::Succeeded).await;
    check(&trainer, &actors);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_dies_with_its_leases_costs_only_their_time() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = slow_trainer();
    let runner = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| runner.run(context)).await;
    let actors = ["a", "b"].map(|name| FakeActor::start(learner.address, name));
    learner.submit("request", spec("demo")).await.unwrap();
    wait_for_step(&trainer, 5).await;
    actors[0].kill();
    learner.wait_for_state("demo", JobState::Succeeded).await;
    check(&trainer, &actors);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_came_back_a_little_older_is_put_right_while_the_learner_runs() {
    let (mut redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = FakeTrainer {
        // Everything that the older data hold is settled by then.
        checkpoint_every: 1,
        ..slow_trainer()
    };
    let runner = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| runner.run(context)).await;
    let mut connection = redis.connection().await;
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "appendfsync", "always"])
        .query_async(&mut connection)
        .await
        .unwrap();
    learner.submit("request", spec("demo")).await.unwrap();
    let actors = ["a", "b"].map(|name| FakeActor::start(learner.address, name));
    for step in [3, 12] {
        wait_for_step(&trainer, step).await;
        // Taken between two steps or not: what was queued then has long been trained when it comes back.
        let mut older = None;
        eventually("groups are in the queue", async || {
            let length: u64 = connection.hlen("anytime:demo:groups").await.unwrap();
            if length > 0 {
                older = Some(redis.copy_of_data());
            }
            older.is_some()
        })
        .await;
        wait_for_step(&trainer, step + 4).await;
        redis.kill();
        redis.restore(&older.unwrap());
        redis.restart();
        connection = redis.connection().await;
    }
    learner.wait_for_state("demo", JobState::Succeeded).await;
    check(&trainer, &actors);
    assert_eq!(*trainer.dropped.lock().unwrap(), 0);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_come_back_unnoticed_do_not_fill_the_queue() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = FakeTrainer {
        checkpoint_every: 1,
        ..slow_trainer()
    };
    let runner = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| runner.run(context)).await;
    learner.submit("request", spec("demo")).await.unwrap();
    let actors = ["a", "b"].map(|name| FakeActor::start(learner.address, name));
    wait_for_step(&trainer, 2).await;
    // As a failover does behind a proxy: the connection holds, and more groups than the queue may have are there again,
    // some of sequences that were trained, some that nobody knows.
    let mut connection = redis.connection().await;
    for sequence in 0..3 {
        let _: () = connection.hset("anytime:demo:seen", sequence, "queued").await.unwrap();
    }
    for number in 0..40 {
        let sequence = if number < 3 { number } else { 10_000 + number };
        let _: () = connection.hset("anytime:demo:groups", sequence, "old").await.unwrap();
    }
    learner.wait_for_state("demo", JobState::Succeeded).await;
    check(&trainer, &actors);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_a_job_that_ended_while_redis_was_away_are_deleted_when_it_is_back() {
    let (mut redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = slow_trainer();
    let runner = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| runner.run(context)).await;
    learner.submit("request", spec("demo")).await.unwrap();
    let _actor = FakeActor::start(learner.address, "a");
    wait_for_step(&trainer, 3).await;
    redis.kill();
    learner.cancel("demo").await;
    learner.wait_for_state("demo", JobState::Cancelled).await;
    redis.restart();
    let mut connection = redis.connection().await;
    eventually("the keys are gone", async || {
        // An error while it reads what it has on disk.
        let keys: redis::RedisResult<Vec<String>> = connection.keys("*").await;
        keys.is_ok_and(|keys| keys.is_empty())
    })
    .await;
    learner.stop().await;
}
