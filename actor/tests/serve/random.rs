//! Requests at random: no budget is ever exceeded, no marker leaks, no answer is empty, and no slot is lost, whatever is
//! asked for and whoever goes away in the middle.

use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::server::{SUMMARY, Server, joined, run, run_within, with_message};

fn draw_request(random: &mut ChaCha8Rng) -> Value {
    let mut budgets: Vec<u32> = (0..random.random_range(1..5))
        .map(|_| random.random_range(1..60))
        .collect();
    budgets.sort_unstable();
    budgets.dedup();
    let letters = ["a", "b", "0", "é", "€", " "];
    let length = random.random_range(1..20);
    let text: String = (0..length)
        .map(|_| letters[random.random_range(0..letters.len())])
        .collect();
    let mut request = json!({
        "messages": [{"role": "system", "content": "abc"}, {"role": "user", "content": text}],
        "temperature": f64::from(random.random_range(0..15)) / 10.0, "stream": random.random_bool(0.6),
    });
    if random.random_bool(0.7) {
        request["anytime"] = json!({"budgets": budgets, "summaries": random.random_range(1..4)});
    } else {
        request["thinking_token_budget"] = budgets[0].into();
    }
    if random.random_bool(0.3) {
        request["seed"] = random.random_range(0..1000).into();
    }
    if random.random_bool(0.3) {
        request["top_k"] = random.random_range(1..10).into();
    }
    if random.random_bool(0.2) {
        request["stop"] = json!(["12", "a€"]);
    }
    if random.random_bool(0.2) {
        request["anytime"]["stop"] = json!({"agreement": 0.6});
        request["anytime"]["budgets"] = json!(budgets);
        request.as_object_mut().unwrap().remove("thinking_token_budget");
    }
    if random.random_bool(0.15) {
        let branches = random.random_range(2..5);
        request["anytime"] = json!({
            "branches": branches, "finish_first": random.random_range(1..=branches), "budgets": [budgets[0]],
        });
        if random.random_bool(0.5) {
            let threshold = f64::from(random.random_range(0..=10)) / 10.0;
            request["anytime"]["prune"] = json!({"every": random.random_range(1..20), "threshold": threshold});
        }
        request.as_object_mut().unwrap().remove("thinking_token_budget");
    }
    request
}

fn asked_budgets(request: &Value) -> Vec<u64> {
    match request["anytime"]["budgets"].as_array() {
        Some(budgets) => budgets.iter().map(|budget| budget.as_u64().unwrap()).collect(),
        None => vec![request["thinking_token_budget"].as_u64().unwrap()],
    }
}

fn check(request: &Value, marker: &str, reasoning: &str, content: &str, usage: &Value, at: &[Value], ended: &str) {
    let budgets = asked_budgets(request);
    let largest = budgets[budgets.len() - 1];
    let thought = usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    assert!(
        thought >= 1 && thought <= request["anytime"]["branches"].as_u64().unwrap_or(1) * largest,
        "{thought} tokens of {largest}: {request}"
    );
    assert!(!reasoning.contains(marker), "{reasoning:?}: {request}");
    assert!(!content.contains(marker), "{content:?}: {request}");
    for text in [reasoning, content] {
        assert!(!text.contains("<eos>"), "{text:?}: {request}");
    }
    let generated = content.strip_prefix(SUMMARY.trim_start()).unwrap_or_default();
    if request.get("stop").is_none() {
        assert!(!generated.trim().is_empty(), "an empty answer: {content:?}: {request}");
    } else {
        assert!(!generated.contains("12") && !generated.contains("a€"), "{content:?}");
    }
    let is_told = request.get("anytime").is_some() || !request["stream"].as_bool().unwrap();
    if is_told {
        assert!(!at.is_empty());
        for (told, budget) in at.iter().zip(&budgets) {
            assert_eq!(told["budget"].as_u64().unwrap(), *budget);
            assert!(told["thinking_tokens"].as_u64().unwrap() <= *budget);
            let agreement = told["agreement"].as_f64().unwrap();
            assert!(agreement > 0.0 && agreement <= 1.0);
        }
        assert!(at.len() == budgets.len() || ended == "agreement", "{at:?} {ended}");
        assert_eq!(at[at.len() - 1]["content"], content);
    }
}

async fn one(server: &Server, marker: &str, request: &Value, goes_away: Option<usize>) {
    if let Some(chunks) = goes_away {
        let mut request = request.clone();
        request["stream"] = true.into();
        let mut response = server.post(&request).await;
        for _ in 0..chunks {
            let _ = response.chunk().await.unwrap();
        }
        return;
    }
    if request["stream"] == true {
        let mut streamed = request.clone();
        streamed["stream_options"] = json!({"include_usage": true});
        let chunks = server.chunks(streamed).await;
        let at: Vec<Value> = chunks
            .iter()
            .map(|chunk| chunk["choices"][0]["delta"]["anytime"].clone())
            .collect();
        let at: Vec<Value> = at.into_iter().filter(|at| !at.is_null()).collect();
        let ended = chunks[chunks.len() - 2]["anytime"]["ended"]
            .as_str()
            .unwrap()
            .to_owned();
        let usage = &chunks[chunks.len() - 1]["usage"];
        let (reasoning, content) = (joined(&chunks, "reasoning"), joined(&chunks, "content"));
        check(request, marker, &reasoning, &content, usage, &at, &ended);
        return;
    }
    let answer = server.answer(with_message(request.clone())).await;
    let message = &answer["choices"][0]["message"];
    let at = answer["anytime"]["budgets"].as_array().unwrap();
    let (reasoning, content) = (
        message["reasoning"].as_str().unwrap(),
        message["content"].as_str().unwrap(),
    );
    check(
        request,
        marker,
        reasoning,
        content,
        &answer["usage"],
        at,
        answer["anytime"]["ended"].as_str().unwrap(),
    );
}

async fn many(marker: &'static str, is_added: bool, count: u64) {
    let server = Server::start(marker, is_added, &[]).await;
    let workers = 8;
    let mut all = tokio::task::JoinSet::new();
    for worker in 0..workers {
        let server = Arc::clone(&server);
        all.spawn(async move {
            let mut random = ChaCha8Rng::seed_from_u64(worker);
            for _ in 0..count / workers {
                let request = draw_request(&mut random);
                let goes_away = random.random_bool(0.15).then(|| random.random_range(0..6));
                one(&server, marker, &request, goes_away).await;
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    server.idle().await;
    // As many at once as there are rows, again: with a slot lost one would wait for ever.
    let mut last = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let server = Arc::clone(&server);
        last.spawn(async move { server.answer(json!({"anytime": {}})).await });
    }
    while let Some(done) = last.join_next().await {
        done.unwrap();
    }
    server.idle().await;
    assert_eq!(
        server
            .metric("anytime_serve_requests_total", "outcome=\"failed\"")
            .await,
        0.0
    );
}

#[test]
fn with_a_marker_of_several_tokens() {
    run(many("##", false, 150));
}

#[test]
fn with_a_marker_of_one_token_that_other_text_may_hold() {
    run(many("#", false, 80));
}

#[test]
fn with_a_marker_that_is_an_added_token() {
    run(many("<t>", true, 80));
}

#[test]
#[ignore = "takes an hour"]
fn a_hundred_thousand_requests() {
    run_within(3 * 3600, many("##", false, 100_000));
}
