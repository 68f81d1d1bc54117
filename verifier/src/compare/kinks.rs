//! Functions with kinks, such as |x - 1000|. Equality at some points says nothing about the points beyond the kink, so
//! that points on both sides must be tried.

use std::collections::BTreeSet;

use compact_str::CompactString;
use dashu_base::BitTest as _;
use dashu_int::UBig;

use super::relation::is_constant;
use crate::expression::{Expression, Function};

/// The variables of functions that change beyond some point, and how far off that point may be.
#[derive(Debug, Default)]
pub(super) struct Kinks {
    variables: BTreeSet<CompactString>,
    /// Bits of the largest number beside them.
    bits: usize,
}

impl Kinks {
    /// The kinks of an expression.
    pub(super) fn add(&mut self, expression: &Expression) {
        match expression {
            Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => {}
            Expression::Sum(parts) | Expression::Product(parts) => parts.iter().for_each(|part| self.add(part)),
            Expression::Power(base, exponent) => {
                let is_root = matches!(&**exponent, Expression::Number(exponent) if !exponent.is_int());
                if is_root && !matches!(&**base, Expression::Symbol(_)) {
                    self.add_argument(base);
                }
                self.add(base);
                self.add(exponent);
            }
            Expression::Call(function, parts) => {
                let bends = matches!(
                    function,
                    Function::Abs
                        | Function::Max
                        | Function::Min
                        | Function::Arcsin
                        | Function::Arccos
                        | Function::Arctan
                        | Function::Arccot
                );
                for part in parts {
                    if bends {
                        self.add_argument(part);
                    }
                    self.add(part);
                }
            }
        }
    }

    /// Whether there are any kinks.
    pub(super) fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    /// Notes the variables and numbers in the argument of such a function.
    fn add_argument(&mut self, expression: &Expression) {
        match expression {
            Expression::Number(value) => {
                let bits = value.numerator().bit_len().max(value.denominator().bit_len());
                self.bits = self.bits.max(bits);
            }
            Expression::Constant(_) => {}
            Expression::Symbol(name) => {
                self.variables.insert(name.clone());
            }
            Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => {
                parts.iter().for_each(|part| self.add_argument(part));
            }
            Expression::Power(base, exponent) => {
                self.add_argument(base);
                self.add_argument(exponent);
            }
        }
    }

    /// The expression with these variables multiplied by a power of two, so that the same points lie beyond its kinks.
    pub(super) fn magnified(&self, expression: &Expression) -> Expression {
        let factor = Expression::Number((UBig::ONE << (self.bits + 6)).into());
        mapped(expression, &|part| match part {
            Expression::Symbol(name) if self.variables.contains(name) => {
                Some(Expression::Product(vec![factor.clone(), part.clone()]))
            }
            _ => None,
        })
    }
}

/// The expression with functions of integers replaced by unknown ones, which are equal only where their arguments are.
/// Points say little about functions that are constant between integers.
pub(super) fn with_steps_unknown(expression: &Expression) -> Expression {
    mapped(expression, &|part| match part {
        Expression::Call(function, arguments) if arguments.iter().any(|argument| !is_constant(argument)) => {
            let [argument] = arguments.as_slice() else {
                return None;
            };
            let argument = with_steps_unknown(argument);
            match function {
                Function::Floor => Some(unknown_floor(argument, false)),
                Function::Ceiling => Some(unknown_floor(argument, true).negated()),
                _ => None,
            }
        }
        _ => None,
    })
}

/// `⌊x⌋`, or `⌊-x⌋`, with the integers among the terms of x taken out.
fn unknown_floor(argument: Expression, is_negated: bool) -> Expression {
    let sign = |part: Expression| if is_negated { part.negated() } else { part };
    let terms = match argument {
        Expression::Sum(terms) => terms,
        single => vec![single],
    };
    let is_integer = |term: &Expression| matches!(term, Expression::Number(value) if value.is_int());
    let (integers, others): (Vec<Expression>, Vec<Expression>) = terms.into_iter().map(sign).partition(is_integer);
    let name = Function::Named(CompactString::const_new("⌊⌋"));
    let mut sum = integers;
    sum.push(Expression::Call(name, vec![Expression::Sum(others)]));
    Expression::Sum(sum)
}

/// The expression with parts of it replaced, the outermost first.
fn mapped(expression: &Expression, replace: &impl Fn(&Expression) -> Option<Expression>) -> Expression {
    if let Some(replaced) = replace(expression) {
        return replaced;
    }
    let all = |parts: &[Expression]| parts.iter().map(|part| mapped(part, replace)).collect();
    match expression {
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => expression.clone(),
        Expression::Sum(parts) => Expression::Sum(all(parts)),
        Expression::Product(parts) => Expression::Product(all(parts)),
        Expression::Call(function, parts) => Expression::Call(function.clone(), all(parts)),
        Expression::Power(base, exponent) => {
            Expression::Power(Box::new(mapped(base, replace)), Box::new(mapped(exponent, replace)))
        }
    }
}
