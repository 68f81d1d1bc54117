//! Logarithms, written with the logarithms of primes.

use dashu_ratio::RBig;

use super::arithmetic::{add, multiply};
use super::exponent::Exponent;
use super::form::{Atom, Form, Monomial, Term};
use super::product::{self, power};
use super::trigonometry::{call, multiple_of_pi};
use super::{inverse, numbers, radical};
use crate::expression::Function;
use crate::steps::{Steps, Stop};

/// The natural logarithm, principal value.
pub(crate) fn natural(argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    if argument.is_zero() {
        return Err(Stop::Undefined);
    }
    let Some(term) = argument.single() else {
        // The logarithm of a positive factor splits off.
        let content = inverse::rational_content(argument, steps)?;
        let primitive = inverse::divide_by_number(argument, &content, steps)?;
        let outside = of_positive(&content, steps)?;
        return add(outside, call(Function::Ln, primitive)?, steps);
    };
    let mut terms = of_positive(&numbers::absolute(&term.coefficient), steps)?;
    let mut rest = Monomial::default();
    for factor in &term.monomial.factors {
        let times = factor.exponent.to_rational();
        let logarithm = match &factor.atom {
            Atom::Prime(prime) => Form::atom(Atom::Logarithm(*prime)),
            Atom::Euler => Form::integer(1),
            atom @ (Atom::Pi | Atom::Logarithm(_)) => call(Function::Ln, Form::atom(atom.clone()))?,
            _ => {
                rest.factors.push(factor.clone());
                continue;
            }
        };
        terms = add(terms, multiply(&Form::number(times), &logarithm, steps)?, steps)?;
    }
    let negative = numbers::is_negative(&term.coefficient);
    let of_rest = match rest.factors.as_slice() {
        [] if !negative => return Ok(terms),
        [] => multiply(&Form::atom(Atom::Imaginary), &multiple_of_pi(RBig::ONE), steps)?,
        [factor] if factor.atom == Atom::Imaginary => {
            let quarter_turn = multiple_of_pi(numbers::ratio(if negative { -1 } else { 1 }, 2));
            multiply(&Form::atom(Atom::Imaginary), &quarter_turn, steps)?
        }
        [factor] if !negative && is_proper_root(factor.exponent) => {
            let logarithm = call(Function::Ln, Form::atom(factor.atom.clone()))?;
            multiply(&Form::number(factor.exponent.to_rational()), &logarithm, steps)?
        }
        _ => {
            let coefficient = if negative { RBig::NEG_ONE } else { RBig::ONE };
            call(
                Function::Ln,
                Form::from(Term {
                    monomial: rest,
                    coefficient,
                }),
            )?
        }
    };
    add(terms, of_rest, steps)
}

/// Whether ln(z^s) = s·ln z for all z.
fn is_proper_root(exponent: Exponent) -> bool {
    exponent.is_even_root() && matches!(exponent.split().0, -1 | 0)
}

/// The logarithm of a positive rational number.
fn of_positive(value: &RBig, steps: &mut Steps) -> Result<Form, Stop> {
    if value.is_one() {
        return Ok(Form::zero());
    }
    let factored = radical::factor(value, steps)?;
    let mut sum = Form::zero();
    for (prime, count) in factored.powers {
        let Atom::Prime(prime) = prime else {
            return Err(Stop::Unsupported);
        };
        let logarithm = Term {
            monomial: Monomial::new(Atom::Logarithm(prime), Exponent::ONE),
            coefficient: RBig::from(count),
        };
        sum = add(sum, Form::from(logarithm), steps)?;
    }
    for (rest, count) in factored.rests {
        let logarithm = call(Function::Ln, Form::number(rest))?;
        sum = add(sum, multiply(&Form::integer(count), &logarithm, steps)?, steps)?;
    }
    Ok(sum)
}

/// The logarithm to a base.
pub(crate) fn to_base(argument: &Form, base: &Form, steps: &mut Steps) -> Result<Form, Stop> {
    let above = natural(argument, steps)?;
    let below = natural(base, steps)?;
    let inverse = power(&below, -1, steps)?;
    product::product(vec![inverse, above], steps)
}
