//! Decides at random points whether one expression is a constant times another.

use dashu_base::Sign;

use super::complex::Complex;
use super::constant;
use super::context::{Context, Trouble};
use super::evaluate::Evaluator;
use super::random::{AGREEING_BITS, Finding, Survey, at_rising_precision, both, try_points};
use crate::equality::Decision;
use crate::expression::Expression;
use crate::steps::{Steps, Stop};

/// Whether one expression is a constant times another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proportion {
    /// It is a positive real multiple.
    Positive,
    /// It is a negative real multiple.
    Negative,
    /// It is proven to be no multiple.
    None,
    /// It cannot be told.
    Undecided,
}

/// Whether `left = c · right` for a real constant c that is not zero, wherever both are real: two equations `left = 0`
/// and `right = 0` are then the same, and so are inequalities up to the sign of c.
///
/// # Errors
/// [`Stop`] if the budget does not suffice or a constant side has no value.
pub fn proportional(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Proportion, Stop> {
    let mut survey = Survey::default();
    steps.spend((left.node_count() + right.node_count()) as u64)?;
    survey.add(left);
    survey.add(right);
    if !survey.varies {
        return proportional_constants(left, right, steps);
    }
    let finding = try_points(
        left,
        right,
        survey,
        steps,
        |point, mode, known: Option<&Complex>, steps| {
            at_rising_precision(point, survey, steps, |steps, precision, point| {
                let mut evaluator = Evaluator::new(Some(point), Context::new(precision, steps));
                evaluator.real_only = !mode.complex_values;
                let (left, right) = match both(&mut evaluator, left, right, survey.modulus)? {
                    Ok(sides) => sides,
                    Err(one_real) => return Ok(one_real.finding()),
                };
                if left.is_zero() || right.is_zero() {
                    // Zero is no multiple of anything else; that both are says nothing.
                    let other = if left.is_zero() { right } else { left };
                    let other = other.to_complex(&mut evaluator.context)?;
                    return Ok(if other.contains_zero() {
                        Finding::Unusable
                    } else {
                        Finding::Differ
                    });
                }
                let ratio = evaluator.over(left, right)?.to_complex(&mut evaluator.context)?;
                let reference = known.unwrap_or(&ratio);
                let distance = ratio.minus(reference, &mut evaluator.context)?;
                if !distance.contains_zero() || !ratio.imaginary.contains_zero() {
                    return Ok(Finding::Differ);
                }
                let precise = ratio.radius().top() + AGREEING_BITS <= ratio.real.top();
                if !precise || evaluator.context.lost || ratio.real.sign().is_none() {
                    return Err(Trouble::Imprecise);
                }
                Ok(Finding::Agree(ratio))
            })
        },
    );
    let finding = match finding {
        Err(Stop::Unsupported) => Finding::Unusable,
        other => other?,
    };
    Ok(match finding {
        Finding::Differ => Proportion::None,
        Finding::Agree(ratio) => match ratio.real.sign() {
            Some(Sign::Positive) => Proportion::Positive,
            Some(Sign::Negative) => Proportion::Negative,
            None => Proportion::Undecided,
        },
        Finding::OneSided | Finding::OtherBranch(_) | Finding::Unusable | Finding::Unseen => Proportion::Undecided,
    })
}

fn proportional_constants(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Proportion, Stop> {
    let zero = Expression::integer(0);
    let left = constant::difference(left, &zero, steps)?;
    let right = constant::difference(right, &zero, steps)?;
    Ok(match (left, right) {
        ((Decision::Equal, _), (Decision::Equal, _)) => Proportion::Positive,
        ((Decision::Different, Some(left)), (Decision::Different, Some(right))) => {
            if left == right {
                Proportion::Positive
            } else {
                Proportion::Negative
            }
        }
        ((Decision::Equal, _), (Decision::Different, _)) | ((Decision::Different, _), (Decision::Equal, _)) => {
            Proportion::None
        }
        _ => Proportion::Undecided,
    })
}
