//! `anytime check` with the learner's program, and what a job says about its data.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anytime_policy::{ModelConfig, initialise_weights, write_model};
use anytime_proto::v1;
use anytime_tests::stack::Stack;
use anytime_tests::workplace::{Ended, Workplace};
use serde_json::{Value, json};
use tch::{Device, Kind};

const LIMIT: u64 = 60;

async fn check(workplace: &Workplace, spec: &v1::JobSpec, extra: &[&str]) -> Ended {
    let job_file = workplace.write_job(spec);
    let arguments = [&["check", job_file.to_str().unwrap()], extra].concat();
    workplace.anytime(&arguments, LIMIT).await
}

fn with_data(workplace: &Workplace, rows: &[Value]) -> v1::JobSpec {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(workplace.path("rows.jsonl"), text).unwrap();
    let mut spec = workplace.train("checked", 2);
    let data = spec.data.get_or_insert_default();
    data.path = vec!["rows.jsonl".to_owned()];
    data.max_prompt_tokens = Some(8);
    spec
}

fn rows() -> Vec<Value> {
    vec![
        json!({"problem": "1+2=", "answer": "3"}),
        json!({"problem": "2+2=", "answer": "[\"4\"]"}),
        json!({"problem": "1+2=", "answer": "3"}),
        json!({"problem": "1+2=", "answer": "?"}),
        json!({"problem": "3+3=", "answer": "six or so, because"}),
        json!({"problem": "1+2+3+4+5=", "answer": "15"}),
        json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "4+4="}], "answer": 8}),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_shows_the_first_prompt_and_counts_what_becomes_of_the_rows() {
    let workplace = Workplace::new();
    let spec = with_data(&workplace, &rows());
    let ended = check(&workplace, &spec, &["--json"]).await.expect(0);
    let document = &ended.json()[0];
    let found = &document["found"];
    assert_eq!(found["prompt_text"], "1+2=");
    assert_eq!(found["prompt_ids"].as_array().unwrap().len(), 4, "{found}");
    assert_eq!(found["template"], "");
    assert_eq!(found["ends"].as_array().unwrap().len(), 1);
    let data = &found["data"][0];
    for (name, count) in [
        ("files", 1),
        ("rows", 7),
        ("repeats", 1),
        ("kept", 5),
        ("long_prompts", 1),
        ("longest_prompt", 10),
        ("system_messages", 1),
        ("contradicting", 1),
        ("word_for_word", 1),
        ("never_equal", 1),
        ("readable", 4),
    ] {
        assert_eq!(data[name], count, "{name}: {data}");
    }
    assert_eq!(data["first_word_for_word"][0]["place"], "line 5");
    assert_eq!(data["first_never_equal"][0]["place"], "line 4");
    let memory = found["memory"].as_array().unwrap();
    let processes: Vec<&str> = memory
        .iter()
        .map(|process| process["process"].as_str().unwrap())
        .collect();
    assert_eq!(processes, ["learner", "actor"]);
    assert!(
        memory
            .iter()
            .all(|process| process["bytes"].as_u64().unwrap() > 1_000_000)
    );

    let ended = check(&workplace, &spec, &["--data"]).await.expect(0);
    for part in [
        "works (train checked)",
        "| 1+2=",
        "\nends        ",
        "\nmemory      learner ",
        "\nmemory      actor ",
        "7 rows, 1 repeat an earlier row, 1 left out as too long, 5 kept",
        "line 5: \"six or so, because\"",
        "line 4: \"?\"",
        "note: data.path: 1 system messages",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    workplace.assert_nothing_runs();
    assert!(!workplace.path("runs").exists(), "a check leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_refuses_what_cannot_work_as_a_submission_does() {
    let workplace = Workplace::new();
    let refused = async |change: &dyn Fn(&mut v1::JobSpec), says: &str| {
        let mut spec = workplace.train("refused", 2);
        change(&mut spec);
        let ended = check(&workplace, &spec, &[]).await.expect(64);
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.lines().count()),
            ("", 1),
            "{}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains("refused.toml") && ended.stderr.contains(says),
            "{says}: {}",
            ended.stderr
        );
    };
    refused(
        &|spec| spec.model.get_or_insert_default().path = Some("nowhere".to_owned()),
        "model.path",
    )
    .await;
    refused(
        &|spec| spec.model.get_or_insert_default().initialise = Some(false),
        "model.safetensors",
    )
    .await;
    refused(
        &|spec| spec.data.get_or_insert_default().path = vec!["openai/gsm8k".to_owned()],
        "hf://datasets/openai/gsm8k",
    )
    .await;
    refused(
        &|spec| spec.data.get_or_insert_default().problem_field = Some("q".to_owned()),
        "the row has",
    )
    .await;
    refused(
        &|spec| spec.markers.get_or_insert_default().cut = Some("\u{1F914}".to_owned()),
        "markers.cut",
    )
    .await;
    // The settings alone can be checked without any of the files.
    let mut spec = workplace.train("refused", 2);
    spec.model.get_or_insert_default().path = Some("nowhere".to_owned());
    let ended = check(&workplace, &spec, &["--settings-only"]).await.expect(0);
    assert!(ended.stdout.contains("a valid job file"), "{}", ended.stdout);
}

