//! The first task: chains of digits with + and − modulo 10, such as `4+7-2=`. The concise way takes the same steps as
//! the long one and only spells them shorter.

use rand::{Rng, RngExt as _};

use super::problem::{Problem, Reasoned};

/// How many digits a chain has.
const DIGITS: std::ops::RangeInclusive<usize> = 3..=6;

const MODULUS: u32 = 10;

/// A chain of digits joined by + and −.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    digits: Vec<u32>,
    /// The signs between the digits; true is +.
    additions: Vec<bool>,
}

impl Chain {
    /// The running value before the first step, after the first, …, after the last.
    pub fn running_values(&self) -> Vec<u32> {
        let mut values = vec![self.digits[0]];
        let mut value = self.digits[0];
        for (digit, is_addition) in self.digits[1..].iter().zip(&self.additions) {
            value = if *is_addition {
                value + digit
            } else {
                value + MODULUS - digit
            } % MODULUS;
            values.push(value);
        }
        values
    }
}

impl Problem for Chain {
    /// Every length is equally likely, so that short and long thinking both occur.
    fn draw(random: &mut impl Rng) -> Self {
        let length = random.random_range(DIGITS);
        let digits = (0..length).map(|_| random.random_range(0..MODULUS)).collect();
        let additions = (1..length).map(|_| random.random()).collect();
        Self { digits, additions }
    }

    fn problem(&self) -> String {
        let mut text = self.digits[0].to_string();
        for (digit, is_addition) in self.digits[1..].iter().zip(&self.additions) {
            text.push_str(&format!("{}{digit}", sign(*is_addition)));
        }
        text + "="
    }

    fn answer(&self) -> u32 {
        self.running_values().last().copied().unwrap_or_default()
    }
}

impl Reasoned for Chain {
    /// One step per operation, at random either spelled out (`4+7=1;`) or concise (`1;`). Training with budgets should
    /// make the model find out that the concise steps are enough.
    fn think(&self, random: &mut impl Rng) -> String {
        let values = self.running_values();
        let mut thinking = String::new();
        for (index, (digit, is_addition)) in self.digits[1..].iter().zip(&self.additions).enumerate() {
            if random.random() {
                thinking.push_str(&format!("{}{}{digit}=", values[index], sign(*is_addition)));
            }
            thinking.push_str(&format!("{};", values[index + 1]));
        }
        thinking
    }

    /// The value after the last complete step, or the first digit before any.
    fn guess(&self, thinking: &str) -> u32 {
        self.running_values()[thinking.matches(';').count()]
    }
}

fn sign(is_addition: bool) -> char {
    if is_addition { '+' } else { '-' }
}
