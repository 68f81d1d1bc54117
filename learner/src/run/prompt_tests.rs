//! What the model sees of a problem: chat template, system message, template arguments, and what stands before a text
//! without a template.

use anytime_proto::settings::{InvalidSetting, JobSettings, parse_job_file};

use super::prepare::{Prepared, prepare};
use super::refusals::Change::{self, Job, Model, With};
use super::refusals::write;

fn prepared(changes: &[Change]) -> Result<Prepared, InvalidSetting> {
    let root = tempfile::tempdir().expect("a directory");
    let spec = parse_job_file(&write(root.path(), changes)).expect("a job file");
    prepare(&JobSettings::try_new(&spec)?, root.path(), None)
}

/// The first prompt as text.
fn prompt(changes: &[Change]) -> String {
    let prepared = prepared(changes).expect("a job that works");
    prepared
        .tokenizer
        .decode(&prepared.problems[0].prompt_ids)
        .expect("a text")
}

const SHOWS_ALL: Change = With(
    "model/chat_template.jinja",
    "{% for m in messages %}{{ m.content }}{% if not loop.last %}+{% endif %}{% endfor %}{% if enable_thinking is \
     defined and not enable_thinking %}</think>{% endif %}{{ start }}",
);

#[test]
fn a_system_message_and_arguments_reach_the_template() {
    assert_eq!(prompt(&[]), "1+2=");
    assert_eq!(prompt(&[SHOWS_ALL]), "1+2=");
    let settings = |lines: &'static str| Job("instruction = \"\"\n", lines);
    assert_eq!(
        prompt(&[SHOWS_ALL, settings("instruction = \"\"\nsystem = \"7\"\n")]),
        "7+1+2="
    );
    let lines = "instruction = \"\"\ntemplate_arguments = { enable_thinking = false, start = 12 }\n";
    assert_eq!(prompt(&[SHOWS_ALL, settings(lines)]), "1+2=</think>12");
    let lines = "instruction = \"\"\ntemplate_arguments = { enable_thinking = true }\n";
    assert_eq!(prompt(&[SHOWS_ALL, settings(lines)]), "1+2=");
}

#[test]
fn what_was_read_is_said() {
    let template = |changes: &[Change]| prepared(changes).expect("a job that works").template;
    let none = "prompts are the problems themselves, because the model's directory has no chat template \
                (chat_template.jinja, or chat_template in tokenizer_config.json)";
    assert_eq!(template(&[]), none);
    assert_eq!(
        template(&[SHOWS_ALL]),
        "prompts go through the chat template chat_template.jinja"
    );
    let off = |lines: &'static str| Job("instruction = \"\"\n", lines);
    assert_eq!(
        template(&[SHOWS_ALL, off("instruction = \"\"\nchat_template = false\n")]),
        "prompts are the problems themselves, because data.chat_template is false"
    );

    let notes = |changes: &[Change]| prepared(changes).expect("a job that works").notes;
    assert_eq!(notes(&[]), [""; 0]);
    // The template of a model for chats has been lost.
    const CHAT: Change = Model(
        "tokenizer_config.json",
        "\"added_tokens_decoder\": {",
        "\"added_tokens_decoder\": {\"21\": {\"content\": \"<|im_start|>\"},",
    );
    assert_eq!(
        notes(&[CHAT]),
        [format!(
            "{none}; its tokenizer has the token \"<|im_start|>\" of a chat, so that the template may have been lost; where \
             it is meant to have none, say data.chat_template = false"
        )]
    );
    assert_eq!(notes(&[CHAT, SHOWS_ALL]), [""; 0]);
    assert_eq!(
        notes(&[CHAT, off("instruction = \"\"\nchat_template = false\n")]),
        [""; 0]
    );
    let other_end = Model("config.json", "\"eos_token_id\": 1", "\"eos_token_id\": 0");
    assert_eq!(
        notes(&[other_end]),
        [
            "a sequence ends at any of the ids that are named: generation_config.json names 1 (\"<eos>\"); config.json names 0 \
          (\"<pad>\"); eos_token of the tokenizer names 1 (\"<eos>\")"
        ]
    );
}

#[test]
fn ids_beyond_the_embedding_are_never_generated() {
    let whole = prepared(&[]).expect("a job that works");
    assert_eq!(whole.vocabulary(), whole.tokenizer.vocabulary_size());
    // The tokenizer has one token more than the model, as fine-tunes of Llama with a token for padding have.
    let extra = Model(
        "tokenizer_config.json",
        "\"added_tokens_decoder\": {",
        "\"added_tokens_decoder\": {\"21\": {\"content\": \"[PAD]\", \"special\": true},",
    );
    let rows = Model("config.json", "\"vocab_size\": 32", "\"vocab_size\": 21");
    let larger = prepared(&[extra, rows]).expect("it works");
    assert_eq!((larger.tokenizer.vocabulary_size(), larger.vocabulary()), (22, 21));
    let note = larger.notes.last().expect("a note");
    assert!(
        note.starts_with("the tokenizer has 22 ids and the embedding 21 rows"),
        "{note}"
    );
    let extra = Model(
        "tokenizer_config.json",
        "\"added_tokens_decoder\": {",
        "\"added_tokens_decoder\": {\"21\": {\"content\": \"[PAD]\", \"special\": true},",
    );
    let rows = Model("config.json", "\"vocab_size\": 32", "\"vocab_size\": 21");
    let data = With("data.jsonl", "{\"problem\": \"1[PAD]2\", \"answer\": 3}\n");
    let error = prepared(&[extra, rows, data]).err().expect("refused").to_string();
    assert!(
        error.contains("the text \"1[PAD]2\" holds the token \"[PAD]\", whose id 21 is beyond the 21 rows"),
        "{error}"
    );
}

#[test]
fn a_marker_of_several_tokens_is_looked_for_by_its_text() {
    let end = |lines: &'static str| {
        let job = Job("cut =", lines);
        prepared(&[job]).expect("a job that works").markers
    };
    assert_eq!(end("cut =").end_text, "");
    let several = end("end = \"</think>;\"\ncut =");
    assert!(several.end.len() > 1);
    assert_eq!(several.end_text, "</think>;");
    // One token that is no added one merges with others in a text.
    assert_eq!(end("end = \";\"\ncut =").end_text, ";");
}

const BEGINS: Change = Model(
    "tokenizer.json",
    "\"post_processor\": null",
    "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<pad>\", \
     \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [], \"special_tokens\": {\"<pad>\": \
     {\"id\": \"<pad>\", \"ids\": [0], \"tokens\": [\"<pad>\"]}}}",
);

#[test]
fn a_text_without_a_template_begins_as_the_tokenizer_says() {
    assert_eq!(prompt(&[BEGINS]), "<pad>1+2=");
    // A template writes it itself, or does not.
    assert_eq!(prompt(&[BEGINS, SHOWS_ALL]), "1+2=");
}

#[test]
fn a_completion_ends_in_the_end_of_the_turn() {
    let sft = [
        Job("\"train\"", "\"sft\""),
        Model(
            "generation_config.json",
            "\"eos_token_id\": 1",
            "\"eos_token_id\": [2, 0, 1]",
        ),
        With("data.jsonl", "{\"prompt\": \"1+2=\", \"completion\": \"3\"}\n"),
    ];
    let prepared = prepared(&sft).expect("a job that works");
    assert_eq!(prepared.tokenizer.eos_ids(), [2, 0, 1]);
    assert_eq!(prepared.completions[0].1.last(), Some(&1));
}
