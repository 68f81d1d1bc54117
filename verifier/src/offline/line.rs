//! One line of offline grading: from JSON to its verdict and back.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anytime_proto::ShortName as _;
use anytime_proto::settings::InvalidSetting;
use anytime_proto::v1::{Verdict, VerdictKind};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::caught::catch_panic;
use crate::explain::explain;
use crate::grade::verdict;
use crate::options::Options;
use crate::request::check_ground_truths;

/// A line as it is read; other fields are skipped. The values keep their spelling, so that an id comes back as it was
/// and a ground truth `0.10` is not 0.1.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    response: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ground_truth: Option<&'a RawValue>,
}

/// Reads a field that is there, even if it is `null`.
fn present<'de: 'a, 'a, Source: Deserializer<'de>>(source: Source) -> Result<Option<&'a RawValue>, Source::Error> {
    <&RawValue>::deserialize(source).map(Some)
}

/// A line that cannot be graded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    /// It is no JSON object.
    Json(String),
    /// A field is missing or has a value that it may not have.
    Field(InvalidSetting),
}

impl fmt::Display for BadLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(problem) => write!(
                formatter,
                "no JSON object with \"id\", \"response\" and \"ground_truth\": {problem}"
            ),
            Self::Field(error) => {
                let InvalidSetting { field, value, reason } = error;
                let value = value.as_deref().unwrap_or("refused");
                write!(formatter, "field \"{field}\" is {value}; {reason}")
            }
        }
    }
}

/// How many lines were graded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// All lines.
    pub(super) lines: u64,
    /// Those whose answer was right.
    pub(super) correct: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.correct += other.correct;
    }
}

/// A line as it is written.
#[derive(Serialize)]
struct Output<'a> {
    id: &'a RawValue,
    correct: bool,
    verdict: String,
    extracted: &'a str,
    seconds: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    explanation: Option<Explained>,
}

/// What `--explain` adds.
#[derive(Serialize)]
struct Explained {
    answer_form: Option<String>,
    ground_truth_forms: Vec<Option<String>>,
    rule: String,
}

/// Grades one response. It is a parameter, so that a test can put in a function that fails.
pub(super) type Grade = fn(&str, &[String], &Options) -> Verdict;

/// Grades lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grader {
    options: Options,
    explain: bool,
    grade: Grade,
}

impl Grader {
    pub(super) fn new(options: Options, explain: bool, grade: Grade) -> Self {
        Self {
            options,
            explain,
            grade,
        }
    }

    /// Writes the verdict on one line as one line.
    pub(super) fn grade_line(&self, line: &[u8], output: &mut Vec<u8>, tally: &mut Tally) -> Result<(), BadLine> {
        let (id, response, ground_truths) = read_line(line)?;
        let started = Instant::now();
        let verdict = catch_panic(|| (self.grade)(&response, &ground_truths, &self.options));
        let seconds = started.elapsed().as_secs_f64();
        let explanation = self
            .explain
            .then(|| self.explained(&response, &ground_truths, &verdict));
        write_line(id, &verdict, seconds, explanation, output, tally)
    }

    /// Writes that grading this line took far too long. Returns its id as it was written.
    pub(super) fn give_up<'a>(
        line: &'a [u8],
        time: Duration,
        output: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<&'a str, BadLine> {
        let (id, _, _) = read_line(line)?;
        let out_of_time = verdict(VerdictKind::OutOfTime, "", "");
        write_line(id, &out_of_time, time.as_secs_f64(), None, output, tally)?;
        Ok(id.get())
    }

    fn explained(&self, response: &str, ground_truths: &[String], verdict: &Verdict) -> Explained {
        // As with the verdict, a panic is a fault of this line only.
        let explained = catch_unwind(AssertUnwindSafe(|| explain(response, ground_truths, &self.options))).ok();
        Explained {
            rule: verdict.detail.clone(),
            answer_form: explained.as_ref().and_then(|explained| explained.answer_form.clone()),
            ground_truth_forms: explained
                .map(|explained| explained.ground_truth_forms)
                .unwrap_or_default(),
        }
    }
}

