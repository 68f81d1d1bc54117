//! Rows that repeat, and how much is read of files that are large.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::Files;
use crate::data::fields::Fields;
use crate::data::read::read_problems;

#[test]
fn rows_with_the_same_prompt_and_answers_are_one_problem() {
    let files = Files::new();
    files.write(
        "data.jsonl",
        "{\"problem\": \"a\", \"answer\": \"1\", \"id\": 7}\n\
         {\"problem\": \"b\", \"answer\": \"1\"}\n\
         {\"answer\": 1, \"problem\": \"a\", \"level\": 3}\n\
         {\"problem\": \"a\", \"answer\": \"1\", \"id\": 7}\n\
         {\"problem\": \"a\", \"answer\": \"2\"}\n\
         {\"problem\": \"a\", \"answer\": [\"1\", \"2\"]}\n",
    );
    let set = files.read(&["data.jsonl"], Fields::default()).expect("valid");
    let found: Vec<(&str, u32, u64)> = set
        .rows
        .iter()
        .map(|row| (row.id.as_str(), row.repeats, row.row))
        .collect();
    assert_eq!(found, [("7", 3, 0), ("1", 1, 1), ("4", 1, 4), ("5", 1, 5)]);
    let tally = &set.tally;
    assert_eq!((tally.rows, tally.repeats, tally.contradicting), (6, 2, 1));
    assert_eq!(tally.first_contradicting, "line 5");
}

#[test]
fn answers_that_say_the_same_contradict_nothing() {
    let files = Files::new();
    let row = |answer: &str| format!("{{\"problem\": \"a\", \"answer\": {answer}}}\n");
    files.write(
        "data.jsonl",
        ["7", "7.0", "\"$7$\"", "\"\\\\frac{14}{2}\""].map(row).concat(),
    );
    let tally = files.read(&["data.jsonl"], Fields::default()).expect("valid").tally;
    assert_eq!((tally.rows, tally.repeats, tally.contradicting), (4, 0, 0));
    files.write("data.jsonl", ["7", "7.0", "7.1", "8"].map(row).concat());
    let tally = files.read(&["data.jsonl"], Fields::default()).expect("valid").tally;
    assert_eq!((tally.contradicting, tally.first_contradicting.as_str()), (1, "line 3"));
}

#[test]
fn system_messages_count_for_every_row() {
    let files = Files::new();
    let row = r#"{"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}], "label": "1"}"#;
    files.write("data.jsonl", format!("{row}\n").repeat(5));
    let tally = files.read(&["data.jsonl"], Fields::default()).expect("valid").tally;
    assert_eq!((tally.rows, tally.repeats, tally.system_messages), (5, 4, 5));
}

/// A small file in the shape of DAPO-Math-17k, whose problems stand on a hundred rows each.
#[test]
fn a_hundred_repeats_of_every_row_are_read_once() {
    let files = Files::new();
    let mut text = String::new();
    for _ in 0..100 {
        for problem in 0..200 {
            text.push_str(&format!(
                "{{\"prompt\": [{{\"role\": \"user\", \"content\": \"What is {problem} + 1?\"}}], \"reward_model\": \
                 {{\"ground_truth\": \"{}\"}}, \"extra_info\": {{\"index\": \"id-{problem}\"}}}}\n",
                problem + 1
            ));
        }
    }
    files.write("dapo.jsonl", &text);
    let set = files.read(&["dapo.jsonl"], Fields::default()).expect("valid");
    assert_eq!(
        (set.rows.len(), set.tally.rows, set.tally.repeats),
        (200, 20_000, 19_800)
    );
    assert!(set.rows.iter().all(|row| row.repeats == 100));
    assert_eq!(set.rows[7].id, "id-7");
}

#[test]
fn reading_stops_when_its_time_is_over_and_says_so() {
    let files = Files::new();
    let line = |number: u32| format!("{{\"problem\": \"{number}\", \"answer\": 1}}\n");
    files.write("data.jsonl", (0..5000).map(line).collect::<String>());
    files.write("more.jsonl", line(9999));
    let names = ["data.jsonl".to_owned(), "more.jsonl".to_owned()];
    let mut source = files.source(&names, Fields::default());
    let whole = read_problems(&source).expect("valid");
    assert_eq!(
        (whole.tally.rows, whole.tally.files, whole.tally.is_complete),
        (5001, 2, true)
    );
    source.until = Some(Instant::now());
    let part = read_problems(&source).expect("valid");
    assert!(
        (1..5000).contains(&part.tally.rows) && !part.tally.is_complete,
        "{:?}",
        part.tally
    );
    assert_eq!(part.rows.len() as u64, part.tally.rows);
}

