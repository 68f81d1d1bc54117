//! Short ways to write expressions.

use anytime_verifier::expression::{Constant, Expression, Function};

pub(crate) fn n(value: i64) -> Expression {
    Expression::integer(value)
}

pub(crate) fn big(text: &str) -> Expression {
    Expression::Number(text.parse().unwrap())
}

pub(crate) fn x(name: &str) -> Expression {
    Expression::Symbol(name.into())
}

pub(crate) fn sum(terms: impl Into<Vec<Expression>>) -> Expression {
    Expression::Sum(terms.into())
}

pub(crate) fn product(factors: impl Into<Vec<Expression>>) -> Expression {
    Expression::Product(factors.into())
}

pub(crate) fn power(base: Expression, exponent: Expression) -> Expression {
    Expression::Power(Box::new(base), Box::new(exponent))
}

pub(crate) fn over(left: Expression, right: Expression) -> Expression {
    product([left, right.inverse()])
}

pub(crate) fn root(degree: i64, of: Expression) -> Expression {
    power(of, Expression::Number((1, degree as u64).into_ratio()))
}

pub(crate) trait IntoRatio {
    fn into_ratio(self) -> dashu_ratio::RBig;
}

impl IntoRatio for (i64, u64) {
    fn into_ratio(self) -> dashu_ratio::RBig {
        dashu_ratio::RBig::from_parts(self.0.into(), self.1.into())
    }
}

pub(crate) fn q(numerator: i64, denominator: u64) -> Expression {
    Expression::Number((numerator, denominator).into_ratio())
}

pub(crate) fn sqrt(of: Expression) -> Expression {
    root(2, of)
}

pub(crate) fn call(function: Function, argument: Expression) -> Expression {
    Expression::Call(function, vec![argument])
}

pub(crate) fn pi() -> Expression {
    Expression::Constant(Constant::Pi)
}

pub(crate) fn i() -> Expression {
    Expression::Constant(Constant::Imaginary)
}

pub(crate) fn exp(exponent: Expression) -> Expression {
    power(Expression::Constant(Constant::Euler), exponent)
}

pub(crate) fn degrees(value: i64) -> Expression {
    product([n(value), Expression::Constant(Constant::Degree)])
}

pub(crate) fn named(name: &str, argument: Expression) -> Expression {
    call(Function::Named(name.into()), argument)
}
