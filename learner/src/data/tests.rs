//! Every form of a data set, and what is wrong with one by field, file and row.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::basic::{Compression, GzipLevel, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use anytime_proto::settings::InvalidSetting;

use super::problem::ProblemRow;
use super::read::{read_completions, read_problems};
use super::refusals_page::{assert_section, entry};

fn problems_of(text: &str) -> Result<Vec<ProblemRow>, InvalidSetting> {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), text).expect("written");
    read_problems("data.path", file.path())
}

/// What is said about the first fault of a file.
fn fault_of(text: &str) -> String {
    problems_of(text).expect_err(text).reason
}

fn row(row: u64, id: &str, problem: &str, answers: &[&str]) -> ProblemRow {
    ProblemRow {
        id: id.to_owned(),
        row,
        problem: problem.to_owned(),
        answers: answers.iter().map(|answer| (*answer).to_owned()).collect(),
    }
}

#[test]
fn arrays_and_lines_with_every_kind_of_answer() {
    let lines = "{\"problem\": \"a\", \"answer\": \"1\"}\n\n{\"problem\": \"b\", \"answer\": [2, \"3\"], \"id\": 7}\n";
    let rows = problems_of(lines).expect("valid");
    assert_eq!(rows, [row(0, "0", "a", &["1"]), row(1, "7", "b", &["2", "3"])]);
    let array = "[{\"problem\": \"a\", \"answer\": 1.5}]";
    assert_eq!(problems_of(array).expect("valid")[0].answers, ["1.5"]);
}

#[test]
fn a_row_without_answer_is_named() {
    let error = problems_of("{\"problem\": \"a\", \"answer\": \"1\"}\n{\"problem\": \"b\"}").expect_err("refused");
    assert_eq!(error.field, "data.path");
    assert!(
        error.reason.contains("line 2") && error.reason.contains("answer"),
        "{error}"
    );
    for empty in ["\"\"", "null", "[]", "[\"1\", \"\"]", "{}"] {
        let row = format!("{{\"problem\": \"a\", \"answer\": {empty}}}");
        assert!(problems_of(&row).is_err(), "{empty}");
    }
    assert!(fault_of("").contains("no rows"));
}

#[test]
fn a_missing_file_is_named() {
    let error = read_problems("evaluation.path", Path::new("/nowhere.jsonl")).expect_err("refused");
    assert!(error.to_string().contains("evaluation.path") && error.to_string().contains("/nowhere.jsonl"));
}

#[test]
fn verls_layout_in_json() {
    let lines = r#"{"prompt": [{"role": "user", "content": "1+1? Think."}], "reward_model": {"ground_truth": "2"}}
{"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
 "reward_model": {"style": "rule", "ground_truth": ["4", 4]}, "extra_info": {"index": 9}, "data_source": "sums"}"#;
    let array = format!("[{}]", lines.replacen('\n', ",", 1));
    let rows = problems_of(&array).expect("valid");
    assert_eq!(
        rows,
        [row(0, "0", "1+1? Think.", &["2"]), row(1, "9", "2+2?", &["4", "4"])]
    );
    let one_line: String = lines.lines().skip(1).collect();
    assert_eq!(problems_of(&one_line).expect("valid")[0].id, "9");
}

#[test]
fn faults_of_verls_layout_are_named() {
    let user = r#"{"role": "user", "content": "2+2?"}"#;
    let table = [
        (format!("[{user}]"), "{}", "reward_model.ground_truth"),
        (
            format!("[{user}]"),
            r#"{"ground_truth": ""}"#,
            "reward_model.ground_truth",
        ),
        (
            format!("[{user}, {user}]"),
            r#"{"ground_truth": "4"}"#,
            "2 user messages",
        ),
        ("[]".to_owned(), r#"{"ground_truth": "4"}"#, "0 user messages"),
        (
            r#"[{"role": "user"}]"#.to_owned(),
            r#"{"ground_truth": "4"}"#,
            "\"content\"",
        ),
        (
            r#"[{"role": "assistant", "content": "4"}]"#.to_owned(),
            r#"{"ground_truth": "4"}"#,
            "assistant",
        ),
    ];
    for (prompt, reward_model, says) in table {
        let fault = fault_of(&format!("{{\"prompt\": {prompt}, \"reward_model\": {reward_model}}}"));
        assert!(fault.contains("line 1") && fault.contains(says), "{fault}");
    }
    let neither = fault_of("{\"question\": \"2+2?\"}");
    assert!(
        neither.contains("\"problem\"") && neither.contains("\"prompt\""),
        "{neither}"
    );
}

#[test]
fn an_id_that_repeats_is_told_apart_by_its_source() {
    let line = |source: &str, index: u32| {
        format!(
            r#"{{"prompt": [{{"role": "user", "content": "?"}}], "reward_model": {{"ground_truth": "1"}},
            "extra_info": {{"index": {index}}}, "data_source": "{source}"}}"#
        )
        .replace('\n', " ")
    };
    let text = [line("aime", 0), line("aime", 1), line("amc", 0)].join("\n");
    let ids: Vec<String> = problems_of(&text)
        .expect("valid")
        .into_iter()
        .map(|row| row.id)
        .collect();
    assert_eq!(ids, ["aime/0", "1", "amc/0"]);
}

