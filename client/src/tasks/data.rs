//! Writes the data of a task: problems to train on, problems to evaluate on that occur nowhere else, and rows of the
//! warm start where the task has one.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context as _;
use anytime_service::exit::ExitError;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::chain::Chain;
use super::name::TaskName;
use super::problem::{Problem, Reasoned};
use super::product::ProductSum;
use super::rows::{SftRow, cut_row, full_row};
use super::sum::Sum;
use crate::output::{make_directory, write_whole};

/// The share of whole rows in the warm start. The other rows are cut and teach only how to summarise.
const WHOLE_SHARE: f64 = 0.7;

/// When this many draws in a row give known problems, the task has hardly any others.
const MOST_REPEATS: usize = 1000;

/// How many rows of each file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Problems to train on.
    pub train: usize,
    /// Problems to evaluate on; none of them occurs in the other files.
    pub test: usize,
    /// Rows of the warm start, whole and cut ones; sums have none.
    pub sft: usize,
}

impl Sizes {
    /// The sizes of a task's files by default.
    pub fn of(task: TaskName) -> Self {
        match task {
            TaskName::Chains | TaskName::Products => Self {
                train: 4000,
                test: 256,
                sft: 64_000,
            },
            TaskName::Sums => Self {
                train: 2000,
                test: 128,
                sft: 0,
            },
        }
    }
}

#[derive(Serialize)]
struct ProblemRow {
    id: String,
    problem: String,
    answer: String,
}

/// Writes train.jsonl, test.jsonl and, where the task has a warm start, sft.jsonl; the same seed gives the same files.
///
/// # Errors
/// If a file cannot be written.
pub fn write_data(task: TaskName, directory: &Path, seed: u64, sizes: &Sizes) -> anyhow::Result<()> {
    make_directory(directory)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    match task {
        TaskName::Chains => write_reasoned::<Chain>(directory, &mut random, sizes),
        TaskName::Products => write_reasoned::<ProductSum>(directory, &mut random, sizes),
        TaskName::Sums => write_problems::<Sum>(directory, &mut random, sizes).map(drop),
    }
}

fn write_reasoned<T: Reasoned>(directory: &Path, random: &mut ChaCha8Rng, sizes: &Sizes) -> anyhow::Result<()> {
    let held_out = write_problems::<T>(directory, random, sizes)?;
    let mut rows: Vec<SftRow> = Vec::with_capacity(sizes.sft);
    while rows.len() < sizes.sft {
        let problem = T::draw(random);
        if held_out.contains(&problem.key()) {
            continue;
        }
        let is_whole = random.random_bool(WHOLE_SHARE);
        rows.push(if is_whole {
            full_row(&problem, random)
        } else {
            cut_row(&problem, random)
        });
    }
    write_lines(&directory.join("sft.jsonl"), &rows)
}

/// Writes the problems and returns the keys of those that are held out.
fn write_problems<T: Problem>(
    directory: &Path,
    random: &mut ChaCha8Rng,
    sizes: &Sizes,
) -> anyhow::Result<HashSet<String>> {
    let mut taken = HashSet::new();
    let test: Vec<T> = draw_new(random, "--test", sizes.test, &mut taken)?;
    let held_out = taken.clone();
    let train: Vec<T> = draw_new(random, "--train", sizes.train, &mut taken)?;
    write_lines(&directory.join("test.jsonl"), &problem_rows("test", &test))?;
    write_lines(&directory.join("train.jsonl"), &problem_rows("train", &train))?;
    Ok(held_out)
}

/// Draws problems that were not drawn before.
fn draw_new<T: Problem>(
    random: &mut ChaCha8Rng,
    option: &str,
    count: usize,
    taken: &mut HashSet<String>,
) -> Result<Vec<T>, ExitError> {
    let mut problems = Vec::new();
    let mut repeats = 0;
    while problems.len() < count {
        let problem = T::draw(random);
        if taken.insert(problem.key()) {
            problems.push(problem);
            repeats = 0;
            continue;
        }
        repeats += 1;
        if repeats > MOST_REPEATS {
            let message = format!("{option} {count} is too many: the task has not so many different problems");
            return Err(ExitError::configuration(message));
        }
    }
    Ok(problems)
}

fn problem_rows(name: &str, problems: &[impl Problem]) -> Vec<ProblemRow> {
    let mut rows = Vec::with_capacity(problems.len());
    for (index, problem) in problems.iter().enumerate() {
        let id = format!("{name}-{index}");
        rows.push(ProblemRow {
            id,
            problem: problem.problem(),
            answer: problem.answer().to_string(),
        });
    }
    rows
}

fn write_lines(path: &Path, rows: &[impl Serialize]) -> anyhow::Result<()> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row).context("row of data")?);
        text.push('\n');
    }
    write_whole(path, text)
}
