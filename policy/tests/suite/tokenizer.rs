//! Tokenizer and chat template equal those of transformers.

use std::path::Path;

use anytime_policy::{Chat, PolicyError, TemplateArguments, Tokenizer};
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

fn chat(tokenizer: &Tokenizer, user: &str) -> Result<String, PolicyError> {
    tokenizer.render_chat(&Chat {
        system: None,
        user,
        arguments: &TemplateArguments::default(),
    })
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
            let chat = chat(&tokenizer, &case.text).unwrap();
            assert_eq!(chat, case.chat, "{name}");
            assert_eq!(tokenizer.encode(&chat).unwrap(), case.chat_ids, "{name}: {chat}");
        }
    }
}

#[test]
fn a_rendered_chat_begins_its_sequence_once() {
    let tokenizer = Tokenizer::load(&fixture("tokenizer-r1")).unwrap();
    let chat = chat(&tokenizer, "2 + 2?").unwrap();
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

/// A directory with the tokenizer of a fixture and nothing beside it.
fn only_tokenizer(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture(name).join("tokenizer.json"), dir.path().join("tokenizer.json")).unwrap();
    dir
}

#[test]
fn a_beginning_that_is_no_token_is_a_note_where_a_template_writes_it() {
    let dir = only_tokenizer("tokenizer-r1");
    let dir = dir.path();
    write(dir, "config.json", &json!({"eos_token_id": 1}));
    let notes = |bos: &str, template: &str| {
        let settings = json!({"bos_token": bos, "chat_template": template});
        write(dir, "tokenizer_config.json", &settings);
        Tokenizer::load(dir).unwrap().notes().to_vec()
    };
    assert_eq!(
        notes("<nowhere>", "{{ bos_token }}{{ messages[0].content }}"),
        [
            "bos_token \"<nowhere>\" is not in tokenizer.json, and the chat template writes it as a text of several tokens"
        ]
    );
    assert!(notes("<nowhere>", "{{ messages[0].content }}").is_empty());
    assert!(notes("<｜begin▁of▁sentence｜>", "{{ bos_token }}{{ messages[0].content }}").is_empty());
}