#[test]
fn a_file_that_pyarrow_wrote_as_verl_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/verl.parquet");
    let rows = read_problems("evaluation.path", &path).expect("valid");
    let instruction = "Let's think step by step and output the final answer within \\boxed{}.";
    let asked = |question: &str| format!("{question} {instruction}");
    let expected = [
        row(0, "lighteval/MATH/0", &asked("What is $6 \\cdot 7$?"), &["42"]),
        row(1, "1", &asked("Halve $\\frac{1}{2}$."), &["\\frac{1}{4}"]),
        row(2, "2", &asked("Name a root of $x^2 = 4$ – any."), &["2"]),
        row(3, "openai/gsm8k/0", &asked("What is 1+1?"), &["2"]),
    ];
    assert_eq!(rows, expected);
}

/// Writes `problem`, `answer` and a number that nobody asked for.
fn write_parquet(directory: &Path, compression: Compression, answers: &[Option<&str>]) -> PathBuf {
    let schema = "message schema {
        REQUIRED BYTE_ARRAY problem (UTF8); OPTIONAL BYTE_ARRAY answer (UTF8); REQUIRED INT64 difficulty; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = WriterProperties::builder().set_compression(compression).build();
    let path = directory.join(format!("{}.parquet", compression.to_string().to_lowercase()));
    let file = File::create(&path).expect("created");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let problems: Vec<ByteArray> = (0..answers.len())
        .map(|row| format!("problem {row}").as_str().into())
        .collect();
    let given: Vec<ByteArray> = answers.iter().flatten().map(|answer| (*answer).into()).collect();
    let levels: Vec<i16> = answers.iter().map(|answer| i16::from(answer.is_some())).collect();
    let difficulties: Vec<i64> = (0..answers.len() as i64).collect();

    let mut column = group.next_column().expect("a column").expect("problem");
    column
        .typed::<ByteArrayType>()
        .write_batch(&problems, None, None)
        .expect("written");
    column.close().expect("closed");
    let mut column = group.next_column().expect("a column").expect("answer");
    column
        .typed::<ByteArrayType>()
        .write_batch(&given, Some(&levels), None)
        .expect("written");
    column.close().expect("closed");
    let mut column = group.next_column().expect("a column").expect("difficulty");
    column
        .typed::<Int64Type>()
        .write_batch(&difficulties, None, None)
        .expect("written");
    column.close().expect("closed");
    group.close().expect("closed");
    writer.close().expect("closed");
    path
}

#[test]
fn parquet_under_every_compression() {
    let directory = tempfile::tempdir().expect("directory");
    let compressions = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ];
    let answers: Vec<String> = (0..300).map(|row| (row % 7).to_string()).collect();
    let given: Vec<Option<&str>> = answers.iter().map(|answer| Some(answer.as_str())).collect();
    for compression in compressions {
        let path = write_parquet(directory.path(), compression, &given);
        let rows = read_problems("data.path", &path).expect("valid");
        assert_eq!(rows.len(), 300, "{compression}");
        assert_eq!(rows[299], row(299, "299", "problem 299", &["5"]), "{compression}");
        // Its content says what it is.
        let renamed = directory.path().join("without-extension");
        std::fs::rename(&path, &renamed).expect("renamed");
        assert_eq!(read_problems("data.path", &renamed).expect("valid"), rows);
    }
}

