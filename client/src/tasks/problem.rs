//! What a task of the project's own making is: problems with their answers, and, where a model learns to reason from
//! nothing, examples of how to think about them.

use rand::Rng;

/// A problem with one right answer.
pub trait Problem: Sized {
    /// Draws a problem.
    fn draw(random: &mut impl Rng) -> Self;

    /// The text that the model sees.
    fn problem(&self) -> String;

    /// The right answer.
    fn answer(&self) -> u32;

    /// A key that is equal for problems of which training and test must not each have one.
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
