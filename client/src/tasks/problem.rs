//! What a task of this project consists of: problems with their answers, and, where a model learns to reason from
//! nothing, examples of thinking.

use rand::Rng;

/// A problem with one right answer.
pub trait Problem: Sized {
    /// Draws a problem.
    fn draw(random: &mut impl Rng) -> Self;

    /// The text that the model sees.
    fn problem(&self) -> String;

    /// The right answer.
    fn answer(&self) -> u32;

    /// A key by which problems are kept apart: of two problems with the same key, one must not be trained on and the
    /// other tested.
    fn key(&self) -> String {
        self.problem()
    }
}

/// A problem about which the warm start shows how to think. Every character of the thinking is one token.
pub trait Reasoned: Problem {
    /// A whole right thinking, in one of the ways that the model is to know.
    fn think(&self, random: &mut impl Rng) -> String;

    /// The best guess after the beginning of such a thinking: the value that it has established.
    fn guess(&self, thinking: &str) -> u32;
}
