//! What a stream holds, and how a trace goes on.

use serde_json::{Value, json};

use super::server::{SUMMARY, Server, joined, run, with_message};

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer["choices"][0]["message"][field].as_str().unwrap()
}

#[test]
fn a_stream_tells_the_same_as_a_whole_answer() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        for seed in 0..6 {
            let fields = json!({
                "seed": seed, "anytime": {"budgets": [3, 20, 60], "summaries": 3}, "stream_options": {"include_usage": true},
            });
            let whole = server.answer(fields.clone()).await;
            let chunks = server.chunks(fields).await;
            assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
            assert_eq!(joined(&chunks, "reasoning"), text(&whole, "reasoning"));
            assert_eq!(joined(&chunks, "content"), text(&whole, "content"));
            assert!(text(&whole, "content").starts_with(SUMMARY.trim_start()));
            let at: Vec<&Value> = chunks
                .iter()
                .map(|chunk| &chunk["choices"][0]["delta"]["anytime"])
                .filter(|at| !at.is_null())
                .collect();
            let budgets = whole["anytime"]["budgets"].as_array().unwrap();
            assert_eq!(at, budgets.iter().collect::<Vec<_>>());
            assert_eq!(at.len(), 3);
            let place = |found: &dyn Fn(&Value) -> bool| chunks.iter().position(found).unwrap();
            let last_budget = place(&|chunk| chunk["choices"][0]["delta"]["anytime"]["budget"] == 60);
            let content = place(&|chunk| {
                chunk["choices"][0]["delta"]["content"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            });
            assert!(last_budget < content, "the answer comes behind the last budget");
            let usage = chunks.last().unwrap();
            assert_eq!(usage["choices"], json!([]));
            assert_eq!(usage["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
            assert_eq!(
                usage["usage"]["completion_tokens_details"],
                whole["usage"]["completion_tokens_details"]
            );
            let end = &chunks[chunks.len() - 2];
            assert_eq!(end["anytime"]["ended"], whole["anytime"]["ended"]);
            assert!(end["choices"][0]["finish_reason"].is_string());
        }
    });
}

#[test]
fn without_an_anytime_object_the_one_summary_comes_as_it_is_drawn() {
    run(async {
        let server = Server::start("##", false, &["--reasoning-field", "both"]).await;
        let fields = json!({"seed": 5, "thinking_token_budget": 9, "stop": ["0"]});
        let whole = server.answer(fields.clone()).await;
        let chunks = server.chunks(fields).await;
        assert_eq!(joined(&chunks, "content"), text(&whole, "content"));
        assert_eq!(joined(&chunks, "reasoning_content"), text(&whole, "reasoning"));
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk["choices"][0]["delta"]["anytime"].is_null())
        );
        assert!(!text(&whole, "content").contains('0'));
    });
}

#[test]
fn a_trace_goes_on_without_computing_anything_again() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        let mut gone_on = 0;
        for seed in 0..8 {
            let at_once = server
                .answer(json!({"seed": seed, "anytime": {"budgets": [5, 40], "summaries": 2}}))
                .await;
            let first = server
                .answer(json!({"seed": seed, "anytime": {"budgets": [5], "summaries": 2}}))
                .await;
            let trace = first["anytime"]["trace"].as_str().unwrap();
            let on = json!({"anytime": {"continue": trace, "budgets": [40], "summaries": 2}});
            if first["anytime"]["ended"] != "budget" {
                let refused = server.post(&on).await;
                assert_eq!(refused.status(), 400);
                continue;
            }
            gone_on += 1;
            let then = server.answer(on).await;
            assert_eq!(then["anytime"]["computed_prompt_tokens"], 0);
            assert_eq!(
                then["usage"]["prompt_tokens"],
                then["usage"]["prompt_tokens_details"]["cached_tokens"]
            );
            let reasoning = format!("{}{}", text(&first, "reasoning"), text(&then, "reasoning"));
            // Where the cut splits a character its bytes are told apart.
            if !reasoning.contains('\u{fffd}') {
                assert_eq!(reasoning, text(&at_once, "reasoning"));
            }
            assert_eq!(
                then["anytime"]["thinking_tokens"],
                at_once["anytime"]["thinking_tokens"]
            );
            assert_eq!(then["anytime"]["budgets"][0], at_once["anytime"]["budgets"][1]);
            assert_eq!(first["anytime"]["budgets"][0], at_once["anytime"]["budgets"][0]);
            // The trace is now called by the new answer.
            let again = server
                .post(&with_message(json!({"anytime": {"continue": trace, "budgets": [50]}})))
                .await;
            assert_eq!(again.status(), 404);
        }
        assert!(gone_on > 2);
        let unknown = server
            .post(&json!({"anytime": {"continue": "nobody", "budgets": [50]}}))
            .await;
        assert_eq!(unknown.status(), 404);
    });
}

