//! What a task of the project's own making is: problems with their answers, and where a model is to learn to reason from
//! nothing, how thinking about them looks.

use clap::ValueEnum;
use rand::Rng;
use serde::Deserialize;

/// The tasks, as `anytime data` and `anytime demo --task` name them.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TaskName {
    /// Chains of digits with + and − modulo 10; the concise way takes the same steps as the long one, spelled shorter
    Chains,
    /// Sums of products modulo 10; the concise way knows the times table, the long one adds again and again
    Products,
    /// Sums of two and three two-digit numbers, for a published checkpoint
    Sums,
}

impl TaskName {
    /// As it is written on the command line and in preset files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chains => "chains",
            Self::Products => "products",
            Self::Sums => "sums",
        }
    }

    /// The directory of its data in job files and presets; another one takes its place where a run has its own.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Chains => "runs/demo",
            Self::Products => "runs/products",
            Self::Sums => "runs/sums",
        }
    }
}

/// A problem with one right answer.
pub trait Problem: Sized {
    /// Draws a problem.
    fn draw(random: &mut impl Rng) -> Self;

    /// As the model sees it.
    fn problem(&self) -> String;

    /// The right answer.
    fn answer(&self) -> u32;

    /// The same for problems that must not be in training and test at once.
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
