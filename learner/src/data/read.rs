//! Reads all files of a setting as problems, or as prompts with completions. Rows that repeat become one problem:
//! published sets repeat every problem up to a hundred times: for training to make an epoch longer, for evaluation to
//! have as many samples.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

use anytime_proto::settings::InvalidSetting;

use super::fields::Fields;
use super::files;
use super::item::{Item, Place};
use super::parquet::Columns;
use super::problem::{self, Met, ProblemRow};
use super::row::{Row, Value};
use super::rows::{each_row, row_error};
use super::truths::say_the_same;

/// How many rows are read between two looks at the clock.
const ROWS_PER_LOOK: u64 = 1024;

/// Which files are read, and how.
#[derive(Clone, Copy, Debug)]
pub struct DataFiles<'a> {
    /// The setting that names them.
    pub setting: &'a str,
    /// Files, directories and patterns.
    pub names: &'a [String],
    /// Where relative names start.
    pub root: &'a Path,
    /// The names of fields.
    pub fields: Fields<'a>,
    /// When reading stops, finished or not. Some rows are read even if that is now.
    pub until: Option<Instant>,
}

/// What was counted while the files were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files.
    pub files: u32,
    /// Rows.
    pub rows: u64,
    /// Rows whose prompt and answers an earlier row has.
    pub repeats: u64,
    /// System messages that were left out of prompts.
    pub system_messages: u64,
    /// Prompts that come with different answers in different rows.
    pub contradicting: u64,
    /// The place of the second row of the first of these.
    pub first_contradicting: String,
    /// Whether everything was read.
    pub is_complete: bool,
}

/// The problems of all files, each once.
#[derive(Clone, Debug, Default)]
pub struct ProblemSet {
    /// In the order of their first rows.
    pub rows: Vec<ProblemRow>,
    /// What was counted.
    pub tally: Tally,
}

/// A row of supervised training.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRow {
    /// Not trained.
    pub prompt: String,
    /// Trained.
    pub completion: String,
}

/// The rows of all files, in their order; rows that repeat are kept.
#[derive(Clone, Debug, Default)]
pub struct Completions {
    /// The rows.
    pub rows: Vec<CompletionRow>,
    /// What was counted.
    pub tally: Tally,
}

/// Reads problems, each row in one of the forms that [`Fields`] knows.
///
/// # Errors
/// A name that leads to no file, an unreadable file, files without rows, and the first row that lacks a problem or an
/// answer, by its line or number.
pub fn read_problems(source: &DataFiles<'_>) -> Result<ProblemSet, InvalidSetting> {
    let mut problems = Problems::default();
    let columns = source.fields.columns();
    let tally = read_files(source, &columns, &mut |at, item| {
        problems.take(at, item, &source.fields, &columns)
    })?;
    let Problems {
        met,
        repeats,
        system_messages,
        contradicting,
        first_contradicting,
        ..
    } = problems;
    Ok(ProblemSet {
        rows: problem::with_ids(met),
        tally: Tally {
            repeats,
            system_messages,
            contradicting: contradicting.len() as u64,
            first_contradicting,
            ..tally
        },
    })
}

/// Reads rows of prompt and completion from any of the same files.
///
/// # Errors
/// As [`read_problems`].
pub fn read_completions(source: &DataFiles<'_>) -> Result<Completions, InvalidSetting> {
    let columns = source.fields.imitated_columns();
    let mut rows = Vec::new();
    let tally = read_files(source, &columns, &mut |_, item| {
        let row = row_of(item, &columns)?;
        let ((prompt_name, prompt), (completion_name, completion)) = source.fields.imitated(&row)?;
        let text = |name: &str, value: &Value| match value {
            Value::Text(text) if !text.is_empty() => Ok(text.clone()),
            other => {
                let kind = other.kind();
                Err(format!(
                    "field {name:?} is {kind}; it must be a string that is not empty"
                ))
            }
        };
        rows.push(CompletionRow {
            prompt: text(prompt_name, prompt)?,
            completion: text(completion_name, completion)?,
        });
        Ok(())
    })?;
    Ok(Completions { rows, tally })
}

/// Where a row stands among all files.
struct At<'a> {
    /// The number of the row over all files.
    row: u64,
    place: Place,
    /// The file's name, where there are several.
    file: Option<&'a str>,
}

