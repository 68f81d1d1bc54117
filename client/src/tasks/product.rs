//! The second task: sums of products modulo 10, such as `3*7+4*8=`. Here the concise way is another approach: the long
//! one adds the second factor as often as the first says, one token for each running value (`741;9753;`), the concise
//! one knows the times table and writes product and sum (`=1;=23;`). What one way has learned is of little use to the
//! other.

use rand::{Rng, RngExt as _};

use super::problem::{Problem, Reasoned};

/// How many products are added.
const TERMS: std::ops::RangeInclusive<usize> = 2..=3;

/// 0 and 1 would make the long way short.
const FACTORS: std::ops::RangeInclusive<u32> = 2..=9;

const MODULUS: u32 = 10;

/// The share of thoughts that the warm start shows in the concise way. It is small, so that training with budgets has
/// to find out that this is the better way.
const CONCISE_SHARE: f64 = 0.15;

/// Opens a concise term; the long way never writes it.
const CONCISE_SIGN: char = '=';

/// A sum of products.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductSum {
    /// For every product: how often the second factor is added, and that factor.
    terms: Vec<(u32, u32)>,
}

impl ProductSum {
    /// Repeated addition: every running value is a token, and `;` ends a term.
    pub fn long_way(&self) -> String {
        let mut thinking = String::new();
        let mut value = 0;
        for (times, addend) in &self.terms {
            for _ in 0..*times {
                value = (value + addend) % MODULUS;
                thinking.push_str(&value.to_string());
            }
            thinking.push(';');
        }
        thinking
    }

    /// The times table: every term is `=`, its product, the sum so far from the second term on, and `;`.
    pub fn concise_way(&self) -> String {
        let mut thinking = String::new();
        let mut value = 0;
        for (index, (times, addend)) in self.terms.iter().enumerate() {
            let product = times * addend % MODULUS;
            value = (value + product) % MODULUS;
            thinking.push_str(&format!("{CONCISE_SIGN}{product}"));
            if index > 0 {
                thinking.push_str(&value.to_string());
            }
            thinking.push(';');
        }
        thinking
    }
}

impl Problem for ProductSum {
    /// Every number of terms is equally likely.
    fn draw(random: &mut impl Rng) -> Self {
        let count = random.random_range(TERMS);
        let mut terms = Vec::with_capacity(count);
        for _ in 0..count {
            let times = random.random_range(FACTORS);
            terms.push((times, random.random_range(FACTORS)));
        }
        Self { terms }
    }

    fn problem(&self) -> String {
        let terms: Vec<String> = self
            .terms
            .iter()
            .map(|(times, addend)| format!("{times}*{addend}"))
            .collect();
        terms.join("+") + "="
    }

    fn answer(&self) -> u32 {
        self.terms.iter().map(|(times, addend)| times * addend).sum::<u32>() % MODULUS
    }
}

impl Reasoned for ProductSum {
    /// The whole thinking goes one way: mostly the long one.
    fn think(&self, random: &mut impl Rng) -> String {
        if random.random_bool(CONCISE_SHARE) {
            self.concise_way()
        } else {
            self.long_way()
        }
    }

    /// The last running value. A product that has not been added yet is no running value, unless it is the first one.
    /// Before any value the guess is what the long way would write first.
    fn guess(&self, thinking: &str) -> u32 {
        let mut value = self.terms[0].1;
        for (index, term) in thinking.split(';').enumerate() {
            let digits = match term.strip_prefix(CONCISE_SIGN) {
                Some(digits) if index > 0 => digits.get(1..).unwrap_or_default(),
                Some(digits) => digits,
                None => term,
            };
            value = digits
                .chars()
                .last()
                .and_then(|last| last.to_digit(10))
                .unwrap_or(value);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_end_in_the_answer_and_a_guess_is_the_last_running_value() {
        let sum = ProductSum {
            terms: vec![(3, 7), (4, 8)],
        };
        assert_eq!((sum.problem().as_str(), sum.answer()), ("3*7+4*8=", 3));
        assert_eq!(sum.long_way(), "741;9753;");
        assert_eq!(sum.concise_way(), "=1;=23;");
        let long: Vec<u32> = (1..=9).map(|length| sum.guess(&"741;9753;"[..length])).collect();
        assert_eq!(long, [7, 4, 1, 1, 9, 7, 5, 3, 3]);
        let concise: Vec<u32> = (1..=7).map(|length| sum.guess(&"=1;=23;"[..length])).collect();
        assert_eq!(concise, [7, 1, 1, 1, 1, 3, 3]);
    }
}
