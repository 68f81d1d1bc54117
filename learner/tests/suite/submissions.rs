//! Submissions whose check takes long: one check for a request however often it is sent, and few checks at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anytime_learner::hub::HubSource;
use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::context::JobContext;
use anytime_learner::jobs::export_request::ExportRequest;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;

/// A check that waits until it is let go, and counts.
#[derive(Default)]
struct SlowCheck {
    started: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    may_end: AtomicBool,
}

impl SlowCheck {
    fn wait(&self) {
        self.started.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        while !self.may_end.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn run(&self, spec: &v1::JobSpec) -> Result<CheckedJob, anytime_proto::settings::InvalidSetting> {
        self.wait();
        let mut checked = CheckedJob::from(JobSettings::try_new(spec)?);
        checked.found.notices.push(v1::Notice {
            topic: "repeated_rows".to_owned(),
            text: "two rows are one".to_owned(),
            step: 0,
        });
        Ok(checked)
    }
}

async fn start(redis: &RedisServer, runs: &TempDir) -> (TestLearner, Arc<SlowCheck>) {
    let check = Arc::new(SlowCheck::default());
    let called = check.clone();
    let validate = Arc::new(move |spec: &v1::JobSpec, _: &[v1::HubInput], _: &Path| called.run(spec));
    let learner = TestLearner::start_checking("127.0.0.1:0", &redis.url(), runs.path(), validate, |_| Ok(())).await;
    (learner, check)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_while_its_check_runs_is_checked_once() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (learner, check) = start(&redis, &runs).await;
    // A client that gives up before the answer.
    let first = tokio::time::timeout(Duration::from_secs(1), learner.submit("request", spec("demo"))).await;
    assert!(first.is_err(), "the check is still under way");
    eventually("the check runs", async || check.started.load(Ordering::SeqCst) == 1).await;
    let again = learner.submit("request", spec("demo"));
    let open = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        check.may_end.store(true, Ordering::SeqCst);
    };
    let (again, ()) = tokio::join!(again, open);
    let job = again.unwrap();
    assert_eq!((job.id.as_str(), check.started.load(Ordering::SeqCst)), ("demo", 1));
    let job = learner.get("demo").await;
    assert_eq!(job.notices.len(), 1, "what was noticed stands with the job");
    assert_eq!(job.notices[0].topic, "repeated_rows");
    let jobs = learner
        .jobs()
        .list(v1::ListJobsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .jobs;
    assert_eq!(jobs.len(), 1);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn few_checks_run_at_once_and_other_calls_are_answered_meanwhile() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (learner, check) = start(&redis, &runs).await;
    let mut submissions = Vec::new();
    // Of one connection only so many calls are taken at a time.
    let clients = [learner.jobs(), learner.jobs()];
    for number in 0..1100 {
        let mut jobs = clients[number % 2].clone();
        submissions.push(tokio::spawn(async move {
            let request = v1::CheckJobRequest {
                spec: Some(spec(&format!("job-{number}"))),
            };
            jobs.check(request).await
        }));
    }
    eventually("checks run", async || check.running.load(Ordering::SeqCst) >= 2).await;
    eventually("all have come", async || {
        submissions.iter().any(tokio::task::JoinHandle::is_finished)
    })
    .await;
    learner.jobs().list(v1::ListJobsRequest::default()).await.unwrap();
    check.may_end.store(true, Ordering::SeqCst);
    let mut refused = 0;
    for submission in submissions {
        match submission.await.unwrap() {
            Ok(found) => assert_eq!(found.into_inner().notices.len(), 1),
            // Only a limited number of checks may wait.
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
                refused += 1;
            }
        }
    }
    assert!((1..=1100 - 1024).contains(&refused), "{refused}");
    let most = check.most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most}");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resumptions_with_settings_and_exports_wait_for_the_same_turns() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let check = Arc::new(SlowCheck::default());
    check.may_end.store(true, Ordering::SeqCst);
    let (validating, exporting) = (check.clone(), check.clone());
    let learner = TestLearner::start_with(
        "127.0.0.1:0",
        &redis.url(),
        runs.path(),
        (
            Arc::new(move |spec: &v1::JobSpec, _: &[v1::HubInput], _: &Path| validating.run(spec)),
            HubSource::default(),
        ),
        Some(Arc::new(move |request: &ExportRequest| {
            exporting.wait();
            Ok((7, request.directory.clone()))
        })),
        |_| anyhow::bail!("bad luck"),
    )
    .await;
    let mut changed = learner.submit("request", spec("demo")).await.unwrap().spec.unwrap();
    learner.wait_for_state("demo", v1::JobState::Failed).await;
    changed.training.as_mut().unwrap().micro_batch_tokens = Some(512);
    check.may_end.store(false, Ordering::SeqCst);
    check.started.store(0, Ordering::SeqCst);

    let clients = [learner.jobs(), learner.jobs()];
    let mut calls = Vec::new();
    for number in 0..1100 {
        let (mut jobs, spec) = (clients[number % 2].clone(), Some(changed.clone()));
        calls.push(tokio::spawn(async move {
            let job_id = "demo".to_owned();
            if number % 3 == 0 {
                let request = v1::ResumeJobRequest { job_id, spec };
                jobs.resume(request).await.map(drop)
            } else {
                let request = v1::ExportJobRequest {
                    job_id,
                    ..v1::ExportJobRequest::default()
                };
                jobs.export(request).await.map(drop)
            }
        }));
    }
    eventually("all have come", async || {
        calls.iter().any(tokio::task::JoinHandle::is_finished)
    })
    .await;
    eventually("four are under way", async || check.running.load(Ordering::SeqCst) == 4).await;
    check.may_end.store(true, Ordering::SeqCst);
    let mut refused = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(()) => {}
            // The job goes on from the first resumption, and fails again.
            Err(status) if status.code() == tonic::Code::FailedPrecondition => {}
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
                assert!(status.message().contains("checks of job files and exports"), "{status}");
                refused += 1;
            }
        }
    }
    assert!((1..=1100 - 1024).contains(&refused), "{refused}");
    assert_eq!(check.most.load(Ordering::SeqCst), 4, "at a time");
    // Where no setting is given, nothing is read, and nothing waits.
    learner.wait_for_state("demo", v1::JobState::Failed).await;
    learner.resume("demo", None).await.unwrap();
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_another_job_is_to_write_to_is_refused_with_that_job() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let release = Arc::new(AtomicBool::new(false));
    let (released, started) = (release.clone(), Arc::new(AtomicUsize::new(0)));
    let learner = TestLearner::start(&redis.url(), &runs.path().join("runs"), move |context: &JobContext| {
        while !released.load(Ordering::SeqCst) {
            context.check()?;
            std::thread::sleep(Duration::from_millis(2));
        }
        // The job `second` fails once.
        anyhow::ensure!(
            context.job_id().as_str() != "second" || started.fetch_add(1, Ordering::SeqCst) > 0,
            "bad luck"
        );
        Ok(())
    })
    .await;
    let with_output = |name: &str, output: &Path| {
        let mut spec = spec(name);
        spec.checkpoint.get_or_insert_default().output = Some(output.display().to_string());
        spec
    };
    let place = runs.path().join("model");
    let inside = place.join("inside");
    learner.submit("1", with_output("first", &place)).await.unwrap();
    learner
        .submit("2", with_output("second", &runs.path().join("other")))
        .await
        .unwrap();
    learner.wait_for_state("first", v1::JobState::Running).await;
    // Also by another name of the directory, and within it.
    std::os::unix::fs::symlink(runs.path(), runs.path().join("link")).unwrap();
    for output in [&place, &runs.path().join("link/model"), &inside] {
        let refused = learner.submit("3", with_output("third", output)).await.unwrap_err();
        assert_eq!(
            anytime_proto::setting_of_status(&refused).as_deref(),
            Some("checkpoint.output")
        );
        assert!(
            refused.message().contains("job first, which is running, writes to"),
            "{refused}"
        );
        let request = v1::CheckJobRequest {
            spec: Some(with_output("third", output)),
        };
        let checked = learner.jobs().check(request).await.unwrap_err();
        assert_eq!(checked.message(), refused.message());
    }
    let refused = learner
        .submit("3", with_output("third", &runs.path().join("other")))
        .await
        .unwrap_err();
    assert!(refused.message().contains("job second, which is queued"), "{refused}");
    // The same request again is the same job, and no other one.
    assert_eq!(
        learner.submit("1", with_output("first", &place)).await.unwrap().id,
        "first"
    );

    // A job that failed holds its place no more, and cannot have it back while another one has it.
    release.store(true, Ordering::SeqCst);
    learner.wait_for_state("second", v1::JobState::Failed).await;
    release.store(false, Ordering::SeqCst);
    learner
        .submit("3", with_output("third", &runs.path().join("other")))
        .await
        .unwrap();
    let refused = learner.resume("second", None).await.unwrap_err();
    assert!(refused.message().contains("job third, which is"), "{refused}");
    learner.cancel("third").await;
    learner.wait_for_state("third", v1::JobState::Cancelled).await;
    learner.resume("second", None).await.unwrap();
    release.store(true, Ordering::SeqCst);
    learner.wait_for_state("second", v1::JobState::Succeeded).await;
    learner.stop().await;
}
