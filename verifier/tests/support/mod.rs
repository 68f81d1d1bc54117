//! What the tests on corpora share: the corpora, a short way to grade, and a generator of random numbers.
#![allow(dead_code, reason = "every test program uses another part")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anytime_proto::v1::{Extraction, VerdictKind};
use anytime_verifier::grade;
use anytime_verifier::options::Options;
use serde::{Deserialize, Serialize};

/// A labelled pair, with the fields of the public cases.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Case {
    /// Unique in its corpus.
    pub(crate) id: String,
    /// Where the ground truth comes from.
    pub(crate) source: String,
    /// The kind of the ground truth: `int`, `radical`, `matrix`, …
    pub(crate) problem_kind: String,
    /// The answer that counts as right.
    pub(crate) ground_truth: String,
    /// The response of the model.
    pub(crate) response: String,
    /// Whether it is right.
    pub(crate) expected: bool,
    /// How the response was made from the ground truth.
    pub(crate) why: String,
}

/// The choices that the labels of the public cases go by: the last `\boxed` counts, and every convention is the
/// default.
pub(crate) fn boxed_options() -> Options {
    Options {
        extraction: Extraction::Boxed,
        ..Options::default()
    }
}

/// The verdict on a response.
pub(crate) fn verdict_of(response: &str, ground_truth: &str) -> VerdictKind {
    grade(response, &[ground_truth.to_owned()], &boxed_options()).kind()
}

/// Whether an answer, put into a box, is judged to equal the ground truth.
pub(crate) fn is_correct(answer: &str, ground_truth: &str) -> bool {
    verdict_of(&format!("\\boxed{{{answer}}}"), ground_truth) == VerdictKind::Correct
}

/// A file beside the tests.
pub(crate) fn cases_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

/// The rows of a file beside the tests.
pub(crate) fn read_rows<Row: for<'row> Deserialize<'row>>(name: &str) -> Vec<Row> {
    rows_of(&cases_file(name))
}

/// The rows of a file, one JSON value a line.
pub(crate) fn rows_of<Row: for<'row> Deserialize<'row>>(path: &Path) -> Vec<Row> {
    let name = path.display();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}")))
        .collect()
}

/// Writes a file, one JSON value a line.
pub(crate) fn write_rows<Row: Serialize>(path: &Path, rows: &[Row]) {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row).expect("strings and booleans are JSON"));
        text.push('\n');
    }
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The public cases.
pub(crate) fn labelled() -> Vec<Case> {
    read_rows("labelled.jsonl")
}

/// The distinct ground truths of the data sets the model is trained and tested on.
pub(crate) fn answers() -> Vec<String> {
    read_rows("answers.jsonl")
}

/// The same work for every index, on all cores; the results in the order of the indices.
pub(crate) fn in_parallel<Output: Send>(count: usize, work: impl Fn(usize) -> Output + Sync) -> Vec<Output> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let mut outputs: Vec<(usize, Output)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let mut own = Vec::new();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count {
                            return own;
                        }
                        own.push((index, work(index)));
                    }
                })
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    outputs.sort_by_key(|(index, _)| *index);
    outputs.into_iter().map(|(_, output)| output).collect()
}

/// xorshift64*: the same numbers on every machine, and cheap enough for millions of inputs.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Different seeds give unrelated sequences, small ones too.
    pub(crate) fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 up to, not including, a positive bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A number within bounds, both included.
    pub(crate) fn between(&mut self, low: i128, high: i128) -> i128 {
        low + self.below((high - low + 1) as usize) as i128
    }

    /// One of several.
    pub(crate) fn pick<'items, Item>(&mut self, items: &'items [Item]) -> &'items Item {
        &items[self.below(items.len())]
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Shuffles items.
    pub(crate) fn shuffle<Item>(&mut self, items: &mut [Item]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}
