//! Data sets: problems with answers (JSON array or JSONL), and prompts with completions (JSONL).

use std::path::Path;

use anytime_proto::settings::InvalidSetting;
use serde_json::Value;

/// A question and the answers that count as right.
#[derive(Clone, Debug, PartialEq)]
pub struct ProblemRow {
    /// The row's own `id`, else its number from 0.
    pub id: String,
    /// The question.
    pub problem: String,
    /// At least one.
    pub answers: Vec<String>,
}

/// A row of supervised training.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRow {
    /// Not trained.
    pub prompt: String,
    /// Trained.
    pub completion: String,
}

/// Reads problems from a JSON array or from JSONL. `field` is the setting that names the file.
///
/// # Errors
/// An unreadable file, a file without rows, and the first row that lacks a problem or an answer, by its line or number.
pub fn read_problems(field: &str, path: &Path) -> Result<Vec<ProblemRow>, InvalidSetting> {
    let mut problems = Vec::new();
    for (place, row) in read_rows(field, path)? {
        let wrong = |what: &str| row_error(field, path, &place, what);
        let problem = match row.get("problem") {
            Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
            _ => return Err(wrong("has no `problem` (a string that is not empty)")),
        };
        let answers = match row.get("answer") {
            Some(answer) => answer_texts(answer),
            None => Vec::new(),
        };
        if answers.is_empty() {
            return Err(wrong(
                "has no `answer` (a string, a number or a list of them, not empty)",
            ));
        }
        let id = match row.get("id") {
            None | Some(Value::Null) => problems.len().to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err(wrong("has an `id` that is neither string nor number")),
        };
        problems.push(ProblemRow { id, problem, answers });
    }
    Ok(problems)
}

/// Reads rows of prompt and completion.
///
/// # Errors
/// An unreadable file, a file without rows, and the first row without prompt or completion.
pub fn read_completions(field: &str, path: &Path) -> Result<Vec<CompletionRow>, InvalidSetting> {
    let mut completions = Vec::new();
    for (place, row) in read_rows(field, path)? {
        let text = |key: &str| match row.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(row_error(
                field,
                path,
                &place,
                &format!("has no `{key}` (a string that is not empty)"),
            )),
        };
        completions.push(CompletionRow {
            prompt: text("prompt")?,
            completion: text("completion")?,
        });
    }
    Ok(completions)
}

/// The rows of the file with where each stands, for messages.
fn read_rows(field: &str, path: &Path) -> Result<Vec<(String, Value)>, InvalidSetting> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        InvalidSetting::new(
            field,
            path.display().to_string(),
            format!("a readable JSON or JSONL file ({error})"),
        )
    })?;
    let mut rows = Vec::new();
    if text.trim_start().starts_with('[') {
        let values: Vec<Value> =
            serde_json::from_str(&text).map_err(|error| row_error(field, path, "the array", &error.to_string()))?;
        for (number, value) in values.into_iter().enumerate() {
            rows.push((format!("row {number}"), value));
        }
    } else {
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let place = format!("line {}", index + 1);
            let value =
                serde_json::from_str(line).map_err(|error| row_error(field, path, &place, &error.to_string()))?;
            rows.push((place, value));
        }
    }
    if rows.is_empty() {
        return Err(row_error(field, path, "the file", "has no rows"));
    }
    Ok(rows)
}

fn row_error(field: &str, path: &Path, place: &str, what: &str) -> InvalidSetting {
    InvalidSetting::new(
        field,
        path.display().to_string(),
        format!("a file without faults, but {place} {what}"),
    )
}

/// The ground truths as texts; empty where there is nothing to compare with.
fn answer_texts(answer: &Value) -> Vec<String> {
    match answer {
        Value::String(text) if !text.trim().is_empty() => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(items) => {
            let texts: Vec<Vec<String>> = items.iter().map(answer_texts).collect();
            // One empty entry makes the whole list doubtful: better refused than half used.
            if texts.iter().any(Vec::is_empty) {
                Vec::new()
            } else {
                texts.concat()
            }
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Result<Vec<ProblemRow>, InvalidSetting> {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), text).expect("written");
        read_problems("data.path", file.path())
    }

    #[test]
    fn arrays_and_lines_with_every_kind_of_answer() {
        let lines =
            "{\"problem\": \"a\", \"answer\": \"1\"}\n\n{\"problem\": \"b\", \"answer\": [2, \"3\"], \"id\": 7}\n";
        let rows = problems_of(lines).expect("valid");
        assert_eq!(
            rows[0],
            ProblemRow {
                id: "0".into(),
                problem: "a".into(),
                answers: vec!["1".into()]
            }
        );
        assert_eq!(
            rows[1],
            ProblemRow {
                id: "7".into(),
                problem: "b".into(),
                answers: vec!["2".into(), "3".into()]
            }
        );
        let array = "[{\"problem\": \"a\", \"answer\": 1.5}]";
        assert_eq!(problems_of(array).expect("valid")[0].answers, ["1.5"]);
    }

    #[test]
    fn a_row_without_answer_is_named() {
        let error = problems_of("{\"problem\": \"a\", \"answer\": \"1\"}\n{\"problem\": \"b\"}").expect_err("refused");
        assert_eq!(error.field, "data.path");
        assert!(
            error.allowed.contains("line 2") && error.allowed.contains("answer"),
            "{error}"
        );
        for empty in ["\"\"", "null", "[]", "[\"1\", \"\"]", "{}"] {
            let row = format!("{{\"problem\": \"a\", \"answer\": {empty}}}");
            assert!(problems_of(&row).is_err(), "{empty}");
        }
        assert!(problems_of("").expect_err("refused").allowed.contains("no rows"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_problems("evaluation.path", Path::new("/nowhere.jsonl")).expect_err("refused");
        assert!(error.to_string().contains("evaluation.path") && error.to_string().contains("/nowhere.jsonl"));
    }
}
