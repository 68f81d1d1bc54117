//! Exact arithmetic on rational numbers. Every operation is charged, and the bits of its result are bounded.

use std::cmp::Ordering;

use dashu_base::{BitTest as _, Inverse as _, Sign};
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use crate::steps::{MAX_BITS, Steps, Stop};

/// Bits below which a number lives in two machine words and an operation costs next to nothing.
const SMALL_BITS: usize = 120;

/// The size of a number: the bits of its numerator or denominator, whichever has more.
pub(crate) fn bits(value: &RBig) -> usize {
    value.numerator().bit_len().max(value.denominator().bit_len())
}

/// Refuses a number beyond the limit.
pub(crate) fn bounded(value: RBig) -> Result<RBig, Stop> {
    if bits(&value) > MAX_BITS {
        return Err(Stop::TooLarge);
    }
    Ok(value)
}

/// The sum of two numbers.
pub(crate) fn add(left: &RBig, right: &RBig, steps: &mut Steps) -> Result<RBig, Stop> {
    if left.is_int() && right.is_int() {
        steps.spend(5 + (bits(left) + bits(right)) as u64 / 64)?;
        return bounded(RBig::from(left.numerator() + right.numerator()));
    }
    charge(left, right, steps)?;
    bounded(left + right)
}

/// The product of two numbers.
pub(crate) fn multiply(left: &RBig, right: &RBig, steps: &mut Steps) -> Result<RBig, Stop> {
    if left.is_one() {
        return Ok(right.clone());
    }
    if right.is_one() {
        return Ok(left.clone());
    }
    charge(left, right, steps)?;
    if left.is_int() && right.is_int() {
        return bounded(RBig::from(left.numerator() * right.numerator()));
    }
    bounded(left * right)
}

/// One over a number.
pub(crate) fn inverse(value: &RBig) -> Result<RBig, Stop> {
    if value.is_zero() {
        return Err(Stop::Undefined);
    }
    Ok(value.clone().inv())
}

/// A number to an integer power. The size of the result is known before it is computed.
pub(crate) fn power(base: &RBig, exponent: i64, steps: &mut Steps) -> Result<RBig, Stop> {
    if base.is_zero() {
        return match exponent.cmp(&0) {
            Ordering::Greater => Ok(RBig::ZERO),
            _ => Err(Stop::Undefined),
        };
    }
    match exponent {
        0 => return Ok(RBig::ONE),
        1 => return Ok(base.clone()),
        -1 => return inverse(base),
        _ => {}
    }
    let base_bits = bits(base);
    if base_bits == 1 {
        let negative = base.sign() == Sign::Negative && exponent % 2 != 0;
        return Ok(if negative { RBig::NEG_ONE } else { RBig::ONE });
    }
    // A number of b bits is at least 2^(b - 1).
    let result_bits = (base_bits as u64 - 1).saturating_mul(exponent.unsigned_abs());
    if result_bits > MAX_BITS as u64 {
        return Err(Stop::TooLarge);
    }
    let result_bits = result_bits as usize;
    steps.spend_on_bits(result_bits, result_bits)?;
    // The bound on the bits bounds the exponent as well.
    let exponent = isize::try_from(exponent).map_err(|_| Stop::TooLarge)?;
    bounded(base.pow(exponent))
}

/// The number as a machine integer, if it is one.
pub(crate) fn to_i64(value: &RBig) -> Option<i64> {
    if !value.is_int() {
        return None;
    }
    i64::try_from(value.numerator()).ok()
}

/// The number as an integer, if it is one.
pub(crate) fn to_integer(value: &RBig) -> Option<&IBig> {
    value.is_int().then(|| value.numerator())
}

/// Whether the number is below zero.
pub(crate) fn is_negative(value: &RBig) -> bool {
    value.sign() == Sign::Negative
}

/// The number without its sign.
pub(crate) fn absolute(value: &RBig) -> RBig {
    if is_negative(value) {
        -value.clone()
    } else {
        value.clone()
    }
}

/// An integer as a rational.
pub(crate) fn from_natural(value: UBig) -> RBig {
    RBig::from(IBig::from(value))
}

/// A fraction of machine integers; the denominator is not zero.
pub(crate) fn ratio(numerator: i64, denominator: u64) -> RBig {
    debug_assert!(denominator != 0);
    RBig::from_parts(IBig::from(numerator), UBig::from(denominator))
}

fn charge(left: &RBig, right: &RBig, steps: &mut Steps) -> Result<(), Stop> {
    let (left_bits, right_bits) = (bits(left), bits(right));
    steps.spend(5)?;
    if left_bits <= SMALL_BITS && right_bits <= SMALL_BITS {
        return Ok(());
    }
    // With fractions an operation takes up to two greatest common divisors and two products.
    for _ in 0..if left.is_int() && right.is_int() { 1 } else { 4 } {
        steps.spend_on_bits(left_bits, right_bits)?;
    }
    Ok(())
}