fn write_line(
    id: &RawValue,
    verdict: &Verdict,
    seconds: f64,
    explanation: Option<Explained>,
    output: &mut Vec<u8>,
    tally: &mut Tally,
) -> Result<(), BadLine> {
    let correct = verdict.kind() == VerdictKind::Correct;
    tally.lines += 1;
    tally.correct += u64::from(correct);
    let graded = Output {
        id,
        correct,
        verdict: verdict.kind().short_name(),
        extracted: &verdict.extracted,
        seconds,
        explanation,
    };
    serde_json::to_writer(&mut *output, &graded).map_err(|error| BadLine::Json(error.to_string()))?;
    output.push(b'\n');
    Ok(())
}

fn read_line(line: &[u8]) -> Result<(&RawValue, String, Vec<String>), BadLine> {
    // A list would be taken for the fields in their order.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(BadLine::Json("it does not start with {".to_owned()));
    }
    let fields: Fields<'_> = serde_json::from_slice(line).map_err(|error| BadLine::Json(error.to_string()))?;
    let id = required("id", fields.id, "any JSON value")?;
    let response = required("response", fields.response, RESPONSE)?;
    let response = read_string(response).ok_or_else(|| bad_field("response", response, RESPONSE))?;
    let ground_truth = required("ground_truth", fields.ground_truth, GROUND_TRUTH)?;
    let ground_truths =
        read_ground_truths(ground_truth).ok_or_else(|| bad_field("ground_truth", ground_truth, GROUND_TRUTH))?;
    check_ground_truths(&ground_truths).map_err(|mut error| {
        error.field = error.field.replace("ground_truths", "ground_truth");
        BadLine::Field(error)
    })?;
    Ok((id, response, ground_truths))
}

const RESPONSE: &str = "a string";
const GROUND_TRUTH: &str = "a string, a number, or a list of strings and numbers";
/// The number of characters that an error shows of a refused value.
const SHOWN_CHARS: usize = 60;

fn required<'a>(name: &str, value: Option<&'a RawValue>, allowed: &str) -> Result<&'a RawValue, BadLine> {
    value.ok_or_else(|| BadLine::Field(InvalidSetting::missing(name, format!("it must be {allowed}"))))
}

fn bad_field(name: &str, value: &RawValue, allowed: &str) -> BadLine {
    let text = value.get();
    let shown = match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    BadLine::Field(InvalidSetting {
        field: name.to_owned(),
        value: Some(shown),
        reason: format!("it must be {allowed}"),
    })
}

fn read_string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Reads one ground truth or a list of them; a number keeps the digits as they are written.
fn read_ground_truths(value: &RawValue) -> Option<Vec<String>> {
    if value.get().starts_with('[') {
        let values: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
        return values.into_iter().map(read_ground_truth).collect();
    }
    read_ground_truth(value).map(|ground_truth| vec![ground_truth])
}

