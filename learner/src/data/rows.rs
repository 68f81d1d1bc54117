//! Any file of rows as JSON values, each with its place in the file, for messages.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anytime_proto::settings::InvalidSetting;
use serde_json::Value;

use super::parquet;

/// The rows of the file, each with its place. Its content says what the file is: Parquet begins with its magic
/// number, a JSON array with a bracket, and all else is JSONL.
///
/// # Errors
/// An unreadable file, a file without rows, and the first row that cannot be read.
pub(super) fn read_rows(field: &str, path: &Path) -> Result<Vec<(String, Value)>, InvalidSetting> {
    let unreadable = |error: std::io::Error| {
        let reason = format!("it must be a readable JSON, JSONL or Parquet file: {error}");
        InvalidSetting::new(field, path.display().to_string(), reason)
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut start = Vec::new();
    file.by_ref()
        .take(parquet::MAGIC.len() as u64)
        .read_to_end(&mut start)
        .map_err(unreadable)?;
    let is_parquet = start == parquet::MAGIC;
    if !is_parquet && path.extension().is_some_and(|extension| extension == "parquet") {
        return Err(row_error(field, path, "", "it does not begin as Parquet does (PAR1)"));
    }
    let rows = if is_parquet {
        parquet::read_rows(file).map_err(|fault| row_error(field, path, &fault.place, &fault.what))?
    } else {
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        read_json(field, path, &text)?
    };
    if rows.is_empty() {
        return Err(row_error(field, path, "", "it has no rows"));
    }
    Ok(rows)
}

fn read_json(field: &str, path: &Path, text: &str) -> Result<Vec<(String, Value)>, InvalidSetting> {
    let mut rows = Vec::new();
    if text.trim_start().starts_with('[') {
        let values: Vec<Value> =
            serde_json::from_str(text).map_err(|error| row_error(field, path, "the array", &error.to_string()))?;
        for (number, value) in values.into_iter().enumerate() {
            rows.push((format!("row {number}"), value));
        }
        return Ok(rows);
    }
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = format!("line {}", index + 1);
        let value = serde_json::from_str(line).map_err(|error| row_error(field, path, &place, &error.to_string()))?;
        rows.push((place, value));
    }
    Ok(rows)
}

/// An error about one place in the file that a setting names: `data.path: data.jsonl line 3: no field "answer"`.
/// An empty place is the whole file.
pub(super) fn row_error(field: &str, path: &Path, place: &str, what: &str) -> InvalidSetting {
    let path = path.display();
    let place = if place.is_empty() {
        String::new()
    } else {
        format!(" {place}")
    };
    InvalidSetting::because(field, format!("{path}{place}: {what}"))
}