#[test]
fn faults_of_parquet_are_named() {
    let directory = tempfile::tempdir().expect("directory");
    let path = write_parquet(directory.path(), Compression::SNAPPY, &[Some("1"), None, Some("3")]);
    let fault = read_problems("data.path", &path)
        .expect_err("a null answer")
        .to_string();
    for part in ["data.path", "snappy.parquet", "row 1", "\"answer\""] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
    let whole = std::fs::read(&path).expect("read");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("cut");
    let fault = read_problems("data.path", &path).expect_err("cut").reason;
    assert!(fault.contains("no whole Parquet file"), "{fault}");
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").expect("written");
    let fault = read_problems("data.path", &path).expect_err("a pointer").reason;
    assert!(fault.contains("PAR1"), "{fault}");
    let completions = read_completions("data.path", &path).expect_err("a pointer").reason;
    assert!(completions.contains("PAR1"), "{completions}");
}

#[test]
fn columns_that_are_no_text_or_no_problem_are_named() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, schema: &str| {
        let path = directory.path().join(name);
        let schema = Arc::new(parse_message_type(schema).expect("a schema"));
        let file = File::create(&path).expect("created");
        let writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
        writer.close().expect("closed");
        read_problems("data.path", &path).expect_err(name).reason
    };
    let strangers = write(
        "strangers",
        "message schema { REQUIRED INT64 question; REQUIRED INT64 solution; }",
    );
    assert!(strangers.contains("[\"question\", \"solution\"]"), "{strangers}");
    let schema = "message schema { REQUIRED BYTE_ARRAY problem (UTF8);
        REQUIRED GROUP reward_model { REQUIRED BYTE_ARRAY ground_truth; } }";
    let binary = write("binary", schema);
    assert!(
        binary.contains("`reward_model.ground_truth` of binary values"),
        "{binary}"
    );
    let empty = write("empty", "message schema { REQUIRED BYTE_ARRAY problem (UTF8); }");
    assert!(empty.contains("no rows"), "{empty}");
}

/// What is wrong with a file of problems: its name, its text, what is wrong.
const FAULTS: &[(&str, &str, &str)] = &[
    ("empty.jsonl", "", "a file without rows"),
    (
        "cut.jsonl",
        "{\"problem\": \"1+2=\", \"answer\": 3}\n{\"problem\": \"2",
        "a line that is no JSON",
    ),
    (
        "unanswered.jsonl",
        "{\"problem\": \"1+2=\", \"answer\": 3}\n{\"problem\": \"2+2=\"}\n",
        "a problem without answer",
    ),
    ("unasked.json", "[{\"answer\": 3}]", "a row without problem"),
    (
        "id.jsonl",
        "{\"problem\": \"1+2=\", \"answer\": 3, \"id\": []}",
        "an id that is a list",
    ),
    (
        "role.jsonl",
        "{\"prompt\": [{\"role\": \"tool\"}], \"reward_model\": {\"ground_truth\": 3}}",
        "verl's layout with a message of somebody else",
    ),
    (
        "questions.jsonl",
        "{\"prompt\": [], \"reward_model\": {\"ground_truth\": 3}}",
        "verl's layout without a question",
    ),
    (
        "truth.jsonl",
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"1+2=\"}]}",
        "verl's layout without a ground truth",
    ),
    (
        "text.parquet",
        "problem,answer",
        "a file that is called Parquet and is none",
    ),
    ("torn.parquet", "PAR1", "a Parquet file that is cut short"),
];

const FILES_HEAD: &str = "## Files\n\nWhat is wrong with a file that `data.path` names, and what is said. Written by\n\n    \
                          UPDATE=1 cargo test -p anytime-learner refusals\n";

#[test]
fn the_page_of_refusals_has_those_of_data_files() {
    let directory = tempfile::tempdir().expect("directory");
    let mut text = FILES_HEAD.to_owned();
    for (name, content, wrong) in FAULTS {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("written");
        let error = read_problems("data.path", &path).expect_err(name).to_string();
        let said = error.replace(&format!("{}/", directory.path().display()), "data/");
        text.push_str(&entry(wrong, &said));
    }
    let rows = directory.path().join("completions.jsonl");
    std::fs::write(&rows, "{\"prompt\": \"1+2=\"}").expect("written");
    let error = read_completions("data.path", &rows)
        .expect_err("no completion")
        .to_string();
    let said = error.replace(&format!("{}/", directory.path().display()), "data/");
    text.push_str(&entry("sft: a row without completion", &said));
    assert_section("## Files", "## Command line", &text);
}
