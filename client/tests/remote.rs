//! The commands that talk to a learner, through the binary and against a job service that plays a script.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::VecDeque;

use anytime_proto::v1;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{FakeLearner, Script, anytime, command, output_of, repository, signal, train_job, wait_for, write};

async fn submit(learner: &FakeLearner, extra: &[&str]) -> support::Ended {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("job.toml");
    write(&file, &train_job("sums"));
    let mut arguments = vec!["submit", file.to_str().unwrap()];
    arguments.extend(extra);
    let mut command = command(&arguments);
    command.env("ANYTIME_LEARNER", learner.url());
    output_of(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_prints_the_job_id_and_the_request_id_makes_it_idempotent() {
    let learner = FakeLearner::start(Script::default()).await;
    for _ in 0..2 {
        let ended = submit(&learner, &["--request-id", "once"]).await;
        assert_eq!((ended.code, ended.stdout.trim()), (0, "sums-1"), "{}", ended.stderr);
    }
    assert_eq!(learner.jobs().len(), 1);
    let ended = submit(&learner, &["--json"]).await;
    assert_eq!(ended.json()["id"], "sums-2");
    assert_eq!(ended.json()["spec"]["rollout"]["traces"], 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_setting_is_bad_configuration() {
    let learner = FakeLearner::start(Script::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("job.toml");
    write(&file, &train_job("sums").replace("\"model\"", "\"missing\""));
    let ended = anytime(&["submit", file.to_str().unwrap(), "--learner", &learner.url()]).await;
    assert_eq!(ended.code, 64);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let first = "error: model.path is \"missing\"; it must be a directory";
    assert_eq!(lines, [first, "also: training.clip is 0.25; it must be less here"]);
    assert_eq!(ended.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_finds_the_learner_busy_comes_again_when_it_says() {
    let busy = |busy: usize| Script {
        busy,
        ..Script::default()
    };
    let learner = FakeLearner::start(busy(2)).await;
    let ended = submit(&learner, &[]).await;
    assert_eq!((ended.code, ended.stdout.trim()), (0, "sums-1"), "{}", ended.stderr);
    let learner = FakeLearner::start(busy(3)).await;
    let ended = submit(&learner, &[]).await;
    assert_eq!(ended.code, 70, "{}", ended.stderr);
    assert!(ended.stderr.contains("tried again in 0.02 s"), "{}", ended.stderr);
    assert_eq!(learner.jobs().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_is_not_answered_in_time_is_not_made_again() {
    let learner = FakeLearner::start(Script {
        is_late: true,
        ..Script::default()
    })
    .await;
    let ended = submit(&learner, &["--request-id", "mine"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (69, ""), "{}", ended.stderr);
    for part in [
        "may still be reading the job's files",
        "`anytime list`",
        "--request-id mine",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(learner.submissions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_the_learner_about_the_files_that_it_sees() {
    let learner = FakeLearner::start(Script::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("job.toml");
    write(&file, &train_job("sums"));
    let check = async |extra: &[&str]| {
        let url = learner.url();
        let arguments = [&["check", file.to_str().unwrap(), "--learner", &url], extra].concat();
        anytime(&arguments).await
    };
    let ended = check(&[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for part in [
        "works (train sums)",
        "first prompt (2 tokens)",
        "| a prompt of model",
        "ids 3 4",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let ended = check(&["--json"]).await;
    let document = &ended.json()[0];
    assert_eq!(document["found"]["prompt_ids"], serde_json::json!([3, 4]));
    assert_eq!(document["spec"]["training"]["steps"], 2);
    assert!(learner.jobs().is_empty(), "a check makes no job");
    let ended = check(&["--set", "model.path=missing"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (64, ""));
    assert!(ended.stderr.contains("job.toml: model.path"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_goes_on_behind_the_last_event_when_the_stream_breaks() {
    let learner = FakeLearner::start(Script {
        breaks: VecDeque::from([2, 0, 1]),
        ..Default::default()
    })
    .await;
    let submitted = submit(&learner, &[]).await;
    let job = submitted.stdout.trim();
    let ended = anytime(&["watch", job, "--json", "--learner", &learner.url()]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let numbers: Vec<u64> = lines.iter().map(|line| line["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "each event once and in order");
    assert_eq!(learner.watched_after(), [0, 2, 2, 3]);
    assert_eq!(lines[1]["event"], "evaluation");
    assert_eq!(lines[2]["reward_per_budget"][1], 0.75);
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_without_a_terminal_prints_plain_lines_and_the_table() {
    let learner = FakeLearner::start(Script::default()).await;
    let ended = submit(&learner, &["--watch"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        !ended.stdout.contains('\u{1b}') && !ended.stderr.contains('\u{1b}'),
        "no escape sequences"
    );
    assert!(ended.stdout.contains("step 2/2  reward 0.50 0.75"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("budget   before                 after"),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stdout
            .contains("           6   0.250 [0.210, 0.270]   0.750 [0.710, 0.770]"),
        "{}",
        ended.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_job_is_the_exit_code() {
    for (end, code) in [(v1::JobState::Failed, 70), (v1::JobState::Cancelled, 130)] {
        let learner = FakeLearner::start(Script {
            end,
            ..Default::default()
        })
        .await;
        let ended = submit(&learner, &["--watch"]).await;
        assert_eq!(ended.code, code, "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_job_is_bad_configuration() {
    let learner = FakeLearner::start(Script::default()).await;
    for name in ["get", "watch", "cancel"] {
        let ended = anytime(&[name, "nobody", "--learner", &learner.url()]).await;
        assert_eq!(ended.code, 64, "{name}");
        assert!(ended.stderr.contains("nobody"), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_get_and_cancel_show_jobs() {
    let learner = FakeLearner::start(Script {
        end: v1::JobState::Running,
        ..Default::default()
    })
    .await;
    submit(&learner, &[]).await;
    submit(&learner, &[]).await;
    let url = learner.url();
    let list = anytime(&["list", "--learner", &url]).await;
    let ids: Vec<&str> = list
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(ids, ["sums-2", "sums-1"]);
    let list = anytime(&["list", "--json", "--learner", &url]).await;
    assert_eq!(list.json().as_array().unwrap().len(), 2);
    // The learner filters; the limit holds whatever comes.
    let asked = [
        "--state",
        "queued,failed",
        "--label",
        "team=a=b",
        "--name",
        "su*",
        "--limit",
        "1",
    ];
    let list = anytime(&[&["list", "--json", "--learner", &url], &asked[..]].concat()).await;
    assert_eq!(list.json().as_array().unwrap().len(), 1);
    let request = learner.listed().pop().unwrap();
    assert_eq!(
        request.states,
        [v1::JobState::Queued as i32, v1::JobState::Failed as i32]
    );
    let labels: Vec<(&str, &str)> = request
        .labels
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert_eq!((labels, request.name.as_str()), (vec![("team", "a=b")], "su*"));
    assert_eq!(request.page_size, 1);
    let cancelled = anytime(&["cancel", "sums-1", "--json", "--learner", &url]).await;
    assert_eq!(
        (cancelled.code, &cancelled.json()["state"]),
        (0, &Value::from("cancelled"))
    );
    let get = anytime(&["get", "sums-1", "--learner", &url]).await;
    assert!(get.stdout.contains("state       cancelled"), "{}", get.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_watching_and_not_the_job() {
    let learner = FakeLearner::start(Script {
        end: v1::JobState::Running,
        ..Default::default()
    })
    .await;
    submit(&learner, &[]).await;
    let mut watching = command(&["watch", "sums-1", "--learner", &learner.url()])
        .spawn()
        .unwrap();
    wait_for("the watch", || !learner.watched_after().is_empty()).await;
    signal(&watching, Signal::SIGINT);
    assert_eq!(watching.wait().await.unwrap().code(), Some(130));
    assert_eq!(learner.jobs()[0].state(), v1::JobState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn report_writes_the_document_and_the_picture() {
    let learner = FakeLearner::start(Script::default()).await;
    submit(&learner, &["--watch"]).await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("deep/report");
    let ended = anytime(&[
        "report",
        "sums-1",
        "--out",
        out.to_str().unwrap(),
        "--learner",
        &learner.url(),
    ])
    .await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["steps"], 2);
    assert_eq!(report["before"]["anytime"], 0.375);
    assert_eq!(report["series"].as_array().unwrap().len(), 2);
    assert_eq!(report["tokens_per_second"], 150.0);
    assert!(
        std::fs::read_to_string(out.join("curves.svg"))
            .unwrap()
            .starts_with("<svg")
    );
}

#[tokio::test]
async fn an_unreachable_learner_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let job_file = repository().join("deploy/jobs/reference.toml");
    for arguments in [
        vec!["list"],
        vec!["get", "x"],
        vec!["watch", "x"],
        vec!["submit", job_file.to_str().unwrap()],
    ] {
        let ended = anytime(&[&arguments[..], &["--learner", &url]].concat()).await;
        assert_eq!(ended.code, 69, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("refused"), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

fn stopped(id: &str, state: v1::JobState, error: &str) -> v1::Job {
    let spec = anytime_proto::settings::parse_job_file(&train_job("sums")).unwrap();
    v1::Job {
        id: id.to_owned(),
        spec: Some(anytime_proto::settings::with_defaults(&spec)),
        state: state.into(),
        error: error.to_owned(),
        notices: vec![v1::Notice {
            topic: "collapse".to_owned(),
            text: "the reward has collapsed".to_owned(),
            step: 7,
        }],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_changes_what_may_change_and_says_what_may_not() {
    let learner = FakeLearner::start(Script::default()).await;
    learner.add_job(stopped("sums-1", v1::JobState::Failed, "out of luck"));
    let url = learner.url();
    let resume = async |more: &[&str]| anytime(&[&["resume", "sums-1", "--learner", &url][..], more].concat()).await;
    let refused = resume(&["--set", "training.batch=32"]).await;
    assert_eq!(refused.code, 64);
    assert!(refused.stderr.contains("training.batch"), "{}", refused.stderr);
    let refused = resume(&["--set", "training.bach=32"]).await;
    assert_eq!(refused.code, 64, "{}", refused.stderr);

    let resumed = resume(&["--set", "training.micro_batch_tokens=512", "--json"]).await;
    assert_eq!(
        (resumed.code, &resumed.json()["state"]),
        (0, &"running".into()),
        "{}",
        resumed.stderr
    );
    assert_eq!(resumed.json()["spec"]["training"]["micro_batch_tokens"], 512);
    assert_eq!(resumed.json()["notices"][0]["topic"], "collapse");
    let again = resume(&[]).await;
    assert_eq!(again.code, 64);
    assert!(again.stderr.contains("has not stopped"), "{}", again.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_deleted_with_its_models_only_where_that_is_asked_for() {
    let learner = FakeLearner::start(Script::default()).await;
    submit(&learner, &[]).await;
    let refused = anytime(&["delete", "sums-1", "--learner", &learner.url()]).await;
    assert_eq!(refused.code, 64);
    assert!(refused.stderr.contains("holds models (final)"), "{}", refused.stderr);
    let deleted = anytime(&["delete", "sums-1", "--with-models", "--learner", &learner.url()]).await;
    assert_eq!(
        (deleted.code, deleted.stdout.trim()),
        (0, "removed job sums-1 with its models final")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_saved_and_replayed() {
    let learner = FakeLearner::start(Script::default()).await;
    submit(&learner, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("letters");
    let run = async |extra: &[&str]| {
        let url = learner.url();
        anytime(&[&["dead-letters", "sums-1", "--learner", &url], extra].concat()).await
    };
    let listed = run(&["--save", folder.to_str().unwrap()]).await;
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    // One line, whatever an actor wrote.
    let line = "group 7, problem p␛[2J7: 3 deliveries, the last by a: traces[1].thinking: token id 10 is too large";
    assert_eq!(listed.stdout.trim_end(), line);
    assert_eq!(std::fs::read(folder.join("7.pb")).unwrap(), b"a group");
    let listed = run(&["--json"]).await.json();
    assert_eq!(
        (&listed[0]["sequence"], &listed[0]["group_bytes"]),
        (&7.into(), &7.into())
    );
    let replayed = run(&["--replay-all"]).await;
    assert_eq!(
        (replayed.code, replayed.stdout.trim()),
        (0, "group 7: its problem is leased again")
    );
    let partly = run(&["--replay", "7", "--replay", "8", "--json"]).await;
    assert_eq!(partly.code, 64);
    assert_eq!(partly.json()["replayed"], serde_json::json!([7]));
    assert!(partly.stderr.contains("group 8 is not replayed"), "{}", partly.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn export_prints_where_the_model_is() {
    let learner = FakeLearner::start(Script::default()).await;
    learner.add_job(stopped("sums-1", v1::JobState::Failed, "out of luck"));
    let url = learner.url();
    let export = async |more: &[&str]| anytime(&[&["export", "sums-1", "--learner", &url][..], more].concat()).await;
    assert_eq!(export(&[]).await.stdout.trim(), "step 2: exports/step-00000002");
    let document = export(&["--step", "5", "--output", "models/mine", "--json"])
        .await
        .json();
    assert_eq!(
        (&document["step"], &document["directory"]),
        (&5.into(), &"models/mine".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_job_learns_that_it_waits_for_a_person() {
    let pause = |number: u64, retry_at: Option<prost_types::Timestamp>| v1::JobEvent {
        number,
        time: None,
        event: Some(v1::job_event::Event::State(v1::StateChanged {
            state: v1::JobState::Paused.into(),
            error: "the disk is full".to_owned(),
            retry_at,
        })),
    };
    let soon = prost_types::Timestamp {
        seconds: 1_700_000_000,
        nanos: 0,
    };
    let learner = FakeLearner::start(Script {
        events: vec![pause(1, Some(soon)), pause(2, None)],
        end: v1::JobState::Running,
        ..Script::default()
    })
    .await;
    learner.add_job(stopped(
        "sums-1",
        v1::JobState::Paused,
        "put it right, then `anytime resume sums-1`",
    ));
    let ended = anytime(&["watch", "sums-1", "--learner", &learner.url()]).await;
    assert_eq!(ended.code, 70, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("job sums-1 is paused: put it right"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stdout.contains("paused: the disk is full (next try at 2023-"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("note at step 7: the reward has collapsed"),
        "{}",
        ended.stdout
    );
    let listed = anytime(&["list", "--learner", &learner.url()]).await;
    assert!(
        listed.stdout.contains("paused") && listed.stdout.contains("put it right"),
        "{}",
        listed.stdout
    );
}
