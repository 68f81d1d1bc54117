//! Canonical forms and finite fields on random expressions: rewritten by exact identities they stay equal, and after a
//! near miss they are never equal. Longer than 500 lines because random and worst cases are made by the same builders.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use anytime_verifier::equality::Decision;
use anytime_verifier::expression::{Constant, Expression, Function};
use anytime_verifier::steps::{Steps, Stop};
use anytime_verifier::{field, normal};
use dashu_ratio::RBig;
use proptest::prelude::*;

/// Random choices, all from one seed.
struct Choices {
    state: u64,
}

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % bound
    }

    fn between(&mut self, lowest: i64, highest: i64) -> i64 {
        lowest + self.below((highest - lowest + 1) as u64) as i64
    }

    fn number(&mut self) -> Expression {
        rational(self.between(-9, 9), self.between(1, 4))
    }

    fn nonzero(&mut self) -> Expression {
        rational(self.between(1, 9) * (self.between(0, 1) * 2 - 1), self.between(1, 4))
    }
}

fn rational(above: i64, below: i64) -> Expression {
    Expression::Number(RBig::from_parts(above.into(), below.unsigned_abs().into()))
}

fn integer(value: i64) -> Expression {
    Expression::integer(value)
}

fn symbol(name: &str) -> Expression {
    Expression::Symbol(name.into())
}

fn sum(parts: impl IntoIterator<Item = Expression>) -> Expression {
    Expression::Sum(parts.into_iter().collect())
}

fn product(parts: impl IntoIterator<Item = Expression>) -> Expression {
    Expression::Product(parts.into_iter().collect())
}

fn power(base: Expression, exponent: Expression) -> Expression {
    Expression::Power(Box::new(base), Box::new(exponent))
}

fn root(value: Expression) -> Expression {
    power(value, rational(1, 2))
}

fn quotient(above: Expression, below: Expression) -> Expression {
    product([above, below.inverse()])
}

fn call(function: Function, argument: Expression) -> Expression {
    Expression::Call(function, vec![argument])
}

fn canonical(left: &Expression, right: &Expression) -> Result<Decision, Stop> {
    let steps = &mut Steps::default();
    let (left, right) = (normal::normalise(left, steps)?, normal::normalise(right, steps)?);
    Ok(normal::decide(&left, &right))
}

fn in_fields(left: &Expression, right: &Expression) -> Result<Decision, Stop> {
    field::decide(left, right, &mut Steps::default())
}

/// A random expression; it may have no value.
fn random_expression(choices: &mut Choices, depth: u32) -> Expression {
    if depth == 0 {
        return match choices.below(8) {
            0..3 => choices.number(),
            3 => symbol("x"),
            4 => symbol("y"),
            5 => Expression::Constant(Constant::Pi),
            6 => Expression::Constant(Constant::Imaginary),
            _ => root(integer(choices.between(2, 12))),
        };
    }
    let parts = |choices: &mut Choices| -> Vec<Expression> {
        let count = choices.between(2, 3);
        (0..count).map(|_| random_expression(choices, depth - 1)).collect()
    };
    match choices.below(9) {
        0..4 => Expression::Sum(parts(choices)),
        4..7 => Expression::Product(parts(choices)),
        7 => {
            let exponent = integer(choices.between(-2, 3));
            power(random_expression(choices, depth - 1), exponent)
        }
        _ => match choices.below(4) {
            0 => call(Function::Named("f".into()), random_expression(choices, depth - 1)),
            1 => call(Function::Sin, random_expression(choices, depth - 1)),
            2 => root(random_expression(choices, depth - 1)),
            _ => power(integer(choices.between(2, 6)), random_expression(choices, depth - 1)),
        },
    }
}

