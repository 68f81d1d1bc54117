//! Functions of integers and rational numbers. The size of every result is estimated before it is computed.

use dashu_base::{BitTest as _, Gcd as _};
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::numbers;
use crate::steps::{MAX_BITS, Steps, Stop};

/// n! for an integer; `None` for any other number.
pub(crate) fn factorial(value: &RBig, steps: &mut Steps) -> Result<Option<RBig>, Stop> {
    let Some(integer) = numbers::to_integer(value) else {
        return Ok(None);
    };
    if numbers::is_negative(value) {
        return Err(Stop::Undefined);
    }
    let count = u64::try_from(integer).map_err(|_| Stop::TooLarge)?;
    // n! > (n/3)^n.
    if count.saturating_mul(u64::from((count / 3).max(1).ilog2())) > MAX_BITS as u64 {
        return Err(Stop::TooLarge);
    }
    product(1..=count, steps).map(|product| Some(numbers::from_natural(product)))
}

/// n!! for an integer from -1 on; `None` for any other number.
pub(crate) fn double_factorial(value: &RBig, steps: &mut Steps) -> Result<Option<RBig>, Stop> {
    let Some(integer) = numbers::to_integer(value) else {
        return Ok(None);
    };
    if *integer == IBig::NEG_ONE {
        return Ok(Some(RBig::ONE));
    }
    if numbers::is_negative(value) {
        return Err(Stop::Undefined);
    }
    let count = u64::try_from(integer).map_err(|_| Stop::TooLarge)?;
    // n!! > (n/3)^(n/2).
    if (count / 2).saturating_mul(u64::from((count / 3).max(1).ilog2())) > MAX_BITS as u64 {
        return Err(Stop::TooLarge);
    }
    let factors = (1..=count).rev().step_by(2);
    product(factors, steps).map(|product| Some(numbers::from_natural(product)))
}

/// The rest on division, x − m⌊x/m⌋.
pub(crate) fn modulo(value: &RBig, modulus: &RBig, steps: &mut Steps) -> Result<RBig, Stop> {
    if modulus.is_zero() {
        return Err(Stop::Undefined);
    }
    let bits = numbers::bits(value).max(numbers::bits(modulus));
    for _ in 0..4 {
        steps.spend_on_bits(bits, bits)?;
    }
    let quotient = (value / modulus).floor();
    Ok(value - modulus * RBig::from(quotient))
}

/// The product of numbers below 2^32.
fn product(factors: impl Iterator<Item = u64>, steps: &mut Steps) -> Result<UBig, Stop> {
    let mut result = UBig::ONE;
    let mut chunk: u64 = 1;
    for factor in factors {
        match chunk.checked_mul(factor) {
            Some(larger) => chunk = larger,
            None => {
                steps.spend_on_bits(result.bit_len(), 64)?;
                result *= chunk;
                chunk = factor;
                if result.bit_len() > MAX_BITS {
                    return Err(Stop::TooLarge);
                }
            }
        }
    }
    steps.spend_on_bits(result.bit_len(), 64)?;
    result *= chunk;
    if result.bit_len() > MAX_BITS {
        return Err(Stop::TooLarge);
    }
    Ok(result)
}

/// n over k for integers; `None` for any other numbers.
pub(crate) fn binomial(above: &RBig, below: &RBig, steps: &mut Steps) -> Result<Option<RBig>, Stop> {
    let (Some(above), Some(below)) = (numbers::to_integer(above), numbers::to_integer(below)) else {
        return Ok(None);
    };
    if *below < IBig::ZERO {
        return Ok(Some(RBig::ZERO));
    }
    if *above < IBig::ZERO {
        // (-1)^k times k - n - 1 over k.
        let mirrored = RBig::from(below - above - IBig::ONE);
        let value = binomial(&mirrored, &RBig::from(below.clone()), steps)?;
        let odd = below.trailing_zeros() == Some(0);
        return Ok(value.map(|value| if odd { -value } else { value }));
    }
    if below > above {
        return Ok(Some(RBig::ZERO));
    }
    let fewer = below.min(&(above - below)).clone();
    let count = u64::try_from(&fewer).map_err(|_| Stop::TooLarge)?;
    let above_bits = above.bit_len() as u64;
    // With k at most n/2 the result is at least (n/k)^k, and at least 2^k.
    let quotient_bits = above_bits
        .saturating_sub(fewer.bit_len() as u64)
        .saturating_sub(1)
        .max(1);
    if count > 0 && count.saturating_mul(quotient_bits) > MAX_BITS as u64 {
        return Err(Stop::TooLarge);
    }
    let mut result = IBig::ONE;
    let mut factor = above - &fewer;
    for index in 1..=count {
        steps.spend_on_bits(result.bit_len(), factor.bit_len() + 64)?;
        factor += IBig::ONE;
        // Each of the quotients is a binomial coefficient.
        result = result * &factor / index;
        if result.bit_len() > MAX_BITS {
            return Err(Stop::TooLarge);
        }
    }
    Ok(Some(RBig::from(result)))
}

/// The greatest common divisor of integers; `None` if any is not one.
pub(crate) fn greatest_common_divisor(values: &[&RBig], steps: &mut Steps) -> Result<Option<RBig>, Stop> {
    let mut divisor = UBig::ZERO;
    for value in values {
        let Some(integer) = numbers::to_integer(value) else {
            return Ok(None);
        };
        divisor = common_divisor(divisor, integer.clone().into_parts().1, steps)?;
    }
    Ok(Some(numbers::from_natural(divisor)))
}

/// The least common multiple of integers; `None` if any is not one.
pub(crate) fn least_common_multiple(values: &[&RBig], steps: &mut Steps) -> Result<Option<RBig>, Stop> {
    let mut multiple = UBig::ONE;
    for value in values {
        let Some(integer) = numbers::to_integer(value) else {
            return Ok(None);
        };
        let next = integer.clone().into_parts().1;
        if next == UBig::ZERO {
            return Ok(Some(RBig::ZERO));
        }
        let divisor = common_divisor(multiple.clone(), next.clone(), steps)?;
        multiple = multiple / divisor * next;
        if multiple.bit_len() > MAX_BITS {
            return Err(Stop::TooLarge);
        }
    }
    Ok(Some(numbers::from_natural(multiple)))
}

/// The greatest common divisor, which is zero for two zeros; the library has no value for these.
fn common_divisor(left: UBig, right: UBig, steps: &mut Steps) -> Result<UBig, Stop> {
    steps.spend_on_bits(left.bit_len(), right.bit_len())?;
    if left == UBig::ZERO {
        return Ok(right);
    }
    if right == UBig::ZERO {
        return Ok(left);
    }
    Ok(left.gcd(right))
}
