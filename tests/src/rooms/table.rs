//! The tables of rooms, read from the Markdown that people read. The marks `<!-- rooms:begin -->` and
//! `<!-- rooms:end -->` enclose a table of crates and, for each crate, a table of its rooms, each under a heading. A
//! row names one or several rooms, what lives there, and what they may use: `below` is every row below, otherwise those
//! that are named, which must be below too. Rooms in one row do not know each other.

use std::collections::BTreeMap;
use std::path::Path;

use super::sources;

/// The heading of the table of crates.
pub const CRATES: &str = "Crates";

const BEGIN: &str = "<!-- rooms:begin -->";
const END: &str = "<!-- rooms:end -->";

/// What a row says of its rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
enum MayUse {
    Below,
    Only(Vec<String>),
}

/// One table: its rows from the top, each with its rooms and what these may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rooms {
    rows: Vec<(Vec<String>, MayUse)>,
}

impl Rooms {
    /// All rooms of the table.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|(rooms, _)| rooms.iter().map(String::as_str))
    }

    /// Whether the table has this room.
    pub fn contains(&self, room: &str) -> bool {
        self.row_of(room).is_some()
    }

    /// Whether one room may take names from another one: it is above it, and its row allows it.
    pub fn may_use(&self, user: &str, used: &str) -> bool {
        let (Some(user_row), Some(used_row)) = (self.row_of(user), self.row_of(used)) else {
            return false;
        };
        let is_allowed = match &self.rows[user_row].1 {
            MayUse::Below => true,
            MayUse::Only(rooms) => rooms.iter().any(|room| room == used),
        };
        used_row > user_row && is_allowed
    }

    fn row_of(&self, room: &str) -> Option<usize> {
        self.rows
            .iter()
            .position(|(rooms, _)| rooms.iter().any(|other| other == room))
    }
}

/// Reads the tables of a Markdown file, by their heading.
///
/// # Panics
/// If the file or its marks are missing.
pub fn read(path: &Path) -> BTreeMap<String, Rooms> {
    let text = sources::read(path);
    let (_, rest) = text.split_once(BEGIN).expect("the mark at which the tables begin");
    let (tables, _) = rest.split_once(END).expect("the mark at which the tables end");
    let mut read: BTreeMap<String, Rooms> = BTreeMap::new();
    let mut heading = String::new();
    let mut is_body = false;
    for line in tables.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim().trim_matches('`').to_owned();
        } else if !line.starts_with('|') {
            is_body = false;
        } else if line.chars().all(|character| "|-: ".contains(character)) {
            is_body = true;
        } else if is_body {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let may_use = match cells.get(2).copied().unwrap_or_default() {
                "below" => MayUse::Below,
                rooms => MayUse::Only(names(rooms)),
            };
            let rooms = names(cells.first().copied().unwrap_or_default());
            read.entry(heading.clone()).or_default().rows.push((rooms, may_use));
        }
    }
    read
}

/// What is in backticks, without the slash behind a folder's name.
fn names(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.map(|name| name.trim_end_matches('/').to_owned()).collect()
}
