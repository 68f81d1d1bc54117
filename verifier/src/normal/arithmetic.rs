//! Sums, products and integer powers of forms.

use smallvec::SmallVec;

use super::exponent::Exponent;
use super::form::{Atom, Factor, Form, Monomial, Term};
use super::{inverse, numbers};
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

/// Of arithmetic with ∞ only its sign is defined.
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

/// The product of many forms. A product of sums with too many terms is kept as a product.
pub(crate) fn product(factors: Vec<Form>, steps: &mut Steps) -> Result<Form, Stop> {
    let mut result = Form::integer(1);
    let mut sums: Vec<Form> = Vec::new();
    for factor in factors {
        if factor.terms.len() > 1 {
            sums.push(factor);
        } else if result.is_one() {
            result = factor;
        } else if factor.is_zero() || result.is_zero() {
            if factor.is_infinite() || result.is_infinite() {
                return Err(Stop::Undefined);
            }
            result = Form::zero();
        } else {
            result = multiply(&result, &factor, steps)?;
            if result.terms.len() > 1 {
                sums.push(std::mem::replace(&mut result, Form::integer(1)));
            }
        }
    }
    if sums.is_empty() {
        return Ok(result);
    }
    if result.is_infinite() {
        return Err(Stop::Undefined);
    }
    if result.is_zero() {
        return Ok(result);
    }
    if sums.len() == 1 && !holds_base(&result) {
        return multiply(&result, &sums[0], steps);
    }
    multiply_sums(result, sums, steps)
}

fn holds_base(form: &Form) -> bool {
    let mut factors = form.terms.iter().flat_map(|term| &term.monomial.factors);
    factors.any(|factor| factor.atom.as_base().is_some())
}

fn multiply_sums(single: Form, sums: Vec<Form>, steps: &mut Steps) -> Result<Form, Stop> {
    let mut result = single;
    let mut left_over = Vec::new();
    for sum in sums {
        // A sum over itself cancels before it is expanded.
        match cancel(&result, &sum, steps)? {
            Some(cancelled) => result = cancelled,
            None => left_over.push(sum),
        }
    }
    let algebraic = left_over.iter().all(inverse::is_algebraic);
    let term_count = left_over.iter().fold(result.terms.len(), |product, sum| {
        product.saturating_mul(sum.terms.len())
    });
    if algebraic || term_count <= MAX_EXPANDED_TERMS {
        let mut expanded = result.clone();
        let mut complete = true;
        for sum in &left_over {
            match multiply(&expanded, sum, steps) {
                Ok(next) if next.terms.len() <= MAX_EXPANDED_TERMS => expanded = next,
                Ok(_) | Err(Stop::TooLarge) => {
                    complete = false;
                    break;
                }
                Err(stop) => return Err(stop),
            }
        }
        if complete {
            return Ok(expanded);
        }
    }
    for sum in left_over {
        let kept = keep_power(&sum, 1, steps)?;
        result = multiply(&result, &Form::from(kept), steps)?;
    }
    Ok(result)
}

/// The product of the two, if the first is a single term with a power of the second that makes it worth while.
fn cancel(single: &Form, sum: &Form, steps: &mut Steps) -> Result<Option<Form>, Stop> {
    let Some(term) = single.single() else {
        return Ok(None);
    };
    if !holds_base(single) {
        return Ok(None);
    }
    let (content, primitive) = inverse::split_content(sum, steps)?;
    let same_base = |factor: &&Factor| factor.atom.as_base() == Some(&primitive);
    let Some(factor) = term.monomial.factors.iter().find(same_base) else {
        return Ok(None);
    };
    let base = Term::atom(factor.atom.clone(), Exponent::ONE);
    let with_content = multiply_terms(term, &content, steps)?;
    let with_base = multiply_terms(&with_content.term, &base, steps)?;
    let loose = with_content.loose || with_base.loose;
    let term = with_base.term;
    settle(TermProduct { term, loose }, steps).map(Some)
}

/// A form to an integer power.
pub(crate) fn power(base: &Form, exponent: i64, steps: &mut Steps) -> Result<Form, Stop> {
    if base.is_infinite() {
        return if exponent == 1 {
            Ok(base.clone())
        } else {
            Err(Stop::Undefined)
        };
    }
    if base.is_zero() {
        return if exponent > 0 {
            Ok(Form::zero())
        } else {
            Err(Stop::Undefined)
        };
    }
    match exponent {
        0 => return Ok(Form::integer(1)),
        1 => return Ok(base.clone()),
        _ => {}
    }
    if let Some(term) = base.single() {
        return settle(power_of_term(term, exponent, steps)?, steps);
    }
    if exponent < 0 {
        if let Some(rationalised) = inverse::rationalise(base, steps)? {
            return power(&rationalised, exponent.checked_neg().ok_or(Stop::TooLarge)?, steps);
        }
    } else if expansion_is_small(base, exponent) {
        match power_by_multiplying(base, exponent, steps) {
            Err(Stop::TooLarge) => {}
            expanded_or_stop => return expanded_or_stop,
        }
    }
    keep_power(base, exponent, steps).map(Form::from)
}

/// A term to an integer power other than zero.
pub(crate) fn power_of_term(term: &Term, exponent: i64, steps: &mut Steps) -> Result<TermProduct, Stop> {
    let mut coefficient = numbers::power(&term.coefficient, exponent, steps)?;
    let mut factors = SmallVec::new();
    let mut loose = false;
    let times = Exponent::new(i128::from(exponent), 1)?;
    for factor in &term.monomial.factors {
        let power = factor.exponent.times(times)?;
        if factor.atom.as_base().is_some() {
            let root_changes_kind = factor.exponent.is_even_root() && !power.is_even_root();
            if root_changes_kind && !power.is_integer() {
                return Err(Stop::Unsupported);
            }
            loose |= power.is_integer() && !power.is_negative();
        }
        push_power(&factor.atom, power, &mut factors, &mut coefficient, steps)?;
    }
    let monomial = Monomial { factors };
    let term = Term { monomial, coefficient };
    Ok(TermProduct { term, loose })
}

/// A power of a sum that is not expanded: its content to that power times a power of what is left.
pub(crate) fn keep_power(sum: &Form, exponent: i64, steps: &mut Steps) -> Result<Term, Stop> {
    let (content, primitive) = inverse::split_content(sum, steps)?;
    let mut product = power_of_term(&content, exponent, steps)?.term;
    let times = Exponent::new(i128::from(exponent), 1)?;
    let base = Term::atom(Atom::base(primitive)?, times);
    product = multiply_terms(&product, &base, steps)?.term;
    Ok(product)
}

/// Whether a power of a sum has few enough terms: as many as there are ways to choose its factors, unless its terms are
/// algebraic numbers, whose products fall together.
fn expansion_is_small(base: &Form, exponent: i64) -> bool {
    if exponent > MAX_EXPANDED_EXPONENT {
        return false;
    }
    if inverse::is_algebraic(base) {
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

fn power_by_multiplying(base: &Form, exponent: i64, steps: &mut Steps) -> Result<Form, Stop> {
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