/// The columns of DAPO-Math-17k as it is published.
const DAPO: &str = "message schema {
    OPTIONAL BYTE_ARRAY data_source (UTF8);
    OPTIONAL GROUP prompt (LIST) { REPEATED GROUP list { OPTIONAL GROUP element {
        OPTIONAL BYTE_ARRAY content (UTF8); OPTIONAL BYTE_ARRAY role (UTF8); } } }
    OPTIONAL BYTE_ARRAY ability (UTF8);
    OPTIONAL GROUP reward_model { OPTIONAL BYTE_ARRAY ground_truth (UTF8); OPTIONAL BYTE_ARRAY style (UTF8); }
    OPTIONAL GROUP extra_info { OPTIONAL BYTE_ARRAY index (UTF8); } }";

/// Writes a file of this shape: every problem on so many rows, as often as the whole set is repeated.
fn write_dapo(path: &Path, problems: usize, repeats: usize) {
    let schema = Arc::new(parse_message_type(DAPO).expect("a schema"));
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = File::create(path).expect("created");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).expect("a writer");
    let content = |problem: usize| {
        format!(
            "Solve the following math problem step by step. The last line of your response should be of the form Answer: \
             $Answer (without quotes) where $Answer is the answer to the problem.\n\nThe sum of {problem} numbers in a row \
             is a square, the first of them is {}, and no two of them have a common divisor. How many are odd?\n\nRemember \
             to put your answer on its own line after \"Answer:\".",
            problem * 7
        )
    };
    let text = |column: usize, problem: usize| match column {
        0 => "math_dapo".to_owned(),
        1 => content(problem),
        2 => "user".to_owned(),
        3 => "MATH".to_owned(),
        4 => (problem % 1000).to_string(),
        5 => "rule-lighteval/MATH_v2".to_owned(),
        _ => format!("9a9b6eb4-a1cb-49d1-8c1e-{problem:012}"),
    };
    // Levels of the seven leaves: how deep they are defined.
    let depths: [i16; 7] = [1, 4, 4, 1, 2, 2, 2];
    for _ in 0..repeats {
        for part in (0..problems).collect::<Vec<_>>().chunks(1000) {
            let mut group = writer.next_row_group().expect("a row group");
            for (column, depth) in depths.iter().enumerate() {
                let values: Vec<ByteArray> = part
                    .iter()
                    .map(|problem| text(column, *problem).as_str().into())
                    .collect();
                let defined = vec![*depth; part.len()];
                let first = vec![0; part.len()];
                let repetition = (*depth == 4).then_some(first.as_slice());
                let mut writer = group.next_column().expect("a column").expect("a column");
                writer
                    .typed::<ByteArrayType>()
                    .write_batch(&values, Some(&defined), repetition)
                    .expect("written");
                writer.close().expect("closed");
            }
            group.close().expect("closed");
        }
    }
    writer.close().expect("closed");
}

#[test]
fn the_published_form_of_dapo_is_read() {
    let files = Files::new();
    write_dapo(&files.path().join("dapo.parquet"), 120, 10);
    let set = files.read(&["dapo.parquet"], Fields::default()).expect("valid");
    assert_eq!((set.rows.len(), set.tally.rows, set.tally.repeats), (120, 1200, 1080));
    let row = &set.rows[7];
    assert_eq!((row.repeats, row.answers[0].as_str(), row.is_message), (10, "7", true));
    assert_eq!(row.id, "9a9b6eb4-a1cb-49d1-8c1e-000000000007");
}

/// The real size: 1.79 million rows of 17,900 problems. Writes 200 MB and takes some ten seconds; in a release build.
#[test]
#[ignore = "a measurement: cargo test --release -p anytime-learner --lib real_size -- --ignored --nocapture"]
fn the_real_size_of_dapo_takes_seconds() {
    let files = Files::new();
    let path = files.path().join("dapo.parquet");
    write_dapo(&path, 17_900, 100);
    let bytes = std::fs::metadata(&path).expect("a file").len();
    let started = Instant::now();
    let set = files.read(&["dapo.parquet"], Fields::default()).expect("valid");
    let seconds = started.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    println!(
        "{bytes} bytes, {} rows, {} problems: {seconds:.1} s, {peak}",
        set.tally.rows,
        set.rows.len()
    );
    assert_eq!((set.rows.len(), set.tally.rows), (17_900, 1_790_000));
    assert!(seconds < 60.0, "{seconds}");
}
