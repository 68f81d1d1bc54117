//! Rows of a warm start. Only completions are trained, so whatever generation inserts, and the model should not write
//! itself, belongs to the prompt.

use rand::{Rng, RngExt as _};
use serde::Serialize;

use super::problem::Reasoned;

/// Ends the thinking.
pub const END_MARKER: &str = "</think>";
/// Marks the place where thinking was cut.
pub const CUT_MARKER: &str = "...";
/// Opens the summary, and the box in it.
pub const SUMMARY_MARKER: &str = "\n\n**Final Answer**\n\\boxed{";

/// One row of supervised data; the trainer ends the completion with the end of sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SftRow {
    /// The part that is not trained.
    pub prompt: String,
    /// The part that is trained.
    pub completion: String,
}

/// The whole thinking and its summary. The opener is one token that the model learns to write after `</think>`, where
/// generation inserts it anyway.
pub fn full_row(problem: &impl Reasoned, random: &mut impl Rng) -> SftRow {
    let thinking = problem.think(random);
    let completion = format!("{thinking}{END_MARKER}{SUMMARY_MARKER}{}}}", problem.answer());
    SftRow {
        prompt: problem.problem(),
        completion,
    }
}

/// A thinking that was cut somewhere, and the summary that is the best guess there.
pub fn cut_row(problem: &impl Reasoned, random: &mut impl Rng) -> SftRow {
    let thinking = problem.think(random);
    // Every character is one token.
    let length = random.random_range(1..=thinking.len());
    let prefix = &thinking[..length];
    let prompt = format!("{}{prefix}{CUT_MARKER}{END_MARKER}{SUMMARY_MARKER}", problem.problem());
    SftRow {
        prompt,
        completion: format!("{}}}", problem.guess(prefix)),
    }
}
