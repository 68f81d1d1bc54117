//! Expectations and variances. E(2X + 1) is 2E(X) + 1, and Var(2X + 1) is 4Var(X).
//!
//! Capital letters are random variables, everything else is a number: what is said here of E holds for them only, so that
//! `E(x)` stays the value of some function.

use compact_str::CompactString;
use dashu_ratio::RBig;
use smallvec::SmallVec;

use super::arithmetic::{collect, multiply};
use super::form::{Atom, Content, Form, Monomial, Term};
use crate::expression::Function;
use crate::steps::{Steps, Stop};

/// A function of random variables of which something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Expectation,
    Variance,
}

impl Moment {
    /// The moment that a function with this name is.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "E" | "𝔼" => Some(Self::Expectation),
            "Var" | "var" => Some(Self::Variance),
            _ => None,
        }
    }

    /// The moment of a form, with all numbers taken out of it.
    pub(super) fn of(self, argument: &Form, steps: &mut Steps) -> Result<Form, Stop> {
        let terms: Vec<Parts> = argument.terms.iter().map(Parts::of).collect();
        if terms.iter().all(|term| term.random.is_none()) {
            return self.opaque(argument.clone());
        }
        match self {
            Self::Expectation => {
                let mut sum = Vec::new();
                for Parts { number, random } in terms {
                    let form = match random {
                        Some(random) => multiply(&number, &self.opaque(random)?, steps)?,
                        None => number,
                    };
                    sum.extend(form.terms);
                }
                collect(sum, steps)
            }
            Self::Variance => {
                let (numbers, random): (Vec<Parts>, Vec<Parts>) =
                    terms.into_iter().partition(|term| term.random.is_none());
                if let [
                    Parts {
                        number,
                        random: Some(form),
                    },
                ] = random.as_slice()
                {
                    let square = multiply(number, number, steps)?;
                    return multiply(&square, &self.opaque(form.clone())?, steps);
                }
                // The variance of a sum needs covariances; that a number is added still says nothing.
                let shift = numbers.into_iter().flat_map(|term| term.number.negated().terms);
                self.opaque(collect(argument.terms.iter().cloned().chain(shift).collect(), steps)?)
            }
        }
    }

    fn opaque(self, argument: Form) -> Result<Form, Stop> {
        let name = match self {
            Self::Expectation => "E",
            Self::Variance => "Var",
        };
        let function = Function::Named(CompactString::const_new(name));
        Content::Call(function, SmallVec::from_iter([argument]))
            .into_atom()
            .map(Form::atom)
    }
}

/// A term as a number times what is random in it.
struct Parts {
    number: Form,
    /// None if nothing is.
    random: Option<Form>,
}

impl Parts {
    fn of(term: &Term) -> Self {
        let (random, known): (SmallVec<_>, SmallVec<_>) = term
            .monomial
            .factors
            .iter()
            .cloned()
            .partition(|factor| is_random(&factor.atom));
        let random = (!random.is_empty()).then(|| {
            Form::from(Term {
                monomial: Monomial { factors: random },
                coefficient: RBig::ONE,
            })
        });
        Self {
            number: Form::from(Term {
                monomial: Monomial { factors: known },
                coefficient: term.coefficient.clone(),
            }),
            random,
        }
    }
}

/// Whether an atom is random: a capital letter, or made of one.
fn is_random(atom: &Atom) -> bool {
    let in_monomial = |monomial: &Monomial| monomial.factors.iter().any(|factor| is_random(&factor.atom));
    let in_form = |form: &Form| form.terms.iter().any(|term| in_monomial(&term.monomial));
    match atom {
        Atom::Symbol(name) => name.starts_with(|letter: char| letter.is_ascii_uppercase()),
        Atom::Compound(compound) => match &compound.content {
            // E(X) is a number.
            Content::Call(Function::Named(name), _) if Moment::named(name).is_some() => false,
            Content::Call(_, arguments) => arguments.iter().any(in_form),
            Content::Exponential(base, exponent) => is_random(base) || in_monomial(exponent),
            Content::Base(form) => in_form(form),
        },
        _ => false,
    }
}
