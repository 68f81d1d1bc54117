//! `anytime evaluate` on a learner: the job that it makes, its table, and what a signal does.
#![allow(clippy::unwrap_used)]

mod support;

use anytime_proto::v1;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{FakeLearner, Script, anytime, command, signal, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn evaluate_prints_accuracy_per_budget_as_one_document() {
    let learner = FakeLearner::start(Script::default()).await;
    let arguments = [
        "evaluate",
        "--model",
        "m",
        "--problems",
        "p",
        "--budgets",
        "6,12",
        "--samples",
        "2",
    ];
    let url = learner.url();
    let with = |more: &[&'static str]| {
        let mut all: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        all.extend(more.iter().map(|text| (*text).to_owned()));
        all.extend(["--learner".to_owned(), url.clone()]);
        all
    };
    let texts = with(&["--json", "--markers-end", "</done>"]);
    let ended = anytime(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.json()["after"]["accuracy"][1], 1.0);
    assert_eq!(ended.json()["before"], Value::Null);
    let spec = learner.jobs()[0].spec.clone().unwrap();
    assert_eq!(spec.kind(), v1::JobKind::Evaluate);
    assert_eq!(spec.markers.unwrap().end(), "</done>");
    let evaluation = spec.evaluation.unwrap();
    assert_eq!(
        (&evaluation.path[..], evaluation.samples(), &evaluation.budgets[..]),
        (&["p".to_owned()][..], 2, &[6, 12][..])
    );

    let texts = with(&[]);
    let ended = anytime(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(
        ended.stdout.contains("          12   1.000 [0.960, 1.000]"),
        "{}",
        ended.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_evaluate_cancels_its_job() {
    let learner = FakeLearner::start(Script {
        end: v1::JobState::Running,
        ..Default::default()
    })
    .await;
    let mut child = command(&[
        "evaluate",
        "--model",
        "m",
        "--problems",
        "p",
        "--learner",
        &learner.url(),
    ])
    .spawn()
    .unwrap();
    wait_for("the watch", || !learner.watched_after().is_empty()).await;
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    assert_eq!(learner.jobs()[0].state(), v1::JobState::Cancelled);
}
