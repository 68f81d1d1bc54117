//! Powers with any exponent.

use dashu_ratio::RBig;

use super::arithmetic::{self, multiply, multiply_terms};
use super::exponent::Exponent;
use super::form::{Atom, Content, Factor, Form, Monomial, Term};
use super::{inverse, numbers, product, radical, trigonometry};
use crate::steps::{Steps, Stop};

/// A base to an exponent.
pub(crate) fn power(base: &Form, exponent: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    if let Some(rational) = exponent.as_rational() {
        return rational_power(base, rational, steps);
    }
    if exponent.is_infinite() || base.is_infinite() {
        return Err(Stop::Undefined);
    }
    if base.is_zero() {
        return Err(Stop::Unsupported);
    }
    if base.is_one() {
        return Ok(Form::integer(1));
    }
    // b^(k + c·m) = b^k · (b^m)^c, whatever the base: all powers of it are those of one logarithm.
    let mut factors = Vec::with_capacity(exponent.terms.len());
    for term in &exponent.terms {
        factors.push(if term.monomial.is_one() {
            rational_power(base, &term.coefficient, steps)?
        } else {
            symbolic_power(base, term, steps)?
        });
    }
    product::product(factors, steps)
}

/// A base to a rational power.
pub(crate) fn rational_power(base: &Form, exponent: &RBig, steps: &mut Steps) -> Result<Form, Stop> {
    if exponent.is_int() {
        return match numbers::to_i64(exponent) {
            Some(integer) => product::power(base, integer, steps),
            None => huge_power(base, exponent),
        };
    }
    if base.is_infinite() {
        return Err(Stop::Undefined);
    }
    let exponent = Exponent::from_rational(exponent)?;
    match base.terms.as_slice() {
        [] if exponent.is_negative() => Err(Stop::Undefined),
        [] => Ok(Form::zero()),
        [term] => fractional_power_of_term(term, exponent, steps),
        _ => {
            let content = inverse::rational_content(base, steps)?;
            let primitive = inverse::divide_by_number(base, &content, steps)?;
            let outside = radical::power(&content, exponent, steps)?;
            let root = Term::atom(Atom::base(primitive)?, exponent);
            arithmetic::settle(multiply_terms(&outside, &root, steps)?, steps)
        }
    }
}

/// A power with an exponent of more than 63 bits.
fn huge_power(base: &Form, exponent: &RBig) -> Result<Form, Stop> {
    let is_even = exponent.numerator().trailing_zeros() != Some(0);
    match base.as_rational() {
        Some(zero) if zero.is_zero() && numbers::is_negative(exponent) => Err(Stop::Undefined),
        Some(zero) if zero.is_zero() => Ok(Form::zero()),
        Some(one) if one.is_one() => Ok(Form::integer(1)),
        Some(minus_one) if *minus_one == RBig::NEG_ONE => Ok(Form::integer(if is_even { 1 } else { -1 })),
        _ => Err(Stop::TooLarge),
    }
}

/// Splits off the factors that are positive whatever the symbols are. The power of the whole is the product of their
/// powers and the power of the rest.
fn split_positive(term: &Term) -> (Monomial, Monomial) {
    let (positive, rest) = term
        .monomial
        .factors
        .iter()
        .cloned()
        .partition(|factor| factor.atom.is_positive());
    (Monomial { factors: positive }, Monomial { factors: rest })
}

fn fractional_power_of_term(term: &Term, exponent: Exponent, steps: &mut Steps) -> Result<Form, Stop> {
    let negative = numbers::is_negative(&term.coefficient);
    let mut result = radical::power(&numbers::absolute(&term.coefficient), exponent, steps)?;
    let (positive, rest) = split_positive(term);
    for factor in positive.factors {
        let power = factor.exponent.times(exponent)?;
        let mut coefficient = RBig::ONE;
        let mut monomial = Monomial::default();
        arithmetic::push_power(&factor.atom, power, &mut monomial.factors, &mut coefficient, steps)?;
        result = multiply_terms(&result, &Term { monomial, coefficient }, steps)?.term;
    }
    let result = Form::from(result);
    match rest.factors.as_slice() {
        [] if !negative => Ok(result),
        [] if exponent.denominator() % 2 == 1 => {
            let odd = exponent.numerator() % 2 != 0;
            Ok(if odd { result.negated() } else { result })
        }
        [] => {
            let root = trigonometry::unit_root(&exponent.to_rational(), steps)?;
            multiply(&result, &root, steps)
        }
        [factor] if factor.atom == Atom::Imaginary => {
            let quarter = Exponent::new(if negative { -1 } else { 1 }, 2)?;
            let root = trigonometry::unit_root(&quarter.times(exponent)?.to_rational(), steps)?;
            multiply(&result, &root, steps)
        }
        [factor] if !negative && power_of_power_joins(factor, exponent)? => {
            let power = factor.exponent.times(exponent)?;
            multiply(&result, &Form::from(Term::atom(factor.atom.clone(), power)), steps)
        }
        _ => {
            let base = Atom::base(signed(rest, negative))?;
            multiply(&result, &Form::from(Term::atom(base, exponent)), steps)
        }
    }
}

/// Whether (a^s)^r is a^(s·r) whatever a is.
fn power_of_power_joins(factor: &Factor, exponent: Exponent) -> Result<bool, Stop> {
    let is_plain = matches!(factor.atom, Atom::Symbol(_)) || factor.atom.as_base().is_some();
    if !is_plain {
        return Ok(false);
    }
    if factor.exponent.is_one() {
        return Ok(true);
    }
    // A root below 1 leaves less than half of the circle of angles, so that the second power does not leave it.
    let is_principal_root = factor.exponent.is_even_root() && matches!(factor.exponent.split().0, -1 | 0);
    Ok(is_principal_root && factor.exponent.times(exponent)?.is_even_root())
}

