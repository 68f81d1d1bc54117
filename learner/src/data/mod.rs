//! Data sets: problems with answers, and prompts with completions; from JSON arrays, JSONL and Parquet.
//!
//! From disk to problems: `files` finds what a setting names and opens regular files only, `stream` makes plain UTF-8
//! bytes of one, `rows` cuts them into rows (`item`) with the help of `json` and `parquet`, `row` holds one of them read,
//! `fields` knows under which names data sets have problems and answers, `answers` reads ground truths, `problem` and
//! `read` put problems together. Rows are read one by one, and of those that repeat only the first is kept: a file may hold
//! millions. `truths` judges ground truths before they are used.

mod answers;
mod fields;
mod files;
mod item;
mod json;
mod parquet;
mod problem;
mod read;
#[cfg(test)]
pub(crate) mod refusals_page;
mod row;
mod rows;
mod stream;
#[cfg(test)]
mod tests;
mod truths;

pub use fields::Fields;
pub use files::resolve as files_of;
pub use problem::ProblemRow;
pub use read::{CompletionRow, Completions, DataFiles, ProblemSet, Tally, read_completions, read_problems};
pub use truths::{Form, judge};
