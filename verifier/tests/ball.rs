//! Ball arithmetic: enclosures enclose, and known identities and near misses are decided.
#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;
use std::time::Instant;

use anytime_verifier::ball::evaluate::Evaluator;
use anytime_verifier::ball::real::{Context, Trouble};
use anytime_verifier::ball::{Proportion, compare, decide, proportional};
use anytime_verifier::equality::Decision;
use anytime_verifier::expression::{Constant, Expression, Function};
use anytime_verifier::steps::{Steps, Stop};
use proptest::prelude::*;

fn n(value: i64) -> Expression {
    Expression::integer(value)
}

fn big(text: &str) -> Expression {
    Expression::Number(text.parse().unwrap())
}

fn x(name: &str) -> Expression {
    Expression::Symbol(name.into())
}

fn sum(terms: impl Into<Vec<Expression>>) -> Expression {
    Expression::Sum(terms.into())
}

fn product(factors: impl Into<Vec<Expression>>) -> Expression {
    Expression::Product(factors.into())
}

fn power(base: Expression, exponent: Expression) -> Expression {
    Expression::Power(Box::new(base), Box::new(exponent))
}

fn over(left: Expression, right: Expression) -> Expression {
    product([left, right.inverse()])
}

fn root(degree: i64, of: Expression) -> Expression {
    power(of, Expression::Number((1, degree as u64).into_ratio()))
}

trait IntoRatio {
    fn into_ratio(self) -> dashu_ratio::RBig;
}

impl IntoRatio for (i64, u64) {
    fn into_ratio(self) -> dashu_ratio::RBig {
        dashu_ratio::RBig::from_parts(self.0.into(), self.1.into())
    }
}

fn q(numerator: i64, denominator: u64) -> Expression {
    Expression::Number((numerator, denominator).into_ratio())
}

fn sqrt(of: Expression) -> Expression {
    root(2, of)
}

fn call(function: Function, argument: Expression) -> Expression {
    Expression::Call(function, vec![argument])
}

fn pi() -> Expression {
    Expression::Constant(Constant::Pi)
}

fn i() -> Expression {
    Expression::Constant(Constant::Imaginary)
}

fn exp(exponent: Expression) -> Expression {
    power(Expression::Constant(Constant::Euler), exponent)
}

fn degrees(value: i64) -> Expression {
    product([n(value), Expression::Constant(Constant::Degree)])
}

fn named(name: &str, argument: Expression) -> Expression {
    call(Function::Named(name.into()), argument)
}

