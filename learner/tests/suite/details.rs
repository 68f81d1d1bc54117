//! What programs read in a refusal, over a whole server: the details of `google.rpc` beside the sentence.

use anytime_proto::{ErrorReason, StatusDetails, v1};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;

fn reason(status: &Status) -> String {
    StatusDetails::of(status).reason
}

#[tokio::test(flavor = "multi_thread")]
async fn every_setting_that_cannot_work_is_a_violation_with_its_sentence() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    let mut bad = spec("demo");
    bad.rollout = Some(v1::RolloutSpec {
        budgets: vec![8, 4],
        top_p: Some(7.0),
        ..v1::RolloutSpec::default()
    });
    let status = learner.submit("request", bad).await.unwrap_err();
    let details = StatusDetails::of(&status);
    assert_eq!(details.reason, ErrorReason::SettingRefused.name());
    assert_eq!(details.metadata["setting"], "rollout.budgets");
    let fields: Vec<&str> = details.violations.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["rollout.budgets", "rollout.top_p"]);
    assert_eq!(details.violations[0].1, status.message());
    assert!(details.violations[1].1.starts_with("rollout.top_p is 7"), "{details:?}");
    assert_eq!(details.retry_after, None);

    let missing = learner
        .jobs()
        .submit(v1::SubmitJobRequest::default())
        .await
        .unwrap_err();
    let details = StatusDetails::of(&missing);
    assert_eq!(details.reason, ErrorReason::ArgumentRefused.name());
    assert_eq!(details.violations, [("spec".to_owned(), missing.message().to_owned())]);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_is_not_so_has_its_name() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    let request = v1::GetJobRequest {
        job_id: "nobody".to_owned(),
    };
    let unknown = learner.jobs().get(request).await.unwrap_err();
    let details = StatusDetails::of(&unknown);
    assert_eq!(
        (unknown.code(), unknown.message()),
        (Code::NotFound, "job `nobody` does not exist")
    );
    assert_eq!(details.reason, ErrorReason::JobUnknown.name());
    assert_eq!(details.metadata["job_id"], "nobody");
    assert_eq!(
        details.resource,
        Some(("anytime.v1.Job".to_owned(), "nobody".to_owned()))
    );

    learner.submit("request", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", v1::JobState::Succeeded).await;
    let over = learner.resume("demo", None).await.unwrap_err();
    assert_eq!(over.code(), Code::FailedPrecondition);
    assert_eq!(reason(&over), ErrorReason::JobOver.name());
    let precondition = StatusDetails::of(&over).precondition;
    assert_eq!(
        precondition,
        Some((ErrorReason::JobOver.name().to_owned(), "demo".to_owned()))
    );

    let request = v1::GetDeadLetterRequest {
        job_id: "demo".to_owned(),
        sequence: 7,
    };
    let letter = learner.jobs().get_dead_letter(request).await.unwrap_err();
    assert_eq!(reason(&letter), ErrorReason::DeadLetterUnknown.name());
    assert_eq!(StatusDetails::of(&letter).metadata["sequence"], "7");
    learner.stop().await;
}

/// A client gives an answer up whose headers are too long, and its user would not learn what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_request_is_answered_within_the_headers() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    for text in ["\u{1F914}", "%\n", "\u{7}", "x"] {
        let long = text.repeat(10_000);
        let request = v1::GetJobRequest { job_id: long.clone() };
        let unknown = learner.jobs().get(request).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
        assert_eq!(reason(&unknown), ErrorReason::JobUnknown.name());

        let mut bad = spec("demo");
        bad.name = Some(long.clone());
        bad.markers = Some(v1::MarkerSpec {
            open: Some(long.clone()),
            end: Some(long.clone()),
            cut: Some(long.clone()),
            summary: Some(long.clone()),
        });
        let data = bad.data.get_or_insert_default();
        data.template_arguments.insert(long.clone(), long.clone());
        let refused = learner.submit("request", bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert_eq!(anytime_proto::setting_of_status(&refused).as_deref(), Some("name"));
        assert!(StatusDetails::of(&refused).violations.len() > 1, "{refused}");
    }
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_finds_redis_away_hears_when_to_come_again() {
    let (mut redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |_| Ok(())).await;
    learner.submit("request", spec("demo")).await.unwrap();
    learner.wait_for_state("demo", v1::JobState::Succeeded).await;
    redis.kill();
    let request = v1::ListDeadLettersRequest {
        job_id: "demo".to_owned(),
    };
    let away = learner.jobs().list_dead_letters(request).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable, "{away}");
    let details = StatusDetails::of(&away);
    assert_eq!(details.reason, ErrorReason::RedisUnavailable.name());
    assert!(details.retry_after.is_some_and(|pause| !pause.is_zero()));
    redis.restart();
    learner.stop().await;
}