/// The same value in another form; the rewriting goes down the tree.
fn rewrite(expression: &Expression, choices: &mut Choices) -> Expression {
    let rewritten = match expression {
        Expression::Sum(parts) => {
            let mut parts: Vec<Expression> = parts.iter().map(|part| rewrite(part, choices)).collect();
            let first = choices.below(parts.len() as u64) as usize;
            parts.rotate_left(first);
            if parts.len() > 2 && choices.below(2) == 0 {
                let last = parts.split_off(2);
                parts = vec![Expression::Sum(parts), Expression::Sum(last)];
            }
            Expression::Sum(parts)
        }
        Expression::Product(parts) => {
            let mut parts: Vec<Expression> = parts.iter().map(|part| rewrite(part, choices)).collect();
            let first = choices.below(parts.len() as u64) as usize;
            parts.rotate_left(first);
            match (parts.as_slice(), choices.below(2)) {
                ([factor, Expression::Sum(terms)], 0) => {
                    sum(terms.iter().map(|term| product([term.clone(), factor.clone()])))
                }
                _ => Expression::Product(parts),
            }
        }
        Expression::Power(base, exponent) => {
            let new_base = rewrite(base, choices);
            match exponent.as_ref() {
                Expression::Number(value) if *value == RBig::from(2) => product([new_base.clone(), new_base]),
                Expression::Number(value) if *value == RBig::from(3) => {
                    product([new_base.clone(), power(new_base, integer(2))])
                }
                Expression::Number(value) if *value == RBig::from_parts(1.into(), 2u8.into()) => {
                    match (base.as_ref(), choices.below(3)) {
                        (Expression::Number(radicand), 0) => quotient(
                            Expression::Number(radicand.clone()),
                            root(Expression::Number(radicand.clone())),
                        ),
                        (Expression::Number(radicand), 1) => {
                            quotient(root(Expression::Number(radicand.clone() * RBig::from(49))), integer(7))
                        }
                        _ => Expression::Power(base.clone(), exponent.clone()),
                    }
                }
                _ => power(new_base, exponent.as_ref().clone()),
            }
        }
        Expression::Number(value) => match choices.below(4) {
            0 => {
                let part = choices.number();
                let Expression::Number(known) = &part else {
                    unreachable!()
                };
                sum([Expression::Number(value - known), part])
            }
            1 => {
                let part = choices.nonzero();
                let Expression::Number(known) = &part else {
                    unreachable!()
                };
                product([Expression::Number(value / known), part])
            }
            _ => expression.clone(),
        },
        other => other.clone(),
    };
    match choices.below(12) {
        0 => sum([rewritten, integer(0)]),
        1 => product([integer(1), rewritten]),
        2 => rewritten.negated().negated(),
        3 => {
            let factor = choices.nonzero();
            quotient(product([factor.clone(), rewritten]), factor)
        }
        4 => {
            let part = product([choices.number(), symbol("y")]);
            sum([part.clone(), rewritten, part.negated()])
        }
        _ => rewritten,
    }
}

/// The parts of one term of a sum: no two of these with different values of the last four make the same term.
#[derive(Clone, PartialEq)]
struct Term {
    coefficient: i64,
    divisor: i64,
    radicand: i64,
    x_exponent: i64,
    y_exponent: i64,
    imaginary: bool,
}

impl Term {
    fn random(choices: &mut Choices) -> Self {
        Self {
            coefficient: choices.between(1, 20) * (choices.between(0, 1) * 2 - 1),
            divisor: choices.between(1, 3),
            radicand: choices.between(1, 10),
            x_exponent: choices.between(-1, 3),
            y_exponent: choices.between(0, 2),
            imaginary: choices.below(3) == 0,
        }
    }

