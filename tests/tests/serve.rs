//! A checkpoint that answers: `anytime serve` with real processes over HTTP, from its start to its end.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anytime_policy::{ModelConfig, initialise_weights, write_model};
use anytime_tests::process::Process;
use anytime_tests::programs::binary;
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tch::{Device, Kind};

/// A server and where it is.
pub(crate) struct Serving {
    pub(crate) process: Process,
    pub(crate) url: String,
}

/// Weights for the demo's model, which knows nothing.
pub(crate) fn draw_weights(workplace: &Workplace) {
    let model = workplace.path("model");
    let config = ModelConfig::load(&model).unwrap();
    let weights = initialise_weights(&config, 7, Device::Cpu);
    write_model(&model, &config, &weights, Kind::Float).unwrap();
}

/// How the demo's model is served.
pub(crate) fn model_arguments(workplace: &Workplace) -> Vec<OsString> {
    let mut arguments = vec!["--model".into(), workplace.path("model").into_os_string()];
    let further = [
        "--budgets",
        "4,8,16",
        "--slots",
        "8",
        "--device",
        "cpu",
        "--max-summary-tokens",
        "4",
        "--cache-gib",
        "0.2",
    ];
    let markers = [
        "--markers-cut",
        "...",
        "--markers-summary",
        "\n\n**Final Answer**\n\\boxed{",
    ];
    arguments.extend(further.iter().chain(&markers).map(OsString::from));
    arguments
}

pub(crate) async fn start(workplace: &Workplace, further: &[&str]) -> Serving {
    let port_file = workplace.path("port");
    let mut command = Command::new(binary("anytime"));
    command.current_dir(workplace.path(""));
    command.args([
        "serve",
        "model",
        "--listen",
        "127.0.0.1:0",
        "--port-file",
        port_file.to_str().unwrap(),
    ]);
    command.args([
        "--budgets",
        "4,8,16",
        "--slots",
        "8",
        "--device",
        "cpu",
        "--",
        "--max-prompt-tokens",
        "64",
    ]);
    command.args([
        "--max-summary-tokens",
        "4",
        "--cache-gib",
        "0.2",
        "--markers-cut",
        "...",
    ]);
    command.args(["--markers-summary", "\n\n**Final Answer**\n\\boxed{"]);
    command.args(further);
    let process = Process::start("serve", command, workplace.mark(), &workplace.path("logs"));
    let read = async || std::fs::read_to_string(&port_file).ok();
    let address = eventually("the server's address", 60, read).await;
    Serving {
        process,
        url: format!("http://{}", address.trim()),
    }
}

/// A client of HTTP. Where the whole workspace is built, reqwest has TLS and asks for a provider even without it.
pub(crate) fn new_client() -> Client {
    // The other test may have installed it.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(Duration::from_secs(20)).build().unwrap()
}

pub(crate) async fn post(client: &Client, serving: &Serving, body: &Value) -> Response {
    let request = client.post(format!("{}/v1/chat/completions", serving.url));
    request.json(body).send().await.unwrap()
}

