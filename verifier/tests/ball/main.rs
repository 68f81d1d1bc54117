//! Ball arithmetic: enclosures enclose, and known identities and near misses are decided.
#![allow(clippy::unwrap_used)]

mod build;
mod cases;
mod enclosures;
mod times;

use std::cmp::Ordering;

use anytime_verifier::ball::{Proportion, compare, decide, proportional};
use anytime_verifier::equality::Decision;
use anytime_verifier::expression::{Constant, Expression, Function};
use anytime_verifier::steps::{Steps, Stop};

use crate::build::*;
use crate::cases::cases;

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
fn what_has_no_value_or_is_too_large_ends_so() {
    let tower = power(n(9), power(n(9), power(n(9), n(9))));
    let mut steps = Steps::default();
    assert_eq!(decide(&tower, &n(17), &mut steps), Err(Stop::TooLarge));
    assert!(steps.left() > anytime_verifier::steps::STEPS - 100_000);
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
