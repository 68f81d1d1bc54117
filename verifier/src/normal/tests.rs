use dashu_ratio::RBig;

use super::*;
use crate::equality::Decision::{self, Different, Equal, Undecided};
use crate::expression::Function;
use crate::testing::{mul, n, pow, s, sum};

use Expression as E;

fn q(numerator: i64, denominator: u64) -> E {
    E::Number(numbers::ratio(numerator, denominator))
}

fn root(value: E) -> E {
    pow(value, q(1, 2))
}

fn div(above: E, below: E) -> E {
    mul([above, below.inverse()])
}

fn call(function: Function, argument: E) -> E {
    E::Call(function, vec![argument])
}

fn pi() -> E {
    E::Constant(Constant::Pi)
}

fn i() -> E {
    E::Constant(Constant::Imaginary)
}

fn e() -> E {
    E::Constant(Constant::Euler)
}

fn form(expression: &E) -> Form {
    let result = normalise(expression, &mut Steps::default());
    result.unwrap_or_else(|stop| panic!("{stop}: {expression:?}"))
}

fn shown(expression: &E) -> String {
    form(expression).to_string()
}

fn stop(expression: &E) -> Stop {
    normalise(expression, &mut Steps::default()).unwrap_err()
}

#[track_caller]
fn check(left: E, right: E, expected: Decision) {
    let (left, right) = (form(&left), form(&right));
    assert_eq!(decide(&left, &right), expected, "{left} against {right}");
    assert_eq!(decide(&right, &left), expected, "{right} against {left}");
}

#[test]
fn polynomials() {
    let left = sum([mul([n(16), pow(s("x"), n(2))]), mul([n(4), s("x")]), n(5)]);
    let right = sum([n(5), mul([pow(s("x"), n(2)), n(16)]), mul([s("x"), n(4)])]);
    assert_eq!(shown(&left), "5 + 4*x + 16*x^2");
    check(left.clone(), right, Equal);
    check(left.clone(), sum([left, n(1)]), Different);
    let x_plus_one = sum([s("x"), n(1)]);
    check(
        mul([x_plus_one.clone(), sum([s("x"), n(-1)])]),
        sum([pow(s("x"), n(2)), n(-1)]),
        Equal,
    );
    assert_eq!(shown(&pow(x_plus_one, n(3))), "1 + 3*x + 3*x^2 + x^3");
    check(mul([s("x"), s("y")]), mul([s("y"), s("x")]), Equal);
    check(div(n(1), s("x")), pow(s("x"), n(-1)), Equal);
    check(div(n(1), s("x")), s("x"), Different);
}

#[test]
fn radicals() {
    assert_eq!(shown(&root(n(12))), "2*3^(1/2)");
    check(div(n(64), root(n(2))), mul([n(32), root(n(2))]), Equal);
    check(root(n(2048)), mul([n(32), root(n(2))]), Equal);
    check(div(n(66), root(n(11))), mul([n(6), root(n(11))]), Equal);
    check(mul([n(6), root(n(11))]), mul([n(6), root(n(10))]), Different);
    check(
        div(n(1), sum([root(n(3)), root(n(2))])),
        sum([root(n(3)), mul([n(-1), root(n(2))])]),
        Equal,
    );
    check(root(n(-8)), mul([n(2), i(), root(n(2))]), Equal);
    check(pow(n(-8), q(1, 3)), n(-2), Equal);
    check(pow(n(-8), q(2, 3)), n(4), Equal);
    check(mul([root(s("x")), root(s("x"))]), s("x"), Equal);
    check(root(pow(s("x"), n(2))), s("x"), Undecided);
    check(
        mul([root(s("x")), root(s("y"))]),
        root(mul([s("x"), s("y")])),
        Undecided,
    );
    check(pow(n(1_000_000_007), q(1, 2)), n(31622), Different);
    check(
        root(sum([n(3), mul([n(2), root(n(2))])])),
        sum([n(1), root(n(2))]),
        Undecided,
    );
    check(pow(root(sum([s("x"), n(1)])), n(2)), sum([s("x"), n(1)]), Equal);
    check(pow(root(n(2)), n(1000)), pow(n(2), n(500)), Equal);
    check(root(q(502, 2009)), q(502, 2009), Different);
}

#[test]
fn complex_numbers() {
    check(mul([i(), i()]), n(-1), Equal);
    check(pow(i(), n(-7)), i(), Equal);
    check(div(n(1), sum([n(1), i()])), sum([q(1, 2), mul([q(-1, 2), i()])]), Equal);
    let turn = |r: E| pow(e(), mul([i(), pi(), r]));
    check(turn(n(1)), n(-1), Equal);
    check(turn(q(1, 3)), sum([q(1, 2), mul([q(1, 2), i(), root(n(3))])]), Equal);
    check(pow(n(-1), q(1, 6)), turn(q(1, 6)), Equal);
    check(root(i()), turn(q(1, 4)), Equal);
    check(mul([i(), root(n(2))]), mul([n(-1), root(n(2))]), Different);
    check(call(Function::Abs, sum([n(3), mul([n(4), i()])])), n(5), Equal);
    check(
        call(Function::Conjugate, sum([n(3), mul([n(4), i()])])),
        sum([n(3), mul([n(-4), i()])]),
        Equal,
    );
}

