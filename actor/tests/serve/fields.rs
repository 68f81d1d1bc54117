//! What a request may say, and what it is told where it says something else.

use serde_json::{Value, json};

use super::server::{Server, run, with_message};

async fn refusal(server: &Server, body: &Value) -> (u16, Value) {
    let response = server.post(body).await;
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-request-id"));
    let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let fields: Vec<&String> = error["error"].as_object().unwrap().keys().collect();
    assert_eq!(fields.len(), 4, "{error}");
    (status, error["error"].clone())
}

#[test]
fn every_wrong_field_is_refused_by_name_in_a_sentence() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        let cases = [
            (json!({"messages": []}), "messages", "at least one"),
            (
                json!({"messages": [{"role": "user", "content": 3}]}),
                "messages[0].content",
                "a text",
            ),
            (
                json!({"messages": [{"role": "robot", "content": "a"}]}),
                "messages[0].role",
                "assistant",
            ),
            (
                json!({"messages": [{"role": "assistant", "content": "a"}]}),
                "messages",
                "user's",
            ),
            (
                json!({"messages": [{"role": "tool", "content": "a"}]}),
                "messages[0].role",
                "tools",
            ),
            (json!({"messages": "hello"}), "messages", "a list"),
            (json!({"model": "gpt"}), "model", "alone"),
            (json!({"temperature": -1}), "temperature", "from 0"),
            (json!({"temperature": "hot"}), "temperature", "a number"),
            (json!({"top_p": 0}), "top_p", "above 0"),
            (json!({"top_k": 1.5}), "top_k", "whole"),
            (json!({"seed": "x"}), "seed", "whole"),
            (json!({"stop": ["a", ""]}), "stop", "bytes"),
            (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop", "at most 4"),
            (json!({"stream": 1}), "stream", "true or false"),
            (json!({"max_tokens": 1}), "max_tokens", "from 2"),
            (
                json!({"thinking_token_budget": 0}),
                "thinking_token_budget",
                "from 1 to 200",
            ),
            (
                json!({"thinking_token_budget": 201}),
                "thinking_token_budget",
                "from 1 to 200",
            ),
            (
                json!({"thinking": {"type": "disabled"}}),
                "thinking.type",
                "always thinks",
            ),
            (json!({"reasoning_effort": "huge"}), "reasoning_effort", "medium"),
            (
                json!({"thinking_token_budget": 5, "reasoning_effort": "high"}),
                "reasoning_effort",
                "another budget",
            ),
            (json!({"anytime": {"budgets": [4, 4]}}), "anytime.budgets", "ascend"),
            (json!({"anytime": {"budgets": []}}), "anytime.budgets", "1 to 64"),
            (
                json!({"anytime": {"budgets": [500]}}),
                "anytime.budgets",
                "--max-thinking",
            ),
            (
                json!({"anytime": {"summaries": 17}}),
                "anytime.summaries",
                "from 1 to 16",
            ),
            (
                json!({"anytime": {"stop": {"agreement": 0}}}),
                "anytime.stop.agreement",
                "above 0",
            ),
            (
                json!({"anytime": {"stop": {"rounds": 0}}}),
                "anytime.stop.rounds",
                "from 1",
            ),
            (json!({"anytime": {"speed": 1}}), "anytime.speed", "no field"),
            (json!({"anytime": true}), "anytime", "an object"),
            (json!({"n": 2}), "n", "anytime.summaries"),
            (json!({"tools": [{"type": "function"}]}), "tools", "not served"),
            (
                json!({"response_format": {"type": "json_object"}}),
                "response_format",
                "JSON",
            ),
            (json!({"logprobs": true}), "logprobs", "not sent"),
            (json!({"logit_bias": {"5": 1}}), "logit_bias", "drawn"),
            (json!({"presence_penalty": 0.5}), "presence_penalty", "drawn"),
            (json!({"colour": "red"}), "colour", "no field"),
            (
                json!({"chat_template_kwargs": {"enable_thinking": true}}),
                "chat_template_kwargs.enable_thinking",
                "reads no",
            ),
            (
                json!({"messages": [{"role": "user", "content": "a".repeat(200)}]}),
                "messages",
                "at most 100",
            ),
        ];
        let mut page = String::new();
        for (fields, param, part) in cases {
            let (status, error) = refusal(&server, &with_message(fields.clone())).await;
            let expected = if param == "model" { 404 } else { 400 };
            assert_eq!(status, expected, "{fields} {error}");
            assert_eq!(error["param"], param, "{fields} {error}");
            let message = error["message"].as_str().unwrap();
            assert!(
                message.starts_with(param) && message.contains(part),
                "{fields}: {message}"
            );
            if fields.to_string().len() < 100 {
                page.push_str(&format!("- `{fields}`\n\n      {message}\n\n"));
            }
        }
        let (status, error) = refusal(&server, &json!("{not json")).await;
        assert_eq!((status, error["code"].as_str()), (400, Some("invalid_json")));
        let huge = format!("{{\"messages\": \"{}\"}}", "a".repeat(5 << 20));
        let (status, error) = refusal(&server, &Value::String(huge)).await;
        assert_eq!((status, error["code"].as_str()), (413, Some("body_too_large")));
        server.idle().await;
        compare_page(&page);
    });
}

