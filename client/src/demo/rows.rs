//! Rows of the demo's warm start. The loss is on the completion alone, so what generation inserts is in the prompt
//! wherever the model is not to write it itself.

use rand::{Rng, RngExt as _};
use serde::Serialize;

use super::chain::Chain;

/// Ends the thinking.
pub const END_MARKER: &str = "</think>";
/// Stands where thinking was cut.
pub const CUT_MARKER: &str = "...";
/// Opens the summary, and the box in it.
pub const SUMMARY_MARKER: &str = "\n\n**Final Answer**\n\\boxed{";

/// One row of supervised data; the trainer ends the completion with the end of sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SftRow {
    /// Not trained.
    pub prompt: String,
    /// Trained.
    pub completion: String,
}

/// The whole thinking and its summary. The opener is one token that the model learns to write after `</think>`, where
/// generation inserts it anyway.
pub fn full_row(chain: &Chain, random: &mut impl Rng) -> SftRow {
    let thinking = chain.think(random);
    let completion = format!("{thinking}{END_MARKER}{SUMMARY_MARKER}{}}}", chain.answer());
    SftRow {
        prompt: chain.problem(),
        completion,
    }
}

/// A thinking that was cut somewhere, and the summary that is the best guess there: the value after the last complete
/// step, or the first digit before any.
pub fn cut_row(chain: &Chain, random: &mut impl Rng) -> SftRow {
    let thinking = chain.think(random);
    // Every character is one token.
    let length = random.random_range(1..=thinking.len());
    let prefix = &thinking[..length];
    let complete_steps = prefix.matches(';').count();
    let value = chain.running_values()[complete_steps];
    let prompt = format!("{}{prefix}{CUT_MARKER}{END_MARKER}{SUMMARY_MARKER}", chain.problem());
    SftRow {
        prompt,
        completion: format!("{value}}}"),
    }
}
