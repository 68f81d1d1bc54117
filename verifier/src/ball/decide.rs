//! Decides by numbers whether two expressions are equal.

use super::{constant, random};
use crate::equality::Decision;
use crate::expression::Expression;
use crate::steps::{Steps, Stop};

/// Decides whether two expressions are equal.
///
/// Different is always proven. Constants are equal if that is proven (exact rationals, exact multiples of π, the root
/// separation bound of algebraic numbers), or if they agree to at least 1024 bits while nothing in either was too small
/// to be seen. Expressions with variables or unknown functions are equal if they agree at three random points at least,
/// to 128 bits. Points have every combination of signs. A point where a value on the way is not real does not
/// count, so that `√a·√b` is `√(ab)` and `√(x²)` is `|x|` but not `x`. Where one side is real and the other one is not,
/// they differ, except for what is left out by custom: `ln x` is `ln|x|`, but `ln(-x)` is not.
///
/// # Errors
/// [`Stop::Undefined`] and [`Stop::TooLarge`] if a constant has no value within the limits, [`Stop::OutOfSteps`].
pub fn decide(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Decision, Stop> {
    decide_near(left, right, steps).map(|(decision, _)| decision)
}

/// The same, and whether they agree with all values on the way real.
///
/// # Errors
/// As [`decide`].
pub fn decide_near(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<(Decision, bool), Stop> {
    decide_at(random::Survey::default(), left, right, steps)
}

/// The same for expressions whose variables were made large, so that the points near zero are left out. That no
/// positive point is left on which both sides of a logarithm are real says nothing then: `ln(1-x)` has some near zero.
/// With `is_real` only real values count: where the functions are real near zero, those of other branches are none of
/// theirs.
///
/// # Errors
/// As [`decide`]; [`Stop::Undefined`] if neither side has a value at any point.
pub fn decide_far(left: &Expression, right: &Expression, is_real: bool, steps: &mut Steps) -> Result<Decision, Stop> {
    decide_at(random::Survey::far(is_real), left, right, steps).map(|(decision, _)| decision)
}

/// The same at a few points and where only real values count: those of other branches are none of the functions that
/// are compared. The variables must have been made as large as they should be.
///
/// # Errors
/// As [`decide_far`].
pub fn decide_far_and_real(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Decision, Stop> {
    decide_at(random::Survey::far_and_real(), left, right, steps).map(|(decision, _)| decision)
}

fn decide_at(
    mut survey: random::Survey,
    left: &Expression,
    right: &Expression,
    steps: &mut Steps,
) -> Result<(Decision, bool), Stop> {
    steps.spend((left.node_count() + right.node_count()) as u64)?;
    survey.add(left);
    survey.add(right);
    let decision = if survey.varies {
        random::decide(left, right, survey, steps)
    } else {
        constant::difference(left, right, steps).map(|(decision, _)| (decision, false))
    };
    match decision {
        Err(Stop::Unsupported) => Ok((Decision::Undecided, false)),
        other => other,
    }
}