/// The last section of docs/serving.md is what the server of this test says.
fn compare_page(refusals: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/serving.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let heading = "\n## Refusals\n";
    let start = text.find(heading).unwrap_or(text.len());
    let update = "UPDATE=1 cargo test -p anytime-actor --test serve fields";
    let expected = format!(
        "{}{heading}\nWhat a server with `--max-thinking 200` and `--max-prompt-tokens 100` says to these fields. Written by\n\n    \
         {update}\n\n{}\n",
        &text[..start],
        refusals.trim_end()
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    assert!(text == expected, "docs/serving.md lags behind: {update}");
}

#[test]
fn fields_that_change_nothing_are_passed_over() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        let answer = server
            .answer(json!({
                "model": "tiny", "user": "u", "metadata": {"a": "b"}, "store": true, "n": 1, "tools": [], "logprobs": false,
                "response_format": {"type": "text"}, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {},
                "tool_choice": "none", "service_tier": "auto", "parallel_tool_calls": true, "max_tokens": 40, "seed": -4,
                "temperature": 0, "stop": null,
            }))
            .await;
        assert_eq!(answer["object"], "chat.completion");
        assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
        assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() <= 40);
        let models: Value = serde_json::from_str(&server.get("/v1/models").await.text().await.unwrap()).unwrap();
        assert_eq!(models["data"][0]["id"], "tiny");
        assert_eq!(server.get("/v1/models/tiny").await.status(), 200);
        assert_eq!(server.get("/v1/models/other").await.status(), 404);
        assert_eq!(server.get("/v1/chat/completions").await.status(), 405);
        assert_eq!(server.get("/nothing").await.status(), 404);
    });
}

#[test]
fn a_budget_has_several_names() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        for (fields, budget) in [
            (json!({"thinking_token_budget": 7}), 7),
            (json!({"thinking_budget_tokens": 7}), 7),
            (json!({"thinking": {"type": "enabled", "budget_tokens": 7}}), 7),
            (json!({"reasoning_effort": "low"}), 8),
            (json!({"reasoning_effort": "medium"}), 16),
            (json!({"reasoning_effort": "high"}), 32),
            (json!({}), 32),
            (json!({"max_completion_tokens": 10}), 5),
        ] {
            let answer = server.answer(fields.clone()).await;
            let budgets = answer["anytime"]["budgets"].as_array().unwrap();
            assert_eq!(budgets.len(), 1, "{fields}");
            assert_eq!(budgets[0]["budget"], budget, "{fields}");
        }
        let all = server.answer(json!({"anytime": {}})).await;
        let budgets: Vec<u64> = all["anytime"]["budgets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|at| at["budget"].as_u64().unwrap())
            .collect();
        assert_eq!(budgets, [4, 8, 16, 32]);
    });
}
