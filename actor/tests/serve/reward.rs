//! A service that scores branches, asked by the server: what it is shown, what comes of its scores, and what of its faults.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::server::{Server, run, with_message};

/// A service and the questions that it was asked.
struct Service {
    address: SocketAddr,
    questions: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
}

impl Service {
    async fn start<R>(answer: impl Fn(Value) -> R + Clone + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Response> + Send,
    {
        let questions = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&questions);
        let ask = move |headers: HeaderMap, Json(question): Json<Value>| {
            heard.lock().unwrap().push((headers, question.clone()));
            answer(question)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/score", post(ask));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, questions }
    }

    fn url(&self) -> String {
        format!("http://{}/score", self.address)
    }

    fn asked(&self) -> Vec<Value> {
        let questions = self.questions.lock().unwrap();
        questions.iter().map(|(_, question)| question.clone()).collect()
    }
}

fn score(score: f64) -> Response {
    Json(json!({ "score": score })).into_response()
}

fn branches(every: u32, threshold: f64) -> Value {
    let prune = json!({ "every": every, "threshold": threshold, "most": 5, "by": "reward" });
    json!({
        "seed": 5,
        "anytime": { "branches": 6, "finish_first": 2, "budgets": [60], "summaries": 2, "prune": prune },
    })
}

#[test]
fn a_service_is_shown_the_branches_and_its_scores_give_them_up() {
    run(async {
        // Whose thinking begins with a vowel, promises.
        let judge = |question: Value| async move {
            let reasoning = question["reasoning"].as_str().unwrap();
            score(if reasoning.starts_with(['a', 'e', 'o', 'u']) {
                1.0
            } else {
                0.0
            })
        };
        let service = Service::start(judge).await;
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        std::fs::write(&key, "secret\n").unwrap();
        let further = ["--reward", &service.url(), "--reward-key-file", key.to_str().unwrap()];
        let server = Server::start("##", false, &further).await;
        // Thoughts of a random model are short: they may all have ended before the first score is there.
        let mut given_up = 0;
        for seed in 0..100 {
            let mut body = branches(3, 0.5);
            body["seed"] = seed.into();
            let answer = server.answer(body).await;
            assert_eq!(answer["anytime"]["unscored_looks"], 0, "{answer}");
            given_up = answer["anytime"]["pruned_branches"].as_u64().unwrap();
            assert!(given_up <= 4, "two have to end: {answer}");
            if given_up > 0 {
                break;
            }
        }
        assert!(given_up > 0);
        let questions = service.questions.lock().unwrap().clone();
        assert!(questions.iter().any(|(_, question)| question["ended"] == true));
        for (headers, question) in &questions {
            assert_eq!(headers[header::AUTHORIZATION], "Bearer secret");
            assert_eq!(question["messages"], with_message(json!({}))["messages"]);
            let tokens = question["thinking_tokens"].as_u64().unwrap();
            let reasoning = question["reasoning"].as_str().unwrap();
            assert!(!reasoning.contains("##"), "{question}");
            if question["ended"] == false {
                assert!(tokens % 3 == 0 && tokens < 60, "{question}");
            }
            // A token is a byte, but those of a character that is cut off.
            assert!(reasoning.chars().count() as u64 <= tokens, "{question}");
            assert!(
                question["content"].is_string() && question["agreement"].is_number(),
                "{question}"
            );
        }
        // Other requests are scored as ever, and ask nobody.
        let before = service.asked().len();
        let mut own = branches(3, 0.5);
        own["anytime"]["prune"]["by"] = "agreement".into();
        let answer = server.answer(own).await;
        assert_eq!(answer["anytime"]["unscored_looks"], Value::Null, "{answer}");
        assert_eq!(service.asked().len(), before);
        server.idle().await;
    });
}

#[test]
fn a_service_that_fails_costs_no_branch_and_no_answer() {
    run(async {
        type Fault = fn() -> Response;
        let faults: [(&str, Fault); 7] = [
            ("an error", || StatusCode::INTERNAL_SERVER_ERROR.into_response()),
            ("another place", || {
                (StatusCode::FOUND, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response()
            }),
            ("no JSON", || "0.5".into_response()),
            ("no number", || Json(json!({ "score": null })).into_response()),
            ("a large number", || score(2.0)),
            ("a negative number", || score(-0.1)),
            ("a large answer", || {
                let parts = (0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 16])));
                Body::from_stream(tokio_stream::iter(parts)).into_response()
            }),
        ];
        for (what, fault) in faults {
            let service = Service::start(move |_| async move { fault() }).await;
            let server = Server::start("##", false, &["--reward", &service.url()]).await;
            a_look_goes_without_its_score(&server, what).await;
        }
        let server = Server::start("##", false, &["--reward", "http://127.0.0.1:1/score"]).await;
        a_look_goes_without_its_score(&server, "nobody listens").await;
    });
}

/// Asks until a fault of the service has come back while branches still thought: an answer waits for no score, and the
/// thoughts of a random model are short.
async fn a_look_goes_without_its_score(server: &Server, what: &str) {
    for seed in 0..100 {
        let mut body = branches(1, 1.0);
        body["seed"] = seed.into();
        let answer = server.answer(body).await;
        assert_eq!(answer["anytime"]["pruned_branches"], 0, "{what}: {answer}");
        if answer["anytime"]["unscored_looks"].as_u64().unwrap() > 0 {
            return;
        }
    }
    panic!("{what}: all of a hundred answers were there before a look went without its score");
}

#[test]
fn an_answer_does_not_wait_for_a_score() {
    run(async {
        let never = |_| async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            score(1.0)
        };
        let service = Service::start(never).await;
        let server = Server::start("##", false, &["--reward", &service.url()]).await;
        let began = Instant::now();
        let answer = server.answer(branches(1, 1.0)).await;
        assert!(began.elapsed() < Duration::from_secs(9), "the service has ten seconds");
        assert_eq!(answer["anytime"]["pruned_branches"], 0, "{answer}");
        // Thoughts of a random model are short: all may have ended before the first question has left.
        for seed in 0..100 {
            if !service.asked().is_empty() {
                break;
            }
            let mut body = branches(1, 1.0);
            body["seed"] = seed.into();
            server.answer(body).await;
        }
        assert!(!service.asked().is_empty());
        server.idle().await;
    });
}

#[test]
fn a_score_that_nobody_can_give_is_refused() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        for (by, reason) in [
            (json!("reward"), "this server has no reward service (--reward)"),
            (json!("Reward"), "it must be agreement or reward"),
            (json!(1), "it must be a text"),
        ] {
            let mut body = branches(10, 0.5);
            body["anytime"]["prune"]["by"] = by;
            let response = server.post(&with_message(body)).await;
            assert_eq!(response.status(), 400);
            let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            assert_eq!(error["error"]["param"], "anytime.prune.by");
            assert!(error["error"]["message"].as_str().unwrap().ends_with(reason), "{error}");
        }
    });
}
