//! Power series in fixed point and the two constants that arguments are reduced by. A fixed-point number is an integer
//! that stands for itself times `2^-bits`; every product and quotient is off by less than one unit.

use std::sync::OnceLock;

use dashu_base::BitTest;
use dashu_int::IBig;

use super::context::{Context, Trouble};
use super::radius::Radius;
use super::real::Ball;
use crate::steps::Stop;

/// Precisions at which the constants are kept: enough for every precision that a decision may ask for.
const LEVELS: [usize; 6] = [256, 512, 1280, 3584, 8192, 16_384];

/// A constant at each level, made on first use. It is not charged, since what a pair costs must not depend on what was
/// graded before; all levels together take a few milliseconds once.
struct Kept {
    levels: [OnceLock<IBig>; LEVELS.len()],
    make: fn(usize) -> IBig,
}

impl Kept {
    const fn new(make: fn(usize) -> IBig) -> Self {
        Self {
            levels: [const { OnceLock::new() }; LEVELS.len()],
            make,
        }
    }

    fn ball(&self, context: &Context<'_>) -> Result<Ball, Trouble> {
        let level = LEVELS
            .iter()
            .position(|&bits| bits >= context.precision)
            .ok_or(Stop::TooLarge)?;
        let bits = LEVELS[level];
        let value = self.levels[level].get_or_init(|| (self.make)(bits));
        let shift = bits.saturating_sub(context.precision + 4);
        let exponent = shift as i64 - bits as i64;
        // Two units of what is kept, and one of what is used if bits are dropped.
        let radius = Radius::power_of_two(exponent + 1);
        Ball::rounded(value >> shift, exponent, radius, context)
    }
}

static PI: Kept = Kept::new(|bits| {
    // Machin: π = 16 atan(1/5) - 4 atan(1/239).
    let guarded = bits + GUARD;
    let value =
        inverse_series(5, false, guarded) * IBig::from(16) - inverse_series(239, false, guarded) * IBig::from(4);
    value >> GUARD
});

static LN_2: Kept = Kept::new(|bits| {
    // ln 2 = 18 atanh(1/26) - 2 atanh(1/4801) + 8 atanh(1/8749).
    let guarded = bits + GUARD;
    let value = inverse_series(26, true, guarded) * IBig::from(18)
        - inverse_series(4801, true, guarded) * IBig::from(2)
        + inverse_series(8749, true, guarded) * IBig::from(8);
    value >> GUARD
});

/// Bits that swallow the errors of the constants' series: fewer than 4,000 terms, each off by two units, times 20.
const GUARD: usize = 20;

/// `atan(1/n)` or `atanh(1/n)`.
fn inverse_series(n: u32, hyperbolic: bool, bits: usize) -> IBig {
    let square = IBig::from(n) * IBig::from(n);
    let mut power = (IBig::ONE << bits) / IBig::from(n);
    let mut sum = power.clone();
    let mut odd = 3u32;
    let mut subtract = !hyperbolic;
    while !power.is_zero() {
        power /= &square;
        let term = &power / IBig::from(odd);
        if subtract {
            sum -= term;
        } else {
            sum += term;
        }
        subtract ^= !hyperbolic;
        odd += 2;
    }
    sum
}

/// π.
pub fn pi(context: &mut Context<'_>) -> Result<Ball, Trouble> {
    context.charge()?;
    PI.ball(context)
}

/// The natural logarithm of two.
pub(super) fn ln_2(context: &mut Context<'_>) -> Result<Ball, Trouble> {
    context.charge()?;
    LN_2.ball(context)
}

/// A sum of fixed-point terms as a ball. Each of the terms is off by at most four units, and what was left out after
/// the last term is below eight, since the ratio of terms is at most a half.
fn sum_of_terms(sum: IBig, terms: u64, bits: i64) -> Ball {
    Ball::exact(sum, -bits).widened(Radius::up(4 * terms + 8, -bits))
}

/// About how many terms of a series with this ratio of `2^-ratio_bits` are needed, for the charge.
fn expected_terms(bits: i64, ratio_bits: i64) -> u64 {
    (bits / ratio_bits.max(1)) as u64 + 2
}

/// The exponential of an exact number of magnitude at most a half.
pub(super) fn exponential_series(x: &Ball, bits: i64, context: &mut Context<'_>) -> Result<Ball, Trouble> {
    context.charge_many(expected_terms(bits, 2 - x.top().max(-bits)))?;
    let x = x.fixed(bits);
    let mut term = IBig::ONE << bits as usize;
    let mut sum = term.clone();
    let mut index = 0u32;
    // A shift rounds down, so that a negative term stops at minus one unit.
    while term.bit_len() > 1 {
        index += 1;
        term = ((term * &x) >> bits as usize) / IBig::from(index);
        sum += &term;
    }
    Ok(sum_of_terms(sum, u64::from(index) + 1, bits))
}

/// The sine of an exact number of magnitude at most a half.
pub(super) fn sine_series(x: &Ball, bits: i64, context: &mut Context<'_>) -> Result<Ball, Trouble> {
    context.charge_many(2 * expected_terms(bits, 2 - 2 * x.top().max(-bits)))?;
    let x = x.fixed(bits);
    let square: IBig = (&x * &x) >> bits as usize;
    let mut term = x.clone();
    let mut sum = x;
    let mut index = 1u64;
    while term.bit_len() > 1 {
        term = -(((term * &square) >> bits as usize) / IBig::from((index + 1) * (index + 2)));
        index += 2;
        sum += &term;
    }
    Ok(sum_of_terms(sum, index, bits))
}

/// The inverse tangent, or the inverse hyperbolic tangent, of an exact number of magnitude at most a half.
pub(super) fn inverse_tangent_series(
    x: &Ball,
    hyperbolic: bool,
    bits: i64,
    context: &mut Context<'_>,
) -> Result<Ball, Trouble> {
    context.charge_many(2 * expected_terms(bits, -2 * x.top().max(-bits)))?;
    let x = x.fixed(bits);
    let square: IBig = (&x * &x) >> bits as usize;
    let mut power = x.clone();
    let mut sum = x;
    let mut odd = 1u64;
    let mut subtract = !hyperbolic;
    while power.bit_len() > 1 {
        power = (power * &square) >> bits as usize;
        odd += 2;
        let term = &power / IBig::from(odd);
        if subtract {
            sum -= term;
        } else {
            sum += term;
        }
        subtract ^= !hyperbolic;
    }
    Ok(sum_of_terms(sum, odd, bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Steps;

    #[test]
    fn the_constants_agree_at_every_level() {
        let mut steps = Steps::default();
        for (constant, value) in [(&PI, std::f64::consts::PI), (&LN_2, std::f64::consts::LN_2)] {
            let best = constant.ball(&Context::new(8000, &mut steps)).expect("a level");
            for precision in [64, 256, 300, 1200, 3000] {
                let mut context = Context::new(precision, &mut steps);
                let ball = constant.ball(&context).expect("a level");
                assert!((ball.to_f64() - value).abs() < 1e-15);
                assert!(ball.radius().top() < 5 - precision as i64);
                context.precision = 9000;
                assert!(ball.minus(&best, &mut context).expect("exact").contains_zero());
            }
        }
    }
}