#[test]
fn powers_with_symbols() {
    let n_plus_one = || sum([s("n"), n(1)]);
    check(pow(n(2), n_plus_one()), mul([n(2), pow(n(2), s("n"))]), Equal);
    check(pow(n(4), s("n")), pow(n(2), mul([n(2), s("n")])), Equal);
    check(pow(n(4), s("n")), pow(pow(n(2), s("n")), n(2)), Equal);
    check(pow(e(), mul([n(2), s("x")])), pow(pow(e(), s("x")), n(2)), Equal);
    check(pow(s("x"), n_plus_one()), mul([s("x"), pow(s("x"), s("n"))]), Equal);
    check(pow(n(6), s("n")), mul([pow(n(2), s("n")), pow(n(3), s("n"))]), Equal);
    check(pow(n(2), s("n")), pow(n(3), s("n")), Different);
    check(pow(n(2), s("n")), pow(n(2), s("m")), Different);
    check(pow(e(), call(Function::Ln, n(7))), n(7), Equal);
    check(
        pow(n(2), div(call(Function::Ln, n(5)), call(Function::Ln, n(2)))),
        n(5),
        Equal,
    );
    check(call(Function::Sinh, call(Function::Ln, n(2))), q(3, 4), Equal);
    check(pow(n(2), root(n(2))), n(3), Undecided);
}

#[test]
fn fractions() {
    let x_plus_one = || sum([s("x"), n(1)]);
    check(
        div(n(1), sum([mul([n(2), s("x")]), n(2)])),
        div(q(1, 2), x_plus_one()),
        Equal,
    );
    check(div(x_plus_one(), mul([n(-1), x_plus_one()])), n(-1), Equal);
    check(div(n(1), sum([n(1), n(-1), s("x")])), div(n(1), s("x")), Equal);
    check(
        div(n(1), sum([n(1), div(n(1), s("x"))])),
        div(s("x"), x_plus_one()),
        Equal,
    );
    check(
        div(n(1), sum([n(1), mul([n(-1), s("x")])])),
        div(n(-1), sum([s("x"), n(-1)])),
        Equal,
    );
    check(div(n(1), x_plus_one()), div(n(2), x_plus_one()), Different);
    check(div(n(1), x_plus_one()), sum([div(n(1), x_plus_one()), n(1)]), Different);
    let x_over = div(s("x"), x_plus_one());
    check(
        x_over.clone(),
        sum([n(1), mul([n(-1), div(n(1), x_plus_one())])]),
        Undecided,
    );
    check(x_over, mul([n(2), div(n(1), x_plus_one())]), Different);
    assert_eq!(stop(&div(n(1), sum([s("x"), mul([n(-1), s("x")])]))), Stop::Undefined);
    assert_eq!(stop(&pow(n(0), n(-1))), Stop::Undefined);
}

#[test]
fn trigonometry_and_logarithms() {
    let degrees = |value: i64| mul([n(value), E::Constant(Constant::Degree)]);
    check(call(Function::Sin, degrees(30)), q(1, 2), Equal);
    check(call(Function::Cos, degrees(-45)), div(root(n(2)), n(2)), Equal);
    check(
        call(Function::Tan, degrees(15)),
        sum([n(2), mul([n(-1), root(n(3))])]),
        Equal,
    );
    check(call(Function::Tan, degrees(225)), n(1), Equal);
    check(
        call(Function::Cos, degrees(36)),
        div(sum([n(1), root(n(5))]), n(4)),
        Equal,
    );
    check(call(Function::Sin, degrees(1)), call(Function::Cos, degrees(89)), Equal);
    assert_eq!(stop(&call(Function::Tan, degrees(90))), Stop::Undefined);
    let x = || s("x");
    check(
        call(Function::Sin, mul([n(-1), x()])),
        mul([n(-1), call(Function::Sin, x())]),
        Equal,
    );
    check(
        call(Function::Cos, sum([x(), mul([n(2), pi()])])),
        call(Function::Cos, x()),
        Equal,
    );
    check(
        call(Function::Sin, sum([div(pi(), n(2)), mul([n(-1), x()])])),
        call(Function::Cos, x()),
        Equal,
    );
    check(call(Function::Arccos, q(-1, 2)), mul([q(2, 3), pi()]), Equal);
    check(call(Function::Arctan, div(root(n(3)), n(3))), div(pi(), n(6)), Equal);
    let log = |value: E, base: E| E::Call(Function::Log, vec![value, base]);
    check(log(n(8), n(2)), n(3), Equal);
    check(log(n(36), n(6)), n(2), Equal);
    check(log(root(n(2)), n(8)), q(1, 6), Equal);
    check(call(Function::Ln, pow(e(), n(3))), n(3), Equal);
    check(
        call(Function::Ln, n(6)),
        sum([call(Function::Ln, n(2)), call(Function::Ln, n(3))]),
        Equal,
    );
    check(
        call(Function::Ln, n(6)),
        sum([call(Function::Ln, n(2)), n(1)]),
        Different,
    );
    check(sum([pi(), e()]), n(6), Undecided);
    check(pi(), q(22, 7), Different);
    assert_eq!(stop(&call(Function::Ln, n(0))), Stop::Undefined);
}

