//! Sums and products of two forms.

use smallvec::SmallVec;

use super::exponent::Exponent;
use super::form::{Atom, Factor, Form, Monomial, Term};
use super::numbers;
use crate::steps::{Steps, Stop};

/// Most terms that an expansion may have.
pub(crate) const MAX_EXPANDED_TERMS: usize = 500;
/// Most pairs of terms that one multiplication may take.
const MAX_PAIRS: usize = 4096;
/// Largest exponent of a sum that is expanded.
const MAX_EXPANDED_EXPONENT: i64 = 1000;
/// Steps for the product of two terms, beside their numbers and factors.
const STEPS_PER_PAIR: u64 = 8;

/// The form of terms in any order, with any number of them alike.
pub(crate) fn collect(mut terms: Vec<Term>, steps: &mut Steps) -> Result<Form, Stop> {
    let sort_steps = terms.len().ilog2_or_zero() as u64 * 2 + 2;
    steps.spend(sort_steps * terms.len() as u64)?;
    terms.sort_unstable_by(|left, right| left.monomial.cmp(&right.monomial));
    let mut failure = None;
    terms.dedup_by(|later, earlier| {
        if failure.is_some() || later.monomial != earlier.monomial {
            return false;
        }
        match numbers::add(&earlier.coefficient, &later.coefficient, steps) {
            Ok(sum) => earlier.coefficient = sum,
            Err(stop) => failure = Some(stop),
        }
        true
    });
    if let Some(stop) = failure {
        return Err(stop);
    }
    terms.retain(|term| !term.coefficient.is_zero());
    Ok(form_of_sorted(terms))
}

/// Few terms are kept where the form is, not behind a pointer.
fn form_of_sorted(terms: Vec<Term>) -> Form {
    let terms = if terms.len() <= 1 {
        terms.into_iter().collect()
    } else {
        SmallVec::from_vec(terms)
    };
    Form { terms }
}

/// Base-2 logarithm that takes zero.
trait LogOrZero {
    fn ilog2_or_zero(self) -> u32;
}

impl LogOrZero for usize {
    fn ilog2_or_zero(self) -> u32 {
        self.checked_ilog2().unwrap_or(0)
    }
}

/// The sum of two forms, neither of them infinite.
pub(crate) fn add(left: Form, right: Form, steps: &mut Steps) -> Result<Form, Stop> {
    if left.is_infinite() || right.is_infinite() {
        return Err(Stop::Undefined);
    }
    if left.is_zero() {
        return Ok(right);
    }
    if right.is_zero() {
        return Ok(left);
    }
    let mut terms = left.terms.into_vec();
    terms.extend(right.terms);
    collect(terms, steps)
}

/// The difference of two forms.
pub(crate) fn subtract(left: Form, right: Form, steps: &mut Steps) -> Result<Form, Stop> {
    add(left, right.negated(), steps)
}

/// A product of terms; `loose` if it holds a base to a positive integer, which may be expanded.
pub(crate) struct TermProduct {
    pub(crate) term: Term,
    pub(crate) loose: bool,
}

/// The product of two terms.
pub(crate) fn multiply_terms(left: &Term, right: &Term, steps: &mut Steps) -> Result<TermProduct, Stop> {
    let (left_factors, right_factors) = (&left.monomial.factors, &right.monomial.factors);
    steps.spend(STEPS_PER_PAIR + 3 * (left_factors.len() + right_factors.len()) as u64)?;
    let mut coefficient = numbers::multiply(&left.coefficient, &right.coefficient, steps)?;
    if left_factors.is_empty() || right_factors.is_empty() {
        let monomial = match left_factors.is_empty() {
            true => right.monomial.clone(),
            false => left.monomial.clone(),
        };
        let term = Term { monomial, coefficient };
        return Ok(TermProduct { term, loose: false });
    }
    let mut factors: SmallVec<[Factor; 2]> = SmallVec::new();
    let mut loose = false;
    let (mut next_left, mut next_right) = (0, 0);
    while let (Some(from_left), Some(from_right)) = (left_factors.get(next_left), right_factors.get(next_right)) {
        match from_left.atom.cmp(&from_right.atom) {
            std::cmp::Ordering::Less => {
                factors.push(from_left.clone());
                next_left += 1;
            }
            std::cmp::Ordering::Greater => {
                factors.push(from_right.clone());
                next_right += 1;
            }
            std::cmp::Ordering::Equal => {
                let exponent = from_left.exponent.add(from_right.exponent)?;
                let is_base = from_left.atom.as_base().is_some();
                if is_base && !from_left.exponent.joins(from_right.exponent, exponent) {
                    return Err(Stop::Unsupported);
                }
                loose |= is_base && exponent.is_integer() && !exponent.is_negative() && !exponent.is_zero();
                push_power(&from_left.atom, exponent, &mut factors, &mut coefficient, steps)?;
                next_left += 1;
                next_right += 1;
            }
        }
    }
    factors.extend(left_factors[next_left..].iter().cloned());
    factors.extend(right_factors[next_right..].iter().cloned());
    let monomial = Monomial { factors };
    let term = Term { monomial, coefficient };
    Ok(TermProduct { term, loose })
}

