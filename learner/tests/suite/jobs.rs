//! `JobService` over a whole server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use anytime_learner::jobs::context::{ContextError, JobContext};
use anytime_learner::jobs::interrupt::Interrupted;
use anytime_learner::jobs::store::read_job;
use anytime_proto::generations::{DIRECTORY, KeptProblem, ProblemHead, step_file};
use anytime_proto::v1::{self, JobState, job_event::Event};
use tempfile::TempDir;
use tonic::Code;

use crate::support::eventually;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;

/// Runs until it is told to stop.
fn wait_for_the_end(context: &JobContext) -> anyhow::Result<()> {
    loop {
        context.check().context("waiting")?;
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_page_by_page() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    for number in 0..7 {
        learner
            .submit(&format!("request-{number}"), spec("demo"))
            .await
            .unwrap();
    }
    let page = async |page_size: u32, page_token: String| {
        let request = v1::ListJobsRequest {
            page_size,
            page_token,
            ..v1::ListJobsRequest::default()
        };
        learner.jobs().list(request).await.map(tonic::Response::into_inner)
    };
    let (mut ids, mut sizes, mut token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let next = page(3, token).await.unwrap();
        sizes.push(next.jobs.len());
        ids.extend(next.jobs.into_iter().map(|job| job.id));
        token = next.next_page_token;
        if token.is_empty() {
            break;
        }
        // Jobs that come meanwhile are newer than what is still to be listed.
        learner.submit("meanwhile", spec("late")).await.unwrap();
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(
        ids,
        ["demo-7", "demo-6", "demo-5", "demo-4", "demo-3", "demo-2", "demo"]
    );
    assert_eq!(page(0, String::new()).await.unwrap().jobs.len(), 8);
    for token in ["nonsense", "1.x/demo", "/"] {
        let refused = page(3, token.to_owned()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{token}");
    }
    let long = learner.submit(&"r".repeat(300), spec("demo")).await.unwrap_err();
    assert!(long.message().contains("request_id has 300 bytes"), "{long}");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_over_is_deleted_and_a_model_only_where_that_is_asked_for() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |context| {
        if context.directory().ends_with("goes-on") {
            return wait_for_the_end(context);
        }
        let model = context.directory().join("final");
        std::fs::create_dir(&model)?;
        std::fs::write(model.join("anytime_export.json"), "{}")?;
        Ok(())
    })
    .await;
    learner.submit("over", spec("over")).await.unwrap();
    learner.wait_for_state("over", JobState::Succeeded).await;
    learner.submit("goes on", spec("goes-on")).await.unwrap();
    learner.wait_for_state("goes-on", JobState::Running).await;
    let delete = async |job_id: &str, with_models: bool| {
        let request = v1::DeleteJobRequest {
            job_id: job_id.to_owned(),
            with_models,
        };
        learner
            .jobs()
            .delete(request)
            .await
            .map(|response| response.into_inner().models)
    };
    for (job_id, says) in [("goes-on", "is running"), ("over", "holds models (final)")] {
        let refused = delete(job_id, false).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains(says), "{refused}");
    }
    assert!(runs.path().join("over/final").is_dir());
    assert_eq!(delete("over", true).await.unwrap(), ["final"]);
    assert!(!runs.path().join("over").exists());
    assert_eq!(delete("over", true).await.unwrap_err().code(), Code::NotFound);
    // Nothing is left over, and the name and the request are free again.
    let left = || -> Vec<String> {
        std::fs::read_dir(runs.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with(".l"))
            .collect()
    };
    eventually("the files go after the answer", async || left() == ["goes-on"]).await;
    assert_eq!(learner.submit("over", spec("over")).await.unwrap().id, "over");
    learner.cancel("goes-on").await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_submitted_once_runs_and_succeeds() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |context| {
        assert!(context.directory().is_dir());
        Ok(())
    })
    .await;
    let job = learner.submit("request", spec("demo")).await.unwrap();
    assert_eq!((job.id.as_str(), job.total_steps), ("demo", 10));
    assert_eq!(job.spec.unwrap().training.unwrap().learning_rate, Some(1e-6));
    let again = learner.submit("request", spec("demo")).await.unwrap();
    assert_eq!(again.id, "demo");
    let job = learner.wait_for_state("demo", JobState::Succeeded).await;
    assert!(job.started.is_some() && job.ended.is_some() && job.error.is_empty());

    let second = learner.submit("another request", spec("demo")).await.unwrap();
    assert_eq!(second.id, "demo-2");
    let listed = learner
        .jobs()
        .list(v1::ListJobsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .jobs;
    assert_eq!(
        listed.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(),
        ["demo-2", "demo"]
    );
    // Cancelling what has ended changes nothing.
    assert_eq!(learner.cancel("demo").await.state(), JobState::Succeeded);
    let unknown = learner
        .jobs()
        .get(v1::GetJobRequest {
            job_id: "nobody".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_generations_are_read_by_step_and_problem() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |context| {
        let directory = context.directory().join(DIRECTORY);
        std::fs::create_dir(&directory)?;
        for step in [0, 20] {
            let problem = |row: u64, id: &str| {
                let head = ProblemHead {
                    row,
                    id: format!("{id} at {step}"),
                    ..ProblemHead::default()
                };
                serde_json::to_string(&KeptProblem {
                    head,
                    traces: Vec::new(),
                })
            };
            let text = format!("{}\n{}\n", problem(0, "first")?, problem(1, "second")?);
            std::fs::write(directory.join(step_file(step)), text)?;
        }
        Ok(())
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", JobState::Succeeded).await;
    let ask = async |step: Option<u64>, problem: Option<&str>| {
        let request = v1::GenerationsRequest {
            job_id: "demo".to_owned(),
            step,
            problem: problem.map(str::to_owned),
        };
        learner
            .jobs()
            .generations(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let newest = ask(None, Some("second at 20")).await.unwrap();
    let problem: KeptProblem = serde_json::from_str(&newest.line).unwrap();
    assert_eq!((newest.step, problem.head.row, newest.problems.len()), (20, 1, 0));
    let by_row = ask(Some(0), Some("1")).await.unwrap();
    assert!(by_row.line.contains("second at 0"), "{}", by_row.line);
    let all = ask(Some(0), None).await.unwrap();
    let heads: Vec<ProblemHead> = all
        .problems
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids: Vec<&str> = heads.iter().map(|head| head.id.as_str()).collect();
    assert_eq!((ids, all.line.as_str()), (vec!["first at 0", "second at 0"], ""));

    for (step, problem, says) in [
        (Some(5), None, "0, 20"),
        (None, Some("third"), "first at 20, second at 20"),
    ] {
        let refused = ask(step, problem).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        assert!(refused.message().contains(says), "{refused}");
    }
    std::fs::write(runs.path().join("demo").join(DIRECTORY).join(step_file(20)), "{").unwrap();
    assert_eq!(ask(None, None).await.unwrap_err().code(), Code::Internal);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_specification_is_refused_by_name_and_leaves_nothing_behind() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    let mut bad = spec("demo");
    bad.rollout = Some(v1::RolloutSpec {
        budgets: vec![8, 4],
        ..v1::RolloutSpec::default()
    });
    let status = learner.submit("request", bad).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        anytime_proto::setting_of_status(&status).as_deref(),
        Some("rollout.budgets")
    );
    let mut left: Vec<_> = std::fs::read_dir(runs.path())
        .unwrap()
        .map(|item| item.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [".lease_key", ".lock"]);
    // The request id is free for the mended specification.
    assert_eq!(learner.submit("request", spec("demo")).await.unwrap().id, "demo");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_and_waiting_jobs_can_be_cancelled() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), wait_for_the_end).await;
    learner.submit("r1", spec("first")).await.unwrap();
    learner.submit("r2", spec("second")).await.unwrap();
    learner.submit("r3", spec("third")).await.unwrap();
    learner.wait_for_state("first", JobState::Running).await;
    assert_eq!(learner.cancel("second").await.state(), JobState::Cancelled);
    learner.cancel("first").await;
    learner.wait_for_state("first", JobState::Cancelled).await;
    learner.wait_for_state("third", JobState::Running).await;
    assert_eq!(learner.get("second").await.state(), JobState::Cancelled);
    learner.cancel("third").await;
    learner.wait_for_state("third", JobState::Cancelled).await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_panics_are_told_and_the_next_job_runs() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |context| match context.job_id().as_str() {
        "fails" => Err(anyhow::anyhow!("the reason").context("the step")),
        "panics" => panic!("out of luck"),
        _ => Ok(()),
    })
    .await;
    for name in ["fails", "panics", "works"] {
        learner.submit(name, spec(name)).await.unwrap();
    }
    assert_eq!(
        learner.wait_for_state("fails", JobState::Failed).await.error,
        "the step: the reason"
    );
    assert!(
        learner
            .wait_for_state("panics", JobState::Failed)
            .await
            .error
            .contains("out of luck")
    );
    learner.wait_for_state("works", JobState::Succeeded).await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_success_is_done_once_success_is_on_disk() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (sender, done) = std::sync::mpsc::channel();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| {
        let (sender, directory) = (sender.clone(), context.directory().to_owned());
        context.once_succeeded(move || {
            let job = read_job(&directory).unwrap();
            sender.send((job.id.clone(), job.state())).unwrap();
        });
        anyhow::ensure!(context.job_id().as_str() != "fails", "the reason");
        Ok(())
    })
    .await;
    learner.submit("fails", spec("fails")).await.unwrap();
    learner.submit("works", spec("works")).await.unwrap();
    learner.wait_for_state("works", JobState::Succeeded).await;
    learner.stop().await;
    assert_eq!(
        done.try_iter().collect::<Vec<_>>(),
        [("works".to_owned(), JobState::Succeeded)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_every_event_once_also_across_restarts() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let goes_on = Arc::new(AtomicBool::new(false));
    let signal = goes_on.clone();
    let run_job = move |context: &JobContext| -> anyhow::Result<()> {
        let first = if signal.load(Ordering::Relaxed) { 2000 } else { 0 };
        for step in first..first + 2000 {
            context.report_step(v1::StepMetrics {
                step,
                ..v1::StepMetrics::default()
            });
        }
        if signal.load(Ordering::Relaxed) {
            Ok(())
        } else {
            wait_for_the_end(context)
        }
    };
    let learner = TestLearner::start(&redis.url(), runs.path(), run_job.clone()).await;
    learner.submit("request", spec("demo")).await.unwrap();
    let mut seen: Vec<v1::JobEvent> = Vec::new();
    let request = v1::WatchJobRequest {
        job_id: "demo".to_owned(),
        after: 0,
    };
    let mut events = learner.jobs().watch(request).await.unwrap().into_inner();
    while seen.len() < 1000 {
        seen.push(events.message().await.unwrap().unwrap());
    }
    learner.stop().await;
    // The stream says that it was not the end of the job.
    let broken = loop {
        match events.message().await {
            Ok(Some(event)) => seen.push(event),
            other => break other,
        }
    };
    assert_eq!(broken.unwrap_err().code(), Code::Unavailable);

    goes_on.store(true, Ordering::Relaxed);
    let learner = TestLearner::start(&redis.url(), runs.path(), run_job).await;
    let after = seen.last().unwrap().number;
    let request = v1::WatchJobRequest {
        job_id: "demo".to_owned(),
        after,
    };
    let mut events = learner.jobs().watch(request).await.unwrap().into_inner();
    while let Some(event) = events.message().await.unwrap() {
        seen.push(event);
    }
    let numbers: Vec<u64> = seen.iter().map(|event| event.number).collect();
    // Queued, running, 4,000 steps, succeeded.
    assert_eq!(numbers, (1..=4003).collect::<Vec<u64>>());
    let states = seen.iter().filter_map(|event| match event.event.as_ref().unwrap() {
        Event::State(changed) => Some(changed.state()),
        _ => None,
    });
    assert_eq!(
        states.collect::<Vec<_>>(),
        [JobState::Queued, JobState::Running, JobState::Succeeded]
    );
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_learner_resumes_its_job_and_then_the_waiting_ones() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |context| {
        // Wrapped as a trainer may do.
        let outcome: Result<(), ContextError> = wait_for_the_end(context).map_err(ContextError::Other);
        outcome.context("training")
    })
    .await;
    learner.submit("r1", spec("first")).await.unwrap();
    learner.submit("r2", spec("second")).await.unwrap();
    learner.wait_for_state("first", JobState::Running).await;
    let start = std::time::Instant::now();
    learner.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5));

    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = order.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| {
        seen.lock().unwrap().push(context.job_id().to_string());
        Ok(())
    })
    .await;
    learner.wait_for_state("second", JobState::Succeeded).await;
    assert_eq!(learner.get("first").await.state(), JobState::Succeeded);
    assert_eq!(*order.lock().unwrap(), ["first", "second"]);
    learner.stop().await;
}

