//! The line of jobs that wait: priorities, what a job is told of its place, and lists of some jobs only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anytime_learner::jobs::context::JobContext;
use anytime_learner::jobs::retention::Retention;
use anytime_proto::v1::{self, JobState};
use tempfile::TempDir;
use tonic::Code;

use crate::support::eventually;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;

fn with_priority(name: &str, priority: i32) -> v1::JobSpec {
    v1::JobSpec {
        priority: Some(priority),
        ..spec(name)
    }
}

/// Runs until somebody opens the gate, and notes in which order jobs run. The job `flaky` fails where it is the first.
fn noting(
    gate: &Arc<AtomicBool>,
    order: &Arc<Mutex<Vec<String>>>,
) -> impl Fn(&JobContext) -> anyhow::Result<()> + use<> {
    let (gate, order) = (gate.clone(), order.clone());
    move |context: &JobContext| {
        let id = context.job_id().to_string();
        let is_first = order.lock().unwrap().is_empty();
        order.lock().unwrap().push(id.clone());
        anyhow::ensure!(id != "flaky" || !is_first, "it fails");
        while !gate.load(Ordering::Relaxed) {
            context.check()?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// The ids of all jobs, the newest first.
async fn listed(learner: &TestLearner) -> Vec<String> {
    let listed = learner.jobs().list(v1::ListJobsRequest::default()).await.unwrap();
    listed.into_inner().jobs.into_iter().map(|job| job.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_by_priority_also_after_a_restart_and_none_is_interrupted() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (gate, order) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<String>>>::default());
    let learner = TestLearner::start(&redis.url(), runs.path(), noting(&gate, &order)).await;
    learner.submit("", spec("flaky")).await.unwrap();
    learner.wait_for_state("flaky", JobState::Failed).await;
    learner.submit("", with_priority("first", -5)).await.unwrap();
    learner.wait_for_state("first", JobState::Running).await;
    for (name, priority) in [
        ("low", -1),
        ("plain", 0),
        ("urgent", 9),
        ("late", 0),
        ("also-urgent", 9),
    ] {
        learner.submit("", with_priority(name, priority)).await.unwrap();
    }
    let place = async |name: &str| {
        learner
            .get(name)
            .await
            .waiting
            .map(|waiting| (waiting.position, waiting.reason))
    };
    assert_eq!(place("first").await, None, "it runs");
    let says = "position 1 of 5 on cpu; waits for job first, which is running";
    assert_eq!(place("urgent").await, Some((1, says.to_owned())));
    assert_eq!(place("low").await.unwrap().0, 5);
    learner.cancel("late").await;
    assert_eq!(place("low").await.unwrap().0, 4);
    // Who is resumed may have another priority then.
    learner.resume("flaky", Some(with_priority("flaky", 8))).await.unwrap();
    assert_eq!(place("flaky").await.unwrap().0, 3);
    learner.stop().await;

    order.lock().unwrap().clear();
    let learner = TestLearner::start(&redis.url(), runs.path(), noting(&gate, &order)).await;
    learner.wait_for_state("first", JobState::Running).await;
    let listed = learner
        .jobs()
        .list(v1::ListJobsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .jobs;
    let places: BTreeMap<&str, u32> = listed
        .iter()
        .filter_map(|job| Some((job.id.as_str(), job.waiting.as_ref()?.position)))
        .collect();
    let expected = [
        ("also-urgent", 2),
        ("flaky", 3),
        ("low", 5),
        ("plain", 4),
        ("urgent", 1),
    ];
    assert_eq!(places, BTreeMap::from(expected));
    gate.store(true, Ordering::Relaxed);
    learner.wait_for_state("low", JobState::Succeeded).await;
    assert_eq!(
        *order.lock().unwrap(),
        ["first", "urgent", "also-urgent", "flaky", "plain", "low"]
    );
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_the_jobs_that_are_asked_for_page_by_page() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |context| {
        anyhow::ensure!(!context.job_id().as_str().starts_with("bad"), "it fails");
        Ok(())
    })
    .await;
    let labelled = |name: &str, labels: &[(&str, &str)]| v1::JobSpec {
        labels: labels
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
        ..spec(name)
    };
    for number in 0..5 {
        let seed = number.to_string();
        let job = labelled("math", &[("team", "a"), ("seed", &seed)]);
        learner.submit("", job).await.unwrap();
    }
    learner
        .submit("", labelled("bad-math", &[("team", "a")]))
        .await
        .unwrap();
    learner.submit("", labelled("code", &[("team", "b")])).await.unwrap();
    learner.wait_for_state("bad-math", JobState::Failed).await;
    learner.wait_for_state("code", JobState::Succeeded).await;
    let ask = async |request: v1::ListJobsRequest| learner.jobs().list(request).await.map(tonic::Response::into_inner);
    let ids = async |states: &[JobState], labels: &[(&str, &str)], name: &str| -> Vec<String> {
        let mut request = v1::ListJobsRequest {
            page_size: 2,
            states: states.iter().map(|state| i32::from(*state)).collect(),
            labels: labels
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
            name: name.to_owned(),
            ..v1::ListJobsRequest::default()
        };
        let mut ids = Vec::new();
        loop {
            let page = ask(request.clone()).await.unwrap();
            assert!(page.jobs.len() <= 2);
            ids.extend(page.jobs.into_iter().map(|job| job.id));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return ids;
            }
        }
    };
    let math = ["math-5", "math-4", "math-3", "math-2", "math"];
    assert_eq!(ids(&[], &[], "math").await, math, "by the name that was submitted");
    assert_eq!(ids(&[JobState::Failed], &[], "").await, ["bad-math"]);
    assert_eq!(
        ids(&[JobState::Failed, JobState::Succeeded], &[], "*d*").await,
        ["code", "bad-math"]
    );
    assert_eq!(ids(&[], &[("team", "a"), ("seed", "3")], "").await, ["math-4"]);
    assert_eq!(ids(&[JobState::Succeeded], &[("team", "a")], "*").await, math);
    assert_eq!(ids(&[], &[("team", "")], "").await, Vec::<String>::new());
    assert_eq!(ids(&[JobState::Queued], &[], "").await, Vec::<String>::new());
    // A page that is full where no further job is asked for is the last one.
    let request = v1::ListJobsRequest {
        page_size: 1,
        labels: BTreeMap::from([("team".to_owned(), "b".to_owned())]),
        ..v1::ListJobsRequest::default()
    };
    assert_eq!(ask(request).await.unwrap().next_page_token, "");
    for (states, labels, name, says) in [
        (vec![99], BTreeMap::new(), String::new(), "states holds 99"),
        (vec![0], BTreeMap::new(), String::new(), "states holds 0"),
        (
            vec![],
            BTreeMap::from([("a b".to_owned(), String::new())]),
            String::new(),
            "labels is \"a b\"",
        ),
        (vec![], BTreeMap::new(), "x".repeat(65), "name has 65 bytes"),
    ] {
        let request = v1::ListJobsRequest {
            states,
            labels,
            name,
            ..v1::ListJobsRequest::default()
        };
        let refused = ask(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(says), "{refused}");
    }
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_jobs_go_but_for_those_that_may_go_on_or_hold_models() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let run = |context: &JobContext| {
        let name = context.job_id().to_string();
        anyhow::ensure!(!name.starts_with("failed"), "it fails");
        if name.starts_with("model") {
            let model = context.directory().join("final");
            std::fs::create_dir(&model)?;
            std::fs::write(model.join("anytime_export.json"), "{}")?;
        }
        Ok(())
    };
    let learner = TestLearner::start(&redis.url(), runs.path(), run).await;
    let names = ["failed", "model", "old", "older", "new", "newest"];
    for name in names {
        learner.submit("", spec(name)).await.unwrap();
    }
    learner.wait_for_state("newest", JobState::Succeeded).await;
    // Waits for nothing, but is over in the same way.
    learner.stop().await;

    let retention = Retention {
        jobs: Some(2),
        age: None,
    };
    let learner = TestLearner::start_keeping(&redis.url(), runs.path(), retention, run).await;
    eventually("the old ones are gone", async || listed(&learner).await.len() == 4).await;
    assert_eq!(listed(&learner).await, ["newest", "new", "model", "failed"]);
    eventually("their files, too", async || {
        ["old", "older"].iter().all(|name| !runs.path().join(name).exists())
    })
    .await;
    assert!(runs.path().join("model/final").is_dir());
    // Their names are free again.
    assert_eq!(learner.submit("", spec("old")).await.unwrap().id, "old");
    learner.wait_for_state("old", JobState::Succeeded).await;
    learner.stop().await;

    let age = Some(Duration::ZERO);
    let retention = Retention { jobs: None, age };
    let learner = TestLearner::start_keeping(&redis.url(), runs.path(), retention, run).await;
    eventually("all that may go is gone", async || {
        listed(&learner).await == ["model", "failed"]
    })
    .await;
    learner.stop().await;
}