/// The demo's model in the shape of one of 7 · 10⁹ parameters, of which no weights are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_says_how_a_job_fits_on_gpus() {
    let workplace = Workplace::new();
    let path = workplace.path("model").join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (name, value) in [
        ("hidden_size", 3584),
        ("intermediate_size", 18944),
        ("num_hidden_layers", 28),
        ("num_attention_heads", 28),
        ("num_key_value_heads", 4),
        ("vocab_size", 152_064),
    ] {
        config[name] = json!(value);
    }
    config["tie_word_embeddings"] = json!(false);
    std::fs::write(&path, config.to_string()).unwrap();
    let spec = workplace.train("large", 1);
    let ended = check(&workplace, &spec, &["--gpus", "4x80"]).await.expect(0);
    for part in [
        "gpus        4 GPUs of 80 GB: a learner of 3 ranks with training.sharding = \"gradients\"",
        "one GPU for an actor",
        "as the job has it, the learner does not fit; write \"gradients\"",
        "none one process of 134.8 GiB: does not fit",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let ended = check(&workplace, &spec, &["--gpus", "4x80", "--json"]).await.expect(0);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    let fit = &found[0]["fit"];
    assert_eq!(fit["learner"].as_array().unwrap().len(), 4);
    assert!(fit["actor"]["bytes"].as_u64().unwrap() > 30 << 30, "{fit}");
    let refused = check(&workplace, &spec, &["--gpus", "1x24"]).await.expect(64);
    assert!(
        refused
            .stderr
            .contains("large.toml: 1 GPU of 24 GB cannot hold its learner"),
        "{}",
        refused.stderr
    );
    let refused = check(&workplace, &spec, &["--gpus", "80"]).await;
    assert!(
        refused.code != 0 && refused.stderr.contains("such as 4x80"),
        "{}",
        refused.stderr
    );

    // Of adapters nothing but the moments is divided, and a model that is only measured makes no updates.
    let mut adapted = spec.clone();
    adapted.model.get_or_insert_default().initialise = Some(false);
    adapted.training.get_or_insert_default().lora = Some(v1::LoraSpec::default());
    let ended = check(&workplace, &adapted, &["--gpus", "4x80", "--settings-only"]).await;
    assert!(
        ended.code != 0 && ended.stderr.contains("cannot be used with"),
        "{}",
        ended.stderr
    );
    let mut measured = spec;
    measured.kind = Some(v1::JobKind::Evaluate.into());
    measured.evaluation = Some(v1::EvaluationSpec {
        path: measured.data.get_or_insert_default().path.clone(),
        budgets: vec![6],
        ..Default::default()
    });
    let ended = check(&workplace, &measured, &["--gpus", "2x80"]).await.expect(0);
    assert!(
        ended
            .stdout
            .contains("a learner of one process, 28.4 GiB of 70.1 GiB each"),
        "{}",
        ended.stdout
    );
    let refused = check(&workplace, &measured, &["--gpus", "2x32"]).await.expect(64);
    assert!(
        refused.stderr.contains("2 GPUs of 32 GB cannot hold its learner"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_reads_all_weights() {
    let workplace = Workplace::new();
    let directory = workplace.path("model");
    let config = ModelConfig::load(&directory).unwrap();
    let mut weights = initialise_weights(&config, 1, Device::Cpu);
    let spec = {
        let mut spec = workplace.train("weighed", 2);
        spec.model.get_or_insert_default().initialise = Some(false);
        spec
    };
    write_model(&directory, &config, &weights, Kind::Float).unwrap();
    check(&workplace, &spec, &[]).await.expect(0);
    let norm = weights["model.norm.weight"].copy();
    let _ = norm.get(3).fill_(f64::NAN);
    weights.insert("model.norm.weight".to_owned(), norm);
    write_model(&directory, &config, &weights, Kind::Float).unwrap();
    let ended = check(&workplace, &spec, &[]).await.expect(64);
    for part in [
        "weighed.toml",
        "model.path",
        "values of tensor model.norm.weight are NaN or infinite",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_may_start_from_the_model_that_an_earlier_one_writes() {
    let workplace = Workplace::new();
    let (sft, train) = (
        workplace.write_job(&workplace.sft(2)),
        workplace.write_job(&workplace.demo_train()),
    );
    let arguments = ["check", sft.to_str().unwrap(), train.to_str().unwrap()];
    let ended = workplace.anytime(&arguments, LIMIT).await.expect(0);
    assert_eq!(ended.stdout.matches("works (").count(), 2, "{}", ended.stdout);
    workplace
        .anytime(&["check", train.to_str().unwrap()], LIMIT)
        .await
        .expect(64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_out_and_changed_stands_in_the_events_and_in_the_report() {
    let mut stack = Stack::start(1).await;
    let spec = with_data(&stack.workplace, &rows());
    let job = stack.submit("checked", spec).await;
    stack.wait_for_success(&job.id, 60).await;
    let out = stack.workplace.path("report");
    stack
        .anytime(&["report", &job.id, "--out", out.to_str().unwrap()], 20)
        .await
        .expect(0);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    let topics: Vec<&str> = report["notices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| notice["topic"].as_str().unwrap())
        .collect();
    let expected = [
        "repeated_rows",
        "long_prompts",
        "system_messages",
        "contradicting_rows",
        "ground_truths",
    ];
    assert_eq!(topics, expected, "each once, though the job's start checks again");
    let events = stack.anytime(&["watch", &job.id, "--json"], 20).await.expect(0);
    let noticed: Vec<Value> = events
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "notice")
        .collect();
    assert_eq!(noticed.len(), expected.len());
    let truths = noticed[4]["text"].as_str().unwrap();
    assert!(truths.contains("line 5") && truths.contains("line 4"), "{truths}");
}

/// Chaos H11: submissions that named a FIFO took a thread each, until none was left for anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submissions_that_name_a_fifo_hold_nobody_up() {
    let mut stack = Stack::start(1).await;
    let fifo = stack.workplace.path("fifo");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let mut spec = stack.workplace.train("fifo", 2);
    spec.data.get_or_insert_default().path = vec!["fifo".to_owned()];
    // More than the runtime has threads for work that blocks, some of them at the same time.
    let client = stack.jobs();
    let streams = (0..8).map(|stream| {
        let (mut client, spec) = (client.clone(), spec.clone());
        tokio::spawn(async move {
            for number in 0..66 {
                let request = v1::SubmitJobRequest {
                    request_id: format!("fifo-{stream}-{number}"),
                    spec: Some(spec.clone()),
                };
                let answer = tokio::time::timeout(Duration::from_secs(20), client.submit(request))
                    .await
                    .unwrap();
                let refused = answer.unwrap_err();
                assert_eq!(refused.code(), tonic::Code::InvalidArgument);
                assert!(refused.message().contains("a FIFO"), "{}", refused.message());
            }
        })
    });
    for stream in streams.collect::<Vec<_>>() {
        stream.await.unwrap();
    }
    let job = stack.submit("good", stack.workplace.train("good", 2)).await;
    stack.wait_for_success(&job.id, 60).await;
}

/// Published sets of evaluation problems have every problem on as many rows as it is to be sampled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_on_several_rows_is_measured_as_one() {
    let mut stack = Stack::start(1).await;
    let rows = "{\"problem\": \"1+2=\", \"answer\": 3}\n{\"problem\": \"2+2=\", \"answer\": 4}\n".repeat(3);
    std::fs::write(stack.workplace.path("repeated.jsonl"), rows).unwrap();
    let mut spec = stack.workplace.train("measured", 1);
    spec.kind = Some(v1::JobKind::Evaluate.into());
    spec.evaluation = Some(v1::EvaluationSpec {
        path: vec!["repeated.jsonl".to_owned()],
        budgets: vec![3, 6],
        samples: Some(2),
        ..Default::default()
    });
    let job = stack.submit("measured", spec).await;
    let ended = stack.wait_for_success(&job.id, 60).await;
    let measured = &ended.evaluations[0];
    assert_eq!((measured.problems, measured.samples), (2, 6));
    assert_eq!(ended.notices.len(), 1);
    let kept = std::fs::read_to_string(&measured.generations).unwrap();
    let kept: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<(&str, usize)> = kept
        .iter()
        .map(|line| {
            (
                line["problem"].as_str().unwrap(),
                line["traces"].as_array().unwrap().len(),
            )
        })
        .collect();
    assert_eq!(found, [("1+2=", 6), ("2+2=", 6)]);
}