#[test]
fn an_interruption_is_found_behind_any_context() {
    let error = anyhow::Error::new(ContextError::from(Interrupted::Cancelled))
        .context("step 3")
        .context("training");
    let found = error
        .chain()
        .any(|cause| cause.downcast_ref::<Interrupted>() == Some(&Interrupted::Cancelled));
    assert!(found);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_what_is_served() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(learner.channel());
    for service in [
        "",
        "anytime.v1.JobService",
        "anytime.v1.RolloutService",
        "anytime.v1.WeightsService",
    ] {
        let request = tonic_health::pb::HealthCheckRequest {
            service: service.to_owned(),
        };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(
            status,
            tonic_health::pb::health_check_response::ServingStatus::Serving,
            "{service}"
        );
    }
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_a_drain_ends_health_says_so_to_new_connections_and_nothing_else_is_served() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (is_at_work, may_end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (at_work, end) = (is_at_work.clone(), may_end.clone());
    let learner = TestLearner::start(&redis.url(), runs.path(), move |_| {
        at_work.store(true, Ordering::SeqCst);
        while !end.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    })
    .await;
    learner.submit("one", spec("one")).await.unwrap();
    eventually("the job runs", async || is_at_work.load(Ordering::SeqCst)).await;
    let request = |service: &str| tonic_health::pb::HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut health = tonic_health::pb::health_client::HealthClient::new(learner.channel());
    let mut watch = health.watch(request("")).await.unwrap().into_inner();
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
    assert_eq!(watch.message().await.unwrap().unwrap().status(), serving);

    learner.tell_to_end();
    let not_serving = tonic_health::pb::health_check_response::ServingStatus::NotServing;
    assert_eq!(watch.message().await.unwrap().unwrap().status(), not_serving);
    for service in ["", "anytime.v1.JobService", "anytime.v1.RolloutService"] {
        let mut health = tonic_health::pb::health_client::HealthClient::new(learner.channel());
        let answer = health.check(request(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), not_serving, "{service}");
    }
    let refused = learner.submit("two", spec("two")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");

    may_end.store(true, Ordering::SeqCst);
    let ended = tokio::time::timeout(Duration::from_secs(5), learner.stop()).await;
    assert!(ended.is_ok(), "neither the watcher nor a connection holds the end up");
}
