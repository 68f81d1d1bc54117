//! Parquet: compressions, types of columns, and damage.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::{Files, content};
use crate::data::fields::Fields;

fn problems(files: &Files, name: &str) -> Vec<crate::data::ProblemRow> {
    files
        .read(&[name], Fields::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
        .rows
}

#[test]
fn a_file_that_pyarrow_wrote_as_verl_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/verl.parquet");
    let files = Files::new();
    let rows = problems(&files, path.to_str().expect("a path"));
    let instruction = "Let's think step by step and output the final answer within \\boxed{}.";
    let asked = |question: &str| format!("{question} {instruction}");
    let (first, second) = (asked("What is $6 \\cdot 7$?"), asked("Halve $\\frac{1}{2}$."));
    let (third, fourth) = (asked("Name a root of $x^2 = 4$ – any."), asked("What is 1+1?"));
    let expected = [
        ("lighteval/MATH/0", first.as_str(), vec!["42"]),
        ("1", second.as_str(), vec!["\\frac{1}{4}"]),
        ("2", third.as_str(), vec!["2"]),
        ("openai/gsm8k/0", fourth.as_str(), vec!["2"]),
    ];
    assert_eq!(content(&rows), expected);
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
    let files = Files::new();
    let compressions = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::BROTLI(BrotliLevel::default()),
    ];
    let answers: Vec<String> = (0..300).map(|row| (row % 7).to_string()).collect();
    let given: Vec<Option<&str>> = answers.iter().map(|answer| Some(answer.as_str())).collect();
    for compression in compressions {
        let path = write_parquet(files.path(), compression, &given);
        let rows = problems(&files, path.to_str().expect("a path"));
        assert_eq!(rows.len(), 300, "{compression}");
        assert_eq!(
            content(&rows[299..]),
            [("299", "problem 299", vec!["5"])],
            "{compression}"
        );
        // Its content says what it is.
        std::fs::rename(&path, files.path().join("without-extension")).expect("renamed");
        assert_eq!(problems(&files, "without-extension"), rows);
    }
}

#[test]
fn faults_of_parquet_are_named() {
    let files = Files::new();
    let path = write_parquet(files.path(), Compression::SNAPPY, &[Some("1"), None, Some("3")]);
    let fault = files.fault(&["snappy.parquet"]);
    for part in ["data.path", "snappy.parquet", "row 1", "\"answer\"", "difficulty"] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
    let whole = std::fs::read(&path).expect("read");
    for kept in [4, 8, whole.len() / 2, whole.len() - 1] {
        files.write("snappy.parquet", &whole[..kept]);
        let fault = files.fault(&["snappy.parquet"]);
        assert!(fault.contains("no whole Parquet file"), "{kept}: {fault}");
    }
    files.write("snappy.parquet", "problem,answer");
    let fault = files.fault(&["snappy.parquet"]);
    assert!(fault.contains("PAR1"), "{fault}");
    files.write("snappy.parquet", "version https://git-lfs.github.com/spec/v1\n");
    let fault = files.fault(&["snappy.parquet"]);
    assert!(fault.contains("git lfs pull"), "{fault}");
    let fault = files
        .completions("snappy.parquet", Fields::default())
        .expect_err("a pointer")
        .reason;
    assert!(fault.contains("git lfs pull"), "{fault}");
}

/// Every byte of a small file in turn is another: the file is refused or read, and nothing else happens.
#[test]
fn damage_anywhere_does_no_harm() {
    let files = Files::new();
    let answers: Vec<String> = (0..20).map(|row| row.to_string()).collect();
    let given: Vec<Option<&str>> = answers.iter().map(|answer| Some(answer.as_str())).collect();
    let path = write_parquet(files.path(), Compression::SNAPPY, &given);
    let whole = std::fs::read(&path).expect("read");
    let mut refused = 0;
    for place in (0..whole.len()).step_by(3) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x3F;
        files.write("damaged.parquet", &damaged);
        refused += usize::from(files.read(&["damaged.parquet"], Fields::default()).is_err());
    }
    assert!(refused > whole.len() / 30, "{refused} of {}", whole.len() / 3);
}

