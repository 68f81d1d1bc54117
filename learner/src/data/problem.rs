//! One row as a problem: a question, or messages with one of the user's, and the answers that count as right.

use std::collections::HashMap;

use super::answers::ground_truths;
use super::fields::Fields;
use super::row::{Row, Value};

/// A question and the answers that count as right.
#[derive(Clone, Debug, PartialEq)]
pub struct ProblemRow {
    /// The row's own id, else its number from 0.
    pub id: String,
    /// The number from 0 of its (first) row, over all files of the setting.
    pub row: u64,
    /// Where its (first) row stands, for messages: `line 3`, with the file before it where there are several.
    pub place: String,
    /// The question.
    pub problem: String,
    /// At least one.
    pub answers: Vec<String>,
    /// How many rows are this problem.
    pub repeats: u32,
    /// Whether the question came as a chat message. Most of these hold an instruction too.
    pub is_message: bool,
}

/// A row that has been understood.
pub(super) struct ReadProblem {
    pub(super) problem: String,
    pub(super) answers: Vec<String>,
    /// The row's own id, where it has one.
    id: Option<String>,
    /// The data source of verl's rows. Two sources in one file may both count from 0.
    source: Option<String>,
    is_message: bool,
    /// System messages, which are left out of the prompt.
    pub(super) system_messages: u64,
}

/// Reads one row.
///
/// # Errors
/// What is wrong with the row, to be read after its place and a colon.
pub(super) fn read(row: &Row, fields: &Fields<'_>) -> Result<ReadProblem, String> {
    let (name, value) = fields.problem(row)?;
    let (problem, system_messages, is_message) = match value {
        Value::Text(text) if !text.trim().is_empty() => match Value::messages_in_text(text) {
            Some(messages) => {
                let (problem, system_messages) = question(name, &messages)?;
                (problem, system_messages, true)
            }
            None if is_printed_chat(text) => {
                return Err(format!(
                    "field {name:?} is a list of messages as Python prints it; write it as a list, or as JSON"
                ));
            }
            None => (text.clone(), 0, false),
        },
        Value::List(messages) => {
            let (problem, system_messages) = question(name, messages)?;
            (problem, system_messages, true)
        }
        other => {
            let kind = other.kind();
            return Err(format!(
                "field {name:?} is {kind}; it must be a string that is not empty, or a list of messages"
            ));
        }
    };
    let (answer, value) = fields.answer(row, name)?;
    let answers = ground_truths(answer, value).map_err(|what| format!("field {answer:?} {what}"))?;
    let id = ["id", "ID", "extra_info.index"]
        .iter()
        .find_map(|name| row.get(name).map(|id| (*name, id)));
    Ok(ReadProblem {
        problem,
        answers,
        id: id.map(|(name, id)| id_text(id, name)).transpose()?,
        source: match row.get("data_source") {
            Some(Value::Text(source)) if is_message => Some(source.clone()),
            _ => None,
        },
        is_message,
        system_messages,
    })
}

/// Whether a text is a list of messages that was printed by Python, which no model should see as its prompt.
fn is_printed_chat(text: &str) -> bool {
    let inner = text.trim_start().strip_prefix('[').map(str::trim_start);
    let key = inner.and_then(|inner| inner.strip_prefix('{')).map(str::trim_start);
    key.is_some_and(|key| key.starts_with("'role'") || key.starts_with("'content'"))
}

/// The one message of the user, and how many messages of the system stand beside it.
fn question(name: &str, messages: &[Value]) -> Result<(String, u64), String> {
    let mut questions = Vec::new();
    let mut system_messages = 0;
    for message in messages {
        let text = |key: &str| match message {
            Value::Table(entries) => entries
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        };
        match text("role") {
            Some(Value::Text(role)) if role == "user" => questions.push(text("content")),
            Some(Value::Text(role)) if role == "system" => system_messages += 1,
            None if text("from").is_some() => {
                return Err(format!(
                    "a message in {name:?} has \"from\" and \"value\"; it must have \"role\" and \"content\""
                ));
            }
            role => {
                let role = match role {
                    Some(Value::Text(role)) => role.as_str(),
                    _ => "none",
                };
                return Err(format!(
                    "a message in {name:?} has the role {role}; it must be user or system"
                ));
            }
        }
    }
    match questions.as_slice() {
        [Some(Value::Text(text))] if !text.trim().is_empty() => Ok((text.clone(), system_messages)),
        [Some(Value::List(_))] => Err(format!(
            "a user message in {name:?} has a list of parts as its \"content\"; it must be a string"
        )),
        [_] => Err(format!(
            "a user message in {name:?} has no \"content\" (a string that is not empty)"
        )),
        _ => Err(format!("{} user messages in {name:?} instead of one", questions.len())),
    }
}

fn id_text(id: &Value, name: &str) -> Result<String, String> {
    match id {
        Value::Text(text) | Value::Number(text) => Ok(text.clone()),
        _ => Err(format!("field {name:?} is neither string nor number")),
    }
}

/// The first row of a problem, and how many rows repeat it.
pub(super) struct Met {
    pub(super) read: ReadProblem,
    pub(super) row: u64,
    pub(super) place: String,
    /// The file of the row, where there are several.
    pub(super) file: Option<String>,
    pub(super) repeats: u32,
}

/// Gives every problem its id: its row's own, the number of its row where that has none, and the source or the file
/// before it where an id repeats.
pub(super) fn with_ids(met: Vec<Met>) -> Vec<ProblemRow> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for id in met.iter().filter_map(|met| met.read.id.as_ref()) {
        *counts.entry(id.clone()).or_default() += 1;
    }
    let mut rows = Vec::with_capacity(met.len());
    for met in met {
        let Met {
            read,
            row,
            place,
            file,
            repeats,
        } = met;
        let repeated = |id: &String| counts.get(id).is_some_and(|count| *count > 1);
        let id = match (read.id, read.source.or(file)) {
            (None, _) => row.to_string(),
            (Some(id), Some(source)) if repeated(&id) => format!("{source}/{id}"),
            (Some(id), _) => id,
        };
        rows.push(ProblemRow {
            id,
            row,
            place,
            problem: read.problem,
            answers: read.answers,
            repeats,
            is_message: read.is_message,
        });
    }
    rows
}