    fn expression(&self, other_name: bool) -> Expression {
        let x = symbol(if other_name { "z" } else { "x" });
        let mut factors = vec![
            rational(self.coefficient, self.divisor),
            root(integer(self.radicand)),
            power(x, integer(self.x_exponent)),
            power(symbol("y"), integer(self.y_exponent)),
        ];
        if self.imaginary {
            factors.push(Expression::Constant(Constant::Imaginary));
        }
        Expression::Product(factors)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rewriting_keeps_equality(seed in any::<u64>(), depth in 1u32..4) {
        let choices = &mut Choices { state: seed };
        let original = random_expression(choices, depth);
        let mut rewritten = original.clone();
        for _ in 0..choices.between(1, 3) {
            rewritten = rewrite(&rewritten, choices);
        }
        prop_assert_ne!(canonical(&original, &rewritten), Ok(Decision::Different), "{:?} {:?}", original, rewritten);
        prop_assert_ne!(in_fields(&original, &rewritten), Ok(Decision::Different), "{:?} {:?}", original, rewritten);
    }

    #[test]
    fn sums_of_terms_are_decided(seed in any::<u64>(), term_count in 1usize..5) {
        let choices = &mut Choices { state: seed };
        let terms: Vec<Term> = (0..term_count).map(|_| Term::random(choices)).collect();
        let original = sum(terms.iter().map(|term| term.expression(false)));
        let rewritten = rewrite(&original, choices);
        prop_assert_eq!(canonical(&original, &rewritten), Ok(Decision::Equal));

        // With one term changed, the difference is that of two terms; it is zero only if they are the same.
        let mut changed_terms = terms.clone();
        let changed = choices.below(term_count as u64) as usize;
        let mut other_name = false;
        let term = &mut changed_terms[changed];
        match choices.below(6) {
            0 => term.coefficient += if term.coefficient == -1 { -1 } else { 1 },
            1 => term.coefficient = -term.coefficient,
            2 => term.x_exponent += 1,
            3 => term.radicand += 1,
            4 => term.imaginary = !term.imaginary,
            _ => other_name = term.x_exponent != 0,
        }
        if changed_terms == terms && !other_name {
            return Ok(());
        }
        let missed = sum(changed_terms.iter().enumerate().map(|(index, term)| {
            term.expression(other_name && index == changed)
        }));
        let missed = rewrite(&missed, choices);
        prop_assert_eq!(canonical(&rewritten, &missed), Ok(Decision::Different), "{:?} {:?}", rewritten, missed);
        prop_assert_ne!(in_fields(&rewritten, &missed), Ok(Decision::Equal));
    }

    #[test]
    fn both_deciders_agree(seed in any::<u64>(), depth in 1u32..4) {
        let choices = &mut Choices { state: seed };
        let (left, right) = (random_expression(choices, depth), random_expression(choices, depth));
        for (left, right) in [(&left, &right), (&left, &left.clone())] {
            let decisions = (canonical(left, right), in_fields(left, right));
            prop_assert_ne!(&decisions, &(Ok(Decision::Equal), Ok(Decision::Different)), "{:?} {:?}", left, right);
            prop_assert_ne!(&decisions, &(Ok(Decision::Different), Ok(Decision::Equal)), "{:?} {:?}", left, right);
        }
    }
}

/// The longest of these are near the limits of what the deciders may cost.
fn worst_cases() -> Vec<(&'static str, Expression)> {
    let x = || symbol("x");
    let bomb = |sign: i64| power(sum([integer(1), product([integer(sign), x()])]), integer(1_000_000));
    let roots = |count: i64| sum((2..2 + count).map(|radicand| root(integer(radicand))));
    let mut nested = x();
    for level in 0..60 {
        nested = match level % 4 {
            0 => root(sum([nested, integer(level)])),
            1 => call(Function::Sin, sum([nested, x()])),
            2 => power(sum([nested, integer(1)]), integer(3)),
            _ => sum([integer(1), nested]).inverse(),
        };
    }
    let mut nested_powers = sum([x(), integer(1)]);
    for _ in 0..30 {
        nested_powers = root(sum([power(nested_powers, integer(5)), integer(1)]));
    }
    let huge = |base: i64, exponent: i64| power(integer(base), integer(exponent));
    let names = |count: usize| (0..count).map(|index| symbol(&format!("x_{{{index}}}")));
    let semiprime = || product([integer(1_000_000_007), integer(998_244_353)]);
    vec![
        ("expansion bomb", sum([bomb(1), bomb(-1).negated()])),
        (
            "many sums multiplied",
            product((0..60).map(|shift| sum([x(), symbol("y"), integer(shift)]))),
        ),
        (
            "many sums of names multiplied",
            product(names(40).map(|name| sum([name, integer(1)]))),
        ),
        ("7,000 terms of one", sum((0..7000).map(|_| integer(1)).chain([x()]))),
        ("7,000 names", sum(names(7000))),
        ("one over 3,000 names", sum(names(3000)).inverse()),
        (
            "7,000 different fractions",
            sum((1..7000).map(|below| rational(1, below))),
        ),
        ("nesting", nested),
        ("nested powers", nested_powers),
        (
            "sums of radicals multiplied",
            product([roots(40), roots(40), roots(30), roots(30)]),
        ),
        ("one over a sum of radicals", roots(40).inverse()),
        ("power of a sum of radicals", power(roots(12), integer(40))),
        (
            "power of a sum",
            power(sum([x(), symbol("y"), integer(3)]), integer(30)),
        ),
        ("binomial power", power(sum([x(), integer(3)]), integer(400))),
        (
            "golden power",
            power(
                sum([rational(1, 2), quotient(root(integer(5)), integer(2))]),
                integer(900),
            ),
        ),
        (
            "gcd of huge numbers",
            Expression::Call(Function::Gcd, vec![huge(6, 6000), huge(10, 4900)]),
        ),
        (
            "lcm of huge numbers",
            Expression::Call(Function::Lcm, vec![huge(6, 3000), huge(10, 2900)]),
        ),
        (
            "huge sums",
            sum((0..60)
                .map(|index| rational(1, 3 + index))
                .map(|base| power(base, integer(2500)))),
        ),
        (
            "factorials",
            sum((1000..1200).map(|value| call(Function::Factorial, integer(value)))),
        ),
        (
            "binomials",
            sum((0..100).map(|value| Expression::Call(Function::Binomial, vec![integer(9000), integer(1200 + value)]))),
        ),
        (
            "roots of huge numbers",
            sum((0..20).map(|value| root(sum([huge(10, 4000), integer(value)])))),
        ),
        (
            "roots of semiprimes",
            sum((0..2000).map(|value| root(sum([semiprime(), integer(value)])))),
        ),
        ("huge index", power(integer(7), rational(1, 1_000_000_000))),
        (
            "tower",
            power(integer(9), power(integer(9), power(integer(9), integer(9)))),
        ),
        (
            "sines",
            sum((1..2000).map(|value| {
                call(
                    Function::Sin,
                    product([rational(value, 7001), Expression::Constant(Constant::Pi)]),
                )
            })),
        ),
        (
            "powers of products of sines",
            power(
                sum((1..20).map(|value| call(Function::Sin, product([integer(value), x()])))),
                integer(3),
            ),
        ),
        (
            "1/(1+1/(1+…))",
            (0..58).fold(x(), |inner, _| sum([integer(1), inner]).inverse()),
        ),
    ]
}

/// Unoptimised code is some thirty times slower.
const LONGEST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 400 } else { 12 });

