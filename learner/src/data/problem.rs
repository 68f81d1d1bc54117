//! One row as a problem, in either of two layouts.
//!
//! DeepScaleR: `problem` (text) and `answer` (text, number or a list of them), and optionally `id`.
//!
//! verl: `prompt` (a list of messages `{role, content}` with one of the user's), `reward_model` (holds `ground_truth`),
//! and optionally `extra_info` (may hold `index`, the id) and `data_source`.

use std::collections::HashMap;

use serde_json::Value;

/// A question and the answers that count as right.
#[derive(Clone, Debug, PartialEq)]
pub struct ProblemRow {
    /// The row's own id, else its number from 0.
    pub id: String,
    /// The row's number from 0 in the file.
    pub row: u64,
    /// The question.
    pub problem: String,
    /// At least one.
    pub answers: Vec<String>,
}

/// A row that has been understood.
pub(super) struct ReadProblem {
    problem: String,
    answers: Vec<String>,
    /// The row's own id, where it has one.
    id: Option<String>,
    /// The data source of verl's rows. Two sources in one file may both count from 0.
    source: Option<String>,
    /// System messages, which no prompt of ours has a place for.
    pub(super) ignored_messages: usize,
}

/// Reads one row.
///
/// # Errors
/// What is wrong with the row, to be read after its place and a colon.
pub(super) fn read(row: &Value) -> Result<ReadProblem, String> {
    match (row.get("problem"), row.get("prompt")) {
        (Some(Value::Null) | None, Some(Value::Array(messages))) => read_verl(row, messages),
        (problem, _) => read_deepscaler(row, problem),
    }
}

fn read_deepscaler(row: &Value, problem: Option<&Value>) -> Result<ReadProblem, String> {
    let problem = match problem {
        Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
        _ => return Err("no field \"problem\" (a string that is not empty), nor a \"prompt\" of messages".to_owned()),
    };
    let answers = row.get("answer").map(answer_texts).unwrap_or_default();
    if answers.is_empty() {
        return Err("no field \"answer\" (a string, a number or a list of them, not empty)".to_owned());
    }
    Ok(ReadProblem {
        problem,
        answers,
        id: id_text(row.get("id"), "id")?,
        source: None,
        ignored_messages: 0,
    })
}

fn read_verl(row: &Value, messages: &[Value]) -> Result<ReadProblem, String> {
    let mut questions = Vec::new();
    let mut ignored_messages = 0;
    for message in messages {
        match message.get("role").and_then(Value::as_str) {
            Some("user") => questions.push(message.get("content")),
            Some("system") => ignored_messages += 1,
            role => {
                let role = role.unwrap_or("none");
                return Err(format!(
                    "a message in \"prompt\" has the role {role}; it must be user or system"
                ));
            }
        }
    }
    let problem = match questions.as_slice() {
        [Some(Value::String(text))] if !text.trim().is_empty() => text.clone(),
        [_] => return Err("a user message in \"prompt\" has no \"content\" (a string that is not empty)".to_owned()),
        _ => {
            return Err(format!(
                "{} user messages in \"prompt\" instead of one",
                questions.len()
            ));
        }
    };
    let ground_truth = row.get("reward_model").and_then(|model| model.get("ground_truth"));
    let answers = ground_truth.map(answer_texts).unwrap_or_default();
    if answers.is_empty() {
        return Err(
            "no field \"reward_model.ground_truth\" (a string, a number or a list of them, not empty)".to_owned(),
        );
    }
    let index = row.get("extra_info").and_then(|extra| extra.get("index"));
    Ok(ReadProblem {
        problem,
        answers,
        id: id_text(index, "extra_info.index")?,
        source: row.get("data_source").and_then(Value::as_str).map(str::to_owned),
        ignored_messages,
    })
}

fn id_text(id: Option<&Value>, name: &str) -> Result<Option<String>, String> {
    match id {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(format!("field {name:?} is neither string nor number")),
    }
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

/// Gives every row its id: its own, its number where it has none, and `data_source/index` where an index repeats.
pub(super) fn with_ids(found: Vec<ReadProblem>) -> Vec<ProblemRow> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for id in found.iter().filter_map(|read| read.id.as_ref()) {
        *counts.entry(id.clone()).or_default() += 1;
    }
    let mut rows = Vec::with_capacity(found.len());
    for (number, read) in found.into_iter().enumerate() {
        let id = match (read.id, read.source) {
            (None, _) => number.to_string(),
            (Some(id), Some(source)) if counts.get(&id).is_some_and(|count| *count > 1) => format!("{source}/{id}"),
            (Some(id), _) => id,
        };
        rows.push(ProblemRow {
            id,
            row: number as u64,
            problem: read.problem,
            answers: read.answers,
        });
    }
    rows
}
