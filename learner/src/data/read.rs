//! Whole files of problems, and of prompts with completions.

use std::path::Path;

use anytime_proto::settings::InvalidSetting;
use serde_json::Value;
use tracing::warn;

use super::problem::{self, ProblemRow};
use super::rows::{read_rows, row_error};

/// A row of supervised training.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRow {
    /// Not trained.
    pub prompt: String,
    /// Trained.
    pub completion: String,
}

/// Reads problems from a JSON array, JSONL or Parquet, each row in DeepScaleR's fields or in verl's layout. `field` is
/// the setting that names the file.
///
/// # Errors
/// An unreadable file, a file without rows, and the first row that lacks a problem or an answer, by its line or number.
pub fn read_problems(field: &str, path: &Path) -> Result<Vec<ProblemRow>, InvalidSetting> {
    let mut found = Vec::new();
    let mut ignored_messages = 0_usize;
    for (place, row) in read_rows(field, path)? {
        let read = problem::read(&row).map_err(|what| row_error(field, path, &place, &what))?;
        ignored_messages += read.ignored_messages;
        found.push(read);
    }
    if ignored_messages > 0 {
        warn!(
            field,
            ignored_messages, "left out system messages of prompts: a problem is one user message"
        );
    }
    Ok(problem::with_ids(found))
}

/// Reads rows of prompt and completion from any of the same files.
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
                &format!("no field {key:?} (a string that is not empty)"),
            )),
        };
        completions.push(CompletionRow {
            prompt: text("prompt")?,
            completion: text("completion")?,
        });
    }
    Ok(completions)
}
