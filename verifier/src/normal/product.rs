//! Products of many forms and integer powers of forms. Unlike a product of two, they look for what cancels first, and
//! keep a product or power unexpanded where it would have too many terms.

use smallvec::SmallVec;

use super::arithmetic::{
    MAX_EXPANDED_TERMS, TermProduct, expansion_is_small, multiply, multiply_terms, power_by_multiplying, push_power,
    settle,
};
use super::exponent::Exponent;
use super::form::{Atom, Factor, Form, Monomial, Term};
use super::{inverse, numbers};
use crate::steps::{Steps, Stop};

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
    let algebraic = left_over.iter().all(Form::is_algebraic);
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
        result = multiply(&result, &kept, steps)?;
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
    keep_power(base, exponent, steps)
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
pub(crate) fn keep_power(sum: &Form, exponent: i64, steps: &mut Steps) -> Result<Form, Stop> {
    let (content, primitive) = inverse::split_content(sum, steps)?;
    let outside = power_of_term(&content, exponent, steps)?;
    if primitive.terms.len() <= 1 {
        let inside = power(&primitive, exponent, steps)?;
        return multiply(&settle(outside, steps)?, &inside, steps);
    }
    let times = Exponent::new(i128::from(exponent), 1)?;
    let base = Term::atom(Atom::base(primitive)?, times);
    multiply_terms(&outside.term, &base, steps).map(|product| Form::from(product.term))
}
