//! Deleting jobs while everything else goes on: other jobs, watchers, exports, cancellations, and new jobs of the same name,
//! which must never be taken for the old one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anytime_learner::hub::HubSource;
use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::context::JobContext;
use anytime_learner::jobs::export_request::ExportJob;
use anytime_learner::rpc::jobs::Validate;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1::{self, JobState, job_event::Event};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::support::eventually;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;

async fn delete(learner: &TestLearner, job_id: &str) -> Result<Vec<String>, Status> {
    let request = v1::DeleteJobRequest {
        job_id: job_id.to_owned(),
        with_models: true,
    };
    let mut jobs = learner.jobs();
    jobs.delete(request).await.map(|response| response.into_inner().models)
}

/// What is in the runs directory, but for the learner's own files.
fn left(runs: &Path) -> Vec<String> {
    let names = std::fs::read_dir(runs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with(".l")).collect();
    names.sort();
    names
}

/// Reads the events of a job to the end of the stream: their numbers and steps, and how it ended.
async fn watch(learner: &TestLearner, job_id: &str) -> (Vec<u64>, Result<(), Status>) {
    let request = v1::WatchJobRequest {
        job_id: job_id.to_owned(),
        after: 0,
    };
    let mut stream = match learner.jobs().watch(request).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (Vec::new(), Err(status)),
    };
    let mut numbers = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(event)) => numbers.push(event.number),
            Ok(None) => return (numbers, Ok(())),
            Err(status) => return (numbers, Err(status)),
        }
    }
}

fn no_check() -> Validate {
    Arc::new(|spec: &v1::JobSpec, _: &[v1::HubInput], _: &Path| JobSettings::try_new(spec).map(CheckedJob::from))
}

