//! Roots of natural numbers, where they are natural.

use dashu_base::BitTest as _;
use dashu_int::UBig;

use crate::field::modulus::{Modulus, is_prime};
use crate::steps::{Steps, Stop};

/// Up to so many bits the root is drawn at once: the search for it costs less than the tests that may spare it.
const SMALL_BITS: usize = 192;

/// The root of a natural number, if it is natural; the degree is not zero.
///
/// For high degrees Newton's iteration starts far off and takes about as many rounds as the degree. So residues are
/// tried first: modulo a prime q that is 1 modulo the degree, only one number in so many is a power of that degree.
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
    // Square and cube roots, and what is left of the degree without them, are drawn one after the other.
    let rounds = if degree <= 8 { 4 } else { 4 + degree };
    steps.spend(40 + rounds * (4 + words * words))?;
    let degree = degree as usize;
    let root = value.nth_root(degree);
    Ok((root.pow(degree) == *value).then_some(root))
}

/// Whether nothing speaks against a number's being a power of this degree.
fn may_be_power(value: &UBig, degree: u64, steps: &mut Steps) -> Result<bool, Stop> {
    let words = value.bit_len() as u64 / 64 + 1;
    // So many tests that fewer than one in a million others passes.
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
        for degree in 2..600 {
            assert_eq!(exact_root(&large, degree, &mut Steps::new(10_000)), Ok(None));
        }
    }
}
