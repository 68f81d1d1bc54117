//! The demo's problems: chains of digits with + and − modulo 10, such as `4+7-2=`.

use rand::{Rng, RngExt as _};

/// How many digits a chain has.
const DIGITS: std::ops::RangeInclusive<usize> = 3..=6;

const MODULUS: u32 = 10;

/// A chain of digits joined by + and −.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    digits: Vec<u32>,
    /// One less than digits; true is +.
    additions: Vec<bool>,
}

impl Chain {
    /// Draws a chain: every length is as likely, so that short and long thinking both occur.
    pub fn draw(random: &mut impl Rng) -> Self {
        let length = random.random_range(DIGITS);
        let digits = (0..length).map(|_| random.random_range(0..MODULUS)).collect();
        let additions = (1..length).map(|_| random.random()).collect();
        Self { digits, additions }
    }

    /// The problem as the model sees it.
    pub fn problem(&self) -> String {
        let mut text = self.digits[0].to_string();
        for (digit, is_addition) in self.digits[1..].iter().zip(&self.additions) {
            text.push_str(&format!("{}{digit}", sign(*is_addition)));
        }
        text + "="
    }

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

    /// What the whole chain gives.
    pub fn answer(&self) -> u32 {
        self.running_values().last().copied().unwrap_or_default()
    }

    /// One step per operation, each at random spelled out (`4+7=1;`) or concise (`1;`): the model is to find out that
    /// the concise ones are enough.
    pub fn think(&self, random: &mut impl Rng) -> String {
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
}

fn sign(is_addition: bool) -> char {
    if is_addition { '+' } else { '-' }
}