/// Appends a power of an atom; what of it is rational goes into the coefficient.
pub(crate) fn push_power(
    atom: &Atom,
    exponent: Exponent,
    factors: &mut SmallVec<[Factor; 2]>,
    coefficient: &mut dashu_ratio::RBig,
    steps: &mut Steps,
) -> Result<(), Stop> {
    let exponent = match atom {
        Atom::Prime(prime) => {
            let (whole, rest) = exponent.split();
            if whole != 0 {
                let power = numbers::power(&dashu_ratio::RBig::from(*prime), whole, steps)?;
                *coefficient = numbers::multiply(coefficient, &power, steps)?;
            }
            rest
        }
        Atom::Imaginary => {
            // Its exponents are integers: any other power of it is written with sine and cosine.
            let power = exponent.numerator().rem_euclid(4);
            if power >= 2 {
                *coefficient = -std::mem::take(coefficient);
            }
            Exponent::integer((power % 2) as i32)
        }
        _ => exponent,
    };
    if !exponent.is_zero() {
        let atom = atom.clone();
        factors.push(Factor { atom, exponent });
    }
    Ok(())
}

/// The product of two forms. [`Stop::TooLarge`] if it has too many terms.
pub(crate) fn multiply(left: &Form, right: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    if left.is_infinite() || right.is_infinite() {
        return multiply_infinite(left, right);
    }
    if let (Some(left_term), Some(right_term)) = (left.single(), right.single()) {
        let product = multiply_terms(left_term, right_term, steps)?;
        return settle(product, steps);
    }
    let pairs = left.terms.len().saturating_mul(right.terms.len());
    if pairs > MAX_PAIRS && left.terms.len().min(right.terms.len()) > 1 {
        return Err(Stop::TooLarge);
    }
    let mut terms = Vec::with_capacity(pairs);
    for left_term in &left.terms {
        for right_term in &right.terms {
            let product = multiply_terms(left_term, right_term, steps)?;
            if product.loose {
                terms.extend(settle(product, steps)?.terms);
            } else {
                terms.push(product.term);
            }
            if terms.len() > 2 * MAX_PAIRS {
                return Err(Stop::TooLarge);
            }
        }
    }
    collect(terms, steps)
}

/// The product where a factor is infinite. Only the sign of ∞ may change; all other arithmetic with it is undefined.
fn multiply_infinite(left: &Form, right: &Form) -> Result<Form, Stop> {
    let (infinity, factor) = if left.is_infinite() {
        (left, right)
    } else {
        (right, left)
    };
    match factor.as_rational() {
        Some(one) if one.is_one() => Ok(infinity.clone()),
        Some(number) if *number == dashu_ratio::RBig::NEG_ONE => Ok(infinity.clone().negated()),
        _ => Err(Stop::Undefined),
    }
}

/// Expands the bases to positive integers in a product, if that stays small.
pub(crate) fn settle(product: TermProduct, steps: &mut Steps) -> Result<Form, Stop> {
    let TermProduct { term, loose } = product;
    if !loose {
        return Ok(Form::from(term));
    }
    let mut kept = term.clone();
    kept.monomial.factors.clear();
    let mut expanded = Vec::new();
    for factor in &term.monomial.factors {
        match (factor.atom.as_base(), factor.exponent.to_integer()) {
            (Some(base), Some(power @ 1..)) if expansion_is_small(base, power) => {
                match power_by_multiplying(base, power, steps) {
                    Ok(form) => expanded.push(form),
                    Err(Stop::TooLarge) => kept.monomial.factors.push(factor.clone()),
                    Err(stop) => return Err(stop),
                }
            }
            _ => kept.monomial.factors.push(factor.clone()),
        }
    }
    let mut result = Form::from(kept);
    for form in expanded {
        result = multiply(&result, &form, steps)?;
    }
    Ok(result)
}

/// Whether a power of a sum has few enough terms: as many as there are ways to choose its factors, unless its terms are
/// algebraic numbers, whose products fall together.
pub(crate) fn expansion_is_small(base: &Form, exponent: i64) -> bool {
    if exponent > MAX_EXPANDED_EXPONENT {
        return false;
    }
    if base.is_algebraic() {
        return true;
    }
    let mut ways: u128 = 1;
    for extra in 1..base.terms.len() as u128 {
        ways = ways.saturating_mul(exponent as u128 + extra) / extra;
        if ways > MAX_EXPANDED_TERMS as u128 {
            return false;
        }
    }
    true
}

/// A form to a positive integer power, multiplied out.
pub(crate) fn power_by_multiplying(base: &Form, exponent: i64, steps: &mut Steps) -> Result<Form, Stop> {
    let mut result = base.clone();
    // From the second highest bit of the exponent down.
    for bit in (0..exponent.ilog2()).rev() {
        result = multiply(&result, &result, steps)?;
        if exponent >> bit & 1 == 1 {
            result = multiply(&result, base, steps)?;
        }
        if result.terms.len() > MAX_EXPANDED_TERMS {
            return Err(Stop::TooLarge);
        }
    }
    Ok(result)
}