#[test]
fn a_sequence_ends_at_every_id_that_is_named() {
    let dir = only_tokenizer("tokenizer-r1");
    let dir = dir.path();
    let load = || Tokenizer::load(dir).map_err(|error| error.to_string());
    let ends = || load().map(|tokenizer| (tokenizer.eos_ids().to_vec(), tokenizer.completion_end()));

    assert!(ends().unwrap_err().contains("no end-of-sequence token is named"));
    write(dir, "tokenizer_config.json", &json!({"eos_token": "<nowhere>"}));
    assert!(
        ends()
            .unwrap_err()
            .contains("eos_token <nowhere> is not in tokenizer.json")
    );
    write(dir, "config.json", &json!({"eos_token_id": 7}));
    assert_eq!(ends().unwrap(), (vec![7], 7));
    let notes = load().unwrap().notes().to_vec();
    assert_eq!(
        notes,
        ["eos_token \"<nowhere>\" is not in tokenizer.json and ends no sequence"]
    );

    write(
        dir,
        "tokenizer_config.json",
        &json!({"eos_token": {"content": "<｜end▁of▁sentence｜>"}}),
    );
    // The turn's end, which a completion is trained to end in, is the tokenizer's.
    assert_eq!(ends().unwrap(), (vec![7, 1], 1));
    let notes = load().unwrap().notes().to_vec();
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0]
            .ends_with("config.json names 7 (\"$\"); eos_token of the tokenizer names 1 (\"<｜end▁of▁sentence｜>\")"),
        "{notes:?}"
    );
    write(dir, "generation_config.json", &json!({"temperature": 0.6}));
    assert_eq!(ends().unwrap(), (vec![7, 1], 1));
    write(dir, "generation_config.json", &json!({"eos_token_id": [3, 1]}));
    assert_eq!(ends().unwrap(), (vec![3, 1, 7], 1));
    write(dir, "config.json", &json!({"eos_token_id": [1, 3, 1]}));
    assert_eq!(ends().unwrap(), (vec![3, 1], 1));
    std::fs::remove_file(dir.join("tokenizer_config.json")).unwrap();
    assert_eq!(ends().unwrap(), (vec![3, 1], 3));
    assert!(load().unwrap().notes().is_empty());

    for (wrong, says) in [
        (
            json!("x"),
            "generation_config.json: eos_token_id is \"x\"; it must be a token id or a list of them",
        ),
        (json!([]), "eos_token_id is []; it must be"),
        (json!(-1), "eos_token_id is -1; it must be"),
        (json!(true), "eos_token_id is true; it must be"),
        (json!({"a": 1}), "eos_token_id is {\"a\":1}; it must be"),
        (json!([1, [2]]), "eos_token_id is [1,[2]]; it must be"),
        (json!(1.5), "eos_token_id is 1.5; it must be"),
        (
            json!(1_000_000_000_000_u64),
            "eos_token_id is 1000000000000; it must be",
        ),
        (
            json!([1, 302]),
            "generation_config.json: eos_token_id is 302, and the tokenizer has the ids 0 to 301",
        ),
        (
            json!(u32::MAX),
            "eos_token_id is 4294967295, and the tokenizer has the ids 0 to 301",
        ),
    ] {
        write(dir, "generation_config.json", &json!({"eos_token_id": wrong}));
        let error = ends().unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn special_tokens_of_older_checkpoints_stand_in_a_file_of_their_own() {
    let dir = only_tokenizer("tokenizer-r1");
    let dir = dir.path();
    let map = json!({"bos_token": {"content": "<｜begin▁of▁sentence｜>"}, "eos_token": "<｜end▁of▁sentence｜>"});
    write(dir, "special_tokens_map.json", &map);
    write(
        dir,
        "tokenizer_config.json",
        &json!({"chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"}),
    );
    let tokenizer = Tokenizer::load(dir).unwrap();
    assert_eq!(
        chat(&tokenizer, "x").unwrap(),
        "<｜begin▁of▁sentence｜>x<｜end▁of▁sentence｜>"
    );
    assert_eq!(tokenizer.eos_ids(), [1]);
    // It goes before tokenizer_config.json, and behind it where that is a newer one, which lists added tokens.
    let mut settings = json!({"chat_template": "{{ bos_token }}", "bos_token": "<｜User｜>"});
    write(dir, "tokenizer_config.json", &settings);
    assert_eq!(
        chat(&Tokenizer::load(dir).unwrap(), "x").unwrap(),
        "<｜begin▁of▁sentence｜>"
    );
    settings["added_tokens_decoder"] = json!({});
    write(dir, "tokenizer_config.json", &settings);
    assert_eq!(chat(&Tokenizer::load(dir).unwrap(), "x").unwrap(), "<｜User｜>");
}

#[test]
fn listed_tokens_are_added_as_transformers_adds_them() {
    let dir = only_tokenizer("tokenizer-r1");
    let dir = dir.path();
    write(dir, "config.json", &json!({"eos_token_id": 1}));
    let token = |content: &str| json!({"content": content, "special": false, "normalized": false});
    let text = "so <tool> it is";
    let before = Tokenizer::load(dir).unwrap().encode(text).unwrap();
    assert!(!before.contains(&302));
    // One that tokenizer.json has, and one that it lacks.
    let listed = json!({"302": token("<tool>"), "301": token("</think>")});
    write(dir, "tokenizer_config.json", &json!({"added_tokens_decoder": listed}));
    let tokenizer = Tokenizer::load(dir).unwrap();
    assert_eq!(tokenizer.vocabulary_size(), 303);
    assert!(tokenizer.encode(text).unwrap().contains(&302));
    assert!(tokenizer.is_added_token(302) && !tokenizer.is_added_token(9));
    assert!(tokenizer.notes().is_empty());

    // Older checkpoints have a file of their own, which counts where the list is missing.
    write(dir, "added_tokens.json", &json!({"<other>": 302}));
    assert!(Tokenizer::load(dir).unwrap().encode(text).unwrap().contains(&302));
    write(dir, "tokenizer_config.json", &json!({}));
    let tokenizer = Tokenizer::load(dir).unwrap();
    assert_eq!(tokenizer.encode("<other>").unwrap(), [302]);

    // Of a token with two ids the one of tokenizer.json counts.
    write(dir, "added_tokens.json", &json!({"</think>": 7}));
    let tokenizer = Tokenizer::load(dir).unwrap();
    assert_eq!(tokenizer.encode("</think>").unwrap(), [301]);
    assert_eq!(
        tokenizer.notes(),
        ["added_tokens.json gives \"</think>\" the id 7, tokenizer.json 301: 301 is used"]
    );
    std::fs::remove_file(dir.join("added_tokens.json")).unwrap();

    for (listed, says) in [
        (
            json!({"310": token("<tool>")}),
            "\"<tool>\" has the id 310 and is not in tokenizer.json, where the next id is 302",
        ),
        (json!({"x": token("<tool>")}), "\"x\" is "),
        (json!({"302": "<tool>"}), "\"302\" is \"<tool>\"; it must be a token"),
        (json!([]), "added_tokens_decoder is []; it must be an object"),
    ] {
        write(dir, "tokenizer_config.json", &json!({"added_tokens_decoder": listed}));
        let error = Tokenizer::load(dir).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_raw_prompt_begins_as_the_tokenizer_begins_texts() {
    // TemplateProcessing puts id 0 before everything there.
    let dir = only_tokenizer("tokenizer-r1");
    let dir = dir.path();
    write(dir, "config.json", &json!({"eos_token_id": 1}));
    let prompt = |text: &str| {
        let tokenizer = Tokenizer::load(dir).unwrap();
        (
            tokenizer.encode_raw_prompt(text).unwrap(),
            tokenizer.encode(text).unwrap(),
        )
    };
    let (begun, plain) = prompt("2 + 2?");
    assert_eq!(begun, [&[0], plain.as_slice()].concat());
    // Where the text has it already, it has it once.
    let (begun, plain) = prompt("<｜begin▁of▁sentence｜>2");
    assert_eq!(begun, plain);
    assert_eq!(begun[0], 0);
    // transformers 5 does not ask `add_bos_token`.
    write(dir, "tokenizer_config.json", &json!({"add_bos_token": false}));
    assert_eq!(prompt("2").0[0], 0);

    // What a tokenizer puts behind texts would end a prompt.
    let path = dir.join("tokenizer.json");
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let behind = json!({"SpecialToken": {"id": "<｜end▁of▁sentence｜>", "type_id": 0}});
    file["post_processor"]["single"].as_array_mut().unwrap().push(behind);
    let ends = json!({"id": "<｜end▁of▁sentence｜>", "ids": [1], "tokens": ["<｜end▁of▁sentence｜>"]});
    file["post_processor"]["special_tokens"]["<｜end▁of▁sentence｜>"] = ends;
    write(dir, "tokenizer.json", &file);
    let (begun, plain) = prompt("2 + 2?");
    assert_eq!(begun, [&[0], plain.as_slice()].concat());

    // A tokenizer without a beginning has none.
    let dir = only_tokenizer("tokenizer-chatml");
    write(dir.path(), "config.json", &json!({"eos_token_id": 2}));
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    assert_eq!(
        tokenizer.encode_raw_prompt("2").unwrap(),
        tokenizer.encode("2").unwrap()
    );
}

#[test]
fn byte_order_marks_are_skipped_and_damaged_files_named() {
    let dir = only_tokenizer("tokenizer-r1");
    let dir = dir.path();
    let mark = |name: &str| {
        let path = dir.join(name);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, [b"\xef\xbb\xbf", text.as_slice()].concat()).unwrap();
    };
    write(dir, "config.json", &json!({"eos_token_id": 7}));
    write(dir, "generation_config.json", &json!({"eos_token_id": 7}));
    write(dir, "tokenizer_config.json", &json!({"bos_token": "<｜User｜>"}));
    write(dir, "special_tokens_map.json", &json!({}));
    for name in [
        "tokenizer.json",
        "config.json",
        "generation_config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ] {
        mark(name);
        Tokenizer::load(dir).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (content, says) in [
            ("", "is not valid json"),
            ("{", "is not valid json"),
            ("[1]", "the file must hold a JSON object"),
            (
                "version https://git-lfs.github.com/spec/v1\n",
                "is a pointer of git-lfs",
            ),
        ] {
            let path = dir.join(name);
            let kept = std::fs::read(&path).unwrap();
            std::fs::write(&path, content).unwrap();
            let error = Tokenizer::load(dir)
                .err()
                .unwrap_or_else(|| panic!("{name}: {content}"))
                .to_string();
            assert!(error.contains(name), "{error}");
            assert!(name == "tokenizer.json" || error.contains(says), "{error}");
            std::fs::write(&path, kept).unwrap();
        }
    }
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
        chat(&tokenizer, "x").unwrap_err().to_string(),
        "tokenizer: the model directory has no chat template"
    );

    let templates = json!([
        {"name": "tool_use", "template": "no"},
        {"name": "default", "template": "{{ messages[-1]['content'] }} in {{ strftime_now('%Y')|length }} digits"},
    ]);
    write(dir, "tokenizer_config.json", &json!({"chat_template": templates}));
    assert_eq!(
        chat(&Tokenizer::load(dir).unwrap(), "year").unwrap(),
        "year in 4 digits"
    );

    let named = json!({"tool_use": "no", "default": "{{ image_token }}{{ messages[-1]['content'] }}{{ end_token }}"});
    let extra = json!({"image_token": "<image>", "end_token": {"content": "<end>"}});
    let settings = json!({"chat_template": named, "extra_special_tokens": extra});
    write(dir, "tokenizer_config.json", &settings);
    assert_eq!(chat(&Tokenizer::load(dir).unwrap(), "x").unwrap(), "<image>x<end>");

    for nameless in [json!([{"name": "rag", "template": ""}]), json!({"rag": ""}), json!(7)] {
        write(dir, "tokenizer_config.json", &json!({"chat_template": nameless}));
        assert!(Tokenizer::load(dir).is_err());
    }
    for no_token in [json!(2), json!(["</s>"]), json!(true), json!({"id": 2})] {
        write(dir, "tokenizer_config.json", &json!({"eos_token": no_token}));
        let error = Tokenizer::load(dir).err().unwrap().to_string();
        assert!(
            error.contains("tokenizer_config.json: eos_token is") && error.contains("must be the text of a token"),
            "{error}"
        );
    }
    write(dir, "tokenizer_config.json", &json!({"chat_template": "{% if %}"}));
    assert!(Tokenizer::load(dir).err().unwrap().to_string().starts_with(&format!(
        "chat_template in {}: ",
        dir.join("tokenizer_config.json").display()
    )));
}

#[test]
fn a_missing_tokenizer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Tokenizer::load(dir.path()).err().unwrap().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    for (other, says) in [
        ("vocab.json", "tokenizer.json is missing and vocab.json is not read"),
        (
            "tokenizer.model",
            "tokenizer.json is missing and tokenizer.model is not read",
        ),
    ] {
        std::fs::write(dir.path().join(other), "").unwrap();
        let error = Tokenizer::load(dir.path()).err().unwrap().to_string();
        assert!(error.contains(says) && error.contains("save_pretrained"), "{error}");
    }
    std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    assert!(
        Tokenizer::load(dir.path())
            .err()
            .unwrap()
            .to_string()
            .starts_with("tokenizer: ")
    );
}
