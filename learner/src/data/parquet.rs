//! Rows of a Parquet file, through the record interface: only the columns that a data set can use are read.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::Type;
use serde_json::Value;

/// The magic number at both ends of every Parquet file.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// Columns of the layouts, by path; a whole column where the path is one name. Others may be large (solutions,
/// pictures) or of types that have no JSON form.
const COLUMNS: [&str; 8] = [
    "problem",
    "answer",
    "id",
    "prompt",
    "completion",
    "reward_model.ground_truth",
    "extra_info.index",
    "data_source",
];

/// What is wrong with a file: where, and what is the matter there.
pub(super) struct Fault {
    /// A row by its number from 0; empty where the whole file is meant.
    pub(super) place: String,
    /// The fault, as a clause that follows the place.
    pub(super) what: String,
}

impl Fault {
    fn of_file(what: String) -> Self {
        let place = String::new();
        Self { place, what }
    }
}

/// The rows as JSON objects with the columns of [`COLUMNS`] that the file has, each with its place.
///
/// # Errors
/// What cannot be read as Parquet, a column of binary values where text is needed, and the first row that cannot be
/// decoded.
pub(super) fn read_rows(file: File) -> Result<Vec<(String, Value)>, Fault> {
    let unreadable = |error: ParquetError| Fault::of_file(format!("it is no whole Parquet file ({error})"));
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let schema = reader.metadata().file_metadata().schema();
    let Some(projection) = project(schema, "").map_err(unreadable)? else {
        let columns: Vec<&str> = schema.get_fields().iter().map(|column| column.name()).collect();
        let what = format!("it has none of the columns problem, answer, prompt, reward_model; it has {columns:?}");
        return Err(Fault::of_file(what));
    };
    if let Some(column) = binary_column(&projection, "") {
        let what = format!("it has the column `{column}` of binary values, where text is needed");
        return Err(Fault::of_file(what));
    }
    let projection = Arc::unwrap_or_clone(projection);
    let mut rows = Vec::new();
    for (number, row) in reader.get_row_iter(Some(projection)).map_err(unreadable)?.enumerate() {
        let place = format!("row {number}");
        match row {
            Ok(row) => rows.push((place, row.to_json_value())),
            Err(error) => {
                let what = format!("it cannot be decoded ({error})");
                return Err(Fault { place, what });
            }
        }
    }
    Ok(rows)
}

/// The part of a group with the columns of [`COLUMNS`]; nothing if it has none of them. `prefix` is the group's path
/// with a dot behind it, empty for the schema.
fn project(group: &Type, prefix: &str) -> Result<Option<Arc<Type>>, ParquetError> {
    let mut kept = Vec::new();
    for column in group.get_fields() {
        let path = format!("{prefix}{}", column.name());
        if COLUMNS.contains(&path.as_str()) {
            kept.push(column.clone());
        } else if column.is_group() && COLUMNS.iter().any(|wanted| wanted.starts_with(&format!("{path}."))) {
            kept.extend(project(column, &format!("{path}."))?);
        }
    }
    if kept.is_empty() {
        return Ok(None);
    }
    let info = group.get_basic_info();
    let mut builder = Type::group_type_builder(info.name()).with_fields(kept);
    if info.has_repetition() {
        builder = builder.with_repetition(info.repetition());
    }
    builder.build().map(|projected| Some(Arc::new(projected)))
}

/// The first leaf of bytes that are not marked as text, which nobody can read without knowing their encoding.
fn binary_column(column: &Type, path: &str) -> Option<String> {
    if column.is_primitive() {
        let is_text = matches!(
            column.get_basic_info().converted_type(),
            ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON | ConvertedType::DECIMAL
        );
        let is_bytes = matches!(
            column.get_physical_type(),
            PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY
        );
        return (is_bytes && !is_text).then(|| path.to_owned());
    }
    for inner in column.get_fields() {
        let inner_path = if path.is_empty() {
            inner.name().to_owned()
        } else {
            format!("{path}.{}", inner.name())
        };
        if let Some(found) = binary_column(inner, &inner_path) {
            return Some(found);
        }
    }
    None
}
