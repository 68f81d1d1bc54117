//! Factors the numbers under radicals and in logarithms.

use dashu_base::BitTest as _;
use dashu_int::UBig;
use smallvec::SmallVec;

use super::roots::exact_root;
use crate::modulus::is_prime;
use crate::steps::{Steps, Stop};

/// Trial division goes up to this number.
const TRIAL_BOUND: usize = 10_000;
/// How many primes are below [`TRIAL_BOUND`].
const TRIAL_COUNT: usize = 1229;
/// The primes below [`TRIAL_BOUND`].
static TRIAL_PRIMES: [u16; TRIAL_COUNT] = sieve();

const fn sieve() -> [u16; TRIAL_COUNT] {
    let mut composite = [false; TRIAL_BOUND];
    let mut primes = [0; TRIAL_COUNT];
    let mut found = 0;
    let mut candidate = 2;
    while candidate < TRIAL_BOUND {
        if !composite[candidate] {
            primes[found] = candidate as u16;
            found += 1;
            let mut multiple = candidate * candidate;
            while multiple < TRIAL_BOUND {
                composite[multiple] = true;
                multiple += candidate;
            }
        }
        candidate += 1;
    }
    primes
}

/// A positive integer as a product of powers of primes and, if it could not be factored, of one number that has no
/// prime factor below the trial bound and is no perfect power.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Factors {
    pub(crate) primes: SmallVec<[(u64, u32); 4]>,
    pub(crate) rest: Option<(UBig, u32)>,
}

/// Factors a positive integer.
pub(crate) fn factor(value: &UBig, steps: &mut Steps) -> Result<Factors, Stop> {
    let mut factors = Factors::default();
    let mut rest = value.clone();
    let mut next = 0;
    while u64::try_from(&rest).is_err() {
        let Some(&prime) = TRIAL_PRIMES.get(next) else {
            return factor_rest(rest, factors, steps);
        };
        next += 1;
        let words = rest.bit_len() as u64 / 64 + 1;
        steps.spend(1 + words / 2)?;
        if &rest % u64::from(prime) == 0 {
            // Squaring the divisor, this takes about one division of the number.
            steps.spend(8 + words * words)?;
            let count = rest.remove(&UBig::from(prime)).unwrap_or(0);
            factors.primes.push((u64::from(prime), count as u32));
        }
    }
    let Ok(mut small) = u64::try_from(&rest) else {
        return factor_rest(rest, factors, steps);
    };
    for &prime in &TRIAL_PRIMES[next..] {
        let prime = u64::from(prime);
        if prime * prime > small {
            break;
        }
        steps.spend(1)?;
        let mut count = 0;
        while small % prime == 0 {
            small /= prime;
            count += 1;
        }
        if count > 0 {
            factors.primes.push((prime, count));
        }
    }
    if small == 1 {
        return Ok(factors);
    }
    if small < (TRIAL_BOUND * TRIAL_BOUND) as u64 {
        factors.primes.push((small, 1));
        return Ok(factors);
    }
    factor_rest(UBig::from(small), factors, steps)
}

/// Finishes with a number without factors below the trial bound.
fn factor_rest(rest: UBig, mut factors: Factors, steps: &mut Steps) -> Result<Factors, Stop> {
    let (root, power) = perfect_power(rest, steps)?;
    // These steps pay for the test of primality.
    steps.spend(200)?;
    match u64::try_from(&root) {
        Ok(small) if is_prime(small) => factors.primes.push((small, power)),
        _ if root.is_one() => {}
        _ => factors.rest = Some((root, power)),
    }
    Ok(factors)
}

/// The number as a power with the largest exponent.
fn perfect_power(value: UBig, steps: &mut Steps) -> Result<(UBig, u32), Stop> {
    let mut root = value;
    let mut power = 1;
    for &prime in &TRIAL_PRIMES {
        // All factors are above the trial bound, so each costs more than 13 bits.
        if usize::from(prime) * 13 > root.bit_len() {
            break;
        }
        while let Some(smaller) = exact_root(&root, u64::from(prime), steps)? {
            root = smaller;
            power *= u32::from(prime);
            if root.is_one() {
                return Ok((root, power));
            }
        }
    }
    Ok((root, power))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factored(text: &str) -> Factors {
        factor(&text.parse().unwrap(), &mut Steps::default()).unwrap()
    }

    #[test]
    fn factors_numbers() {
        assert_eq!(factored("1"), Factors::default());
        assert_eq!(factored("360").primes.as_slice(), [(2, 3), (3, 2), (5, 1)]);
        assert_eq!(factored("1000000007").primes.as_slice(), [(1_000_000_007, 1)]);
        assert_eq!(factored("100140049").primes.as_slice(), [(10_007, 2)]);
        assert_eq!(
            factored("1000000000000000000000000000000").primes.as_slice(),
            [(2, 30), (5, 30)]
        );
        let product_of_large_primes = factored("1000000016000000063");
        assert!(product_of_large_primes.primes.is_empty());
        assert!(product_of_large_primes.rest.is_some());
    }
}