async fn get_json(client: &Client, serving: &Serving, path: &str) -> Value {
    let response = client.get(format!("{}{path}", serving.url)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.json().await.unwrap()
}

/// A server of answers that is asked again and again, with refusals now and then. Dropped, it ends.
pub(crate) struct Answering {
    pub(crate) address: String,
    asking: tokio::task::JoinHandle<()>,
    _serving: Serving,
    _workplace: Workplace,
}

impl Answering {
    pub(crate) async fn start() -> Self {
        let workplace = Workplace::new();
        draw_weights(&workplace);
        let serving = start(&workplace, &[]).await;
        let address = serving.url.trim_start_matches("http://").to_owned();
        let url = format!("{}/v1/chat/completions", serving.url);
        let client = new_client();
        let asking = tokio::spawn(async move {
            for number in 0_u64.. {
                let asked = json!({
                    "messages": [{"role": "user", "content": "3+4="}], "stream": true,
                    "anytime": {"budgets": [4, 8, 16], "summaries": if number % 8 == 7 { 99 } else { 2 }},
                });
                if let Ok(answer) = client.post(&url).json(&asked).send().await {
                    // Read to its end; a refusal is one, too.
                    let _ = answer.bytes().await;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        Self {
            address,
            asking,
            _serving: serving,
            _workplace: workplace,
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_answers_at_every_budget_and_ends_in_order() {
    within(60, async {
        let workplace = Workplace::new();
        draw_weights(&workplace);
        let mut serving = start(&workplace, &[]).await;
        let client = new_client();
        assert_eq!(get_json(&client, &serving, "/health").await["status"], "ok");
        let models = get_json(&client, &serving, "/v1/models").await;
        assert_eq!(models["data"][0]["id"], "model");

        let problem = std::fs::read_to_string(workplace.path("data/test.jsonl")).unwrap();
        let row: Value = serde_json::from_str(problem.lines().next().unwrap()).unwrap();
        let messages = json!([{"role": "user", "content": row["problem"]}]);
        let asked = json!({
            "model": "model", "messages": messages, "seed": 3, "anytime": {"budgets": [2, 6, 12], "summaries": 3},
        });
        let response = post(&client, &serving, &asked).await;
        assert!(response.headers().contains_key("x-request-id"));
        let whole: Value = response.json().await.unwrap();
        let budgets = whole["anytime"]["budgets"].as_array().unwrap();
        assert_eq!(budgets.len(), 3, "{whole}");
        let content = whole["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(content.starts_with("**Final Answer**\n\\boxed{"), "{content}");
        assert!(
            whole["usage"]["completion_tokens_details"]["reasoning_tokens"]
                .as_u64()
                .unwrap()
                <= 12
        );

        let mut streamed = asked.clone();
        streamed["stream"] = true.into();
        let text = post(&client, &serving, &streamed).await.text().await.unwrap();
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        let told = text
            .lines()
            .filter(|line| line.contains("\"delta\":{\"anytime\""))
            .count();
        assert_eq!(told, 3, "{text}");

        // The trace goes on, and the whole server says what it did.
        if whole["anytime"]["ended"] == "budget" {
            let on = json!({"anytime": {"continue": whole["anytime"]["trace"], "budgets": [20], "summaries": 3}});
            let then: Value = post(&client, &serving, &on).await.json().await.unwrap();
            assert_eq!(then["anytime"]["computed_prompt_tokens"], 0, "{then}");
        }
        let refused = post(
            &client,
            &serving,
            &json!({"messages": messages, "tools": [{"type": "function"}]}),
        )
        .await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let metrics = client
            .get(format!("{}/metrics", serving.url))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let is_answered = |line: &str| line.starts_with("anytime_serve_requests_total") && line.contains("answered");
        let is_counted = metrics.lines().any(|line| is_answered(line) && !line.ends_with(" 0"));
        assert!(is_counted, "{metrics}");

        // Who goes away leaves nothing behind.
        let mut gone = json!({"messages": messages, "thinking_token_budget": 32, "stream": true});
        gone["temperature"] = 1.5.into();
        for _ in 0..8 {
            let mut response = post(&client, &serving, &gone).await;
            let _ = response.chunk().await.unwrap();
        }
        let idle = async || {
            let health = get_json(&client, &serving, "/health").await;
            (health["in_flight"] == 0 && health["slots_used"] == 0).then_some(())
        };
        eventually("an idle server", 10, idle).await;
        assert_eq!(serving.process.terminate().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_file_of_access_asks_for_a_token() {
    within(60, async {
        let workplace = Workplace::new();
        draw_weights(&workplace);
        let access = workplace.path("access");
        let token = "submit-submit-submit-submit";
        std::fs::write(
            &access,
            format!("submit token {token}\nread token read-read-read-read-read-read\n"),
        )
        .unwrap();
        let mut serving = start(&workplace, &["--access", access.to_str().unwrap()]).await;
        let client = new_client();
        let body = json!({"messages": [{"role": "user", "content": "3+4="}], "thinking_token_budget": 3});
        let refused = post(&client, &serving, &body).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let error: Value = refused.json().await.unwrap();
        assert_eq!(error["error"]["type"], "authentication_error");
        let ask = |token: &str| {
            let request = client.post(format!("{}/v1/chat/completions", serving.url));
            request.bearer_auth(token).json(&body).send()
        };
        assert_eq!(
            ask("read-read-read-read-read-read").await.unwrap().status(),
            StatusCode::FORBIDDEN
        );
        assert_eq!(ask(token).await.unwrap().status(), StatusCode::OK);
        assert_eq!(get_json(&client, &serving, "/health").await["status"], "ok");
        assert_eq!(serving.process.terminate().await, 0);
    })
    .await;
}