#[test]
fn thinking_ends_where_the_summaries_agree() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        let mut agreed = 0;
        for seed in 0..12 {
            // One summary always agrees with itself; two rounds ask for the same answer twice.
            let fields = json!({
                "messages": [{"role": "user", "content": "abc ".repeat(seed + 1)}], "temperature": 0,
                "anytime": {"budgets": [2, 4, 6, 8, 10, 190], "stop": {"agreement": 1.0, "rounds": 2}},
            });
            let answer = server.answer(fields).await;
            let budgets = answer["anytime"]["budgets"].as_array().unwrap();
            if answer["anytime"]["ended"] == "agreement" {
                agreed += 1;
                assert!((2..6).contains(&budgets.len()));
                let on = json!({"anytime": {"continue": answer["anytime"]["trace"], "budgets": [199]}});
                assert_eq!(server.post(&on).await.status(), 200, "a trace that was stopped goes on");
            } else {
                assert_eq!(budgets.len(), 6);
            }
        }
        assert!(agreed > 0, "no thinking ended by agreement");
    });
}

#[test]
fn the_first_of_several_branches_vote_and_the_others_are_stopped() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        for finish_first in [1, 2, 4] {
            let fields = json!({
                "seed": 3, "anytime": {"branches": 4, "finish_first": finish_first, "budgets": [60], "summaries": 2},
            });
            let whole = server.answer(fields.clone()).await;
            let ended = whole["anytime"]["ended_branches"].as_u64().unwrap();
            assert!((finish_first..=4).contains(&ended), "{whole}");
            assert_eq!(whole["anytime"]["trace"], Value::Null);
            let thought = whole["usage"]["completion_tokens_details"]["reasoning_tokens"]
                .as_u64()
                .unwrap();
            assert!(thought <= 4 * 60);
            assert!(whole["anytime"]["thinking_tokens"].as_u64().unwrap() <= 60);
            let chunks = server.chunks(fields).await;
            assert!(!joined(&chunks, "content").is_empty());
        }
        for wrong in [
            json!({"branches": 3, "budgets": [4, 8]}),
            json!({"branches": 3, "finish_first": 4}),
            json!({"branches": 17}),
            json!({"branches": 2, "budgets": [8], "stop": {}}),
        ] {
            let response = server.post(&with_message(json!({"anytime": wrong}))).await;
            assert_eq!(response.status(), 400);
        }
        server.idle().await;
    });
}

#[test]
fn beyond_the_most_requests_others_come_again() {
    run(async {
        let server = Server::start("##", false, &["--max-requests", "1"]).await;
        let mut first = server
            .post(&with_message(json!({"stream": true, "thinking_token_budget": 200})))
            .await;
        let _ = first.chunk().await.unwrap();
        let second = server.post(&with_message(json!({}))).await;
        if second.status() != 200 {
            assert_eq!(second.status(), 429);
            assert!(second.headers().contains_key("retry-after"));
        }
        drop(first);
        server.idle().await;
        server.answer(json!({})).await;
    });
}

#[test]
fn branches_that_agree_with_nobody_are_given_up() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        let branches = |prune: Value| {
            json!({
                "seed": 5,
                "anytime": {"branches": 8, "finish_first": 2, "budgets": [60], "summaries": 2, "prune": prune},
            })
        };
        let thought = |whole: &Value| {
            whole["usage"]["completion_tokens_details"]["reasoning_tokens"]
                .as_u64()
                .unwrap()
        };
        // Nothing is below a threshold of 0, and nobody may be given up before the first has ended.
        let most = server
            .answer(branches(json!({"every": 1, "threshold": 1, "most": 0})))
            .await;
        let none = server.answer(branches(json!({"every": 200}))).await;
        assert_eq!(none["anytime"]["pruned_branches"], 0, "{none}");
        // At random nearly every look is below 1.
        let many = server
            .answer(branches(json!({"every": 1, "threshold": 1, "most": 7})))
            .await;
        let given_up = many["anytime"]["pruned_branches"].as_u64().unwrap();
        assert!((1..=6).contains(&given_up), "as many as have to end stay: {many}");
        let ended = many["anytime"]["ended_branches"].as_u64().unwrap();
        assert!(ended >= 2 && ended + given_up <= 8, "{many}");
        assert!(thought(&many) <= 8 * 60, "{many}");
        assert!(most["anytime"]["ended_branches"].as_u64().unwrap() >= 2, "{most}");
        let chunks = server.chunks(branches(json!({"every": 8}))).await;
        assert!(!joined(&chunks, "content").is_empty());
        server.idle().await;
        for (wrong, param) in [
            (json!({"branches": 1, "prune": {"every": 4}}), "anytime.prune"),
            (json!({"branches": 2, "prune": {}}), "anytime.prune.every"),
            (json!({"branches": 2, "prune": {"every": 0}}), "anytime.prune.every"),
            (
                json!({"branches": 2, "budgets": [200], "prune": {"every": 3}}),
                "anytime.prune.every",
            ),
            (
                json!({"branches": 2, "prune": {"every": 4, "threshold": 1.5}}),
                "anytime.prune.threshold",
            ),
            (
                json!({"branches": 2, "prune": {"every": 4, "most": 2}}),
                "anytime.prune.most",
            ),
            (
                json!({"branches": 2, "prune": {"every": 4, "alpha": 2}}),
                "anytime.prune.alpha",
            ),
        ] {
            let response = server.post(&with_message(json!({"anytime": wrong}))).await;
            assert_eq!(response.status(), 400, "{wrong}");
            let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            assert_eq!(error["error"]["param"], param, "{error}");
        }
    });
}
