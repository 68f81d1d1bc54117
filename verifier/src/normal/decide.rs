//! Decides by canonical forms: equality, proportion, and linear functions.

use std::cmp::Ordering;

use dashu_ratio::RBig;

use super::arithmetic::{collect, multiply_terms};
use super::exponent::Exponent;
use super::form::{Atom, Content, Factor, Form, Monomial, Term};
use super::numbers;
use super::product::power_of_term;
use crate::equality::Decision;
use crate::expression::Function;
use crate::steps::{Steps, Stop};

/// Most terms of the left side that are tried as the multiple of the first on the right.
const MAX_RATIO_CANDIDATES: usize = 8;

/// Whether two forms are equal.
pub fn decide(left: &Form, right: &Form) -> Decision {
    if left == right {
        return Decision::Equal;
    }
    if left.is_infinite() || right.is_infinite() {
        return Decision::Different;
    }
    let mut constants = Constants::default();
    if differs(left, right, &mut constants) && constants.are_independent() {
        Decision::Different
    } else {
        Decision::Undecided
    }
}

/// Whether the difference is known not to be zero, provided that the constants in it are independent. If all its terms
/// have the same opaque factors, the difference is the product of these factors and a form without opaque atoms, which
/// is not zero. So it is enough that none of the factors is zero.
fn differs(left: &Form, right: &Form, constants: &mut Constants) -> bool {
    let (mut left_terms, mut right_terms) = (left.terms.iter().peekable(), right.terms.iter().peekable());
    let mut opaque_part: Option<&Monomial> = None;
    loop {
        let order = match (left_terms.peek(), right_terms.peek()) {
            (None, None) => return true,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left_term), Some(right_term)) => left_term.monomial.cmp(&right_term.monomial),
        };
        let from_left = if order.is_le() { left_terms.next() } else { None };
        let from_right = if order.is_ge() { right_terms.next() } else { None };
        if let (Some(from_left), Some(from_right)) = (from_left, from_right)
            && from_left.coefficient == from_right.coefficient
        {
            continue;
        }
        let Some(term) = from_left.or(from_right) else {
            return true;
        };
        constants.add_monomial(&term.monomial);
        match opaque_part {
            Some(part) if !same_opaque_factors(part, &term.monomial) => return false,
            Some(_) => {}
            None => {
                let mut opaque = opaque_factors(&term.monomial);
                if !opaque.all(|factor| is_never_zero(&factor.atom, constants)) {
                    return false;
                }
                opaque_part = Some(&term.monomial);
            }
        }
    }
}

fn opaque_factors(monomial: &Monomial) -> impl Iterator<Item = &Factor> {
    monomial.factors.iter().filter(|factor| factor.atom.is_opaque())
}

fn same_opaque_factors(left: &Monomial, right: &Monomial) -> bool {
    opaque_factors(left).eq(opaque_factors(right))
}

/// Whether an opaque atom is certainly not the number or function zero.
fn is_never_zero(atom: &Atom, constants: &mut Constants) -> bool {
    let Atom::Compound(compound) = atom else {
        return true;
    };
    match &compound.content {
        Content::Base(form) => {
            constants.add_form(form);
            !form.is_opaque()
        }
        Content::Exponential(base, _) => is_never_zero(base, constants),
        Content::Call(function, arguments) => {
            let [argument] = arguments.as_slice() else {
                return false;
            };
            constants.add_form(argument);
            let at_angle = argument.single().is_some_and(|term| {
                matches!(term.monomial.factors.as_slice(), [Factor { atom: Atom::Pi, exponent }] if exponent.is_one())
            });
            let varies_or = |known: bool| known || !argument.is_constant();
            // The argument of a logarithm is not one, and that of the other functions not zero: canonical forms would
            // have shown that.
            let vanishes_nowhere_else = match function {
                // At π times a number below 1/4, or with a variable.
                Function::Sin | Function::Cos => varies_or(at_angle),
                Function::Arcsin | Function::Arctan | Function::Ln | Function::Abs => true,
                Function::Factorial => true,
                _ => false,
            };
            vanishes_nowhere_else && !argument.is_opaque()
        }
    }
}

/// The constants that are not algebraic in some forms.
#[derive(Default)]
struct Constants {
    pi: bool,
    euler: bool,
    logarithm: Option<u64>,
    many_logarithms: bool,
    /// Whether there are products or powers of π and logarithms.
    products: bool,
}

impl Constants {
    fn add_form(&mut self, form: &Form) {
        for term in &form.terms {
            self.add_monomial(&term.monomial);
        }
    }

    fn add_monomial(&mut self, monomial: &Monomial) {
        let mut linear = 0;
        for factor in &monomial.factors {
            match &factor.atom {
                Atom::Pi => self.pi = true,
                Atom::Euler => self.euler = true,
                Atom::Logarithm(prime) => {
                    let known = *self.logarithm.get_or_insert(*prime);
                    self.many_logarithms |= known != *prime;
                }
                Atom::Compound(compound) => {
                    if let Content::Call(Function::Named(_), arguments) = &compound.content {
                        arguments.iter().for_each(|argument| self.add_form(argument));
                    }
                    continue;
                }
                _ => continue,
            }
            linear += if factor.exponent.is_one() { 1 } else { 2 };
        }
        self.products |= linear > 1;
    }

