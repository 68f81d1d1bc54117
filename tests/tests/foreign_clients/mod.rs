//! Clients that nobody wrote for this project, unchanged against `anytime serve`: curl, OpenAI's Python client, and
//! lm-evaluation-harness. Each says so and ends where it is not there and cannot be installed.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use anytime_tests::programs::repository;
use anytime_tests::wait::within;
use anytime_tests::workplace::Workplace;
use serde_json::Value;

use crate::serve::{draw_weights, start};

/// Versions of these have been looked at; newer ones are taken.
const PACKAGES: [&str; 2] = ["openai>=2", "lm_eval[api]>=0.4.10"];

/// How long an installation may take.
const INSTALL_SECONDS: u64 = 600;

/// An environment of Python with the packages, made once; None where it cannot be had.
async fn python(workplace: &Workplace) -> Option<PathBuf> {
    let venv = repository().join(".deps/foreign-clients");
    let (program, stamp) = (venv.join("bin/python"), venv.join("stamp"));
    let packages = PACKAGES.join(" ");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == packages) {
        return Some(program);
    }
    let mut command = Command::new("sh");
    let script =
        "rm -rf \"$0\" && python3 -m venv \"$0\" && \"$0/bin/pip\" install --quiet --disable-pip-version-check \"$@\"";
    command.args(["-c", script]).arg(&venv).args(PACKAGES);
    command.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0");
    let ended = workplace.run(command, INSTALL_SECONDS).await;
    if ended.code != 0 {
        println!("skipped: {packages} cannot be installed: {}", ended.stderr);
        return None;
    }
    std::fs::write(stamp, packages).unwrap();
    Some(program)
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/foreign_clients")
        .join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_reads_a_stream() {
    within(60, async {
        let workplace = Workplace::new();
        draw_weights(&workplace);
        let mut serving = start(&workplace, &[]).await;
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--no-buffer", "--fail"]);
        command.arg(format!("{}/v1/chat/completions", serving.url));
        command.args([
            "-d",
            "{\"messages\": [{\"role\": \"user\", \"content\": \"3+4=\"}], \"stream\": true, \
                             \"anytime\": {\"budgets\": [4, 8]}}",
        ]);
        if Command::new("curl").arg("--version").output().is_err() {
            println!("skipped: there is no curl");
            return;
        }
        let ended = workplace.run(command, 30).await.expect(0);
        assert!(ended.stdout.ends_with("data: [DONE]\n\n"), "{}", ended.stdout);
        // More than a mebibyte waits for leave to send, and what is too large is refused with its reason.
        let file = workplace.path("large");
        std::fs::write(&file, vec![b' '; 6 << 20]).unwrap();
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error"])
            .arg(format!("{}/v1/chat/completions", serving.url));
        command.arg("--data-binary").arg(format!("@{}", file.display()));
        let refused = workplace.run(command, 30).await.expect(0);
        assert!(refused.stdout.contains("body_too_large"), "{}", refused.stdout);
        assert_eq!(serving.process.terminate().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "installs packages of Python; make test-python runs it"]
async fn clients_in_python_run_unchanged() {
    within(INSTALL_SECONDS + 300, async {
        let workplace = Workplace::new();
        let Some(python) = python(&workplace).await else {
            return;
        };
        draw_weights(&workplace);
        let mut serving = start(&workplace, &[]).await;

        let mut command = Command::new(&python);
        command.arg(here("openai_client.py")).arg(&serving.url);
        let ended = workplace.run(command, 60).await.expect(0);
        println!("{}", ended.stdout);

        // The harness asks for a file beside its task, and for no network.
        std::fs::copy(here("sums.yaml"), workplace.path("sums.yaml")).unwrap();
        std::fs::copy(workplace.path("data/test.jsonl"), workplace.path("sums.jsonl")).unwrap();
        let rows = std::fs::read_to_string(workplace.path("sums.jsonl"))
            .unwrap()
            .lines()
            .count();
        let mut command = Command::new(&python);
        command.args([
            "-m",
            "lm_eval",
            "--model",
            "local-chat-completions",
            "--tasks",
            "anytime_sums",
        ]);
        command.args([
            "--include_path",
            ".",
            "--apply_chat_template",
            "--output_path",
            "harness",
            "--model_args",
        ]);
        command.arg(format!(
            "model=model,base_url={}/v1/chat/completions,num_concurrent=4,max_retries=1,tokenized_requests=False",
            serving.url
        ));
        command.current_dir(workplace.path(""));
        for (name, value) in [
            ("HF_HUB_OFFLINE", "1"),
            ("HF_DATASETS_OFFLINE", "1"),
            ("OPENAI_API_KEY", "none"),
        ] {
            command.env(name, value);
        }
        command.env("HF_HOME", workplace.path("hf"));
        let ended = workplace.run(command, 240).await.expect(0);
        assert!(ended.stdout.contains("anytime_sums"), "{}", ended.stdout);
        let results = results(&workplace.path("harness"));
        assert_eq!(results["n-samples"]["anytime_sums"]["effective"], rows, "{results}");
        println!("{}", ended.stdout);
        assert_eq!(serving.process.terminate().await, 0);
    })
    .await;
}

/// The results that the harness has written, somewhere below.
fn results(folder: &Path) -> Value {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return results(&path);
        }
        if path.extension().is_some_and(|ending| ending == "json") {
            return serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        }
    }
    panic!("no results in {}", folder.display())
}
