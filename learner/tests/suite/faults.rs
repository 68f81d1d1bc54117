//! A job that cannot go on, for whatever reason, is not the end of it: it fails and is resumed, it pauses and goes on by
//! itself, or the process ends with the job still running.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anytime_learner::jobs::context::JobContext;
use anytime_learner::jobs::fault::NeedsPerson;
use anytime_learner::train::RanksError;
use anytime_proto::v1::{self, JobState, job_event::Event};
use anytime_service::exit;
use tempfile::TempDir;
use tonic::Code;

use crate::support::actor::FakeActor;
use crate::support::eventually;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::FakeTrainer;

async fn states(learner: &TestLearner, job_id: &str) -> Vec<JobState> {
    let request = v1::WatchJobRequest {
        job_id: job_id.to_owned(),
        after: 0,
    };
    let mut events = learner.jobs().watch(request).await.unwrap().into_inner();
    let mut states = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        if let Some(Event::State(change)) = event.event {
            states.push(change.state());
        }
    }
    states
}

async fn keys_in(redis: &RedisServer) -> Vec<String> {
    let mut connection = redis.connection().await;
    redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap()
}

/// Fails as often as told, then succeeds; counts its runs.
fn failing(times: u32, text: &'static str) -> (Arc<AtomicU32>, impl Fn(&JobContext) -> anyhow::Result<()> + Clone) {
    let runs = Arc::new(AtomicU32::new(0));
    let counter = runs.clone();
    let run = move |_: &JobContext| {
        if counter.fetch_add(1, Ordering::Relaxed) < times {
            anyhow::bail!(text);
        }
        Ok(())
    };
    (runs, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_keeps_its_queue_and_goes_on_where_it_was() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = FakeTrainer {
        steps: 12,
        checkpoint_every: 4,
        ..FakeTrainer::default()
    };
    *trainer.fail_before.lock().unwrap() = Some((7, "the gradient is not finite".to_owned()));
    let work = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| work.run(context)).await;
    let actor = FakeActor::start(learner.address, "actor");
    learner.submit("request", spec("demo")).await.unwrap();
    let failed = learner.wait_for_state("demo", JobState::Failed).await;
    assert_eq!(failed.error, "the gradient is not finite");
    assert!(!keys_in(&redis).await.is_empty(), "its queue stays");

    let resumed = learner.resume("demo", None).await.unwrap();
    assert_eq!((resumed.error.as_str(), resumed.ended), ("", None));
    learner.wait_for_state("demo", JobState::Succeeded).await;
    let trained = trainer.trained.lock().unwrap().clone();
    assert_eq!(trained.len() as u64, trainer.total(), "each group once");
    assert_eq!(
        trainer.undone.lock().unwrap().len(),
        6,
        "it went on from the checkpoint of step 4"
    );
    assert_eq!(
        states(&learner, "demo").await,
        [
            JobState::Queued,
            JobState::Running,
            JobState::Failed,
            JobState::Queued,
            JobState::Running,
            JobState::Succeeded
        ]
    );
    assert!(keys_in(&redis).await.is_empty(), "{:?}", keys_in(&redis).await);
    actor.kill();
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_that_is_cancelled_gives_its_queue_up() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = FakeTrainer::default();
    *trainer.fail_before.lock().unwrap() = Some((2, "bad luck".to_owned()));
    let work = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| work.run(context)).await;
    let actor = FakeActor::start(learner.address, "actor");
    learner.submit("request", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Failed).await;
    assert_eq!(learner.cancel("demo").await.state(), JobState::Cancelled);
    assert!(keys_in(&redis).await.is_empty());
    let refused = learner.resume("demo", None).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("job demo was cancelled"), "{refused}");
    actor.kill();
    learner.stop().await;
}

/// Found by the model of jobs: nobody could cancel such a job a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_or_pauses_just_after_it_was_cancelled_is_cancelled() {
    for text in ["bad luck", "No space left on device", "a person"] {
        let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
        let work = move |context: &JobContext| {
            while context.check().is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
            match text {
                "a person" => Err(NeedsPerson(text.to_owned()).into()),
                _ => anyhow::bail!(text),
            }
        };
        let learner = TestLearner::start(&redis.url(), runs.path(), work).await;
        learner.submit("request", spec("demo")).await.unwrap();
        learner.wait_for_state("demo", JobState::Running).await;
        learner.cancel("demo").await;
        learner.wait_for_state("demo", JobState::Cancelled).await;
        learner.stop().await;
    }
}

