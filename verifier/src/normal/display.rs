//! Forms for people to read. The text is the same in every run.

use std::fmt::{self, Display, Formatter, Write as _};

use super::exponent::Exponent;
use super::form::{Atom, Content, Factor, Form, Monomial, Term};
use super::numbers;
use crate::expression::Function;

impl Display for Form {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return formatter.write_char('0');
        }
        for (index, term) in self.terms.iter().enumerate() {
            let negative = numbers::is_negative(&term.coefficient);
            formatter.write_str(match (index, negative) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            })?;
            write_term(term, formatter)?;
        }
        Ok(())
    }
}

/// Writes a term without its sign.
fn write_term(term: &Term, formatter: &mut Formatter<'_>) -> fmt::Result {
    let coefficient = numbers::absolute(&term.coefficient);
    if term.monomial.is_one() {
        return write!(formatter, "{coefficient}");
    }
    if !coefficient.is_one() {
        write!(formatter, "{coefficient}*")?;
    }
    write_monomial(&term.monomial, formatter)
}

fn write_monomial(monomial: &Monomial, formatter: &mut Formatter<'_>) -> fmt::Result {
    for (index, factor) in monomial.factors.iter().enumerate() {
        if index > 0 {
            formatter.write_char('*')?;
        }
        write_factor(factor, formatter)?;
    }
    Ok(())
}

fn write_factor(factor: &Factor, formatter: &mut Formatter<'_>) -> fmt::Result {
    let exponent = factor.exponent;
    if let Atom::Compound(compound) = &factor.atom
        && let Content::Exponential(base, monomial) = &compound.content
    {
        write_atom(base, formatter)?;
        formatter.write_str("^(")?;
        if !exponent.is_one() {
            write!(formatter, "{exponent}*")?;
        }
        write_monomial(monomial, formatter)?;
        return formatter.write_char(')');
    }
    write_atom(&factor.atom, formatter)?;
    if exponent != Exponent::ONE {
        write!(formatter, "^{exponent}")?;
    }
    Ok(())
}

fn write_atom(atom: &Atom, formatter: &mut Formatter<'_>) -> fmt::Result {
    match atom {
        Atom::Prime(prime) => write!(formatter, "{prime}"),
        Atom::Imaginary => formatter.write_char('i'),
        Atom::Pi => formatter.write_str("pi"),
        Atom::Euler => formatter.write_char('e'),
        Atom::Logarithm(prime) => write!(formatter, "ln({prime})"),
        Atom::Symbol(name) => formatter.write_str(name),
        Atom::MinusOne => formatter.write_str("(-1)"),
        Atom::Infinity => formatter.write_str("infinity"),
        Atom::Compound(compound) => match &compound.content {
            Content::Base(form) => write!(formatter, "({form})"),
            Content::Exponential(base, monomial) => {
                write_atom(base, formatter)?;
                formatter.write_str("^(")?;
                write_monomial(monomial, formatter)?;
                formatter.write_char(')')
            }
            Content::Call(function, arguments) => {
                match function {
                    Function::Named(name) => formatter.write_str(name)?,
                    other => formatter.write_str(&format!("{other:?}").to_lowercase())?,
                }
                formatter.write_char('(')?;
                for (index, argument) in arguments.iter().enumerate() {
                    let separator = if index > 0 { ", " } else { "" };
                    write!(formatter, "{separator}{argument}")?;
                }
                formatter.write_char(')')
            }
        },
    }
}
