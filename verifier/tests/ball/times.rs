//! Measures how long decisions take. Run it alone, in release, with `--ignored --nocapture`.

use std::time::Instant;

use anytime_verifier::ball::{decide, proportional};
use anytime_verifier::expression::{Expression, Function};
use anytime_verifier::steps::Steps;

use crate::build::*;
use crate::cases::cases;

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