/// Found by the model of jobs: such a job stayed as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_learner_died_while_it_was_cancelled_ends_in_the_next_one() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = FakeTrainer::default();
    *trainer.fail_before.lock().unwrap() = Some((2, "bad luck".to_owned()));
    let work = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| work.run(context)).await;
    let actor = FakeActor::start(learner.address, "actor");
    learner.submit("request", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Failed).await;
    actor.kill();
    learner.stop().await;
    assert!(!keys_in(&redis).await.is_empty(), "its queue stays");
    // The request was on disk when the process died.
    std::fs::write(runs.path().join("demo/cancelled"), "").unwrap();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| trainer.run(context)).await;
    learner.wait_for_state("demo", JobState::Cancelled).await;
    assert!(keys_in(&redis).await.is_empty());
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_change_changes_and_the_rest_is_refused_by_name() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (seen, by_job) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU32::new(0)));
    let tokens = seen.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| {
        tokens
            .lock()
            .unwrap()
            .push(context.settings().training.micro_batch_tokens);
        match by_job.fetch_add(1, Ordering::Relaxed) {
            0 => anyhow::bail!("too much at a time"),
            _ => Ok(()),
        }
    })
    .await;
    let own = learner.submit("request", spec("demo")).await.unwrap().spec.unwrap();
    learner.wait_for_state("demo", JobState::Failed).await;
    let with = |change: fn(&mut v1::JobSpec)| {
        let mut changed = own.clone();
        change(&mut changed);
        Some(changed)
    };
    let larger_batch = with(|spec| spec.training.as_mut().unwrap().batch = Some(128));
    let refused = learner.resume("demo", larger_batch).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        anytime_proto::setting_of_status(&refused).as_deref(),
        Some("training.batch")
    );
    let impossible = with(|spec| spec.training.as_mut().unwrap().micro_batch_tokens = Some(0));
    let refused = learner.resume("demo", impossible).await.unwrap_err();
    assert_eq!(
        anytime_proto::setting_of_status(&refused).as_deref(),
        Some("training.micro_batch_tokens")
    );
    assert_eq!(
        learner.get("demo").await.state(),
        JobState::Failed,
        "nothing has changed"
    );

    let less = with(|spec| spec.training.as_mut().unwrap().micro_batch_tokens = Some(512));
    learner.resume("demo", less.clone()).await.unwrap();
    let job = learner.wait_for_state("demo", JobState::Succeeded).await;
    assert_eq!(job.spec.unwrap().training.unwrap().micro_batch_tokens, Some(512));
    assert_eq!(*seen.lock().unwrap(), [None, Some(512)]);
    let text = std::fs::read_to_string(runs.path().join("demo/job.toml")).unwrap();
    assert!(text.contains("micro_batch_tokens = 512"), "{text}");
    let over = learner.resume("demo", less).await.unwrap_err();
    assert_eq!(over.code(), Code::FailedPrecondition);
    assert_eq!(learner.resume("nobody", None).await.unwrap_err().code(), Code::NotFound);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_may_pass_pauses_the_job_which_goes_on_by_itself() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (count, work) = failing(1, "reading config.json: Too many open files (os error 24)");
    let order = Arc::new(Mutex::new(Vec::new()));
    let ran = order.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| {
        ran.lock().unwrap().push(context.job_id().to_string());
        if context.job_id().as_str() == "first" {
            return work(context);
        }
        Ok(())
    })
    .await;
    learner.submit("r1", spec("first")).await.unwrap();
    let paused = learner.wait_for_state("first", JobState::Paused).await;
    assert!(
        paused.error.contains("Too many open files") && paused.error.contains("ulimit"),
        "{}",
        paused.error
    );
    assert!(paused.retry_at.is_some() && paused.ended.is_none());
    learner.submit("r2", spec("second")).await.unwrap();
    learner.wait_for_state("first", JobState::Succeeded).await;
    learner.wait_for_state("second", JobState::Succeeded).await;
    assert_eq!(count.load(Ordering::Relaxed), 2);
    // The next job would meet the same fault: the paused one keeps its turn.
    assert_eq!(*order.lock().unwrap(), ["first", "first", "second"]);
    let job = learner.get("first").await;
    assert_eq!((job.error.as_str(), job.retry_at), ("", None));
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_is_resumed_cancelled_and_survives_a_restart() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (count, work) = failing(u32::MAX, "runs/demo: Permission denied (os error 13)");
    let learner = TestLearner::start(&redis.url(), runs.path(), work.clone()).await;
    learner.submit("request", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Paused).await;
    // Resuming tries again at once, although the pauses between tries grow.
    for _ in 0..4 {
        let before = count.load(Ordering::Relaxed);
        learner.resume("demo", None).await.unwrap();
        eventually("another try", async || count.load(Ordering::Relaxed) > before).await;
        learner.wait_for_state("demo", JobState::Paused).await;
    }
    learner.stop().await;
    let learner = TestLearner::start(&redis.url(), runs.path(), work).await;
    let before = count.load(Ordering::Relaxed);
    eventually("a try at the start", async || count.load(Ordering::Relaxed) > before).await;
    learner.wait_for_state("demo", JobState::Paused).await;
    assert_eq!(learner.cancel("demo").await.state(), JobState::Cancelled);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_needs_a_person_waits_for_one_and_lets_the_next_run() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let asks = Arc::new(AtomicU32::new(0));
    let asked = asks.clone();
    let work = move |context: &JobContext| -> anyhow::Result<()> {
        if context.job_id().as_str() == "asks" && asked.fetch_add(1, Ordering::Relaxed) == 0 {
            let reason = NeedsPerson("the last 5 updates were not finite".to_owned());
            return Err(anyhow::Error::new(reason).context("step 12"));
        }
        Ok(())
    };
    let learner = TestLearner::start(&redis.url(), runs.path(), work.clone()).await;
    learner.submit("r1", spec("asks")).await.unwrap();
    learner.submit("r2", spec("next")).await.unwrap();
    learner.wait_for_state("next", JobState::Succeeded).await;
    let paused = learner.get("asks").await;
    assert_eq!((paused.state(), paused.retry_at), (JobState::Paused, None));
    assert_eq!(paused.error, "step 12: the last 5 updates were not finite");
    learner.stop().await;
    // Also over a restart.
    let learner = TestLearner::start(&redis.url(), runs.path(), work).await;
    learner.submit("r3", spec("other")).await.unwrap();
    learner.wait_for_state("other", JobState::Succeeded).await;
    assert_eq!(asks.load(Ordering::Relaxed), 1);
    learner.resume("asks", None).await.unwrap();
    learner.wait_for_state("asks", JobState::Succeeded).await;
    learner.stop().await;
}

