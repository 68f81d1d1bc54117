//! Tokenizer and chat template equal those of transformers.

use std::path::Path;

use anytime_policy::Tokenizer;
use serde_json::json;

use crate::common::fixture;

#[derive(serde::Deserialize)]
struct Expected {
    text: String,
    ids: Vec<u32>,
    decoded: String,
    chat: String,
    chat_ids: Vec<u32>,
}

#[test]
fn texts_and_chats_equal_transformers() {
    for name in ["tokenizer-r1", "tokenizer-chatml"] {
        let dir = fixture(name);
        let tokenizer = Tokenizer::load(&dir).unwrap();
        assert!(tokenizer.has_chat_template());
        let expected = std::fs::read(dir.join("expected.json")).unwrap();
        let expected: Vec<Expected> = serde_json::from_slice(&expected).unwrap();
        assert_eq!(expected.len(), 4);
        for case in expected {
            assert_eq!(tokenizer.encode(&case.text).unwrap(), case.ids, "{name}: {}", case.text);
            assert_eq!(
                tokenizer.decode(&case.ids).unwrap(),
                case.decoded,
                "{name}: {}",
                case.text
            );
            let chat = tokenizer.render_chat(&case.text).unwrap();
            assert_eq!(chat, case.chat, "{name}");
            assert_eq!(tokenizer.encode(&chat).unwrap(), case.chat_ids, "{name}: {chat}");
        }
    }
}

#[test]
fn a_rendered_chat_begins_its_sequence_once() {
    let tokenizer = Tokenizer::load(&fixture("tokenizer-r1")).unwrap();
    let chat = tokenizer.render_chat("2 + 2?").unwrap();
    assert!(chat.ends_with("<think>\n"), "{chat}");
    let ids = tokenizer.encode(&chat).unwrap();
    // The beginning-of-sequence token is id 0 there.
    assert_eq!(ids.iter().filter(|&&id| id == 0).count(), 1);
    assert_eq!(ids[0], 0);
}

#[test]
fn added_tokens_count_and_unknown_ids_are_replaced() {
    let tokenizer = Tokenizer::load(&fixture("tokenizer-r1")).unwrap();
    // 300 trained tokens and the two thinking tags added afterwards.
    assert_eq!(tokenizer.vocabulary_size(), 302);
    assert_eq!(tokenizer.encode("<think></think>").unwrap(), [300, 301]);
    let mut ids = tokenizer.encode("so").unwrap();
    ids.extend([302, 301, u32::MAX]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "so\u{fffd}</think>\u{fffd}");
    assert_eq!(tokenizer.decode(&[]).unwrap(), "");
}

fn write(dir: &Path, name: &str, value: &serde_json::Value) {
    std::fs::write(dir.join(name), value.to_string()).unwrap();
}

#[test]
fn end_of_sequence_ids_by_precedence() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::copy(
        fixture("tokenizer-r1").join("tokenizer.json"),
        dir.join("tokenizer.json"),
    )
    .unwrap();
    let eos = || {
        Tokenizer::load(dir)
            .map(|tokenizer| tokenizer.eos_ids().to_vec())
            .map_err(|e| e.to_string())
    };

    assert!(eos().unwrap_err().contains("no end-of-sequence token is named"));
    write(dir, "tokenizer_config.json", &json!({"eos_token": "<nowhere>"}));
    assert!(
        eos()
            .unwrap_err()
            .contains("eos_token <nowhere> is not in tokenizer.json")
    );
    write(
        dir,
        "tokenizer_config.json",
        &json!({"eos_token": {"content": "<｜end▁of▁sentence｜>"}}),
    );
    assert_eq!(eos().unwrap(), [1]);
    write(dir, "config.json", &json!({"eos_token_id": 7}));
    assert_eq!(eos().unwrap(), [7]);
    write(dir, "generation_config.json", &json!({"temperature": 0.6}));
    assert_eq!(eos().unwrap(), [7]);
    write(dir, "generation_config.json", &json!({"eos_token_id": [3, 1]}));
    assert_eq!(eos().unwrap(), [3, 1]);
    write(dir, "generation_config.json", &json!({"eos_token_id": "x"}));
    let error = eos().unwrap_err();
    assert!(
        error.contains("generation_config.json: eos_token_id is \"x\""),
        "{error}"
    );
}

#[test]
fn templates_by_name_and_none_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::copy(
        fixture("tokenizer-chatml").join("tokenizer.json"),
        dir.join("tokenizer.json"),
    )
    .unwrap();
    write(dir, "config.json", &json!({"eos_token_id": 2}));
    let tokenizer = Tokenizer::load(dir).unwrap();
    assert!(!tokenizer.has_chat_template());
    assert_eq!(
        tokenizer.render_chat("x").unwrap_err().to_string(),
        "chat template: the model directory has none"
    );

    let templates = json!([
        {"name": "tool_use", "template": "no"},
        {"name": "default", "template": "{{ messages[-1]['content'] }} in {{ strftime_now('%Y')|length }} digits"},
    ]);
    write(dir, "tokenizer_config.json", &json!({"chat_template": templates}));
    assert_eq!(
        Tokenizer::load(dir).unwrap().render_chat("year").unwrap(),
        "year in 4 digits"
    );

    write(
        dir,
        "tokenizer_config.json",
        &json!({"chat_template": [{"name": "rag", "template": ""}]}),
    );
    assert!(Tokenizer::load(dir).is_err());
    write(dir, "tokenizer_config.json", &json!({"chat_template": "{% if %}"}));
    assert!(
        Tokenizer::load(dir)
            .err()
            .unwrap()
            .to_string()
            .starts_with("chat template: ")
    );
}

#[test]
fn a_missing_tokenizer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Tokenizer::load(dir.path()).err().unwrap().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    assert!(
        Tokenizer::load(dir.path())
            .err()
            .unwrap()
            .to_string()
            .starts_with("tokenizer: ")
    );
}
