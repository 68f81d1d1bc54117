//! Data sets: problems with answers, and prompts with completions; from a JSON array, JSONL or Parquet.
//!
//! `read` reads a whole file, with the help of `rows`, which turns any of the files into JSON values, of `parquet`, its
//! columnar half, and of `problem`, which knows the two layouts of a problem: DeepScaleR's fields and verl's.

mod parquet;
mod problem;
mod read;
#[cfg(test)]
pub(crate) mod refusals_page;
mod rows;
#[cfg(test)]
mod tests;

pub use problem::ProblemRow;
pub use read::{CompletionRow, read_completions, read_problems};