/// Left, right, and whether they are equal.
fn cases() -> Vec<(&'static str, Expression, Expression, Option<bool>)> {
    use Function::*;
    let ten = |exponent: i64| power(n(10), n(exponent));
    let cube = |of: Expression| root(3, of);
    vec![
        (
            "nested radical",
            sqrt(sum([n(3), product([n(2), sqrt(n(2))])])),
            sum([n(1), sqrt(n(2))]),
            Some(true),
        ),
        (
            "cos 36",
            call(Cos, over(pi(), n(5))),
            over(sum([n(1), sqrt(n(5))]), n(4)),
            Some(true),
        ),
        (
            "cos 20 cos 40 cos 80",
            product([call(Cos, degrees(20)), call(Cos, degrees(40)), call(Cos, degrees(80))]),
            q(1, 8),
            Some(true),
        ),
        (
            "cubic roots",
            sum([cube(sum([n(2), sqrt(n(5))])), cube(sum([n(2), sqrt(n(5)).negated()]))]),
            n(1),
            Some(true),
        ),
        (
            "ramanujan",
            exp(product([pi(), sqrt(n(163))])),
            big("262537412640768744"),
            Some(false),
        ),
        ("large root", sqrt(sum([ten(100), n(1)])), ten(50), Some(false)),
        (
            "beyond floats",
            big("9007199254740993"),
            big("9007199254740992"),
            Some(false),
        ),
        ("arctan 1", call(Arctan, n(1)), over(pi(), n(4)), Some(true)),
        (
            "machin",
            call(Arctan, n(1)),
            sum([
                product([n(4), call(Arctan, q(1, 5))]),
                call(Arctan, q(1, 239)).negated(),
            ]),
            Some(true),
        ),
        ("ln 8", call(Ln, n(8)), product([n(3), call(Ln, n(2))]), Some(true)),
        ("ln 9", call(Ln, n(9)), product([n(3), call(Ln, n(2))]), Some(false)),
        ("tiny", sum([n(1), ten(-30)]), n(1), Some(false)),
        ("tiny root", sqrt(sum([n(1), ten(-300)])), n(1), Some(false)),
        ("tiny logarithm", call(Ln, sum([n(1), ten(-400)])), n(0), Some(false)),
        ("tiny sine", call(Sin, ten(-400)), ten(-400), Some(false)),
        ("very tiny sine", call(Sin, ten(-1200)), ten(-1200), None),
        ("lost", sum([n(1), exp(n(-1000))]), n(1), Some(false)),
        ("lost for good", sum([n(1), exp(n(-10_000))]), n(1), None),
        ("tanh 1000", call(Tanh, n(1000)), n(1), Some(false)),
        ("tanh 10000", call(Tanh, n(10_000)), n(1), None),
        ("arctan of much", call(Arctan, ten(400)), over(pi(), n(2)), Some(false)),
        ("euler", exp(product([i(), pi()])), n(-1), Some(true)),
        (
            "third root of unity",
            exp(product([n(2), pi(), i(), q(1, 3)])),
            sum([q(-1, 2), over(product([i(), sqrt(n(3))]), n(2))]),
            Some(true),
        ),
        ("i to the i", power(i(), i()), exp(over(pi(), n(-2))), Some(true)),
        (
            "tan 15",
            call(Tan, degrees(15)),
            sum([n(2), sqrt(n(3)).negated()]),
            Some(true),
        ),
        (
            "small magnitudes",
            product([ten(-80), pi()]),
            product([ten(-80), n(3)]),
            Some(false),
        ),
        ("log 8", Expression::Call(Log, vec![n(8), n(2)]), n(3), Some(true)),
        (
            "log 8 to 4",
            Expression::Call(Log, vec![n(8), n(4)]),
            q(3, 2),
            Some(true),
        ),
        ("real cube root", root(3, n(-8)), n(-2), Some(true)),
        (
            "modulus",
            call(Abs, sum([n(3), product([n(4), i()])])),
            n(5),
            Some(true),
        ),
        (
            "gauss",
            product([sum([n(1), i()]), sum([n(1), i().negated()])]),
            n(2),
            Some(true),
        ),
        (
            "cos 1 degree",
            call(Cos, degrees(1)),
            sum([
                product([n(4), power(call(Cos, over(degrees(1), n(3))), n(3))]),
                product([n(-3), call(Cos, over(degrees(1), n(3)))]),
            ]),
            Some(true),
        ),
        (
            "root sums",
            sum([sqrt(n(2)), sqrt(n(3)), sqrt(n(6))]),
            sqrt(sum([
                n(11),
                product([n(2), sqrt(n(6))]),
                product([n(4), sqrt(n(3))]),
                product([n(6), sqrt(n(2))]),
            ])),
            Some(true),
        ),
        (
            "half factorial",
            call(Factorial, n(20)),
            big("2432902008176640000"),
            Some(true),
        ),
        ("floor", call(Floor, product([n(10), sqrt(n(2))])), n(14), Some(true)),
        (
            "floor of nearly",
            call(Floor, sum([n(1), exp(n(-100)).negated()])),
            n(0),
            Some(true),
        ),
        (
            "pythagoras",
            sum([power(call(Sin, x("x")), n(2)), power(call(Cos, x("x")), n(2))]),
            n(1),
            Some(true),
        ),
        ("root of square", sqrt(power(x("x"), n(2))), x("x"), Some(false)),
        (
            "root of square is modulus",
            sqrt(power(x("x"), n(2))),
            call(Abs, x("x")),
            Some(true),
        ),
        (
            "root of product",
            product([sqrt(x("a")), sqrt(x("b"))]),
            sqrt(product([x("a"), x("b")])),
            Some(true),
        ),
        (
            "log of square",
            call(Ln, power(x("x"), n(2))),
            product([n(2), call(Ln, x("x"))]),
            Some(true),
        ),
        ("tiny shift", sum([x("x"), ten(-30)]), x("x"), Some(false)),
        ("tinier shift", sum([x("x"), ten(-300)]), x("x"), Some(false)),
        (
            "tiny factor",
            product([x("x"), sum([n(1), ten(-60)])]),
            x("x"),
            Some(false),
        ),
        ("cube root of x cubed", root(3, power(x("x"), n(3))), x("x"), Some(true)),
        (
            "unknown",
            named("f", sum([x("x"), n(1)])),
            named("f", sum([n(1), x("x")])),
            Some(true),
        ),
        (
            "unknown elsewhere",
            named("f", x("x")),
            named("f", sum([x("x"), ten(-50)])),
            Some(false),
        ),
        ("unknown names", named("f", x("x")), named("g", x("x")), Some(false)),
        (
            "minus one to the n",
            product([n(-1), power(n(-1), x("n"))]),
            power(n(-1), sum([x("n"), n(1)])),
            Some(true),
        ),
        ("arcsin", call(Sin, call(Arcsin, x("x"))), x("x"), Some(true)),
        (
            "arc sum",
            sum([call(Arcsin, x("x")), call(Arccos, x("x"))]),
            over(pi(), n(2)),
            Some(true),
        ),
        (
            "conjugate",
            product([x("z"), call(Conjugate, x("z"))]),
            power(call(Abs, x("z")), n(2)),
            Some(true),
        ),
        ("conjugate is not itself", call(Conjugate, x("z")), x("z"), Some(false)),
        ("identically zero", sum([x("x"), x("x").negated()]), n(0), Some(true)),
        (
            "binomial formula",
            power(sum([x("x"), n(1)]), n(3)),
            sum([
                power(x("x"), n(3)),
                product([n(3), power(x("x"), n(2))]),
                product([n(3), x("x")]),
                n(1),
            ]),
            Some(true),
        ),
        (
            "logistic",
            over(n(1), sum([n(1), exp(x("x").negated())])),
            over(exp(x("x")), sum([n(1), exp(x("x"))])),
            Some(true),
        ),
        (
            "double angle",
            call(Sin, product([n(2), x("t")])),
            product([n(2), call(Sin, x("t")), call(Cos, x("t"))]),
            Some(true),
        ),
    ]
}

