use dashu_ratio::RBig;

use super::*;
use crate::expression::Expression as E;
use crate::expression::{Constant, Function};
use crate::testing::{mul, n, pow, s, sum};

fn call(function: Function, arguments: impl IntoIterator<Item = E>) -> E {
    E::Call(function, arguments.into_iter().collect())
}

fn decided(left: &E, right: &E) -> Result<Decision, Stop> {
    decide(left, right, &mut Steps::default())
}

#[test]
fn rational_functions() {
    let x_plus = |value: i64| sum([s("x"), n(value)]);
    let quotient = mul([sum([pow(s("x"), n(2)), n(-1)]), x_plus(-1).inverse()]);
    assert_eq!(decided(&quotient, &x_plus(1)), Ok(Decision::Equal));
    assert_eq!(decided(&quotient, &x_plus(2)), Ok(Decision::Different));
    let zero = sum([
        pow(x_plus(1), n(2)),
        pow(s("x"), n(2)).negated(),
        mul([n(-2), s("x")]),
        n(-1),
    ]);
    assert_eq!(decided(&zero, &n(0)), Ok(Decision::Equal));
    assert_eq!(decided(&zero.inverse(), &n(0)), Err(Stop::Undefined));
    let bomb = |sign: i64| pow(sum([n(1), mul([n(sign), s("x")])]), n(1_000_000));
    assert_eq!(decided(&bomb(1), &bomb(-1)), Ok(Decision::Different));
    assert_eq!(
        decided(&bomb(1), &pow(sum([s("x"), n(1)]), n(1_000_000))),
        Ok(Decision::Equal)
    );
}

#[test]
fn constants() {
    let i = || E::Constant(Constant::Imaginary);
    let (pi, e) = (E::Constant(Constant::Pi), E::Constant(Constant::Euler));
    assert_eq!(decided(&mul([i(), i()]), &n(-1)), Ok(Decision::Equal));
    assert_eq!(decided(&i(), &mul([n(-1), i()])), Ok(Decision::Different));
    assert_eq!(
        decided(&pi, &E::Number(RBig::from_parts(22.into(), 7u8.into()))),
        Ok(Decision::Different)
    );
    assert_eq!(decided(&sum([pi.clone(), e.clone()]), &n(6)), Ok(Decision::Undecided));
    let degree = mul([n(180), E::Constant(Constant::Degree)]);
    assert_eq!(decided(&degree, &pi), Ok(Decision::Equal));
    assert_eq!(
        decided(&pow(n(2), n(1_000_000)), &pow(n(4), n(500_000))),
        Ok(Decision::Equal)
    );
    assert_eq!(
        decided(&pow(n(2), n(1_000_000)), &pow(n(2), n(1_000_001))),
        Ok(Decision::Different)
    );
    let tower = pow(n(9), pow(n(9), pow(n(9), n(9))));
    assert_eq!(decided(&tower, &n(5)), Err(Stop::TooLarge));
    assert_eq!(
        decided(&pow(pow(s("x"), n(1 << 32)), n(1 << 32)), &n(1)),
        Err(Stop::TooLarge)
    );
}

#[test]
fn functions() {
    let factorial = |value: i64| call(Function::Factorial, [n(value)]);
    let binomial = call(Function::Binomial, [n(3000), n(1000)]);
    let quotient = mul([factorial(3000), factorial(1000).inverse(), factorial(2000).inverse()]);
    assert_eq!(decided(&binomial, &quotient), Ok(Decision::Equal));
    assert_eq!(decided(&factorial(1_000_000_000), &n(1)), Err(Stop::TooLarge));
    let f = |argument: E| call(Function::Named("f".into()), [argument]);
    assert_eq!(
        decided(&f(sum([s("x"), s("x")])), &f(mul([n(2), s("x")]))),
        Ok(Decision::Equal)
    );
    assert_eq!(decided(&f(s("x")), &f(s("y"))), Ok(Decision::Different));
    // (sin² x - 1)/(sin x - 1) = sin x + 1 whatever the sine is.
    let sine = || call(Function::Sin, [s("x")]);
    let quotient = mul([sum([pow(sine(), n(2)), n(-1)]), sum([sine(), n(-1)]).inverse()]);
    assert_eq!(decided(&quotient, &sum([sine(), n(1)])), Ok(Decision::Equal));
    let cosine = || call(Function::Cos, [s("x")]);
    let circle = sum([pow(sine(), n(2)), pow(cosine(), n(2))]);
    assert_eq!(decided(&circle, &n(1)), Ok(Decision::Undecided));
}

#[test]
fn multiples() {
    let steps = &mut Steps::default();
    let line = sum([s("x"), s("y").negated(), n(1)]);
    let mut multiple = |left: &E, right: &E| proportional(left, right, steps);
    assert_eq!(multiple(&mul([n(-3), line.clone()]), &line), Ok(Some(true)));
    assert_eq!(
        multiple(&mul([E::Constant(Constant::Pi), line.clone()]), &line),
        Ok(Some(true))
    );
    assert_eq!(multiple(&mul([s("x"), line.clone()]), &line), Ok(Some(false)));
    assert_eq!(multiple(&sum([line.clone(), n(1)]), &line), Ok(Some(false)));
    assert_eq!(multiple(&n(0), &line), Ok(Some(false)));
}
