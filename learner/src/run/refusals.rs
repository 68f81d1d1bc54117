//! Every way in which a job can be refused for its model, tokenizer, markers or prompts, provoked on the demo's tiny model
//! and written to docs/refusals.md.

use std::path::Path;

use anytime_proto::settings::{JobSettings, parse_job_file};

use super::prepare::prepare;
use crate::data::refusals_page::{assert_section, entry};

const HEADING: &str = "## Models, tokenizers and prompts";

/// A job that the demo's model can do: its weights are made at the start, so that none have to lie here.
const JOB: &str = "name = \"job\"\nkind = \"train\"\n[model]\npath = \"model\"\ninitialise = true\n[data]\npath = \
                   \"data.jsonl\"\ninstruction = \"\"\n[markers]\ncut = \"...\"\nsummary = \"=\"\n[rollout]\nbudgets = \
                   [6, 12]\nmax_summary_tokens = 4\n[training]\nsteps = 3\n";

/// What is different from a job that works.
pub(super) enum Change {
    /// In the job: this, by that.
    Job(&'static str, &'static str),
    /// In a file of the model: this, by that.
    Model(&'static str, &'static str, &'static str),
    /// A file of the model that is not there.
    Without(&'static str),
    /// A file that is added.
    With(&'static str, &'static str),
}

use Change::{Job, Model, With, Without};

const STRIPPED: Change = Model(
    "tokenizer.json",
    "\"normalizer\": null",
    "\"normalizer\": {\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}",
);

/// What is wrong, and the changes that make it so.
const CASES: &[(&str, &[Change])] = &[
    (
        "a directory that is not there",
        &[Job("path = \"model\"", "path = \"modle\"")],
    ),
    (
        "a name of the Hugging Face hub",
        &[Job("path = \"model\"", "path = \"Qwen/Qwen2.5-1.5B-Instruct\"")],
    ),
    ("a file", &[Job("path = \"model\"", "path = \"data.jsonl\"")]),
    (
        "the directory of an adapter (LoRA)",
        &[
            Without("config.json"),
            With(
                "model/adapter_config.json",
                "{\"base_model_name_or_path\": \"Qwen/Qwen3-4B\", \"peft_type\": \"LORA\"}",
            ),
        ],
    ),
    ("a directory without config.json", &[Without("config.json")]),
    (
        "a config.json that is no JSON",
        &[Model("config.json", "\"vocab_size\": 32,", "\"vocab_size\" 32,")],
    ),
    (
        "an architecture that is not supported",
        &[Model("config.json", "\"qwen2\"", "\"gpt2\"")],
    ),
    (
        "a size that the decoder cannot have",
        &[Model(
            "config.json",
            "\"num_key_value_heads\": 2",
            "\"num_key_value_heads\": 3",
        )],
    ),
    (
        "a field that is missing",
        &[Model("config.json", "\"hidden_size\": 96,", "")],
    ),
    (
        "a number that no model has",
        &[Model(
            "config.json",
            "\"num_hidden_layers\": 3",
            "\"num_hidden_layers\": 1000000000",
        )],
    ),
    (
        "sizes of a model to be drawn anew that no machine could hold",
        &[Model("config.json", "\"hidden_size\": 96", "\"hidden_size\": 1000000")],
    ),
    (
        "a window over which some layers see no further",
        &[Model(
            "config.json",
            "\"use_sliding_window\": false,\n  \"sliding_window\": null,\n  \"max_window_layers\": 3",
            "\"use_sliding_window\": true, \"sliding_window\": 4096, \"max_window_layers\": 2",
        )],
    ),
    (
        "a way of stretching positions that the decoder lacks",
        &[Model(
            "config.json",
            "\"rope_theta\": 10000.0",
            "\"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 4.0}",
        )],
    ),
    (
        "rotary positions by type of layer",
        &[Model(
            "config.json",
            "\"rope_theta\": 10000.0",
            "\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1000000.0}}",
        )],
    ),
    (
        "`rope_scaling` beside `rope_parameters`, whose base would be lost",
        &[Model(
            "config.json",
            "\"rope_theta\": 10000.0",
            "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 1000000.0}, \"rope_scaling\": {\"rope_type\": \
             \"yarn\", \"factor\": 4.0}",
        )],
    ),
    (
        "a directory without weights, where `model.initialise` is not set",
        &[Job("initialise = true\n", "")],
    ),
    (
        "weights without a tensor that the configuration calls for",
        &[
            Job("initialise = true\n", ""),
            With("model/model.safetensors", "\u{2}\0\0\0\0\0\0\0{}"),
        ],
    ),
    (
        "weights that are no safetensors file",
        &[
            Job("initialise = true\n", ""),
            With("model/model.safetensors", "<html>not found</html>\n"),
        ],
    ),
    (
        "weights that git-lfs keeps elsewhere",
        &[
            Job("initialise = true\n", ""),
            With(
                "model/model.safetensors",
                "version https://git-lfs.github.com/spec/v1\n",
            ),
        ],
    ),
    (
        "shards without their index",
        &[
            Job("initialise = true\n", ""),
            With("model/model-00001-of-00002.safetensors", ""),
            With("model/model-00002-of-00002.safetensors", ""),
        ],
    ),
    (
        "weights of PyTorch",
        &[Job("initialise = true\n", ""), With("model/pytorch_model.bin", "")],
    ),
    (
        "tensors under the names of a wrapper",
        &[
            Job("initialise = true\n", ""),
            With(
                "model/model.safetensors",
                "\u{61}\0\0\0\0\0\0\0{\"base_model.model.model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[0],\
                 \"data_offsets\":[0,0]}}          ",
            ),
        ],
    ),
    ("no tokenizer", &[Without("tokenizer.json")]),
    (
        "a tokenizer in another form",
        &[Without("tokenizer.json"), With("model/tokenizer.model", "")],
    ),
    (
        "a tokenizer.json that is cut short",
        &[With("model/tokenizer.json", "{\"version\"")],
    ),
    (
        "no file that names the end of sequence",
        &[
            Without("generation_config.json"),
            Without("tokenizer_config.json"),
            Model("config.json", "\"eos_token_id\": 1,", ""),
        ],
    ),
    (
        "an end of sequence that is no id",
        &[Model(
            "generation_config.json",
            "\"eos_token_id\": 1",
            "\"eos_token_id\": \"<eos>\"",
        )],
    ),
    (
        "an end of sequence that the tokenizer does not have",
        &[Model(
            "generation_config.json",
            "\"eos_token_id\": 1",
            "\"eos_token_id\": [1, 32]",
        )],
    ),
    (
        "an end of sequence that the embedding does not have",
        &[
            Model("config.json", "\"vocab_size\": 32", "\"vocab_size\": 20"),
            Model("generation_config.json", "\"eos_token_id\": 1", "\"eos_token_id\": 20"),
        ],
    ),
    (
        "an end of sequence that only tokenizer_config.json names, and that tokenizer.json does not have",
        &[
            Without("generation_config.json"),
            Model("config.json", "\"eos_token_id\": 1,", ""),
            Model(
                "tokenizer_config.json",
                "\"eos_token\": \"<eos>\"",
                "\"eos_token\": \"<|im_end|>\"",
            ),
        ],
    ),
    (
        "a token that tokenizer_config.json lists at a place where the tokenizer cannot have it",
        &[Model(
            "tokenizer_config.json",
            "\"added_tokens_decoder\": {",
            "\"added_tokens_decoder\": {\"40\": {\"content\": \"<tool>\"},",
        )],
    ),
    (
        "a marker with a token that the embedding does not have",
        &[
            Model("config.json", "\"vocab_size\": 32", "\"vocab_size\": 15"),
            Job("cut = \"...\"", "cut = \"+\""),
        ],
    ),
    (
        "a prompt with a token that the embedding does not have",
        &[
            Model("config.json", "\"vocab_size\": 32", "\"vocab_size\": 10"),
            Job("cut = \"...\"\nsummary = \"=\"", "cut = \"...\"\nsummary = \"1\""),
            With("data.jsonl", "{\"problem\": \"1+9=\", \"answer\": 10}\n"),
        ],
    ),
    (
        "a chat template that does not compile",
        &[With("model/chat_template.jinja", "{% if %}")],
    ),
    (
        "a chat template that refuses the message",
        &[With(
            "model/chat_template.jinja",
            "{{ raise_exception('a system message is needed') }}",
        )],
    ),
    (
        "a chat template with a loop that does not end",
        &[With(
            "model/chat_template.jinja",
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        )],
    ),
    (
        "a chat template that renders nothing",
        &[With("model/chat_template.jinja", "{# to be written #}")],
    ),
    (
        "a chat template that does not show the message",
        &[With("model/chat_template.jinja", "{{ messages | length }}+1=")],
    ),
    (
        "`data.system` with a template that leaves it out",
        &[
            With("model/chat_template.jinja", "{{ messages[-1].content }}"),
            Job("instruction = \"\"\n", "instruction = \"\"\nsystem = \"2+2=\"\n"),
        ],
    ),
    (
        "`data.system` with a template that refuses it",
        &[
            With(
                "model/chat_template.jinja",
                "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{{ \
                 messages[-1].content }}",
            ),
            Job("instruction = \"\"\n", "instruction = \"\"\nsystem = \"2+2=\"\n"),
        ],
    ),
    (
        "a template that opens the thinking, as `markers.open` does",
        &[
            With("model/chat_template.jinja", "{{ messages[-1].content }}9\n"),
            Job("cut =", "open = \"9\"\ncut ="),
        ],
    ),
    (
        "`data.system` without a template",
        &[Job("instruction = \"\"\n", "instruction = \"\"\nsystem = \"2+2=\"\n")],
    ),
    (
        "a template argument that the template does not read",
        &[
            With(
                "model/chat_template.jinja",
                "{{ messages[-1].content }}{{ enable_thinking }}",
            ),
            Job(
                "instruction = \"\"\n",
                "instruction = \"\"\ntemplate_arguments = { enable_thinkng = false }\n",
            ),
        ],
    ),
    (
        "template arguments with `data.chat_template = false`",
        &[
            With(
                "model/chat_template.jinja",
                "{{ messages[-1].content }}{{ enable_thinking }}",
            ),
            Job(
                "instruction = \"\"\n",
                "instruction = \"\"\nchat_template = false\ntemplate_arguments = { enable_thinking = false }\n",
            ),
        ],
    ),
    (
        "`data.chat_template = true` without a template",
        &[Job(
            "instruction = \"\"\n",
            "instruction = \"\"\nchat_template = true\n",
        )],
    ),
    (
        "a marker with letters that the vocabulary does not have",
        &[Job("cut = \"...\"", "cut = \"wait\"")],
    ),
    (
        "a marker of which the tokenizer makes nothing",
        &[STRIPPED, Job("cut = \"...\"", "cut = \" \"")],
    ),
    (
        "two markers whose tokens are the same, though their letters are not",
        &[STRIPPED, Job("cut = \"...\"", "cut = \" 1\"\nopen = \"1 \"")],
    ),
    (
        "a prompt that the vocabulary cannot spell",
        &[With("data.jsonl", "{\"problem\": \"x+2=\", \"answer\": 3}\n")],
    ),
    (
        "a prompt without tokens",
        &[
            STRIPPED,
            With("data.jsonl", "{\"problem\": \" .\", \"answer\": 3}\n"),
            Job("instruction", "chat_template = true\ninstruction"),
            With("model/chat_template.jinja", "{{ messages[0].content[:1] }}"),
        ],
    ),
    (
        "prompts that are all too long",
        &[Job("instruction", "max_prompt_tokens = 3\ninstruction")],
    ),
    (
        "sft: a completion that the vocabulary cannot spell",
        &[
            Job("\"train\"", "\"sft\""),
            With("data.jsonl", "{\"prompt\": \"1+2=\", \"completion\": \"three\"}\n"),
        ],
    ),
    (
        "sft: prompts that are all too long",
        &[
            Job("\"train\"", "\"sft\""),
            Job("instruction", "max_prompt_tokens = 3\ninstruction"),
            With("data.jsonl", "{\"prompt\": \"1+2=\", \"completion\": \"3\"}\n"),
        ],
    ),
    (
        "sft: a pair that does not fit the model's positions",
        &[
            Job("\"train\"", "\"sft\""),
            Model(
                "config.json",
                "\"max_position_embeddings\": 256",
                "\"max_position_embeddings\": 8",
            ),
            With(
                "data.jsonl",
                "{\"prompt\": \"1+2=\", \"completion\": \"3\"}\n{\"prompt\": \"1+2=\", \"completion\": \"1+2=3\"}\n",
            ),
        ],
    ),
    (
        "budgets that do not fit the model's positions",
        &[Job("[6, 12]", "[6, 250]")],
    ),
    (
        "an objective that makes traces end at once, at a budget without room for the end marker",
        &[
            Job("[6, 12]", "[1, 12]"),
            Job("cut =", "end = \"</think>;\"\ncut ="),
            Job("[training]", "[objective.adaptthink]\n[training]"),
        ],
    ),
    (
        "an objective that measures every problem, with an id that comes twice",
        &[
            With(
                "data.jsonl",
                "{\"problem\": \"1+2=\", \"answer\": 3, \"id\": 7}\n{\"problem\": \"2+2=\", \"answer\": 4, \"id\": 7}\n",
            ),
            Job("[training]", "[objective.adaptthink]\n[training]"),
        ],
    ),
];

/// The job and its files under `root`, with these changes.
pub(super) fn write(root: &Path, changes: &[Change]) -> String {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/model");
    let model = root.join("model");
    std::fs::create_dir_all(&model).expect("a directory");
    for entry in std::fs::read_dir(demo).expect("the demo's model") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), model.join(entry.file_name())).expect("copied");
    }
    std::fs::write(root.join("data.jsonl"), "{\"problem\": \"1+2=\", \"answer\": 3}\n").expect("written");
    let mut job = JOB.to_owned();
    for change in changes {
        match change {
            Job(this, that) => {
                assert!(job.contains(this), "{this}");
                job = job.replacen(this, that, 1);
            }
            Model(name, this, that) => {
                let path = model.join(name);
                let text = std::fs::read_to_string(&path).expect("a file of the model");
                assert!(text.contains(this), "{name}: {this}");
                std::fs::write(&path, text.replacen(this, that, 1)).expect("written");
            }
            Without(name) => std::fs::remove_file(model.join(name)).expect("removed"),
            With(name, text) => std::fs::write(root.join(name), text).expect("written"),
        }
    }
    job
}