#[test]
fn known_cases_are_decided() {
    let mut wrong = Vec::new();
    for (name, left, right, expected) in cases() {
        let expected = match expected {
            Some(true) => Decision::Equal,
            Some(false) => Decision::Different,
            None => Decision::Undecided,
        };
        for (left, right) in [(&left, &right), (&right, &left)] {
            let decision = decide(left, right, &mut Steps::default());
            if decision != Ok(expected) {
                wrong.push((name, decision, expected));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
#[ignore = "prints how long each case takes"]
fn time_known_cases() {
    for (name, left, right, _) in cases() {
        let mut best = f64::MAX;
        let mut used = 0;
        for _ in 0..20 {
            let mut steps = Steps::default();
            let start = Instant::now();
            let _ = decide(&left, &right, &mut steps);
            best = best.min(start.elapsed().as_secs_f64());
            used = Steps::default().left() - steps.left();
        }
        println!(
            "{name:26} {:8.1} us {used:8} steps {:5.1} ns/step",
            best * 1e6,
            best * 1e9 / used as f64
        );
    }
}

#[test]
fn what_has_no_value_or_is_too_large_ends_so() {
    let tower = power(n(9), power(n(9), power(n(9), n(9))));
    let mut steps = Steps::default();
    assert_eq!(decide(&tower, &n(17), &mut steps), Err(Stop::TooLarge));
    assert!(steps.left() > 700_000);
    let zero = sum([n(1), n(-1)]);
    assert_eq!(
        decide(&over(n(1), zero.clone()), &n(17), &mut steps),
        Err(Stop::Undefined)
    );
    assert_eq!(
        decide(&power(zero.clone(), n(-1)), &n(17), &mut steps),
        Err(Stop::Undefined)
    );
    assert_eq!(decide(&power(zero, n(0)), &n(1), &mut steps), Ok(Decision::Equal));
    assert_eq!(
        decide(&call(Function::Ln, n(0)), &n(1), &mut steps),
        Err(Stop::Undefined)
    );
    assert_eq!(
        decide(&call(Function::Factorial, n(1_000_000)), &n(1), &mut steps),
        Err(Stop::TooLarge)
    );
    assert_eq!(
        decide(&call(Function::Tan, over(pi(), n(2))), &n(1), &mut steps),
        Err(Stop::Undefined)
    );
    let infinity = Expression::Constant(Constant::Infinity);
    assert_eq!(
        decide(&over(infinity.clone(), infinity), &n(1), &mut steps),
        Err(Stop::Undefined)
    );
    assert_eq!(
        decide(&call(Function::Factorial, x("n")), &n(1), &mut steps),
        Ok(Decision::Undecided)
    );
    let huge_root = power(n(7), Expression::Number((1, 1_000_000_000).into_ratio()));
    assert_eq!(decide(&huge_root, &n(1), &mut steps), Ok(Decision::Different));
}

#[test]
fn end_points_are_ordered() {
    let infinity = || Expression::Constant(Constant::Infinity);
    let order = |left: Expression, right: Expression| compare(&left, &right, &mut Steps::default()).unwrap();
    assert_eq!(order(infinity().negated(), n(-5)), Some(Ordering::Less));
    assert_eq!(order(n(-5), infinity()), Some(Ordering::Less));
    assert_eq!(order(infinity(), infinity()), Some(Ordering::Equal));
    assert_eq!(order(infinity(), infinity().negated()), Some(Ordering::Greater));
    assert_eq!(order(sqrt(n(2)), q(7, 5)), Some(Ordering::Greater));
    assert_eq!(order(sqrt(n(8)), product([n(2), sqrt(n(2))])), Some(Ordering::Equal));
    assert_eq!(order(i(), n(2)), None);
}

#[test]
fn equations_are_compared_up_to_a_factor() {
    let of = |left: Expression, right: Expression| proportional(&left, &right, &mut Steps::default()).unwrap();
    let line = || sum([product([n(2), x("x")]), x("y").negated(), n(8)]);
    assert_eq!(of(line(), product([n(3), line()])), Proportion::Positive);
    assert_eq!(of(line(), line().negated()), Proportion::Negative);
    assert_eq!(of(product([pi(), line()]), line()), Proportion::Positive);
    assert_eq!(of(line(), sum([line(), n(1)])), Proportion::None);
    assert_eq!(of(line(), product([x("x"), line()])), Proportion::None);
    assert_eq!(of(line(), product([i(), line()])), Proportion::None);
    assert_eq!(of(n(3), sqrt(n(2)).negated()), Proportion::Negative);
    assert_eq!(of(n(3), n(0)), Proportion::None);
    assert_eq!(of(sum([x("x"), x("x").negated()]), line()), Proportion::None);
}

fn constant_expression() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        (-30_i64..30).prop_map(n),
        (-30_i64..30, 1_u64..30).prop_map(|(above, below)| q(above, below)),
        Just(pi()),
        Just(i()),
        Just(Expression::Constant(Constant::Euler)),
        Just(x("x")),
        Just(x("y")),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let function = prop::sample::select(vec![
            Function::Sin,
            Function::Cos,
            Function::Tan,
            Function::Cot,
            Function::Sec,
            Function::Csc,
            Function::Arcsin,
            Function::Arccos,
            Function::Arctan,
            Function::Arccot,
            Function::Sinh,
            Function::Cosh,
            Function::Tanh,
            Function::Ln,
            Function::Abs,
            Function::Floor,
            Function::Ceiling,
            Function::Factorial,
            Function::Re,
            Function::Im,
            Function::Conjugate,
            Function::Named("f".into()),
        ]);
        let pair = prop::sample::select(vec![
            Function::Log,
            Function::Binomial,
            Function::Gcd,
            Function::Lcm,
            Function::Max,
            Function::Min,
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(sum),
            prop::collection::vec(inner.clone(), 1..4).prop_map(product),
            (inner.clone(), inner.clone()).prop_map(|(base, exponent)| power(base, exponent)),
            (inner.clone(), -5_i64..6, 1_u64..6).prop_map(|(base, above, below)| power(base, q(above, below))),
            (function, inner.clone()).prop_map(|(function, argument)| call(function, argument)),
            (pair, inner.clone(), inner)
                .prop_map(|(function, left, right)| { Expression::Call(function, vec![left, right]) }),
        ]
    })
}

fn evaluate(expression: &Expression, precision: usize) -> Result<anytime_verifier::ball::value::Value, Trouble> {
    use anytime_verifier::ball::point::{Point, Signs};
    let mut steps = Steps::new(u64::MAX);
    let point = Point {
        seed: 7,
        signs: Signs::Mixed,
        scale: 0,
        complex: false,
    };
    Evaluator::new(Some(point), Context::new(precision, &mut steps)).evaluate(expression)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn enclosures_overlap_at_every_precision(expression in constant_expression()) {
        let values: Vec<_> = [90, 192, 700].into_iter().map(|bits| evaluate(&expression, bits)).collect();
        let mut steps = Steps::new(u64::MAX);
        let mut context = Context::new(2_000, &mut steps);
        for pair in values.windows(2) {
            match (&pair[0], &pair[1]) {
                (Ok(rough), Ok(fine)) => {
                    // Unknown functions tell their arguments apart at a part of the precision.
                    if format!("{expression:?}").contains("Named") {
                        continue;
                    }
                    let rough = rough.to_complex(&mut context).unwrap();
                    let fine = fine.to_complex(&mut context).unwrap();
                    prop_assert!(rough.minus(&fine, &mut context).unwrap().contains_zero());
                }
                (Err(Trouble::Stop(rough)), Ok(_)) => prop_assert!(false, "{rough} and then a value"),
                _ => {}
            }
        }
    }

    #[test]
    fn nothing_differs_from_itself(left in constant_expression(), right in constant_expression()) {
        let same = decide(&left, &left, &mut Steps::default());
        prop_assert!(same != Ok(Decision::Different), "{same:?}");
        let both = [left.clone(), right.clone()];
        let swapped = [right.clone(), left.clone()];
        let swap = decide(&sum(both.clone()), &sum(swapped.clone()), &mut Steps::default());
        prop_assert!(swap != Ok(Decision::Different), "{swap:?}");
        let shifted = decide(&sum([left.clone(), big("1/1000000000000000000000")]), &left, &mut Steps::default());
        prop_assert!(shifted != Ok(Decision::Equal), "{shifted:?}");
    }
}

/// Expressions of about 2,000 nodes that are made to be expensive.
fn nasty() -> Vec<(&'static str, Expression, Expression)> {
    use Function::*;
    let many = |count: i64, of: &dyn Fn(i64) -> Expression| (1..=count).map(of).collect::<Vec<_>>();
    let nested = |depth: usize, start: Expression, wrap: &dyn Fn(Expression) -> Expression| {
        (0..depth).fold(start, |inner, _| wrap(inner))
    };
    let all = [Sin, Cos, Tan, Arcsin, Arctan, Sinh, Tanh, Ln];
    let digits = |count: usize| big(&"7".repeat(count));
    let mut cases = vec![
        (
            "sines of variables",
            sum(many(400, &|k| call(Sin, product([n(k), x("x")])))),
            n(0),
        ),
        (
            "equal sines",
            sum(many(300, &|k| call(Sin, product([n(k), x("x")])))),
            sum(many(300, &|k| call(Sin, product([x("x"), n(k)])))),
        ),
        (
            "equal roots",
            sum(many(500, &|k| sqrt(n(k)))),
            sum(many(500, &|k| sqrt(n(501 - k)))),
        ),
        (
            "fifth roots",
            sum(many(500, &|k| root(5, n(k)))),
            sum(many(500, &|k| root(5, n(501 - k)))),
        ),
        (
            "cubic roots of one",
            sum(many(400, &|k| root(5, sum([n(k), i()])))),
            sum(many(400, &|k| root(5, sum([i(), n(401 - k)])))),
        ),
        (
            "exponentials",
            sum(many(300, &|k| exp(q(k, 7)))),
            sum(many(300, &|k| exp(q(301 - k, 7)))),
        ),
        (
            "logarithms",
            sum(many(300, &|k| call(Ln, n(k)))),
            sum(many(300, &|k| call(Ln, n(301 - k)))),
        ),
        (
            "harmonic",
            sum(many(600, &|k| q(1, k as u64))),
            sum(many(600, &|k| q(1, 601 - k as u64))),
        ),
        ("factorials", sum(many(600, &|k| call(Factorial, n(1200 + k)))), n(1)),
        (
            "binomials",
            sum(many(600, &|k| Expression::Call(Binomial, vec![n(1200 + k), n(600)]))),
            n(1),
        ),
        (
            "many digits",
            product(vec![digits(4000); 3]),
            product(vec![digits(4000); 3]),
        ),
        (
            "root of many digits",
            sqrt(digits(4000)),
            sqrt(sum([digits(4000), n(1)])),
        ),
        (
            "sine of many digits",
            call(Sin, digits(1200)),
            call(Sin, sum([digits(1200), n(1)])),
        ),
        (
            "quotients of many digits",
            sum(vec![over(digits(600), digits(599)); 100]),
            n(1),
        ),
        (
            "gcd of many digits",
            Expression::Call(Gcd, vec![digits(2000), digits(1999)]),
            n(3),
        ),
        (
            "powers",
            sum(many(500, &|k| power(sum([x("x"), n(k)]), n(1_000_000_007)))),
            n(0),
        ),
        (
            "real powers",
            sum(many(500, &|k| power(sum([x("x"), n(k)]), x("y")))),
            n(0),
        ),
        (
            "nested roots",
            nested(60, x("x"), &|inner| sqrt(sum([inner, n(1)]))),
            nested(60, x("x"), &|inner| sqrt(sum([n(1), inner]))),
        ),
        (
            "nested constants",
            nested(60, n(2), &|inner| sqrt(sum([inner, n(1)]))),
            nested(60, n(2), &|inner| sqrt(sum([n(1), inner]))),
        ),
        (
            "unknown functions",
            sum(many(500, &|k| named("f", sum([x("x"), sqrt(n(k))])))),
            sum(many(500, &|k| named("f", sum([x("x"), sqrt(n(501 - k))])))),
        ),
        (
            "complex",
            sum(many(200, &|k| call(Sin, sum([i(), product([n(k), x("x")])])))),
            sum(many(200, &|k| call(Sin, sum([product([n(k), x("x")]), i()])))),
        ),
        (
            "cosines",
            sum(many(300, &|k| call(Cos, over(pi(), n(997 + k))))),
            sum(many(300, &|k| call(Cos, over(pi(), n(1298 - k))))),
        ),
        (
            "variables",
            product(many(1000, &|k| sum([x(&format!("x{k}")), n(1)]))),
            product(many(1000, &|k| sum([n(1), x(&format!("x{k}"))]))),
        ),
        (
            "moduli",
            sum(many(300, &|k| call(Abs, sum([x("x"), product([n(k), i()])])))),
            sum(many(300, &|k| call(Abs, sum([x("x"), product([n(301 - k), i()])])))),
        ),
        (
            "lost everywhere",
            sum(many(200, &|k| call(Cos, exp(n(-5000 - k))))),
            n(200),
        ),
        (
            "big angles",
            sum(many(300, &|k| call(Sin, power(n(7), n(1400 - k))))),
            n(0),
        ),
        ("pi powers", product(vec![pi(); 1000]), product(vec![pi(); 1000])),
        (
            "floors",
            sum(many(300, &|k| call(Floor, product([n(k), exp(q(k, 9))])))),
            n(0),
        ),
    ];
    for function in all {
        let of = |k: i64| nested(6, q(k, 301), &|inner| call(function.clone(), inner));
        cases.push((
            "nested functions",
            sum(many(150, &of)),
            sum(many(150, &|k| of(151 - k))),
        ));
    }
    cases
}

#[test]
#[ignore = "measures: run it alone and in release"]
fn the_worst_cases_end_in_time() {
    let mut slowest = 0.0_f64;
    for (name, left, right) in nasty() {
        for (what, run) in [
            (
                "decide",
                (|l, r, s| format!("{:?}", decide(l, r, s))) as fn(&Expression, &Expression, &mut Steps) -> String,
            ),
            ("proportional", |l, r, s| format!("{:?}", proportional(l, r, s))),
        ] {
            let mut best = f64::MAX;
            let (mut used, mut result) = (0, String::new());
            for _ in 0..3 {
                let mut steps = Steps::default();
                let start = Instant::now();
                result = run(&left, &right, &mut steps);
                best = best.min(start.elapsed().as_secs_f64());
                used = Steps::default().left() - steps.left();
            }
            slowest = slowest.max(best);
            let nodes = left.node_count() + right.node_count();
            println!(
                "{name:24} {what:12} {nodes:5} nodes {:8.2} ms {used:7} steps {result}",
                best * 1e3
            );
        }
    }
    println!("slowest {:.2} ms", slowest * 1e3);
    assert!(slowest < 0.010);
}
