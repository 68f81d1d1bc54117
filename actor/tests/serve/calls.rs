//! The same answers over gRPC: what a call is told is what a request over HTTP is told, and it is refused in the same words.

use anytime_proto::StatusDetails;
use anytime_proto::v1::reason_response::Event;
use anytime_proto::v1::{MessageRole, ReasonBudget, ReasonEnd, ReasonMessage, ReasonRequest, StopRule, ThinkingEnd};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::server::{Server, run};

/// The message of every request here, as the tests over HTTP have it.
fn question(request: ReasonRequest) -> ReasonRequest {
    ReasonRequest {
        prompt: "abc 12".to_owned(),
        ..request
    }
}

/// What a call was told.
#[derive(Debug, Default)]
struct Told {
    thinking: String,
    budgets: Vec<ReasonBudget>,
    end: ReasonEnd,
}

async fn told(server: &Server, request: ReasonRequest) -> Result<Told, Status> {
    let mut events = server.reasoner().reason(request).await?.into_inner();
    let mut told = Told::default();
    let mut has_ended = false;
    while let Some(response) = events.message().await? {
        assert!(!has_ended, "nothing comes behind the end");
        match response.event.expect("an event") {
            Event::Thinking(thinking) => told.thinking.push_str(&thinking.text),
            Event::Budget(budget) => told.budgets.push(budget),
            Event::End(end) => {
                told.end = end;
                has_ended = true;
            }
        }
    }
    assert!(has_ended, "{told:?}");
    Ok(told)
}

fn budget_json(budget: &ReasonBudget) -> Value {
    json!({
        "budget": budget.budget, "thinking_tokens": budget.thinking_tokens, "answer": budget.answer,
        "content": budget.content, "agreement": budget.agreement,
    })
}

#[test]
fn a_call_is_told_what_a_request_over_http_is_told() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        for seed in 0..6 {
            let whole = server
                .answer(
                    json!({"seed": seed, "temperature": 0.8, "top_p": 0.9, "stop": ["0"], "anytime": {
                        "budgets": [3, 20, 60], "summaries": 3, "stop": {"agreement": 0.6, "rounds": 2},
                    }}),
                )
                .await;
            let request = question(ReasonRequest {
                budgets: vec![3, 20, 60],
                summaries: Some(3),
                stop_rule: Some(StopRule {
                    agreement: Some(0.6),
                    rounds: Some(2),
                }),
                temperature: Some(0.8),
                top_p: Some(0.9),
                stop: vec!["0".to_owned()],
                seed: Some(seed),
                model: "tiny".to_owned(),
                ..ReasonRequest::default()
            });
            let called = told(&server, request).await.unwrap();
            let budgets: Vec<Value> = called.budgets.iter().map(budget_json).collect();
            assert_eq!(Value::from(budgets), whole["anytime"]["budgets"]);
            assert_eq!(called.thinking, whole["choices"][0]["message"]["reasoning"]);
            let ended = match called.end.ended() {
                ThinkingEnd::EndMarker => "end_marker",
                ThinkingEnd::EndOfSequence => "end_of_sequence",
                ThinkingEnd::Budget => "budget",
                ThinkingEnd::Agreement => "agreement",
                ThinkingEnd::Unspecified => "nothing",
            };
            assert_eq!(ended, whole["anytime"]["ended"]);
            let usage = called.end.usage.unwrap();
            assert_eq!(
                usage.reasoning_tokens + usage.summary_tokens,
                whole["usage"]["completion_tokens"]
            );
            assert_eq!((called.end.model.as_str(), called.end.weights_version), ("tiny", 0));
        }
    });
}

#[test]
fn messages_branches_and_traces_go_by_their_own_names() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        let message = |role: MessageRole, content: &str| ReasonMessage {
            role: role.into(),
            content: content.to_owned(),
        };
        let talk = ReasonRequest {
            messages: vec![
                message(MessageRole::System, "a"),
                message(MessageRole::User, "b"),
                message(MessageRole::Assistant, "c"),
                message(MessageRole::User, "abc 12"),
            ],
            budgets: vec![4],
            ..ReasonRequest::default()
        };
        assert_eq!(told(&server, talk).await.unwrap().budgets.len(), 1);

        let branches = question(ReasonRequest {
            budgets: vec![9],
            branches: Some(3),
            finish_first: Some(2),
            ..ReasonRequest::default()
        });
        let end = told(&server, branches).await.unwrap().end;
        assert!(end.ended_branches >= Some(2) && end.trace.is_empty(), "{end:?}");

        let mut gone_on = 0;
        for seed in 0..6 {
            let ask = |budgets: Vec<u32>| {
                question(ReasonRequest {
                    budgets,
                    seed: Some(seed),
                    ..ReasonRequest::default()
                })
            };
            let at_once = told(&server, ask(vec![5, 40])).await.unwrap();
            let first = told(&server, ask(vec![5])).await.unwrap();
            if first.end.ended() != ThinkingEnd::Budget {
                continue;
            }
            gone_on += 1;
            let on = ReasonRequest {
                continues: first.end.trace,
                budgets: vec![40],
                ..ReasonRequest::default()
            };
            let then = told(&server, on).await.unwrap();
            assert_eq!(then.budgets[0], at_once.budgets[1]);
            assert_eq!(then.end.usage.unwrap().computed_prompt_tokens, 0);
        }
        assert!(gone_on > 0, "no thinking reached its budget");
    });
}

