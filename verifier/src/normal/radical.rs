//! Powers of rational numbers with fractional exponents.

use dashu_ratio::RBig;
use smallvec::SmallVec;

use super::arithmetic::{multiply_terms, push_power};
use super::exponent::Exponent;
use super::form::{Atom, Factor, Form, Monomial, Term};
use super::numbers;
use super::primes::{self, Factors};
use crate::steps::{Steps, Stop};

/// The prime factors of a positive rational number, and the parts that could not be factored.
pub(crate) struct Factored {
    pub(crate) powers: SmallVec<[(Atom, i64); 4]>,
    /// Parts of which no factor is known; their logarithms and roots are opaque.
    pub(crate) rests: SmallVec<[(RBig, i64); 1]>,
}

/// Factors a positive rational number.
pub(crate) fn factor(value: &RBig, steps: &mut Steps) -> Result<Factored, Stop> {
    let mut factored = Factored {
        powers: SmallVec::new(),
        rests: SmallVec::new(),
    };
    debug_assert!(!value.is_zero() && !numbers::is_negative(value));
    let (numerator, denominator) = value.clone().into_parts();
    let (_, numerator) = numerator.into_parts();
    for (part, sign) in [(numerator, 1), (denominator, -1)] {
        if part.is_one() {
            continue;
        }
        let Factors { primes, rest } = primes::factor(&part, steps)?;
        for (prime, count) in primes {
            factored.powers.push((Atom::Prime(prime), sign * i64::from(count)));
        }
        if let Some((root, count)) = rest {
            let power = sign * i64::from(count);
            factored.rests.push((numbers::from_natural(root), power));
        }
    }
    // Numerator and denominator have no prime in common.
    factored.powers.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    Ok(factored)
}

/// A positive rational number to a fractional power.
pub(crate) fn power(base: &RBig, exponent: Exponent, steps: &mut Steps) -> Result<Term, Stop> {
    if base.is_one() {
        return Ok(Term::number(RBig::ONE));
    }
    let Factored { powers, rests } = factor(base, steps)?;
    let mut coefficient = RBig::ONE;
    let mut factors: SmallVec<[Factor; 2]> = SmallVec::new();
    for (prime, count) in powers {
        let power = exponent.times(Exponent::new(i128::from(count), 1)?)?;
        push_power(&prime, power, &mut factors, &mut coefficient, steps)?;
    }
    let monomial = Monomial { factors };
    let mut result = Term { monomial, coefficient };
    for (rest, count) in rests {
        let power = exponent.times(Exponent::new(i128::from(count), 1)?)?;
        let (whole, fraction) = power.split();
        if whole != 0 {
            let whole_power = numbers::power(&rest, whole, steps)?;
            result.coefficient = numbers::multiply(&result.coefficient, &whole_power, steps)?;
        }
        if !fraction.is_zero() {
            let opaque = Term::atom(Atom::base(Form::number(rest))?, fraction);
            result = multiply_terms(&result, &opaque, steps)?.term;
        }
    }
    Ok(result)
}