#[test]
fn integer_functions() {
    let binomial = |above: E, below: E| E::Call(Function::Binomial, vec![above, below]);
    let expected: RBig = "100891344545564193334812497256".parse().unwrap();
    check(binomial(n(100), n(50)), E::Number(expected), Equal);
    check(
        binomial(s("n"), n(2)),
        div(mul([s("n"), sum([s("n"), n(-1)])]), n(2)),
        Equal,
    );
    check(call(Function::Factorial, n(20)), n(2_432_902_008_176_640_000), Equal);
    assert!(form(&call(Function::Factorial, n(170))).as_rational().is_some());
    assert_eq!(stop(&call(Function::Factorial, n(1_000_000_000))), Stop::TooLarge);
    assert_eq!(stop(&binomial(pow(n(10), n(30)), pow(n(10), n(20)))), Stop::TooLarge);
    check(
        call(Function::Factorial, sum([s("n"), n(2)])),
        mul([
            call(Function::Factorial, s("n")),
            sum([s("n"), n(1)]),
            sum([s("n"), n(2)]),
        ]),
        Equal,
    );
    check(call(Function::Floor, q(-7, 2)), n(-4), Equal);
    check(E::Call(Function::Gcd, vec![n(12), n(-18), n(0)]), n(6), Equal);
    check(E::Call(Function::Lcm, vec![n(4), n(6)]), n(12), Equal);
    check(E::Call(Function::Max, vec![q(1, 3), q(1, 2)]), q(1, 2), Equal);
    check(
        call(Function::Abs, mul([n(-2), s("x")])),
        mul([n(2), call(Function::Abs, s("x"))]),
        Equal,
    );
}

#[test]
fn infinity_and_limits() {
    let infinity = || E::Constant(Constant::Infinity);
    check(infinity(), infinity(), Equal);
    check(infinity().negated().negated(), infinity(), Equal);
    check(infinity(), infinity().negated(), Different);
    check(infinity(), n(1), Different);
    for undefined in [
        div(infinity(), infinity()),
        sum([infinity(), infinity().negated()]),
        mul([n(2), infinity()]),
        sum([infinity(), n(1)]),
        mul([n(0), infinity()]),
        pow(n(2), infinity()),
        call(Function::Sin, infinity()),
    ] {
        assert_eq!(stop(&undefined), Stop::Undefined, "{undefined:?}");
    }
    assert_eq!(stop(&pow(n(2), n(1_000_000))), Stop::TooLarge);
    let tower = pow(n(9), pow(n(9), pow(n(9), n(9))));
    assert_eq!(stop(&tower), Stop::TooLarge);
    let bomb = |sign: i64| pow(sum([n(1), mul([n(sign), s("x")])]), n(1_000_000));
    check(
        sum([bomb(1), mul([n(-1), bomb(-1)])]),
        mul([n(2), root(n(13))]),
        Undecided,
    );
}

#[test]
fn multiples() {
    let steps = &mut Steps::default();
    let line = sum([mul([n(2), s("x")]), n(-4)]);
    let ratio = |left: &E, right: &E, steps: &mut Steps| proportional(&form(left), &form(right), steps).unwrap();
    let found = ratio(&line, &sum([n(6), mul([n(-3), s("x")])]), steps).unwrap();
    assert_eq!(found.ratio.as_rational(), Some(&numbers::ratio(-2, 3)));
    assert_eq!(found.sign, Some(std::cmp::Ordering::Less));
    let by_root = mul([line.clone(), root(n(2))]);
    assert_eq!(ratio(&by_root, &line, steps).unwrap().ratio.to_string(), "2^(1/2)");
    assert_eq!(ratio(&line, &sum([s("x"), n(2)]), steps), None);
    assert_eq!(ratio(&mul([line.clone(), s("x")]), &line, steps), None);
    let linear = form(&line).linear().unwrap();
    assert_eq!(linear.atom.as_symbol(), Some("x"));
    assert_eq!(
        (linear.slope.to_string(), linear.offset.to_string()),
        ("2".into(), "-4".into())
    );
    assert!(form(&pow(s("x"), n(2))).linear().is_none());
}