/// One column of `problem` and one of `answer` with these values.
fn write_answers<T: DataType>(path: &Path, answer: &str, values: &[T::T]) {
    let schema = format!("message schema {{ REQUIRED BYTE_ARRAY problem (UTF8); {answer} }}");
    let schema = Arc::new(parse_message_type(&schema).expect("a schema"));
    let file = File::create(path).expect("created");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let problems: Vec<ByteArray> = (0..values.len()).map(|row| format!("{row}").as_str().into()).collect();
    let mut column = group.next_column().expect("a column").expect("problem");
    column
        .typed::<ByteArrayType>()
        .write_batch(&problems, None, None)
        .expect("written");
    column.close().expect("closed");
    let mut column = group.next_column().expect("a column").expect("answer");
    column.typed::<T>().write_batch(values, None, None).expect("written");
    column.close().expect("closed");
    group.close().expect("closed");
    writer.close().expect("closed");
}

#[test]
fn numbers_have_the_digits_of_their_type() {
    let files = Files::new();
    let answers = |name: &str| -> Vec<String> {
        problems(&files, name)
            .into_iter()
            .map(|row| row.answers[0].clone())
            .collect()
    };
    let path = |name: &str| files.path().join(name);
    write_answers::<FloatType>(
        &path("float"),
        "REQUIRED FLOAT answer;",
        &[0.1, 34.0, 1.0e-3, 16_777_216.0],
    );
    assert_eq!(answers("float"), ["0.1", "34.0", "0.001", "16777216.0"]);
    write_answers::<DoubleType>(&path("double"), "REQUIRED DOUBLE answer;", &[0.1, 2.0, 1e22]);
    assert_eq!(answers("double"), ["0.1", "2.0", "10000000000000000000000"]);
    write_answers::<Int64Type>(&path("long"), "REQUIRED INT64 answer;", &[i64::MIN, 0, i64::MAX]);
    assert_eq!(answers("long"), ["-9223372036854775808", "0", "9223372036854775807"]);
    write_answers::<Int64Type>(&path("unsigned"), "REQUIRED INT64 answer (INTEGER(64,false));", &[-1]);
    assert_eq!(answers("unsigned"), ["18446744073709551615"]);
    write_answers::<Int64Type>(&path("decimal"), "REQUIRED INT64 answer (DECIMAL(10,2));", &[1050, -5]);
    assert_eq!(answers("decimal"), ["10.50", "-0.05"]);
    write_answers::<DoubleType>(&path("nan"), "REQUIRED DOUBLE answer;", &[f64::NAN]);
    assert!(files.fault(&["nan"]).contains("row 0"));
}

#[test]
fn columns_that_are_no_text_or_no_problem_are_named() {
    let files = Files::new();
    let write = |name: &str, schema: &str| {
        let path = files.path().join(name);
        let schema = Arc::new(parse_message_type(schema).expect("a schema"));
        let file = File::create(&path).expect("created");
        let writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
        writer.close().expect("closed");
        files.fault(&[name])
    };
    let strangers = write(
        "strangers",
        "message schema { REQUIRED INT64 frage; REQUIRED INT64 antwort; }",
    );
    assert!(strangers.contains("it has frage, antwort"), "{strangers}");
    let schema = "message schema { REQUIRED BYTE_ARRAY problem (UTF8);
        REQUIRED GROUP reward_model { REQUIRED BYTE_ARRAY ground_truth; } }";
    let binary = write("binary", schema);
    assert!(
        binary.contains("`reward_model.ground_truth` of binary values"),
        "{binary}"
    );
    let binary = write(
        "problem",
        "message schema { REQUIRED BYTE_ARRAY problem; REQUIRED INT64 answer; }",
    );
    assert!(binary.contains("`problem` of binary values"), "{binary}");
    let empty = write("empty", "message schema { REQUIRED BYTE_ARRAY problem (UTF8); }");
    assert!(empty.contains("no rows"), "{empty}");
}

#[test]
fn a_binary_column_that_nobody_needs_is_no_fault() {
    let files = Files::new();
    let path = files.path().join("data");
    write_answers::<ByteArrayType>(&path, "REQUIRED BYTE_ARRAY question;", &["x".into()]);
    let fault = files.fault(&["data"]);
    assert!(fault.contains("no answer"), "{fault}");
    let fields = Fields {
        problem: Some("problem"),
        answer: Some("question"),
        or_common: false,
    };
    let fault = files.read(&["data"], fields).expect_err("refused").reason;
    assert!(fault.contains("`question` of binary values"), "{fault}");
}
