//! Short names for expressions in the unit tests of the deciders.

use crate::expression::Expression;

pub(crate) fn n(value: i64) -> Expression {
    Expression::integer(value)
}

pub(crate) fn s(name: &str) -> Expression {
    Expression::Symbol(name.into())
}

pub(crate) fn sum(parts: impl IntoIterator<Item = Expression>) -> Expression {
    Expression::Sum(parts.into_iter().collect())
}

pub(crate) fn mul(parts: impl IntoIterator<Item = Expression>) -> Expression {
    Expression::Product(parts.into_iter().collect())
}

pub(crate) fn pow(base: Expression, exponent: Expression) -> Expression {
    Expression::Power(Box::new(base), Box::new(exponent))
}