fn signed(monomial: Monomial, negative: bool) -> Form {
    let coefficient = if negative { RBig::NEG_ONE } else { RBig::ONE };
    Form::from(Term { monomial, coefficient })
}

/// A base to an exponent that is a single term, but not a rational number.
fn symbolic_power(base: &Form, exponent: &Term, steps: &mut Steps) -> Result<Form, Stop> {
    steps.spend(5)?;
    let Some(term) = base.single() else {
        let content = inverse::rational_content(base, steps)?;
        let primitive = inverse::divide_by_number(base, &content, steps)?;
        let outside = power_of_positive(&content, exponent, steps)?;
        let inside = exponential(Atom::base(primitive)?, Exponent::ONE, exponent, steps)?;
        return multiply(&outside, &inside, steps);
    };
    let negative = numbers::is_negative(&term.coefficient);
    let mut factors = vec![power_of_positive(
        &numbers::absolute(&term.coefficient),
        exponent,
        steps,
    )?];
    let (positive, rest) = split_positive(term);
    for factor in positive.factors {
        factors.push(exponential(factor.atom, factor.exponent, exponent, steps)?);
    }
    match rest.factors.as_slice() {
        [] if negative => factors.push(exponential(Atom::MinusOne, Exponent::ONE, exponent, steps)?),
        [] => {}
        [factor] if !negative && factor.exponent.is_one() => {
            factors.push(exponential(factor.atom.clone(), Exponent::ONE, exponent, steps)?);
        }
        _ => {
            let atom = Atom::base(signed(rest, negative))?;
            factors.push(exponential(atom, Exponent::ONE, exponent, steps)?);
        }
    }
    product::product(factors, steps)
}

/// A positive rational number to an exponent that is not one.
fn power_of_positive(base: &RBig, exponent: &Term, steps: &mut Steps) -> Result<Form, Stop> {
    if base.is_one() {
        return Ok(Form::integer(1));
    }
    let factored = radical::factor(base, steps)?;
    let mut result = Form::integer(1);
    for (prime, count) in factored.powers {
        let power = exponential(prime, Exponent::new(i128::from(count), 1)?, exponent, steps)?;
        result = multiply(&result, &power, steps)?;
    }
    for (rest, count) in factored.rests {
        let atom = Atom::base(Form::number(rest))?;
        let power = exponential(atom, Exponent::new(i128::from(count), 1)?, exponent, steps)?;
        result = multiply(&result, &power, steps)?;
    }
    Ok(result)
}

/// (atom^count)^exponent for an exponent that is not rational.
fn exponential(atom: Atom, count: Exponent, exponent: &Term, steps: &mut Steps) -> Result<Form, Stop> {
    let coefficient = Exponent::from_rational(&exponent.coefficient)?.times(count)?;
    // e^(ln p · m) = p^m, and so is every power of a prime whose exponent has its logarithm below the line.
    let logarithm = match atom {
        Atom::Prime(prime) => Term::atom(Atom::Logarithm(prime), Exponent::ONE),
        _ => Term::number(RBig::ONE),
    };
    let monomial = exponent.monomial.clone();
    if matches!(atom, Atom::Euler | Atom::Prime(_)) {
        let whole = Term {
            monomial: monomial.clone(),
            coefficient: RBig::ONE,
        };
        let mut whole = multiply_terms(&whole, &logarithm, steps)?.term;
        let is_logarithm = |factor: &&Factor| matches!(factor.atom, Atom::Logarithm(_));
        let mut logarithms = whole.monomial.factors.iter().filter(is_logarithm);
        if let (Some(only), None) = (logarithms.next(), logarithms.next())
            && let (Atom::Logarithm(prime), true) = (&only.atom, only.exponent.is_one())
        {
            let prime = *prime;
            whole
                .monomial
                .factors
                .retain(|factor| !matches!(factor.atom, Atom::Logarithm(_)));
            if whole.monomial.is_one() {
                return radical::power(&RBig::from(prime), coefficient, steps).map(Form::from);
            }
            return raised(Atom::Prime(prime), whole.monomial, coefficient, steps);
        }
        if let (Atom::Euler, Some(half_turns)) = (&atom, half_turns(&monomial)) {
            let half_turns = numbers::multiply(&half_turns, &coefficient.to_rational(), steps)?;
            return trigonometry::unit_root(&half_turns, steps);
        }
    }
    raised(atom, monomial, coefficient, steps)
}

/// Returns one if the monomial is iπ.
fn half_turns(monomial: &Monomial) -> Option<RBig> {
    match monomial.factors.as_slice() {
        [first, second] => {
            let is_turn = first.atom == Atom::Imaginary && second.atom == Atom::Pi && second.exponent.is_one();
            is_turn.then_some(RBig::ONE)
        }
        _ => None,
    }
}

fn raised(atom: Atom, monomial: Monomial, coefficient: Exponent, steps: &mut Steps) -> Result<Form, Stop> {
    // The digest walks all of it, at every level of a tower.
    steps.spend(u64::from(atom.weight()) + u64::from(monomial.weight()))?;
    let atom = Content::Exponential(atom, monomial).into_atom()?;
    Ok(Form::from(Term::atom(atom, coefficient)))
}
