//! Functions with kinks, such as |x - 1000|: equality at some points says nothing about the points beyond the kink.

use compact_str::CompactString;
use dashu_base::BitTest as _;
use dashu_int::UBig;

use super::relation::is_constant;
use crate::expression::{Expression, Function};

/// Whether a function of a variable occurs that is another one beyond some point.
pub(super) fn has_kinks(expression: &Expression) -> bool {
    match expression {
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => false,
        Expression::Sum(parts) | Expression::Product(parts) => parts.iter().any(has_kinks),
        Expression::Power(base, exponent) => {
            let is_root = matches!(&**exponent, Expression::Number(exponent) if !exponent.is_int());
            is_root && !matches!(&**base, Expression::Symbol(_)) && !is_constant(base)
                || has_kinks(base)
                || has_kinks(exponent)
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
            bends && parts.iter().any(|part| !is_constant(part)) || parts.iter().any(has_kinks)
        }
    }
}

/// The expression with every variable multiplied by a power of two, so that the same points lie beyond its kinks.
pub(super) fn magnified(expression: &Expression, bits: usize) -> Expression {
    let factor = Expression::Number((UBig::ONE << bits).into());
    mapped(expression, &|part| match part {
        Expression::Symbol(_) => Some(Expression::Product(vec![factor.clone(), part.clone()])),
        _ => None,
    })
}

/// Bits of the largest number that occurs.
pub(super) fn largest_bits(expression: &Expression) -> usize {
    match expression {
        Expression::Number(value) => value.numerator().bit_len().max(value.denominator().bit_len()),
        Expression::Constant(_) | Expression::Symbol(_) => 0,
        Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => {
            parts.iter().map(largest_bits).max().unwrap_or(0)
        }
        Expression::Power(base, exponent) => largest_bits(base).max(largest_bits(exponent)),
    }
}

/// The expression with functions of integers unknown: points say little about what is constant between integers, so
/// that these are equal where their arguments are.
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
