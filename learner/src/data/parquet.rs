//! Rows of a Parquet file, through the record interface: only the columns that a data set can use are read.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::Type;

use super::item::{Fault, Item, Place, Take};

/// The magic number at both ends of every Parquet file.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// The columns that are read, as names with dots; a name can also be that of a whole column. Other columns may be large
/// (pictures) or of types that no answer can have.
pub(super) struct Columns {
    /// For the problem and for the answer: the names to look for. The first that the file has is read.
    pub(super) needed: [Vec<String>; 2],
    /// Names that are read where they are.
    pub(super) welcome: Vec<String>,
}

impl Columns {
    fn holds(&self, path: &str) -> bool {
        self.names().any(|name| name == path)
    }

    fn leads_from(&self, path: &str) -> bool {
        let within = |name: &String| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        self.names().any(within)
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.needed.iter().flatten().chain(&self.welcome)
    }
}

/// Gives every row to `take`, until it has enough.
///
/// # Errors
/// What cannot be read as Parquet, a needed column of binary values, and the first row that cannot be decoded or that
/// `take` refuses.
pub(super) fn each_row(file: File, columns: &Columns, take: Take<'_>) -> Result<(), Fault> {
    // The library trusts pages in some places and may panic, and a file may be damaged anywhere.
    let read = catch_unwind(AssertUnwindSafe(|| read_rows(file, columns, take)));
    read.unwrap_or_else(|_| Err(Fault::of_file("it is damaged: a page of it makes no sense")))
}

fn read_rows(file: File, columns: &Columns, take: Take<'_>) -> Result<(), Fault> {
    let unreadable = |error: ParquetError| Fault::of_file(format!("it is no whole Parquet file ({error})"));
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let schema = reader.metadata().file_metadata().schema();
    let names: Vec<&str> = schema.get_fields().iter().map(|column| column.name()).collect();
    check_compression(&reader)?;
    for needed in &columns.needed {
        let found = needed
            .iter()
            .find_map(|name| find(schema, name).map(|column| (name, column)));
        if let Some((name, column)) = found
            && let Some(binary) = binary_column(column, name)
        {
            let what = format!("it has the column `{binary}` of binary values, where text is needed");
            return Err(Fault::of_file(what));
        }
    }
    let Some(projection) = project(schema, "", columns).map_err(unreadable)? else {
        let what = format!(
            "it has none of the columns that a problem is read from; it has {}",
            names.join(", ")
        );
        return Err(Fault::of_file(what));
    };
    let read: Vec<&str> = projection.get_fields().iter().map(|column| column.name()).collect();
    let others: Vec<String> = names
        .iter()
        .filter(|name| !read.contains(name))
        .map(|name| (*name).to_owned())
        .collect();
    let others: Rc<[String]> = others.into();
    let projection = Arc::unwrap_or_clone(projection);
    for (number, row) in reader.get_row_iter(Some(projection)).map_err(unreadable)?.enumerate() {
        let place = Place::Row(number as u64);
        let row = row.map_err(|error| Fault {
            place,
            what: format!("it cannot be decoded ({error})"),
        })?;
        if !take(place, Item::Parquet(row, &others)).map_err(|what| Fault { place, what })? {
            return Ok(());
        }
    }
    Ok(())
}

/// Refuses a file with the one codec that no open library reads, before its first row.
fn check_compression(reader: &SerializedFileReader<File>) -> Result<(), Fault> {
    for group in reader.metadata().row_groups() {
        for column in group.columns() {
            if column.compression() == Compression::LZO {
                let what = "it is compressed with LZO; write it with snappy, gzip, zstd, lz4 or brotli";
                return Err(Fault::of_file(what));
            }
        }
    }
    Ok(())
}

/// The column under a name with dots, unless it has the whole name.
fn find<'a>(group: &'a Type, name: &str) -> Option<&'a Type> {
    if !group.is_group() {
        return None;
    }
    let fields = group.get_fields();
    if let Some(column) = fields.iter().find(|column| column.name() == name) {
        return Some(column);
    }
    let (first, rest) = name.split_once('.')?;
    let column = fields.iter().find(|column| column.name() == first)?;
    find(column, rest)
}

/// The part of a group with the columns that are read; nothing if it has none of them. Binary columns are left out:
/// nobody can read them without knowing their encoding. `prefix` is the group's path with a dot behind it, empty for the
/// schema.
fn project(group: &Type, prefix: &str, columns: &Columns) -> Result<Option<Arc<Type>>, ParquetError> {
    let mut kept = Vec::new();
    for column in group.get_fields() {
        let path = format!("{prefix}{}", column.name());
        if columns.holds(&path) {
            if binary_column(column, &path).is_none() {
                kept.push(column.clone());
            }
        } else if column.is_group() && columns.leads_from(&path) {
            kept.extend(project(column, &format!("{path}."), columns)?);
        } else if prefix.is_empty() && columns.leads_from(&path) && binary_column(column, &path).is_none() {
            // A text may hold the object.
            kept.push(column.clone());
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

/// The first leaf of bytes that are not marked as text.
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
        let is_half = column.get_basic_info().logical_type_ref() == Some(&parquet::basic::LogicalType::Float16);
        return (is_bytes && !is_text && !is_half).then(|| path.to_owned());
    }
    column
        .get_fields()
        .iter()
        .find_map(|inner| binary_column(inner, &format!("{path}.{}", inner.name())))
}