/// What is said about the job, with paths that begin at its root.
fn said(changes: &[Change]) -> Result<(), String> {
    let root = tempfile::tempdir().expect("a directory");
    let spec = parse_job_file(&write(root.path(), changes)).map_err(|error| error.to_string())?;
    let settings = JobSettings::try_new(&spec).map_err(|error| error.to_string())?;
    let prepared = prepare(&settings, root.path(), None);
    let root = format!("{}/", root.path().display());
    prepared.map(drop).map_err(|error| error.to_string().replace(&root, ""))
}

#[test]
fn long_prompts_of_an_sft_job_are_left_out() {
    let root = tempfile::tempdir().expect("a directory");
    let rows = "{\"prompt\": \"1+2=\", \"completion\": \"3\"}\n{\"prompt\": \"1+2+3=\", \"completion\": \"6\"}\n";
    let changes = [
        Job("\"train\"", "\"sft\""),
        Job("instruction", "max_prompt_tokens = 4\ninstruction"),
        With("data.jsonl", rows),
    ];
    let spec = parse_job_file(&write(root.path(), &changes)).expect("a job file");
    let settings = JobSettings::try_new(&spec).expect("valid settings");
    let prepared = prepare(&settings, root.path(), None).expect("one row fits");
    let lengths: Vec<usize> = prepared.completions.iter().map(|(prompt, _)| prompt.len()).collect();
    assert_eq!(lengths, [4]);
}

#[test]
fn the_job_that_the_cases_change_works() {
    assert_eq!(said(&[]), Ok(()));
}

#[test]
fn the_page_of_refusals_has_those_of_models_and_prompts() {
    let mut text = format!(
        "{HEADING}\n\nWhat is wrong with the files that a job names, and what is said. Relative paths begin at the \
         learner's `--root`. Written by\n\n    UPDATE=1 cargo test -p anytime-learner --lib refusals\n"
    );
    for (wrong, changes) in CASES {
        let said = said(changes).expect_err(wrong);
        assert!(!said.contains('\n'), "{wrong}: a refusal is one sentence: {said}");
        text.push_str(&entry(wrong, &said));
    }
    assert_section(HEADING, "## Jobs that start from a job", &text);
}