impl At<'_> {
    fn to_text(&self) -> String {
        match self.file {
            Some(file) => format!("{file} {}", self.place),
            None => self.place.to_string(),
        }
    }
}

fn row_of(item: Item<'_>, columns: &Columns) -> Result<Row, String> {
    let mut row = match item {
        Item::Json(text) => Row::of_json(text, |key| columns.needs(key))?,
        Item::Parquet(row, others) => Row::of_parquet(row, others.clone()),
    };
    row.open_texts(|key| columns.only_leads_into(key));
    Ok(row)
}

/// Gives every row of every file to `take`, and counts them.
fn read_files(
    source: &DataFiles<'_>,
    columns: &Columns,
    take: &mut dyn FnMut(&At<'_>, Item<'_>) -> Result<(), String>,
) -> Result<Tally, InvalidSetting> {
    let files = files::resolve(source.setting, source.names, source.root)?;
    let mut tally = Tally {
        files: files.len() as u32,
        is_complete: true,
        ..Tally::default()
    };
    for path in &files {
        let before = tally.rows;
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let file = (files.len() > 1).then_some(name.as_str());
        let Tally { rows, is_complete, .. } = &mut tally;
        each_row(source.setting, path, columns, &mut |place, item| {
            let is_late =
                rows.is_multiple_of(ROWS_PER_LOOK) && source.until.is_some_and(|until| Instant::now() >= until);
            if is_late && *rows > 0 {
                *is_complete = false;
                return Ok(false);
            }
            let at = At {
                row: *rows,
                place,
                file,
            };
            take(&at, item)?;
            *rows += 1;
            Ok(true)
        })?;
        if !tally.is_complete {
            break;
        }
        if tally.rows == before {
            return Err(row_error(source.setting, path, Place::File, "it has no rows"));
        }
    }
    Ok(tally)
}

#[derive(Default)]
struct Problems {
    met: Vec<Met>,
    /// Problems by question and answers, and also by the text of their rows, which is quicker to look up.
    by_content: HashMap<blake3::Hash, usize>,
    by_text: HashMap<blake3::Hash, usize>,
    prompts: HashMap<blake3::Hash, usize>,
    contradicting: HashSet<usize>,
    first_contradicting: String,
    repeats: u64,
    system_messages: u64,
}

impl Problems {
    fn take(&mut self, at: &At<'_>, item: Item<'_>, fields: &Fields<'_>, columns: &Columns) -> Result<(), String> {
        let text_hash = match &item {
            Item::Json(text) => Some(blake3::hash(text.as_bytes())),
            Item::Parquet(..) => None,
        };
        if let Some(index) = text_hash.and_then(|hash| self.by_text.get(&hash).copied()) {
            self.repeat(index);
            return Ok(());
        }
        let read = problem::read(&row_of(item, columns)?, fields)?;
        let index = match self.by_content.get(&hash_of(&read.problem, &read.answers)) {
            Some(index) => {
                let index = *index;
                self.repeat(index);
                index
            }
            None => self.add(at, read),
        };
        if let Some(hash) = text_hash {
            self.by_text.insert(hash, index);
        }
        Ok(())
    }

    fn repeat(&mut self, index: usize) {
        let met = &mut self.met[index];
        met.repeats = met.repeats.saturating_add(1);
        self.repeats += 1;
        self.system_messages += met.read.system_messages;
    }

    fn add(&mut self, at: &At<'_>, read: problem::ReadProblem) -> usize {
        let index = self.met.len();
        self.by_content.insert(hash_of(&read.problem, &read.answers), index);
        let first = *self.prompts.entry(hash_of(&read.problem, &[])).or_insert(index);
        let contradicts = first != index
            && !self.contradicting.contains(&first)
            && !say_the_same(&self.met[first].read.answers, &read.answers);
        if contradicts {
            self.contradicting.insert(first);
            if self.first_contradicting.is_empty() {
                self.first_contradicting = at.to_text();
            }
        }
        self.system_messages += read.system_messages;
        self.met.push(Met {
            read,
            row: at.row,
            place: at.to_text(),
            file: at.file.map(str::to_owned),
            repeats: 1,
        });
        index
    }
}

/// A number that two problems share only where they are the same.
fn hash_of(problem: &str, answers: &[String]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for text in std::iter::once(problem).chain(answers.iter().map(String::as_str)) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize()
}
