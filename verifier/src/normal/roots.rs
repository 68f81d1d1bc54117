//! Roots of natural numbers, where they are natural.

use dashu_base::{BitTest as _, SquareRoot as _};
use dashu_int::UBig;

use crate::modulus::{Modulus, is_prime};
use crate::steps::{Steps, Stop};

/// Up to this many bits the root is computed at once, because that costs less than the tests that could make it
/// unnecessary.
const SMALL_BITS: usize = 192;

/// The root of a natural number, if it is natural; the degree is not zero.
///
/// Residues are tried first, as they cost less than a root: modulo a prime q that is 1 modulo the degree n, only one
/// number in n is an n-th power.
///
/// # Errors
/// [`Stop::OutOfSteps`].
pub(crate) fn exact_root(value: &UBig, degree: u64, steps: &mut Steps) -> Result<Option<UBig>, Stop> {
    let bits = value.bit_len();
    if bits <= 1 || degree == 1 {
        return Ok(Some(value.clone()));
    }
    if degree >= bits as u64 {
        return Ok(None);
    }
    if bits > SMALL_BITS && degree > 2 && !may_be_power(value, degree, steps)? {
        return Ok(None);
    }
    let words = bits as u64 / 64 + 1;
    steps.spend(40 + 4 * (4 + words * words))?;
    let degree = degree as usize;
    let root = whole_root(value, degree);
    Ok((root.pow(degree) == *value).then_some(root))
}

/// The largest number whose power is not above the value. From a bare power of two Newton's iteration takes as many
/// rounds as the degree; from the root of the upper half of the digits it takes a few.
fn whole_root(value: &UBig, degree: usize) -> UBig {
    if degree == 2 {
        return value.sqrt();
    }
    let root_bits = value.bit_len() / degree + 1;
    if root_bits <= 4 {
        let is_below = |root: &u8| UBig::from(*root).pow(degree) <= *value;
        return UBig::from((1..1 << root_bits).take_while(is_below).last().unwrap_or(0));
    }
    let half = root_bits / 2;
    let mut root = (whole_root(&(value >> (half * degree)), degree) + UBig::ONE) << half;
    // Started above the root, Newton's iteration falls until it reaches it.
    loop {
        let next = (&root * UBig::from(degree - 1) + value / root.pow(degree - 1)) / UBig::from(degree);
        if next >= root {
            return root;
        }
        root = next;
    }
}

/// Whether a number passes all tests that a power of this degree passes.
fn may_be_power(value: &UBig, degree: u64, steps: &mut Steps) -> Result<bool, Stop> {
    let words = value.bit_len() as u64 / 64 + 1;
    // Enough tests that fewer than one in a million other numbers passes all of them.
    let mut tests = 20 / degree.ilog2() + 1;
    let mut quotient = 0;
    while tests > 0 {
        quotient += 1;
        let prime = quotient * degree + 1;
        steps.spend(2)?;
        if prime < 64 || !is_prime(prime) {
            continue;
        }
        tests -= 1;
        steps.spend(60 + words)?;
        let modulus = Modulus::new(prime);
        let residue = modulus.reduce(value);
        if !residue.is_zero() && modulus.power(residue, quotient) != modulus.one() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_rounded_down() {
        for degree in [2, 3, 5, 7, 11, 13, 97, 211] {
            for root in [1_u64, 2, 3, 10, 255, 256, 257, 65_535, 1_000_003, u64::MAX] {
                let power = UBig::from(root).pow(degree);
                assert_eq!(whole_root(&power, degree), UBig::from(root));
                assert_eq!(whole_root(&(&power + UBig::ONE), degree), UBig::from(root));
                assert_eq!(whole_root(&(&power - UBig::ONE), degree), UBig::from(root - 1));
            }
        }
    }

    #[test]
    fn draws_exact_roots_only() {
        for base in [2u64, 3, 10, 10_007, u64::MAX] {
            for degree in [2u64, 3, 4, 5, 6, 7, 11, 12, 30, 51, 97] {
                let power = UBig::from(base).pow(degree as usize);
                let steps = &mut Steps::new(u64::MAX);
                assert_eq!(
                    exact_root(&power, degree, steps),
                    Ok(Some(UBig::from(base))),
                    "{base}^{degree}"
                );
                assert_eq!(exact_root(&(power + 1u8), degree, steps), Ok(None), "{base}^{degree}+1");
            }
        }
        let large: UBig = UBig::from(10u8).pow(4000) + 7u8;
        for degree in 3..600 {
            assert_eq!(exact_root(&large, degree, &mut Steps::new(10_000)), Ok(None));
        }
    }
}
