//! Canonical forms: two expressions with the same form are equal, and for most two with different forms differ.
//!
//! A form is a sum of terms, a term a rational number times powers of atoms (`form`). The atoms are
//! - primes with exponents between 0 and 1, that is radicals. Products of radicals of different primes with exponents
//!   in `[0, 1)` are linearly independent over the rationals (Besicovitch, "On the linear independence of fractional
//!   powers of integers", 1940), and with i over the Gaussian ones;
//! - i, π, e and logarithms of primes. π is transcendental (Lindemann), e is (Hermite), and logarithms of primes are,
//!   with 1 and π, linearly independent over the algebraic numbers (Baker). That π, e and products of logarithms are
//!   independent of each other is only conjectured;
//! - symbols, calls of unknown functions, and powers with symbols in the exponent, which are independent functions;
//! - opaque atoms that hold forms: what is below a fraction line or a root and cannot be taken out of it, and functions
//!   with no simpler value.
//!
//! So different forms without opaque atoms, and with no more constants than are known to be independent, differ. With
//! opaque atoms they may be equal; then another decider has to tell. Equal forms are always equal.
//!
//! A fractional power of a symbol is a function on the positive numbers: there all its powers multiply as usual.

mod arithmetic;
mod decide;
mod digest;
mod display;
mod exponent;
mod form;
mod functions;
pub(crate) mod integers;
mod inverse;
mod logarithm;
mod moment;
pub(crate) mod numbers;
mod power;
mod primes;
mod product;
mod radical;
mod roots;
mod trigonometry;

use dashu_ratio::RBig;
use smallvec::SmallVec;

pub use decide::{Linear, Proportion, decide, proportional};
pub use form::Form;

pub(crate) use digest::Digest;
pub(crate) use form::{Atom, Content, Factor};
pub(crate) use numbers::ratio;
pub(crate) use primes::factor;
pub(crate) use roots::exact_root;

use self::exponent::Exponent;
use self::form::Term;
use crate::expression::{Constant, Expression};
use crate::steps::{Steps, Stop};

/// The canonical form of an expression.
///
/// # Errors
/// [`Stop::Undefined`] if the expression has no value, [`Stop::TooLarge`] and [`Stop::OutOfSteps`] at the limits,
/// [`Stop::Unsupported`] for what has no canonical form, such as a function with a wrong number of arguments.
pub fn normalise(expression: &Expression, steps: &mut Steps) -> Result<Form, Stop> {
    steps.spend(3)?;
    match expression {
        Expression::Number(value) => numbers::bounded(value.clone()).map(Form::number),
        Expression::Constant(constant) => Ok(normalise_constant(*constant)),
        Expression::Symbol(name) => Ok(Form::atom(Atom::Symbol(name.clone()))),
        Expression::Sum(parts) => normalise_sum(parts, steps),
        Expression::Product(parts) => normalise_product(parts, steps),
        Expression::Power(base, exponent) => {
            let base = normalise(base, steps)?;
            match exponent.as_ref() {
                Expression::Number(value) => power::rational_power(&base, value, steps),
                exponent => power::power(&base, &normalise(exponent, steps)?, steps),
            }
        }
        Expression::Call(function, arguments) => {
            let mut forms = SmallVec::with_capacity(arguments.len());
            for argument in arguments {
                forms.push(normalise(argument, steps)?);
            }
            functions::evaluate(function, forms, steps)
        }
    }
}

fn normalise_constant(constant: Constant) -> Form {
    match constant {
        Constant::Pi => Form::atom(Atom::Pi),
        Constant::Euler => Form::atom(Atom::Euler),
        Constant::Imaginary => Form::atom(Atom::Imaginary),
        Constant::Degree => trigonometry::multiple_of_pi(numbers::ratio(1, 180)),
        Constant::Infinity => Form::atom(Atom::Infinity),
    }
}

fn normalise_sum(parts: &[Expression], steps: &mut Steps) -> Result<Form, Stop> {
    if let [only] = parts {
        return normalise(only, steps);
    }
    // Numbers are added up at once, so that a long sum of them stays short.
    let mut number = RBig::ZERO;
    let mut terms = Vec::with_capacity(parts.len());
    for part in parts {
        if let Expression::Number(value) = part {
            number = numbers::add(&number, value, steps)?;
            continue;
        }
        let form = normalise(part, steps)?;
        if form.is_infinite() {
            return Err(Stop::Undefined);
        }
        match form.as_rational() {
            Some(value) => number = numbers::add(&number, value, steps)?,
            None => terms.extend(form.terms),
        }
    }
    if !number.is_zero() {
        terms.push(Term::number(number));
    }
    arithmetic::collect(terms, steps)
}

fn normalise_product(parts: &[Expression], steps: &mut Steps) -> Result<Form, Stop> {
    let mut number = RBig::ONE;
    let mut single: Option<Term> = None;
    let mut others = Vec::new();
    for part in parts {
        if let Expression::Number(value) = part {
            number = numbers::multiply(&number, value, steps)?;
            continue;
        }
        let mut form = normalise(part, steps)?;
        if form.as_rational().is_some() || (form.terms.len() == 1 && !form.is_infinite()) {
            let Some(term) = form.terms.pop() else {
                number = RBig::ZERO;
                continue;
            };
            single = match single {
                None => Some(term),
                Some(before) => {
                    let product = arithmetic::multiply_terms(&before, &term, steps)?;
                    if product.loose {
                        others.push(arithmetic::settle(product, steps)?);
                        None
                    } else {
                        Some(product.term)
                    }
                }
            };
        } else {
            others.push(form);
        }
    }
    if number.is_zero() {
        let has_infinity = others.iter().any(Form::is_infinite);
        return if has_infinity {
            Err(Stop::Undefined)
        } else {
            Ok(Form::zero())
        };
    }
    let form = match single {
        Some(mut term) => {
            term.coefficient = numbers::multiply(&term.coefficient, &number, steps)?;
            Form::from(term)
        }
        None => Form::number(number),
    };
    if others.is_empty() {
        return Ok(form);
    }
    others.push(form);
    product::product(others, steps)
}

impl Form {
    /// A symbol.
    #[must_use]
    pub fn symbol(name: &str) -> Self {
        Self::from(Term::atom(Atom::Symbol(name.into()), Exponent::ONE))
    }
}

#[cfg(test)]
mod tests;
