//! `anytime audit` of a learner that does not send all its events: nothing is said of a part of the history.
#![allow(clippy::unwrap_used)]

mod support;

use anytime_proto::v1;
use support::{FakeLearner, Script, anytime};

/// Audits a job whose script has five events, two of them steps.
async fn audit(end: v1::JobState, last_event: u64) -> support::Ended {
    let learner = FakeLearner::start(Script {
        end,
        last_event,
        ..Script::default()
    })
    .await;
    learner.add_job(v1::Job {
        id: "job".to_owned(),
        state: end.into(),
        ..v1::Job::default()
    });
    anytime(&["audit", "job", "--learner", &learner.url(), "--json"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_ends_early_is_incomplete_evidence_and_no_violation() {
    let ended = audit(v1::JobState::Succeeded, 9).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (69, ""), "{}", ended.stderr);
    let expected = "the evidence is incomplete: the stream of events ended after event 5 of 9";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    // With all of them it is judged, and what it lacks is found.
    let ended = audit(v1::JobState::Succeeded, 5).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(ended.json()["clean"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn undone_steps_are_said_though_a_learner_does_not_send_their_events() {
    let learner = FakeLearner::start(Script {
        last_event: 5,
        undone_steps: 3,
        ..Script::default()
    })
    .await;
    learner.add_job(v1::Job {
        id: "job".to_owned(),
        ..v1::Job::default()
    });
    let ended = anytime(&["audit", "job", "--learner", &learner.url()]).await;
    let expected = "3 steps were undone by restarts and done again";
    assert!(ended.stdout.contains(expected), "{}\n{}", ended.stdout, ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_is_too_slow_gives_incomplete_evidence() {
    let ended = audit(v1::JobState::Running, 9).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (69, ""), "{}", ended.stderr);
    let expected = "the learner sent nothing more for 10 s after event 5 of 9";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}
