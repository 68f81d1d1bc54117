//! The refusals of data files on their page.

use super::Files;
use crate::data::fields::Fields;
use crate::data::refusals_page::{assert_section, entry};

/// What is wrong with a file of problems: its name, its text, what is wrong.
const FAULTS: &[(&str, &[u8], &str)] = &[
    ("empty.jsonl", b"", "a file without rows"),
    (
        "cut.jsonl",
        b"{\"problem\": \"1+2=\", \"answer\": 3}\n{\"problem\": \"2",
        "a line that is no JSON",
    ),
    (
        "list.jsonl",
        b"{\"problem\": \"1+2=\", \"answer\": 3}\n3\n",
        "a line that is no object",
    ),
    (
        "unanswered.jsonl",
        b"{\"problem\": \"1+2=\", \"answer\": 3}\n{\"problem\": \"2+2=\"}\n",
        "a problem without answer",
    ),
    ("unasked.json", b"[{\"answer\": 3}]", "a row without problem"),
    (
        "hashes.jsonl",
        b"{\"problem\": \"1+2=\", \"answer\": \"1+2=3 ####\"}",
        "an answer that has nothing behind its `####`",
    ),
    (
        "unboxed.jsonl",
        b"{\"problem\": \"1+2=\", \"solution\": \"We add.\\nThat gives 3.\"}",
        "a solution without a box",
    ),
    (
        "truth.jsonl",
        b"{\"problem\": \"1+2=\", \"answer\": {\"value\": 3}}",
        "an answer that is an object",
    ),
    (
        "id.jsonl",
        b"{\"problem\": \"1+2=\", \"answer\": 3, \"id\": []}",
        "an id that is a list",
    ),
    (
        "role.jsonl",
        b"{\"prompt\": [{\"role\": \"tool\"}], \"reward_model\": {\"ground_truth\": 3}}",
        "verl's layout with a message of somebody else",
    ),
    (
        "questions.jsonl",
        b"{\"prompt\": [], \"reward_model\": {\"ground_truth\": 3}}",
        "verl's layout without a question",
    ),
    (
        "untrue.jsonl",
        b"{\"prompt\": [{\"role\": \"user\", \"content\": \"1+2=\"}], \"reward_model\": {\"style\": \"rule\"}}",
        "verl's layout without a ground truth",
    ),
    (
        "latin1.jsonl",
        b"{\"problem\": \"caf\xE9\", \"answer\": 3}",
        "a file in Latin-1",
    ),
    ("utf16.jsonl", b"\xFF\xFE{\0}\0", "a file in UTF-16"),
    ("table.csv", b"problem,answer\n1+2=,3\n", "a file of CSV"),
    (
        "nan.jsonl",
        b"{\"problem\": \"1+2=\", \"answer\": 3, \"level\": NaN}",
        "a number that JSON does not have",
    ),
    (
        "pretty.jsonl",
        b"{\n  \"problem\": \"1+2=\",\n  \"answer\": 3\n}",
        "a row on several lines",
    ),
    (
        "printed.jsonl",
        b"{\"prompt\": \"[{'role': 'user', 'content': '1+2='}]\", \"answer\": 3}",
        "messages as Python prints them",
    ),
    ("archive.jsonl", b"PK\x03\x04", "a zip archive"),
    (
        "cut.jsonl.gz",
        b"\x1F\x8B\x08\0\0\0\0\0\0\x03",
        "a gzip file that is cut short",
    ),
    (
        "pointer.parquet",
        b"version https://git-lfs.github.com/spec/v1\n",
        "a pointer of git-lfs",
    ),
    (
        "text.parquet",
        b"problem,answer",
        "a file that is called Parquet and is none",
    ),
    ("torn.parquet", b"PAR1", "a Parquet file that is cut short"),
];

/// Names of `data.path` that lead to no file of rows.
const NAMES: &[(&[&str], &str)] = &[
    (&["nowhere.jsonl"], "a file that is not there"),
    (&["openai/gsm8k"], "the name of a data set on the hub"),
    (&["nowhere-*.jsonl"], "a pattern that no file matches"),
    (&["nowhere[.jsonl"], "a pattern whose bracket does not close"),
    (&["~/data.jsonl"], "a name that a shell would have read"),
    (&["splits"], "a directory with several splits"),
    (&["nothing"], "a directory without files of rows"),
    (&["splits/train.jsonl", "splits/t*.jsonl"], "a file that is named twice"),
    (&["/dev/null"], "a device"),
];

const FILES_HEAD: &str = "## Files\n\nWhat is wrong with a file that `data.path` names, and what is said. Written by\n\n    \
                          UPDATE=1 cargo test -p anytime-learner --lib refusals\n";

#[test]
fn the_page_of_refusals_has_those_of_data_files() {
    let files = Files::new();
    let row = "{\"problem\": \"1+2=\", \"answer\": 3}\n";
    files
        .write("splits/train.jsonl", row)
        .write("splits/test.jsonl", row)
        .write("nothing/README.md", "");
    let mut text = FILES_HEAD.to_owned();
    for (name, content, wrong) in FAULTS {
        files.write(name, content);
        text.push_str(&entry(wrong, &files.fault(&[name])));
    }
    for (names, wrong) in NAMES {
        text.push_str(&entry(wrong, &files.fault(names)));
    }
    files.write("completions.jsonl", "{\"prompt\": \"1+2=\"}");
    let error = files
        .completions("completions.jsonl", Fields::default())
        .expect_err("no completion")
        .to_string();
    let said = error.replace(&format!("{}/", files.path().display()), "");
    text.push_str(&entry("sft: a row without completion", &said));
    assert_section("## Files", "## Hugging Face hub", &text);
}