/// The shortest of some runs, as the machine may be busy with other things, with the steps and the result.
fn timed<T>(work: impl Fn(&mut Steps) -> T) -> (Duration, u64, T) {
    let run = || {
        let start = Instant::now();
        let mut steps = Steps::default();
        let result = work(&mut steps);
        (start.elapsed(), Steps::default().left() - steps.left(), result)
    };
    let runs = [run(), run(), run()];
    runs.into_iter().min_by_key(|(elapsed, ..)| *elapsed).unwrap()
}

#[test]
fn the_worst_cases_end_soon() {
    for (name, expression) in worst_cases() {
        let (elapsed, steps, decided) = timed(|steps| {
            let form = normal::normalise(&expression, steps)?;
            Ok::<_, Stop>(normal::decide(&form, &form.clone()))
        });
        let other = sum([expression.clone(), integer(0)]);
        let (field_elapsed, field_steps, by_field) = timed(|steps| field::decide(&expression, &other, steps));
        println!(
            "{name:32} form {elapsed:>10.1?} {steps:>7} steps {decided:?}; \
             field {field_elapsed:>10.1?} {field_steps:>7} steps {by_field:?}",
        );
        assert!(elapsed < LONGEST, "{name}: {elapsed:?}");
        assert!(field_elapsed < LONGEST, "{name}: {field_elapsed:?}");
    }
}

#[test]
#[ignore = "measures; run it in release"]
fn typical_pairs_are_fast() {
    let x = || symbol("x");
    let quadratic = |constant: i64| {
        sum([
            product([integer(16), power(x(), integer(2))]),
            product([integer(4), x()]),
            integer(constant),
        ])
    };
    let reversed = sum([
        integer(5),
        product([integer(4), x()]),
        product([integer(16), power(x(), integer(2))]),
    ]);
    let eleven = || root(integer(11));
    let pi = || Expression::Constant(Constant::Pi);
    let pairs = [
        ("16x^2+4x+5, reversed", quadratic(5), reversed),
        ("16x^2+4x+5, near miss", quadratic(5), quadratic(6)),
        (
            "6√11 = 66/√11",
            product([integer(6), eleven()]),
            quotient(integer(66), eleven()),
        ),
        (
            "67π/3",
            quotient(product([integer(67), pi()]), integer(3)),
            product([rational(67, 3), pi()]),
        ),
        ("43/48", quotient(integer(43), integer(48)), rational(43, 48)),
        (
            "√3-√2",
            sum([root(integer(3)), root(integer(2)).negated()]),
            sum([root(integer(2)).negated(), root(integer(3))]),
        ),
        (
            "1/(√3+√2)",
            sum([root(integer(3)), root(integer(2))]).inverse(),
            sum([root(integer(3)), root(integer(2)).negated()]),
        ),
        (
            "(x+1)^5",
            power(sum([x(), integer(1)]), integer(5)),
            product([sum([x(), integer(1)]), power(sum([x(), integer(1)]), integer(4))]),
        ),
        (
            "x/(x+1)",
            quotient(x(), sum([x(), integer(1)])),
            sum([integer(1), sum([x(), integer(1)]).inverse().negated()]),
        ),
        (
            "-1.764 against -30/17",
            rational(-1764, 1000),
            quotient(integer(-30), integer(17)),
        ),
    ];
    for (name, left, right) in pairs {
        let rounds = 20_000;
        let start = Instant::now();
        for _ in 0..rounds {
            let _ = black_box(canonical(black_box(&left), black_box(&right)));
        }
        let by_form = start.elapsed() / rounds;
        let start = Instant::now();
        for _ in 0..rounds / 20 {
            let _ = black_box(in_fields(black_box(&left), black_box(&right)));
        }
        let by_field = start.elapsed() / (rounds / 20);
        println!(
            "{name:24} form {by_form:>8.2?} {:?}; field {by_field:>8.2?} {:?}",
            canonical(&left, &right),
            in_fields(&left, &right)
        );
    }
}