    /// Whether they are known to be algebraically independent, or at least linearly if there are no products.
    fn are_independent(&self) -> bool {
        let with_logarithms = self.many_logarithms || (self.pi && self.logarithm.is_some());
        if self.euler {
            return !self.pi && self.logarithm.is_none();
        }
        !with_logarithms || !self.products
    }
}

/// How one form is a constant multiple of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proportion {
    /// The first form divided by the second, a single term.
    pub ratio: Form,
    /// `Less` if the ratio is a negative real number, `Greater` if it is a positive one; `None` if it is neither or not
    /// known.
    pub sign: Option<Ordering>,
}

/// The first form as a constant multiple, other than zero, of the second. `None` if it is not known to be one.
///
/// # Errors
/// At the limits of steps and sizes.
pub fn proportional(left: &Form, right: &Form, steps: &mut Steps) -> Result<Option<Proportion>, Stop> {
    let (Some(first), false) = (right.terms.first(), left.is_infinite() || right.is_infinite()) else {
        return Ok(None);
    };
    if left.terms.len() != right.terms.len() {
        return Ok(None);
    }
    let inverse = power_of_term(first, -1, steps)?;
    for candidate in left.terms.iter().take(MAX_RATIO_CANDIDATES) {
        let ratio = multiply_terms(candidate, &inverse.term, steps)?;
        if ratio.loose || !ratio.term.monomial.is_constant() || ratio.term.monomial.is_opaque() {
            continue;
        }
        if is_multiple(left, right, &ratio.term, steps)? {
            let ratio = Form::from(ratio.term);
            let sign = ratio.clear_sign();
            return Ok(Some(Proportion { ratio, sign }));
        }
    }
    Ok(None)
}

fn is_multiple(left: &Form, right: &Form, ratio: &Term, steps: &mut Steps) -> Result<bool, Stop> {
    let mut terms = Vec::with_capacity(right.terms.len());
    for term in &right.terms {
        let product = multiply_terms(ratio, term, steps)?;
        if product.loose {
            return Ok(false);
        }
        // With a rational ratio the terms keep their order, so that the first difference is the end.
        if ratio.monomial.is_one() && left.terms.get(terms.len()) != Some(&product.term) {
            return Ok(false);
        }
        terms.push(product.term);
    }
    Ok(ratio.monomial.is_one() || collect(terms, steps)? == *left)
}

/// A form that is slope · atom + offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// The only thing in the form that is not constant: a symbol, or a function of some.
    pub atom: Form,
    /// Constant and not the form zero.
    pub slope: Form,
    /// Constant.
    pub offset: Form,
}

impl Form {
    /// The form as a linear function, if it is one with constant coefficients.
    pub fn linear(&self) -> Option<Linear> {
        let mut atom: Option<&Atom> = None;
        let (mut slope, mut offset) = (Self::zero(), Self::zero());
        for term in &self.terms {
            let is_variable = |factor: &&Factor| !factor.atom.is_constant();
            let mut variable = term.monomial.factors.iter().filter(is_variable);
            let Some(factor) = variable.next() else {
                offset.terms.push(term.clone());
                continue;
            };
            let is_same = atom.is_none_or(|known| *known == factor.atom);
            if variable.next().is_some() || !factor.exponent.is_one() || !is_same {
                return None;
            }
            atom = Some(&factor.atom);
            let mut constant = term.clone();
            constant.monomial.factors.retain(|factor| factor.atom.is_constant());
            slope.terms.push(constant);
        }
        slope.terms.sort_unstable();
        let atom = Self::from(Term::atom(atom?.clone(), Exponent::ONE));
        Some(Linear { atom, slope, offset })
    }

    /// The name of the symbol that the form is, if it is one.
    pub fn as_symbol(&self) -> Option<&str> {
        let term = self.single()?;
        match term.monomial.factors.as_slice() {
            [
                Factor {
                    atom: Atom::Symbol(name),
                    exponent,
                },
            ] if exponent.is_one() && term.coefficient.is_one() => Some(name),
            _ => None,
        }
    }

    /// The rational number by which the form can be divided to have coprime integer coefficients; it is positive.
    ///
    /// # Errors
    /// At the limits of steps and sizes.
    pub fn content(&self, steps: &mut Steps) -> Result<RBig, Stop> {
        super::inverse::rational_content(self, steps)
    }

    /// The form divided by a rational number.
    ///
    /// # Errors
    /// [`Stop::Undefined`] if that is zero; at the limits of steps and sizes.
    pub fn divided_by(&self, divisor: &RBig, steps: &mut Steps) -> Result<Self, Stop> {
        numbers::inverse(divisor)?;
        super::inverse::divide_by_number(self, divisor, steps)
    }
}