fn read_ground_truth(value: &RawValue) -> Option<String> {
    let text = value.get();
    if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    read_string(value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn grade_text(line: &str, explain: bool) -> Result<String, BadLine> {
        let options = Options::try_from_request(anytime_proto::v1::Extraction::Boxed.into(), None).unwrap();
        let mut output = Vec::new();
        Grader::new(options, explain, crate::grade::grade).grade_line(
            line.as_bytes(),
            &mut output,
            &mut Tally::default(),
        )?;
        Ok(String::from_utf8(output).unwrap())
    }

    fn graded(line: &str) -> Value {
        serde_json::from_str(&grade_text(line, false).unwrap()).unwrap()
    }

    #[test]
    fn a_line_becomes_a_line() {
        let line = r#"{"id": "a", "response": "so \\boxed{7}", "ground_truth": "7.0", "kind": [{"other": null}]}"#;
        let mut output = graded(line);
        let seconds = output["seconds"].take();
        assert!(seconds.as_f64().unwrap() >= 0.0, "{seconds}");
        let expected = json!({"id": "a", "correct": true, "verdict": "correct", "extracted": "7", "seconds": null});
        assert_eq!(output, expected);
        let none = graded(r#"{"id": 1, "response": "", "ground_truth": "7"}"#);
        assert_eq!(
            (&none["verdict"], &none["extracted"]),
            (&json!("no_answer"), &json!(""))
        );
    }

    #[test]
    fn an_id_comes_back_as_it_was() {
        for id in [
            "null",
            "12345678901234567890123",
            "1.50",
            r#"{"b":1,"a":[2, 3]}"#,
            r#""\u00e9\n""#,
            "false",
        ] {
            let line = format!(r#"{{"ground_truth": 1, "response": "\\boxed{{1}}", "id": {id}}}"#);
            let output = grade_text(&line, false).unwrap();
            assert!(
                output.starts_with(&format!(r#"{{"id":{id},"correct":true,"#)),
                "{output}"
            );
            assert!(output.ends_with("}\n"), "{output}");
        }
    }

    #[test]
    fn ground_truths_are_texts_numbers_and_lists_of_them() {
        let spelled = |ground_truth: &str| {
            let value: &RawValue = serde_json::from_str(ground_truth).unwrap();
            read_ground_truths(value)
        };
        let texts = |expected: &[&str]| Some(expected.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(spelled(r#""\\frac{1}{2}""#), texts(&["\\frac{1}{2}"]));
        assert_eq!(spelled("0.10"), texts(&["0.10"]));
        assert_eq!(spelled("-9007199254740993"), texts(&["-9007199254740993"]));
        assert_eq!(spelled(r#"["1", 2 , "x"]"#), texts(&["1", "2", "x"]));
        assert_eq!(spelled("[]"), texts(&[]));
        for refused in ["null", "true", r#"{"a": 1}"#, "[[1]]", "[null]", r#""\ud800""#] {
            assert_eq!(spelled(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        for (line, parts) in [
            ("", &["no JSON object", "does not start"][..]),
            ("[1]", &["no JSON object"]),
            ("{\"id\": 1", &["no JSON object"]),
            ("{\"id\": 1}", &["\"response\" is missing", "a string"]),
            (r#"{"response": "", "ground_truth": ""}"#, &["\"id\" is missing"]),
            (
                r#"{"id": 1, "response": ""}"#,
                &["\"ground_truth\" is missing", "a list of strings"],
            ),
            (
                r#"{"id": 1, "response": null, "ground_truth": ""}"#,
                &["\"response\" is null", "a string"],
            ),
            (
                r#"{"id": 1, "response": "", "ground_truth": true}"#,
                &["\"ground_truth\" is true", "a number"],
            ),
            (
                r#"{"id": 1, "response": "", "ground_truth": []}"#,
                &["\"ground_truth\" is []", "at least one"],
            ),
        ] {
            let message = grade_text(line, false).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{line}: {message}");
            }
        }
        let long = format!(
            r#"{{"id": 1, "response": "", "ground_truth": ["1", "{}"]}}"#,
            "1".repeat(5000)
        );
        let message = grade_text(&long, false).unwrap_err().to_string();
        assert!(message.contains("\"ground_truth[1]\" is 5000 bytes"), "{message}");
    }

    #[test]
    fn an_explained_line_says_the_rule() {
        let line = r#"{"id": 1, "response": "\\boxed{7}", "ground_truth": ["8", "7.0"]}"#;
        let output: Value = serde_json::from_str(&grade_text(line, true).unwrap()).unwrap();
        assert!(!output["rule"].as_str().unwrap().is_empty(), "{output}");
        assert_eq!(output["ground_truth_forms"].as_array().unwrap().len(), 2);
        assert!(output.get("answer_form").is_some(), "{output}");
    }
}
