//! `anytime evaluate --endpoint`: servers of answers, this project's and others', measured at budgets.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anytime_tests::wait::within;
use anytime_tests::workplace::{Ended, Workplace};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::serve::{draw_weights, start};

/// A server that adds two numbers, and needs a budget of 8 for it.
#[derive(Default)]
struct Adder {
    requests: AtomicUsize,
    /// So many questions are put off first.
    busy: AtomicUsize,
    /// The longest budget that it was asked for, by the field that it reads.
    longest: AtomicUsize,
}

impl Adder {
    async fn start(busy: usize) -> (Arc<Self>, String) {
        let adder = Arc::new(Self {
            busy: busy.into(),
            ..Self::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let serving = Arc::clone(&adder);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let adder = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let adder = Arc::clone(&adder);
                    async move { Ok::<_, Infallible>(adder.answer(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
            }
        });
        (adder, url)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let reply = |status: StatusCode, value: Value| {
            let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
            *response.status_mut() = status;
            response.headers_mut().insert("retry-after", "0".parse().unwrap());
            response
        };
        let key = request.headers().get("authorization").cloned();
        if key.is_none_or(|key| key != "Bearer the-key") {
            return reply(StatusCode::UNAUTHORIZED, json!({"error": {"message": "who are you?"}}));
        }
        if request.uri().path() == "/v1/models" {
            return reply(
                StatusCode::OK,
                json!({"object": "list", "data": [{"id": "adder"}, {"id": "other"}]}),
            );
        }
        assert_eq!(request.uri().path(), "/v1/chat/completions");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let fields: Value = serde_json::from_slice(&body).unwrap();
        let put_off = self
            .busy
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if put_off.is_ok() {
            return reply(StatusCode::TOO_MANY_REQUESTS, json!({"error": {"message": "later"}}));
        }
        self.requests.fetch_add(1, Ordering::AcqRel);
        assert_eq!(fields["model"], "adder");
        let budget = fields["thinking"]["budget_tokens"].as_u64().unwrap_or(99) as usize;
        self.longest.fetch_max(budget, Ordering::AcqRel);
        let question = fields["messages"][0]["content"].as_str().unwrap();
        let sum: u64 = question
            .split(|letter: char| !letter.is_ascii_digit())
            .filter_map(|number| number.parse::<u64>().ok())
            .sum();
        let answer = if budget >= 8 { sum } else { 0 };
        reply(
            StatusCode::OK,
            json!({
                "choices": [{
                    "message": {"role": "assistant", "content": format!("\\boxed{{{answer}}}"), "reasoning": "hm"},
                    "finish_reason": "stop",
                }],
                "usage": {"completion_tokens": budget + 3, "completion_tokens_details": {"reasoning_tokens": budget}},
            }),
        )
    }
}

fn write_problems(workplace: &Workplace) {
    let rows: String = (1..=5)
        .map(|one| format!("{{\"problem\": \"{one}+7=\", \"answer\": \"{}\"}}\n", one + 7))
        .collect();
    std::fs::write(workplace.path("sums.jsonl"), rows).unwrap();
    std::fs::write(workplace.path("key"), "the-key\n").unwrap();
}

async fn evaluate(workplace: &Workplace, url: &str, further: &[&str]) -> Ended {
    let common = [
        "evaluate",
        "--endpoint",
        url,
        "--problems",
        "sums.jsonl",
        "--budgets",
        "4,8",
        "--instruction",
        "",
    ];
    workplace.anytime(&[&common, further].concat(), 60).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_others_is_asked_once_for_each_budget() {
    within(100, async {
        let workplace = Workplace::new();
        write_problems(&workplace);
        let (adder, url) = Adder::start(3).await;
        let named = ["--endpoint-model", "adder", "--key-file", "key", "--json"];
        let field = ["--budget-field", "thinking.budget_tokens", "--samples", "2"];
        let ended = evaluate(&workplace, &url, &[&named[..], &field[..]].concat())
            .await
            .expect(0);
        let report = ended.json();
        let after = &report["after"];
        assert_eq!(after["accuracy"], json!([0.0, 1.0]), "{report}");
        assert_eq!(
            (&after["problems"], &after["samples"]),
            (&json!(5), &json!(2)),
            "{report}"
        );
        assert_eq!(after["mean_thinking_tokens"], 8.0, "{report}");
        assert_eq!(adder.requests.load(Ordering::Acquire), 5 * 2 * 2);
        assert_eq!(adder.longest.load(Ordering::Acquire), 8);
        assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);

        // A budget that the server does not read is seen by what it thinks.
        let unread = evaluate(&workplace, &url, &named).await.expect(0);
        assert!(
            unread.stderr.contains("of 40 answers is longer than its budget"),
            "{}",
            unread.stderr
        );

        // The same for people.
        let shown = evaluate(&workplace, &url, &[&named[..4], &field[..]].concat())
            .await
            .expect(0);
        assert!(
            shown.stdout.contains("1.000") || shown.stdout.contains("100"),
            "{}",
            shown.stdout
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_measured_is_refused_in_a_sentence() {
    within(100, async {
        let workplace = Workplace::new();
        write_problems(&workplace);
        let (adder, url) = Adder::start(0).await;
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        };
        let cases: [(&str, &[&str], i32, &str); 8] = [
            (&url, &[], 64, "who are you?"),
            (
                &url,
                &["--key-file", "key"],
                64,
                "--endpoint-model must name one: adder, other",
            ),
            (
                &url,
                &["--key-file", "key", "--endpoint-model", "x"],
                64,
                "none of its models",
            ),
            (&url, &["--key-file", "none"], 64, "--key-file none"),
            (
                &url,
                &["--key-file", "key", "--endpoint-model", "adder", "--summaries", "2"],
                64,
                "must be 1",
            ),
            (&url, &["--markers-end", "x"], 64, "cannot be used with"),
            ("ftp://a", &[], 64, "must begin with http://"),
            (&gone, &[], 69, "v1/models"),
        ];
        for (url, further, code, part) in cases {
            let ended = evaluate(&workplace, url, further).await.expect(code);
            assert!(ended.stderr.contains(part), "{further:?}: {}", ended.stderr);
        }
        assert_eq!(adder.requests.load(Ordering::Acquire), 0);

        // One that puts everything off is as good as away.
        let (_busy, url) = Adder::start(usize::MAX).await;
        let named = ["--key-file", "key", "--endpoint-model", "adder", "--samples", "1"];
        let ended = evaluate(&workplace, &url, &named).await.expect(69);
        assert!(ended.stderr.contains("answered none of 5 problems"), "{}", ended.stderr);
        assert!(ended.stderr.contains("later"), "{}", ended.stderr);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_this_project_answers_all_budgets_at_once() {
    within(100, async {
        let workplace = Workplace::new();
        draw_weights(&workplace);
        let mut serving = start(&workplace, &[]).await;
        let common = [
            "evaluate",
            "--endpoint",
            &serving.url,
            "--problems",
            "data/test.jsonl",
            "--json",
        ];
        let further = [
            "--budgets",
            "4,8,16",
            "--samples",
            "2",
            "--summaries",
            "3",
            "--instruction",
            "",
        ];
        let ended = workplace
            .anytime(&[&common[..], &further[..]].concat(), 60)
            .await
            .expect(0);
        let report = ended.json();
        let after = &report["after"];
        let problems = after["problems"].as_u64().unwrap();
        assert_eq!(after["budgets"], json!([4, 8, 16]), "{report}");
        assert_eq!(after["accuracy"].as_array().unwrap().len(), 3, "{report}");
        let thinking = after["mean_thinking_tokens"].as_f64().unwrap();
        assert!(thinking > 0.0 && thinking <= 16.0, "{report}");
        // The same seeds have the same answers.
        let again = workplace
            .anytime(&[&common[..], &further[..]].concat(), 60)
            .await
            .expect(0)
            .json();
        assert_eq!(again["after"]["accuracy"], after["accuracy"]);
        assert_eq!(again["after"]["mean_thinking_tokens"], after["mean_thinking_tokens"]);
        let metrics = anytime_tests::metrics::scrape(serving.url.trim_start_matches("http://"))
            .await
            .unwrap();
        let answered = anytime_tests::metrics::sum(&metrics, "anytime_serve_requests_total", "outcome=\"answered\"");
        assert_eq!(answered as u64, problems * 2 * 2);

        let long = [&common[..5], &["--budgets", "4,4000"]].concat();
        let refused = workplace.anytime(&long, 60).await.expect(64);
        assert!(
            refused.stderr.contains("it thinks for at most 32 tokens"),
            "{}",
            refused.stderr
        );
        assert_eq!(serving.process.terminate().await, 0);
    })
    .await;
}