fn step(number: u64, loss: f64) -> v1::StepMetrics {
    v1::StepMetrics {
        step: number,
        loss,
        ..v1::StepMetrics::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_are_deleted_under_their_watchers_while_one_runs() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let may_end = Arc::new(AtomicBool::new(false));
    let gate = may_end.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| {
        let mut number = 0;
        while context.directory().ends_with("running") && !gate.load(Ordering::Relaxed) {
            context.check()?;
            number += 1;
            context.report_step(step(number, 0.0));
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    })
    .await;
    let learner = Arc::new(learner);
    learner.submit("running", spec("running")).await.unwrap();
    learner.wait_for_state("running", JobState::Running).await;
    let mut tasks = Vec::new();
    for number in 0..40 {
        let learner = learner.clone();
        tasks.push(tokio::spawn(async move {
            let job = learner.submit(&format!("r{number}"), spec("many")).await.unwrap().id;
            if number % 4 == 0 {
                return Some(job);
            }
            let watcher = tokio::spawn({
                let (learner, job) = (learner.clone(), job.clone());
                async move { watch(&learner, &job).await }
            });
            // It waits for its turn, and is refused by name until it is cancelled.
            let refused = delete(&learner, &job).await.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
            learner.cancel(&job).await;
            delete(&learner, &job).await.unwrap();
            let (numbers, end) = watcher.await.unwrap();
            let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
            assert_eq!(numbers, expected, "{job}");
            assert!(
                end.is_ok() || end.as_ref().unwrap_err().code() == Code::NotFound,
                "{end:?}"
            );
            None
        }));
    }
    let mut stay = BTreeSet::from(["running".to_owned()]);
    for task in tasks {
        stay.extend(task.await.unwrap());
    }
    assert_eq!(learner.get("running").await.state(), JobState::Running);
    may_end.store(true, Ordering::Relaxed);
    for job in &stay {
        learner.wait_for_state(job, JobState::Succeeded).await;
    }
    let (numbers, end) = watch(&learner, "running").await;
    assert!(end.is_ok() && numbers.len() > 3, "{end:?}");
    eventually("the files of the others are gone", async || {
        left(runs.path()) == stay.iter().cloned().collect::<Vec<_>>()
    })
    .await;
    let learner = Arc::into_inner(learner).expect("nobody else holds it");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_freed_and_taken_at_once_is_never_the_wrong_job() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = Arc::new(TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await);
    let rounds = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for owner in 0..8 {
        let (learner, rounds) = (learner.clone(), rounds.clone());
        tasks.push(tokio::spawn(async move {
            for round in 0..10 {
                let request = format!("{owner}-{round}");
                let job = learner.submit(&request, spec("same")).await.unwrap();
                // Several delete it at once, as somebody does who asks again. All but one are told that it is gone, or
                // delete the next one of its name once that is over.
                let deletions = [(); 3].map(|()| async {
                    loop {
                        match delete(&learner, &job.id).await {
                            Err(status) if status.code() == Code::FailedPrecondition => {
                                tokio::time::sleep(Duration::from_millis(1)).await;
                            }
                            other => break other,
                        }
                    }
                });
                for outcome in futures::future::join_all(deletions).await {
                    let is_gone = outcome.as_ref().is_err_and(|status| status.code() == Code::NotFound);
                    assert!(is_gone || outcome.is_ok(), "{outcome:?}");
                }
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(rounds.load(Ordering::Relaxed), 80);
    // No deletion took a directory away from under a job that is listed, and none was left.
    let listed = learner.jobs().list(v1::ListJobsRequest::default()).await.unwrap();
    let mut listed: Vec<String> = listed.into_inner().jobs.into_iter().map(|job| job.id).collect();
    listed.sort();
    eventually("directories and jobs are the same", async || {
        left(runs.path()) == listed
    })
    .await;
    let learner = Arc::into_inner(learner).expect("nobody else holds it");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watcher_of_a_deleted_job_is_not_shown_the_next_one_of_its_name() {
    const STEPS: u64 = 12_000;
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let runs_of = Arc::new(AtomicU32::new(0));
    let counted = runs_of.clone();
    let work = move |context: &JobContext| {
        let run = f64::from(counted.fetch_add(1, Ordering::Relaxed));
        for number in 1..=STEPS {
            context.report_step(step(number, run));
        }
        Ok(())
    };
    let learner = TestLearner::start(&redis.url(), runs.path(), work).await;
    learner.submit("first", spec("same")).await.unwrap();
    learner.wait_for_state("same", JobState::Succeeded).await;
    let request = v1::WatchJobRequest {
        job_id: "same".to_owned(),
        after: 0,
    };
    let mut slow = learner.jobs().watch(request).await.unwrap().into_inner();
    assert_eq!(slow.message().await.unwrap().unwrap().number, 1);
    delete(&learner, "same").await.unwrap();
    assert_eq!(learner.submit("second", spec("same")).await.unwrap().id, "same");
    learner.wait_for_state("same", JobState::Succeeded).await;
    let mut last = 1;
    let end = loop {
        match slow.message().await {
            Ok(Some(event)) => {
                assert_eq!(event.number, last + 1);
                last = event.number;
                if let Some(Event::Step(metrics)) = event.event {
                    assert!(metrics.loss < 0.5, "step {} is the next job's", metrics.step);
                }
            }
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    let status = end.expect_err("not all of its events could be read");
    assert_eq!(status.code(), Code::NotFound, "{status}");
    assert!(last < STEPS, "the watcher was not slow enough to be a test");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_exported_is_not_deleted_under_the_export() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (begun, may_end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (told, gate) = (begun.clone(), may_end.clone());
    let export: ExportJob = Arc::new(move |request| {
        told.store(true, Ordering::Relaxed);
        while !gate.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let target = request.directory.join("exports/step-00000001");
        std::fs::create_dir_all(&target).map_err(anyhow::Error::from)?;
        Ok((1, target))
    });
    let learner = TestLearner::start_with(
        "127.0.0.1:0",
        &redis.url(),
        runs.path(),
        (no_check(), HubSource::default()),
        Some(export),
        |_| Ok(()),
    )
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Succeeded).await;
    let mut jobs = learner.jobs();
    let exporting = tokio::spawn(async move {
        let request = v1::ExportJobRequest {
            job_id: "demo".to_owned(),
            ..v1::ExportJobRequest::default()
        };
        jobs.export(request).await
    });
    eventually("the export has begun", async || begun.load(Ordering::Relaxed)).await;
    let refused = delete(&learner, "demo").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("job demo is being exported"), "{refused}");
    may_end.store(true, Ordering::Relaxed);
    exporting.await.unwrap().unwrap();
    delete(&learner, "demo").await.unwrap();
    eventually("nothing is left", async || left(runs.path()).is_empty()).await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_while_it_is_being_resumed_does_not_come_back_in_another_one() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (checking, may_go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (told, gate) = (checking.clone(), may_go_on.clone());
    let validate = move |spec: &v1::JobSpec, _: &[v1::HubInput], _: &Path| {
        let changed = spec.training.as_ref().and_then(|training| training.micro_batch_tokens);
        if changed == Some(4096) {
            told.store(true, Ordering::Relaxed);
            while !gate.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        JobSettings::try_new(spec).map(CheckedJob::from)
    };
    let attempts = AtomicU32::new(0);
    let learner = TestLearner::start_checking(
        "127.0.0.1:0",
        &redis.url(),
        runs.path(),
        Arc::new(validate),
        move |_| match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => anyhow::bail!("it fails"),
            _ => Ok(()),
        },
    )
    .await;
    learner.submit("first", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Failed).await;
    let mut changed = spec("demo");
    changed.training.as_mut().unwrap().micro_batch_tokens = Some(4096);
    let mut jobs = learner.jobs();
    let resuming = tokio::spawn(async move {
        let request = v1::ResumeJobRequest {
            job_id: "demo".to_owned(),
            spec: Some(changed),
        };
        jobs.resume(request).await
    });
    eventually("the settings are being checked", async || {
        checking.load(Ordering::Relaxed)
    })
    .await;
    delete(&learner, "demo").await.unwrap();
    assert_eq!(learner.submit("second", spec("demo")).await.unwrap().id, "demo");
    let second = learner.wait_for_state("demo", JobState::Succeeded).await;
    may_go_on.store(true, Ordering::Relaxed);
    let refused = resuming.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    assert_eq!(learner.get("demo").await, second);
    learner.stop().await;
    let on_disk = anytime_learner::jobs::store::read_job(&runs.path().join("demo")).unwrap();
    assert_eq!((on_disk.state(), on_disk.spec), (JobState::Succeeded, second.spec));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_writes_a_checkpoint_is_deleted_only_once_its_thread_has_let_go() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |context| {
        let mut number = 0;
        loop {
            // As a checkpoint is written: a directory aside, its files, then its name. A stop comes between two of them.
            number += 1;
            let aside = context.directory().join("recovery/.part");
            std::fs::create_dir_all(&aside)?;
            for file in ["weights", "optimiser", "state"] {
                std::fs::write(aside.join(file), vec![1; 1 << 16])?;
            }
            std::fs::rename(&aside, context.directory().join(format!("recovery/step-{number}")))?;
            context.check()?;
        }
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Running).await;
    let refused = delete(&learner, "demo").await.unwrap_err();
    assert!(refused.message().contains("job demo is running"), "{refused}");
    let mut jobs = learner.jobs();
    let cancelling = tokio::spawn(async move {
        let request = v1::CancelJobRequest {
            job_id: "demo".to_owned(),
        };
        jobs.cancel(request).await
    });
    loop {
        match delete(&learner, "demo").await {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), Code::FailedPrecondition, "{status}"),
        }
    }
    cancelling.await.unwrap().unwrap();
    eventually("nothing is left", async || left(runs.path()).is_empty()).await;
    learner.stop().await;
    assert_eq!(left(runs.path()), Vec::<String>::new(), "and nothing comes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_free_only_once_redis_has_forgotten_the_job() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = Arc::new(TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await);
    learner.submit("first", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Succeeded).await;
    redis.stop_answering();
    let deleting = tokio::spawn({
        let learner = learner.clone();
        async move { delete(&learner, "demo").await }
    });
    eventually("the job is gone", async || {
        let request = v1::GetJobRequest {
            job_id: "demo".to_owned(),
        };
        learner.jobs().get(request).await.is_err()
    })
    .await;
    // Its queue would be deleted under a job of the same name.
    assert_eq!(learner.submit("second", spec("demo")).await.unwrap().id, "demo-2");
    redis.answer_again();
    deleting.await.unwrap().unwrap();
    assert_eq!(learner.submit("third", spec("demo")).await.unwrap().id, "demo");
    let learner = Arc::into_inner(learner).expect("nobody else holds it");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_directory_somebody_took_away_can_be_deleted() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    learner.submit("first", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Succeeded).await;
    std::fs::remove_dir_all(runs.path().join("demo")).unwrap();
    delete(&learner, "demo").await.unwrap();
    assert_eq!(delete(&learner, "demo").await.unwrap_err().code(), Code::NotFound);
    learner.stop().await;
}
