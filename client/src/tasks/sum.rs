//! The third task: sums of two and three two-digit numbers in words that a published checkpoint understands.

use rand::{Rng, RngExt as _};

use super::problem::Problem;

/// How many numbers are added.
const COUNT: std::ops::RangeInclusive<usize> = 2..=3;

const NUMBERS: std::ops::RangeInclusive<u32> = 10..=99;

/// A sum of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    numbers: Vec<u32>,
}

impl Problem for Sum {
    /// Two and three numbers are equally likely.
    fn draw(random: &mut impl Rng) -> Self {
        let count = random.random_range(COUNT);
        let numbers = (0..count).map(|_| random.random_range(NUMBERS)).collect();
        Self { numbers }
    }

    fn problem(&self) -> String {
        format!("What is {}?", join(&self.numbers))
    }

    fn answer(&self) -> u32 {
        self.numbers.iter().sum()
    }

    /// 12 + 34 is the same sum as 34 + 12.
    fn key(&self) -> String {
        let mut sorted = self.numbers.clone();
        sorted.sort_unstable();
        join(&sorted)
    }
}

fn join(numbers: &[u32]) -> String {
    let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
    texts.join(" + ")
}
