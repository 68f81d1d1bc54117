//! Helps to divide by sums: takes the content out of a sum, and radicals out of denominators by conjugates.

use dashu_base::Gcd as _;
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::arithmetic::{collect, multiply, multiply_terms, settle};
use super::exponent::Exponent;
use super::form::{Atom, Factor, Form, Monomial, Term};
use super::numbers;
use crate::steps::{Steps, Stop};

/// Most square roots, i included, that are taken out of one denominator: each doubles the number of terms at worst.
const MAX_RADICALS: usize = 5;

/// The largest rational number by which all coefficients can be divided so that they are integers without a common
/// divisor.
pub(crate) fn rational_content(form: &Form, steps: &mut Steps) -> Result<RBig, Stop> {
    let mut numerator = UBig::ZERO;
    let mut denominator = UBig::ONE;
    for term in &form.terms {
        let coefficient = &term.coefficient;
        let bits = numbers::bits(coefficient) + numbers::bits(&RBig::from(denominator.clone()));
        steps.spend_on_bits(bits, bits)?;
        let above = numbers::absolute(coefficient).into_parts().0;
        numerator = match numerator == UBig::ZERO {
            true => above.into_parts().1,
            false => numerator.gcd(above.into_parts().1),
        };
        if !coefficient.is_int() {
            let shared = (&denominator).gcd(coefficient.denominator());
            denominator = denominator / shared * coefficient.denominator();
        }
    }
    if numerator == UBig::ZERO {
        return Ok(RBig::ONE);
    }
    numbers::bounded(RBig::from_parts(IBig::from(numerator), denominator))
}

/// Divides all coefficients by a number other than zero.
pub(crate) fn divide_by_number(form: &Form, divisor: &RBig, steps: &mut Steps) -> Result<Form, Stop> {
    let inverse = numbers::inverse(divisor)?;
    let mut quotient = form.clone();
    if inverse.is_one() {
        return Ok(quotient);
    }
    for term in &mut quotient.terms {
        term.coefficient = numbers::multiply(&term.coefficient, &inverse, steps)?;
    }
    Ok(quotient)
}

/// A sum as a term times a form without content: the coefficients are integers without a common divisor, the first of
/// them is positive, and no atom but radicals is in all terms. That form is a single term, or zero, where the sum turns
/// out to be one, as x/(x + 1) - 1 does.
pub(crate) fn split_content(sum: &Form, steps: &mut Steps) -> Result<(Term, Form), Stop> {
    let mut coefficient = rational_content(sum, steps)?;
    if sum
        .terms
        .first()
        .is_some_and(|first| numbers::is_negative(&first.coefficient))
    {
        coefficient = -coefficient;
    }
    let primitive = divide_by_number(sum, &coefficient, steps)?;
    let monomial = common_monomial(sum, steps)?;
    let content = Term { monomial, coefficient };
    if content.monomial.is_one() {
        return Ok((content, primitive));
    }
    let mut inverse = Term::number(RBig::ONE);
    for factor in &content.monomial.factors {
        let exponent = factor.exponent.negated()?;
        let atom = factor.atom.clone();
        inverse.monomial.factors.push(Factor { atom, exponent });
    }
    let mut terms = Vec::with_capacity(primitive.terms.len());
    for term in &primitive.terms {
        let mut product = multiply_terms(term, &inverse, steps)?;
        // A denominator of other terms is a factor of this one now.
        product.loose |= holds_whole_base(&product.term);
        terms.extend(settle(product, steps)?.terms);
    }
    let primitive = collect(terms, steps)?;
    // Dividing may have changed which term is the first.
    if primitive
        .terms
        .first()
        .is_some_and(|first| numbers::is_negative(&first.coefficient))
    {
        let Term { monomial, coefficient } = content;
        let coefficient = -coefficient;
        return Ok((Term { monomial, coefficient }, primitive.negated()));
    }
    Ok((content, primitive))
}

fn holds_whole_base(term: &Term) -> bool {
    let mut factors = term.monomial.factors.iter();
    factors.any(|factor| {
        let is_whole = factor.exponent.is_integer() && !factor.exponent.is_negative();
        is_whole && factor.atom.as_base().is_some()
    })
}

/// The monomial to take out of all terms, so that no exponent is negative and no atom except radicals is in every term.
fn common_monomial(sum: &Form, steps: &mut Steps) -> Result<Monomial, Stop> {
    let mut common = Term::number(RBig::ONE);
    for (index, term) in sum.terms.iter().enumerate() {
        steps.spend(1 + term.monomial.factors.len() as u64)?;
        for factor in &term.monomial.factors {
            let is_candidate = index == 0 || factor.exponent.is_negative();
            let is_radical = matches!(factor.atom, Atom::Prime(_) | Atom::Imaginary);
            let is_known = |known: &Factor| known.atom == factor.atom;
            if !is_candidate || is_radical || common.monomial.factors.iter().any(is_known) {
                continue;
            }
            let mut lowest = lowest_exponent(sum, &factor.atom, steps)?;
            if factor.atom.as_base().is_some() {
                lowest = Exponent::new(i128::from(lowest.split().0), 1)?;
            }
            if !lowest.is_zero() {
                common = multiply_terms(&common, &Term::atom(factor.atom.clone(), lowest), steps)?.term;
            }
        }
    }
    Ok(common.monomial)
}

fn lowest_exponent(sum: &Form, atom: &Atom, steps: &mut Steps) -> Result<Exponent, Stop> {
    let mut lowest: Option<Exponent> = None;
    for term in &sum.terms {
        steps.spend(1 + term.monomial.factors.len() as u64)?;
        let found = term.monomial.factors.iter().find(|factor| factor.atom == *atom);
        let exponent = found.map_or(Exponent::ZERO, |factor| factor.exponent);
        lowest = Some(lowest.map_or(exponent, |lowest| lowest.min(exponent)));
    }
    Ok(lowest.unwrap_or(Exponent::ZERO))
}

/// One over a sum of rational multiples of square roots and i, without a radical below the line. `None` if there is
/// anything else in the sum, or too much.
pub(crate) fn rationalise(sum: &Form, steps: &mut Steps) -> Result<Option<Form>, Stop> {
    let half = Exponent::new(1, 2)?;
    let mut radicals: Vec<&Atom> = Vec::new();
    for factor in sum.terms.iter().flat_map(|term| &term.monomial.factors) {
        match factor.atom {
            Atom::Prime(_) if factor.exponent == half => {}
            Atom::Imaginary => {}
            _ => return Ok(None),
        }
        if !radicals.contains(&&factor.atom) {
            if radicals.len() == MAX_RADICALS {
                return Ok(None);
            }
            radicals.push(&factor.atom);
        }
    }
    let mut numerator = Form::integer(1);
    let mut denominator = sum.clone();
    for radical in radicals {
        let mut conjugate = denominator.clone();
        for term in &mut conjugate.terms {
            if term.monomial.factors.iter().any(|factor| factor.atom == *radical) {
                term.coefficient = -std::mem::take(&mut term.coefficient);
            }
        }
        numerator = multiply(&numerator, &conjugate, steps)?;
        denominator = multiply(&denominator, &conjugate, steps)?;
    }
    match denominator.as_rational() {
        Some(divisor) if !divisor.is_zero() => divide_by_number(&numerator, divisor, steps).map(Some),
        _ => Ok(None),
    }
}