#[test]
fn a_call_is_refused_by_the_name_of_its_field() {
    run(async {
        let server = Server::start("##", false, &["--max-body-bytes", "2048"]).await;
        let refused = async |request: ReasonRequest| {
            let status = told(&server, request).await.expect_err("refused");
            (status.code(), status.message().to_owned(), StatusDetails::of(&status))
        };
        let (code, message, details) = refused(question(ReasonRequest {
            budgets: vec![9, 4],
            ..ReasonRequest::default()
        }))
        .await;
        assert_eq!(code, Code::InvalidArgument);
        let must = "it must be a list of 1 to 64 whole numbers that ascend, from 1 to 200 (--max-thinking)";
        assert_eq!(message, format!("budgets is [9,4]: {must}"));
        assert_eq!(details.reason, "ARGUMENT_REFUSED");
        assert_eq!(details.violations[0].0, "budgets");

        let cases = [
            (
                ReasonRequest {
                    temperature: Some(f64::NAN),
                    ..ReasonRequest::default()
                },
                "temperature is \"NaN\": ",
            ),
            (
                ReasonRequest {
                    top_p: Some(f64::INFINITY),
                    ..ReasonRequest::default()
                },
                "top_p is \"inf\": ",
            ),
            (
                ReasonRequest {
                    summaries: Some(0),
                    ..ReasonRequest::default()
                },
                "summaries is 0: ",
            ),
            (
                ReasonRequest {
                    max_completion_tokens: Some(1),
                    ..ReasonRequest::default()
                },
                "max_completion_tokens is 1: ",
            ),
            (
                ReasonRequest {
                    model: "gpt".to_owned(),
                    ..ReasonRequest::default()
                },
                "model is \"gpt\": ",
            ),
            (
                ReasonRequest {
                    branches: Some(2),
                    stop_rule: Some(StopRule::default()),
                    ..ReasonRequest::default()
                },
                "stop_rule is {}: ",
            ),
        ];
        for (request, start) in cases {
            let (code, message, _) = refused(question(request)).await;
            assert!(
                code == Code::InvalidArgument && message.starts_with(start),
                "{code:?} {message}"
            );
        }
        let nobody = ReasonRequest {
            messages: vec![ReasonMessage {
                role: 9,
                content: "a".to_owned(),
            }],
            ..ReasonRequest::default()
        };
        assert!(refused(nobody).await.1.starts_with("messages[0].role is \"9\": "));
        assert_eq!(
            refused(ReasonRequest::default()).await.1,
            "prompt is missing: it must be there, or messages"
        );
        let gone = ReasonRequest {
            continues: "chatcmpl-none".to_owned(),
            ..ReasonRequest::default()
        };
        let (code, _, details) = refused(gone).await;
        assert_eq!((code, details.reason.as_str()), (Code::NotFound, "TRACE_UNKNOWN"));
        // A message that is too large is not read.
        let huge = ReasonRequest {
            prompt: "a".repeat(3000),
            ..ReasonRequest::default()
        };
        assert_eq!(refused(huge).await.0, Code::OutOfRange);
        server.idle().await;
    });
}

#[test]
fn calls_count_and_wait_as_requests_do_and_leave_nothing_behind() {
    run(async {
        let server = Server::start("##", false, &["--max-requests", "2"]).await;
        let long = || {
            question(ReasonRequest {
                budgets: vec![200],
                summaries: Some(4),
                ..ReasonRequest::default()
            })
        };
        // A short answer may have come whole before its call is given up.
        let ended = async || {
            let of = async |outcome: &str| server.metric("anytime_serve_requests_total", outcome).await;
            of("cancelled").await + of("answered").await
        };
        let before = ended().await;
        let first = server.reasoner().reason(long()).await.unwrap();
        let second = server.reasoner().reason(long()).await.unwrap();
        let full = server.reasoner().reason(long()).await;
        // Where both have ended already there is room.
        if let Err(status) = full {
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert!(StatusDetails::of(&status).retry_after.is_some());
        }
        drop((first, second));
        server.idle().await;
        let after = ended().await;
        assert!(after >= before + 2.0, "{before} {after}");
    });
}
