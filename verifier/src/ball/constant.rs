//! Decides about constants at rising precision, until there is a proof or the rule for transcendental constants
//! applies.

use std::cmp::Ordering;

use dashu_base::Sign;

use super::context::{Context, Trouble};
use super::evaluate::Evaluator;
use super::value::Value;
use crate::equality::Decision;
use crate::expression::{Constant, Expression};
use crate::steps::{Steps, Stop};

/// The precisions that are tried where no separation bound asks for another.
const PRECISIONS: [usize; 4] = [128, 384, 1024, 3072];
/// From here on a difference that contains zero counts as zero, if nothing was lost in it.
const CONVINCING_PRECISION: usize = 1024;
/// The highest precision that a separation bound may ask for.
const HIGHEST_PRECISION: u64 = 6_000;

/// Whether two constants are equal, and the sign of their difference where it is known.
pub(super) fn difference(
    left: &Expression,
    right: &Expression,
    steps: &mut Steps,
) -> Result<(Decision, Option<Sign>), Stop> {
    let mut precision = PRECISIONS[0];
    loop {
        let mut evaluator = Evaluator::new(None, Context::new(precision, steps));
        let mut next = PRECISIONS.into_iter().find(|&higher| higher > precision);
        match evaluate_difference(&mut evaluator, left, right) {
            Ok(difference) if difference.is_zero() => return Ok((Decision::Equal, None)),
            Ok(Value::Number(difference, _)) if difference.contains_zero() => {
                let telling = evaluator.telling_precision.filter(|&bits| bits <= HIGHEST_PRECISION);
                match telling {
                    // The precision must rise, or the loop would not end.
                    Some(telling) => next = Some((telling as usize).max(precision + 64)),
                    None if precision >= CONVINCING_PRECISION && !evaluator.context.lost => {
                        return Ok((Decision::Equal, None));
                    }
                    None => {}
                }
            }
            Ok(difference) => return Ok((Decision::Different, sign(&difference))),
            Err(Trouble::Imprecise) => {}
            Err(Trouble::Stop(stop)) => return Err(stop),
        }
        match next.filter(|&next| next as u64 <= HIGHEST_PRECISION + 64) {
            Some(next) => precision = next,
            None => return Ok((Decision::Undecided, None)),
        }
    }
}

fn evaluate_difference<'tree>(
    evaluator: &mut Evaluator<'tree, '_>,
    left: &'tree Expression,
    right: &'tree Expression,
) -> Result<Value, Trouble> {
    let left = evaluator.evaluate(left)?;
    let right = evaluator.evaluate(right)?;
    evaluator.minus(left, right)
}

/// The sign of a number that is not zero, if it is real as far as can be seen.
fn sign(value: &Value) -> Option<Sign> {
    match value {
        Value::Number(number, _) if number.imaginary.contains_zero() => number.real.sign(),
        other => other.sign(),
    }
}

/// Whether an expression is ∞ or a number times ∞, and which sign it has.
fn infinite_sign(expression: &Expression) -> Option<Sign> {
    match expression {
        Expression::Constant(Constant::Infinity) => Some(Sign::Positive),
        Expression::Product(factors) => {
            let mut infinite = false;
            let mut result = Sign::Positive;
            for factor in factors {
                match (factor, infinite_sign(factor)) {
                    (_, Some(sign)) => {
                        infinite = true;
                        result *= sign;
                    }
                    (Expression::Number(number), None) if !number.is_zero() => result *= number.sign(),
                    _ => return None,
                }
            }
            infinite.then_some(result)
        }
        _ => None,
    }
}

/// The order of two real constants, either of which may be ±∞; none if it cannot be told.
///
/// # Errors
/// [`Stop`] if one of them has no value within the limits.
pub fn compare(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Option<Ordering>, Stop> {
    let of = |sign: Sign| {
        if sign == Sign::Positive {
            Ordering::Greater
        } else {
            Ordering::Less
        }
    };
    match (infinite_sign(left), infinite_sign(right)) {
        (Some(left), Some(right)) if left == right => return Ok(Some(Ordering::Equal)),
        (Some(left), _) => return Ok(Some(of(left))),
        (None, Some(right)) => return Ok(Some(of(right).reverse())),
        (None, None) => {}
    }
    Ok(match difference(left, right, steps)? {
        (Decision::Equal, _) => Some(Ordering::Equal),
        (_, sign) => sign.map(of),
    })
}
