//! A server that follows a job: its answers come from the newest weights while the job trains, and from the last ones when
//! the learner is away.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anytime_tests::metrics::{scrape, sum};
use anytime_tests::process::Process;
use anytime_tests::programs::binary;
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::serve::{Serving, new_client, post};

async fn follow(stack: &Stack, job: &str) -> Serving {
    let port_file = stack.workplace.path("port");
    let learner = format!("http://{}", stack.learner.address);
    let mut command = Command::new(binary("anytime"));
    command.current_dir(stack.workplace.path(""));
    command.args([
        "serve",
        "--follow",
        job,
        "--learner",
        &learner,
        "--listen",
        "127.0.0.1:0",
    ]);
    command.args([
        "--port-file",
        port_file.to_str().unwrap(),
        "--device",
        "cpu",
        "--slots",
        "8",
    ]);
    command.args(["--", "--cache-gib", "0.2"]);
    let workplace = &stack.workplace;
    let process = Process::start("follow", command, workplace.mark(), &workplace.path("logs"));
    let read = async || std::fs::read_to_string(&port_file).ok();
    let address = eventually("the server's address", 60, read).await;
    Serving {
        process,
        url: format!("http://{}", address.trim()),
    }
}

/// First and last version of the weights of one answer, which is whole.
async fn versions(client: &Client, serving: &Serving, job: &str, streams: bool) -> (u64, u64) {
    let mut asked = json!({"messages": [{"role": "user", "content": "3+4="}], "anytime": {"summaries": 4}});
    asked["stream"] = streams.into();
    let response = post(client, serving, &asked).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, StatusCode::OK, "{text}");
    let end: Value = if streams {
        let lines = text.strip_suffix("\n\ndata: [DONE]\n\n").expect("a whole stream");
        let last = lines.rsplit("data: ").next().unwrap();
        serde_json::from_str(last).unwrap()
    } else {
        serde_json::from_str(&text).unwrap()
    };
    let weights = &end["anytime"]["weights"];
    assert_eq!(weights["job"], job, "{end}");
    (
        weights["first_version"].as_u64().unwrap(),
        weights["version"].as_u64().unwrap(),
    )
}

/// Asks until an answer has seen this version.
async fn reaches(client: &Client, serving: &Serving, job: &str, version: u64) -> u64 {
    let reached = async || {
        let (_, last) = versions(client, serving, job, false).await;
        (last >= version).then_some(last)
    };
    eventually(&format!("an answer of version {version}"), 60, reached).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_from_the_newest_weights_of_a_job_that_trains() {
    within(170, async {
        let mut stack = Stack::start(1).await;
        let job = stack.submit("one", stack.workplace.train("followed", 2000)).await.id;
        let mut serving = follow(&stack, &job).await;
        let client = new_client();

        // Four streams at a time, none of which is dropped, until one of them has lived through a change.
        let has_rolled = Arc::new(AtomicBool::new(false));
        let serving_now = Arc::new(serving);
        let streams: Vec<_> = (0..4)
            .map(|_| {
                let (client, serving, job) = (client.clone(), Arc::clone(&serving_now), job.clone());
                let has_rolled = Arc::clone(&has_rolled);
                tokio::spawn(async move {
                    let mut before = 0;
                    while !has_rolled.load(Ordering::Acquire) {
                        let (first, last) = versions(&client, &serving, &job, true).await;
                        assert!(before <= first && first <= last, "{before} {first} {last}");
                        before = last;
                        if first < last {
                            has_rolled.store(true, Ordering::Release);
                        }
                    }
                })
            })
            .collect();
        for stream in streams {
            stream.await.unwrap();
        }
        serving = Arc::into_inner(serving_now).unwrap();
        let seen = reaches(&client, &serving, &job, 5).await;

        // It is asked as the job asks, and is no actor to the learner.
        let models = client.get(format!("{}/v1/models", serving.url)).send().await.unwrap();
        let models: Value = models.json().await.unwrap();
        assert_eq!(models["data"][0]["id"], job.as_str(), "{models}");
        assert_eq!(models["data"][0]["anytime"]["budgets"], json!([6, 12]), "{models}");
        // The learner counts once a second, and both have asked it by now.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let samples = stack.learner_metrics().await;
        let actors = sum(&samples, "anytime_learner_actors", "");
        assert!((actors - 1.0).abs() < 0.5, "{actors} actors");

        // Without its learner it answers with what it has, and follows again once that is back.
        stack.learner.process.kill();
        // What it had from the learner by then it may still take up.
        let (mut held, mut answers) = (seen, 0);
        let last = loop {
            let (first, last) = versions(&client, &serving, &job, true).await;
            assert!(held <= first && first <= last, "{held} {first} {last}");
            if first == last && last == held {
                break last;
            }
            answers += 1;
            assert!(answers < 5, "{last} came after {held}, and no learner runs");
            held = last;
        };
        stack.restart_learner().await;
        reaches(&client, &serving, &job, last + 5).await;

        // The job is over: its last weights stay.
        stack.anytime(&["cancel", &job], 30).await.expect(0);
        versions(&client, &serving, &job, false).await;
        let samples = scrape(serving.url.trim_start_matches("http://")).await.unwrap();
        assert!(sum(&samples, "anytime_actor_weights_version", "") > 5.0);
        let refused = stack.anytime(&["serve", "--follow", &job], 30).await;
        let refused = refused.expect(64);
        assert!(
            refused.stderr.contains("publishes no weights any more"),
            "{}",
            refused.stderr
        );
        let unknown = stack.anytime(&["serve", "--follow", "nobody"], 30).await;
        let unknown = unknown.expect(64);
        assert!(unknown.stderr.contains("nobody"), "{}", unknown.stderr);
        assert_eq!(serving.process.terminate().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_waits_for_a_job_ends_when_it_is_asked_to() {
    within(60, async {
        let stack = Stack::start(0).await;
        // Without its port file it has not begun to listen: the program is started as a supervisor does.
        let mut command = Command::new(binary("anytime-actor"));
        let learner = format!("http://{}", stack.learner.address);
        command.args([
            "serve",
            "--follow",
            "later",
            "--learner",
            &learner,
            "--listen",
            "127.0.0.1:0",
        ]);
        command.args(["--device", "cpu"]);
        let workplace = &stack.workplace;
        let mut process = Process::start("waits", command, workplace.mark(), &workplace.path("logs"));
        let waits = async || process.log().contains("waits for the weights of the job").then_some(());
        eventually("a line that it waits", 30, waits).await;
        assert_eq!(process.terminate().await, 0);
    })
    .await;
}
