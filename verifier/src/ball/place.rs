//! Proves that two expressions differ at one place.

use super::context::{Context, Trouble};
use super::evaluate::Evaluator;
use super::point::{Fnv, Point, Signs, hash_expression};
use super::value::Value;
use crate::expression::Expression;
use crate::steps::{Steps, Stop};

/// The precisions that are tried.
const PRECISIONS: [usize; 2] = [192, 768];
/// The points for the variables that are left.
const POINTS: [(Signs, i64); 3] = [(Signs::Positive, 0), (Signs::Mixed, 3), (Signs::Negative, 1)];

/// Whether two expressions are proven to differ, with all values on the way real. Variables that are left are tried at
/// some points.
///
/// # Errors
/// [`Stop::OutOfSteps`].
pub fn differ_where_real(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<bool, Stop> {
    let mut seed = Fnv::seeded(0);
    steps.spend((left.node_count() + right.node_count()) as u64)?;
    hash_expression(left, &mut seed);
    hash_expression(right, &mut seed);
    let points = if left.is_constant() && right.is_constant() {
        1
    } else {
        POINTS.len()
    };
    for (index, (signs, scale)) in POINTS.into_iter().enumerate().take(points) {
        let point = Point {
            seed: seed.mixed().wrapping_add(index as u64),
            signs,
            scale,
            complex: false,
        };
        for precision in PRECISIONS {
            match differ_at(left, right, point, precision, steps) {
                Ok(true) => return Ok(true),
                Err(Trouble::Imprecise) => {}
                Err(Trouble::Stop(Stop::OutOfSteps)) => return Err(Stop::OutOfSteps),
                Ok(false) | Err(Trouble::Stop(_)) => break,
            }
        }
    }
    Ok(false)
}

fn differ_at(
    left: &Expression,
    right: &Expression,
    point: Point,
    precision: usize,
    steps: &mut Steps,
) -> Result<bool, Trouble> {
    let mut evaluator = Evaluator::new(Some(point), Context::new(precision, steps));
    evaluator.real_only = true;
    let (left, right) = (evaluator.evaluate(left)?, evaluator.evaluate(right)?);
    let difference = evaluator.minus(left, right)?;
    match difference {
        zero if zero.is_zero() => Ok(false),
        Value::Number(difference, _) if difference.contains_zero() => Err(Trouble::Imprecise),
        _ => Ok(true),
    }
}