/// The process ends with the job still running; a supervisor starts it again; a job that ends every process is paused.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_device_ends_the_process_and_no_other_job_is_touched() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let both_wait = Arc::new(AtomicBool::new(false));
    let gate = both_wait.clone();
    let work = move |context: &JobContext| -> anyhow::Result<()> {
        while !gate.load(Ordering::Relaxed) {
            context.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        match context.job_id().as_str() {
            "bad" => anyhow::bail!("CUDA out of memory. Tried to allocate 2.00 GiB\nException raised from malloc"),
            "worse" => panic!("CUDA error: device-side assert triggered"),
            _ => Ok(()),
        }
    };
    for (name, says) in [("bad", "CUDA out of memory"), ("worse", "device-side assert")] {
        let after = format!("after-{name}");
        both_wait.store(false, Ordering::Relaxed);
        for start in 1..=3 {
            let learner = TestLearner::start(&redis.url(), runs.path(), work.clone()).await;
            if start == 1 {
                learner.submit(name, spec(name)).await.unwrap();
                learner.submit(&after, spec(&after)).await.unwrap();
                both_wait.store(true, Ordering::Relaxed);
            }
            let error = learner.ended().await;
            assert_eq!(exit::exit_code(&error), exit::FAILED);
            let text = format!("{error:#}");
            assert!(text.contains(says) && !text.contains("Exception raised"), "{text}");
            assert_eq!(stored_state(runs.path(), name), JobState::Running);
            assert_eq!(stored_state(runs.path(), &after), JobState::Queued);
        }
        let learner = TestLearner::start(&redis.url(), runs.path(), work.clone()).await;
        let paused = learner.wait_for_state(name, JobState::Paused).await;
        assert!(paused.error.contains("ended 3 times in a row"), "{}", paused.error);
        assert!(paused.error.contains(says), "{}", paused.error);
        assert_eq!(paused.retry_at, None);
        learner.wait_for_state(&after, JobState::Succeeded).await;
        learner.stop().await;
    }
}

fn stored_state(runs: &Path, name: &str) -> JobState {
    anytime_learner::jobs::store::read_job(&runs.join(name))
        .unwrap()
        .state()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_was_asked_for_is_not_counted_against_the_job() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let work = |context: &JobContext| -> anyhow::Result<()> {
        loop {
            context.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for start in 0..5 {
        let learner = TestLearner::start(&redis.url(), runs.path(), work).await;
        if start == 0 {
            learner.submit("request", spec("demo")).await.unwrap();
        }
        learner.wait_for_state("demo", JobState::Running).await;
        // Its thread has it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        learner.stop().await;
    }
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    learner.wait_for_state("demo", JobState::Succeeded).await;
    learner.stop().await;
}

/// Ranks that are lost while they give what a checkpoint is written of are not waited for: only a new run brings them together.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_lacks_its_ranks_ends_the_run_and_the_job_goes_on_by_itself() {
    let (redis, directory) = (RedisServer::start(), TempDir::new().unwrap());
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let learner = TestLearner::start(&redis.url(), directory.path(), move |context: &JobContext| {
        let run = counted.fetch_add(1, Ordering::Relaxed);
        let mut tries = 0;
        context.write_or_wait(|| {
            tries += 1;
            anyhow::ensure!(tries == 1, "it is tried again within the run");
            match run {
                0 => Err(anyhow::Error::new(RanksError("rank 1 is gone".to_owned())).context("recovery checkpoint")),
                _ => Ok(()),
            }
        })?;
        Ok(())
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Succeeded).await;
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert!(states(&learner, "demo").await.contains(&JobState::Paused));
    learner.stop().await;
}
