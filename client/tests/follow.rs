//! What ends the following of a job: errors that no waiting heals at once, others after the time that was given.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use anytime_proto::v1;
use support::{Ended, FakeLearner, Script, anytime};
use tonic::Code;

/// Watches a job whose watches are refused so, one after the other, and then as the last one.
async fn watch(refusals: &[Option<Code>], extra: &[&str]) -> (Ended, Duration, usize) {
    let learner = FakeLearner::start(Script {
        refusals: refusals.iter().copied().collect(),
        ..Script::default()
    })
    .await;
    learner.add_job(v1::Job {
        id: "job".to_owned(),
        state: v1::JobState::Running.into(),
        ..v1::Job::default()
    });
    let began = Instant::now();
    let url = learner.url();
    let arguments = [&["watch", "job", "--json", "--learner", &url], extra].concat();
    let ended = anytime(&arguments).await;
    (ended, began.elapsed(), learner.watched_after().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_waiting_heals_ends_at_once_with_its_exit_code() {
    for code in [
        Code::PermissionDenied,
        Code::NotFound,
        Code::InvalidArgument,
        Code::FailedPrecondition,
        Code::Unimplemented,
    ] {
        let (ended, took, watches) = watch(&[Some(code)], &[]).await;
        let expected = if code == Code::Unimplemented { 70 } else { 64 };
        assert_eq!((ended.code, watches), (expected, 1), "{code:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("not this way"), "{}", ended.stderr);
        assert!(took < Duration::from_secs(10), "{code:?}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stays_unknown_is_refused_within_seconds() {
    let (ended, took, watches) = watch(&[Some(Code::Unauthenticated)], &[]).await;
    assert_eq!(ended.code, 64, "{}", ended.stderr);
    assert!(ended.stderr.contains("refuses this: not this way"), "{}", ended.stderr);
    // As long as both ends take to read changed files again.
    assert!(watches > 2 && took > Duration::from_secs(3), "{watches} {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    // One whose token comes to be known goes on.
    let (ended, ..) = watch(&[Some(Code::Unauthenticated), Some(Code::Unauthenticated), None], &[]).await;
    assert_eq!((ended.code, ended.stdout.lines().count()), (0, 5), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_heal_is_tried_again_for_as_long_as_scripts_say() {
    for code in [Code::Unavailable, Code::Internal, Code::ResourceExhausted] {
        let (ended, took, watches) = watch(&[Some(code)], &["--give-up-after", "2s"]).await;
        assert_eq!(ended.code, 69, "{code:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("not this way"), "{}", ended.stderr);
        assert!(
            watches > 2 && took >= Duration::from_secs(2),
            "{code:?}: {watches} {took:?}"
        );
        assert!(took < Duration::from_secs(15), "{code:?}: {took:?}");
        // Said once, however often it is tried.
        let notices = ended.stderr.lines().filter(|line| line.contains("stream broke"));
        assert_eq!(notices.count(), 1, "{}", ended.stderr);
        let (ended, _, watches) = watch(&[Some(code), Some(code), None], &[]).await;
        assert_eq!((ended.code, watches), (0, 3), "{}", ended.stderr);
        assert_eq!(ended.stdout.lines().count(), 5, "every event: {}", ended.stdout);
    }
    let (ended, took, watches) = watch(&[Some(Code::Unavailable)], &["--give-up-after", "0s"]).await;
    assert_eq!((ended.code, watches), (69, 1), "{}", ended.stderr);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_none_is_refused() {
    for time in ["", "soon", "-1s", "10 parsecs", "99999999999999999999d"] {
        let argument = format!("--give-up-after={time}");
        let ended = anytime(&["watch", "job", &argument]).await;
        assert_eq!(ended.code, 64, "{time}: {}", ended.stderr);
        assert!(ended.stderr.contains("--give-up-after"), "{}", ended.stderr);
    }
}
