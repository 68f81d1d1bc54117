//! Any file of rows, row by row.

use std::path::Path;

use anytime_proto::settings::InvalidSetting;

use super::files;
use super::item::{Place, Take};
use super::stream::{Content, open_content};
use super::{json, parquet};

/// Gives every row of the file to `take`. `columns` are the names, with dots, of the columns that a Parquet file is read
/// for.
///
/// # Errors
/// An unreadable file, and the first row that cannot be read or that `take` refuses.
pub(super) fn each_row(
    field: &str,
    path: &Path,
    columns: &parquet::Columns,
    take: Take<'_>,
) -> Result<(), InvalidSetting> {
    let file = files::open(field, path)?;
    let content = open_content(file, path).map_err(|what| row_error(field, path, Place::File, &what))?;
    match content {
        Content::Parquet(file) => parquet::each_row(file, columns, take),
        Content::Text(text) => json::each_row(text, take),
    }
    .map_err(|fault| row_error(field, path, fault.place, &fault.what))
}

/// An error about one place in a file that a setting names: `data.path: data.jsonl line 3: no field "answer"`.
pub(super) fn row_error(field: &str, path: &Path, place: Place, what: &str) -> InvalidSetting {
    let path = path.display();
    let place = match place {
        Place::File => String::new(),
        place => format!(" {place}"),
    };
    InvalidSetting::because(field, format!("{path}{place}: {what}"))
}
