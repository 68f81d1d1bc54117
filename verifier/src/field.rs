//! Decides equality of expressions by their values at random points of finite fields.
//!
//! An expression without roots and transcendental functions is a rational function of its symbols, of π, of e and of
//! the values of unknown functions, with coefficients in Q(i). Modulo a prime p that is 1 modulo 4 there is a square
//! root of −1 to stand for i. If two such functions are equal, they have equal values wherever all steps of both
//! evaluations are defined; so values that differ prove that the functions do. This holds with π, which is
//! transcendental, or e, which is as well; of both together it is not known, and a difference then proves nothing.
//!
//! If the functions differ, their difference has a numerator whose degree and bits of coefficients are at most the
//! *size* of both, which is bounded by 2^34. It vanishes at a random point
//! - if all its coefficients vanish modulo p: at most 2^34/60 of the primes between 2^60 and 2^61 divide one of them,
//!   and of those that are 1 modulo 4 there are more than 10^16, so for a random one the probability is below 10^-7;
//! - else, by Schwartz and Zippel, with a probability of at most 2^34/p, which is below 10^-7.
//!
//! Three independent primes and points agree with a probability below 10^-20. The words that choose them come from a
//! generator that is seeded with both expressions, so that a pair is always decided alike.
//!
//! What is not rational (roots, sines, powers with symbols in the exponent) is brought into canonical form, and its
//! opaque atoms get random values: expressions that agree for all values of these are equal, while a difference leaves
//! the pair undecided.

mod point;

use std::hash::{Hash as _, Hasher as _};

use self::point::{Field, NoValue, Point, Random, Value};
use crate::equality::Decision;
use crate::expression::Expression;
use crate::modulus::Residue;
use crate::normal::Digest;
use crate::steps::{Steps, Stop};

/// Points at which expressions must agree.
const AGREEMENTS: usize = 3;
/// Points that are tried for that.
const MAX_POINTS: usize = 6;

/// Whether two expressions are equal.
///
/// # Errors
/// [`Stop::Undefined`] if a divisor is zero everywhere, [`Stop::Unsupported`] for arithmetic with ∞ and the like,
/// [`Stop::TooLarge`] and [`Stop::OutOfSteps`] at the limits.
pub fn decide(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Decision, Stop> {
    let mut random = seeded(left, right, steps)?;
    let mut agreements = 0;
    for _ in 0..MAX_POINTS {
        let field = Field::random(&mut random, steps)?;
        let mut point = Point::new(&field, random.next());
        let Some((left_value, right_value)) = evaluate_both(&mut point, left, right, steps)? else {
            continue;
        };
        if left_value != right_value {
            let proven = point.proves_difference();
            return Ok(if proven {
                Decision::Different
            } else {
                Decision::Undecided
            });
        }
        agreements += 1;
        if agreements == AGREEMENTS {
            return Ok(Decision::Equal);
        }
    }
    match agreements {
        0 => Err(Stop::Undefined),
        _ => Ok(Decision::Undecided),
    }
}

/// Whether the first expression is a constant multiple, other than zero, of the second. `None` if that is not known.
///
/// # Errors
/// As [`decide`].
pub fn proportional(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Option<bool>, Stop> {
    let mut random = seeded(left, right, steps)?;
    let mut poles = 0;
    // At several points of one field a constant ratio is the same residue.
    for _ in 0..2 {
        let field = Field::random(&mut random, steps)?;
        let mut ratio: Option<Residue> = None;
        let mut points = 0;
        while points < AGREEMENTS {
            let mut point = Point::new(&field, random.next());
            let Some((left_value, right_value)) = evaluate_both(&mut point, left, right, steps)? else {
                poles += 1;
                match poles > MAX_POINTS {
                    true => return Ok(None),
                    false => continue,
                }
            };
            points += 1;
            let not_proportional = if point.proves_difference() { Some(false) } else { None };
            steps.spend(60)?;
            match field.divide(left_value, right_value) {
                // By chance a value is zero with the probability of a wrong agreement.
                None if left_value.is_zero() => {}
                None => return Ok(not_proportional),
                Some(quotient) if quotient.is_zero() => return Ok(not_proportional),
                Some(quotient) => {
                    if *ratio.get_or_insert(quotient) != quotient {
                        return Ok(not_proportional);
                    }
                }
            }
        }
    }
    Ok(Some(true))
}

/// Both values, or `None` at a pole.
fn evaluate_both(
    point: &mut Point<'_>,
    left: &Expression,
    right: &Expression,
    steps: &mut Steps,
) -> Result<Option<(Residue, Residue)>, Stop> {
    let mut evaluate = |expression: &Expression| point.evaluate(expression, steps);
    let values = evaluate(left).and_then(|left_value| Ok((left_value, evaluate(right)?)));
    match values {
        Ok((Value { residue: left, .. }, Value { residue: right, .. })) => Ok(Some((left, right))),
        Err(NoValue::Pole) => Ok(None),
        Err(NoValue::Stop(stop)) => Err(stop),
    }
}

fn seeded(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Random, Stop> {
    let mut digest = Digest::default();
    hash(left, &mut digest, steps)?;
    hash(right, &mut digest, steps)?;
    Ok(Random::new(digest.finish()))
}

fn hash(expression: &Expression, digest: &mut Digest, steps: &mut Steps) -> Result<(), Stop> {
    steps.spend(1)?;
    std::mem::discriminant(expression).hash(digest);
    match expression {
        Expression::Number(value) => value.hash(digest),
        Expression::Constant(constant) => constant.hash(digest),
        Expression::Symbol(name) => name.hash(digest),
        Expression::Sum(parts) | Expression::Product(parts) => hash_all(parts, digest, steps)?,
        Expression::Power(base, exponent) => {
            hash(base, digest, steps)?;
            hash(exponent, digest, steps)?;
        }
        Expression::Call(function, arguments) => {
            function.hash(digest);
            hash_all(arguments, digest, steps)?;
        }
    }
    Ok(())
}

fn hash_all(expressions: &[Expression], digest: &mut Digest, steps: &mut Steps) -> Result<(), Stop> {
    digest.write_usize(expressions.len());
    expressions
        .iter()
        .try_for_each(|expression| hash(expression, digest, steps))
}

#[cfg(test)]
mod tests;
