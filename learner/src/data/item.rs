//! A row as its file has it, with its place in the file, for messages.

use std::fmt;

/// Where a row stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The whole file is meant.
    File,
    /// A line, from 1.
    Line(u64),
    /// A row of an array or of Parquet, from 0.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Line(number) => write!(formatter, "line {number}"),
            Self::Row(number) => write!(formatter, "row {number}"),
        }
    }
}

/// What is wrong with a file: where, and what is the matter there.
pub(super) struct Fault {
    pub(super) place: Place,
    /// The fault, as a clause that follows the place.
    pub(super) what: String,
}

impl Fault {
    pub(super) fn of_file(what: impl Into<String>) -> Self {
        Self {
            place: Place::File,
            what: what.into(),
        }
    }
}

/// A row as its file has it.
pub(super) enum Item<'a> {
    /// JSON text.
    Json(&'a str),
    /// The columns of a Parquet row, and the names of those that were not read.
    Parquet(::parquet::record::Row, &'a std::rc::Rc<[String]>),
}

/// Takes rows; returns whether it wants more, or what is wrong with the row.
pub(super) type Take<'a> = &'a mut dyn FnMut(Place, Item<'_>) -> Result<bool, String>;
