//! The places at which functions with kinks may differ though they agree at all random points: a function such as
//! `\max(0, 10^{-9} - |x-1|)` is zero but for an interval that no random point meets.
//!
//! Where functions are made of straight pieces, their difference is zero if it is zero at every kink and between any
//! two. So both sides are compared at the kinks of what stands in `|…|`, `max`, `min` and roots, as far as that is a
//! polynomial of the second degree at most, at its vertex and midway between.

use compact_str::CompactString;
use dashu_ratio::RBig;

use super::kinks::with_parts;
use super::polynomial;
use crate::ball;
use crate::expression::{Expression, Function};
use crate::normal;
use crate::steps::{Steps, Stop};

/// Most arguments with a kink that are looked at.
const MOST_BENDS: usize = 12;
/// Most kinks, beside the places between them.
const MOST_KINKS: usize = 12;
/// Coefficients that are looked at: one more than a polynomial of the second degree has.
const MOST_COEFFICIENTS: usize = 4;
/// Steps that a copied node costs.
const STEPS_PER_COPY: u64 = 4;

/// Whether two functions are proven to differ at a kink of one of them, or between two. Both must be real there. A third
/// of the steps that are left is spent on it at most.
///
/// # Errors
/// [`Stop::OutOfSteps`].
pub(super) fn differ(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<bool, Stop> {
    let share = steps.left() / 3;
    let mut own = Steps::new(share);
    let found = find_difference(left, right, &mut own);
    steps.spend(share - own.left())?;
    match found {
        Err(Stop::OutOfSteps) => Ok(false),
        found => found,
    }
}

fn find_difference(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<bool, Stop> {
    let mut calls = Vec::new();
    let [left, right] = &[
        values_as_variables(left, &mut calls, steps)?,
        values_as_variables(right, &mut calls, steps)?,
    ];
    // Two calls of one function may have one value at some place.
    let is_called_twice = |(index, (function, _)): (usize, &(Function, Vec<Expression>))| {
        calls[..index].iter().any(|(other, _)| other == function)
    };
    if calls.iter().enumerate().any(is_called_twice) {
        return Ok(false);
    }
    let mut bends = Bends::default();
    bends.add(left, steps)?;
    bends.add(right, steps)?;
    for (variable, value) in bends.places(steps)? {
        steps.spend(STEPS_PER_COPY * (left.node_count() + right.node_count()) as u64)?;
        let at = |side: &Expression| side.substituted(&variable, &value);
        if ball::differ_where_real(&at(left), &at(right), steps)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The expression with a variable for each value of a function of which nothing is known. A value may be any number, so
/// that what differs at some place for some of them is another function. `calls` are those that have a variable.
fn values_as_variables(
    expression: &Expression,
    calls: &mut Vec<(Function, Vec<Expression>)>,
    steps: &mut Steps,
) -> Result<Expression, Stop> {
    steps.spend(STEPS_PER_COPY)?;
    if let Expression::Call(function @ Function::Named(_), arguments) = expression {
        let is_known = |(other, known): &(Function, Vec<Expression>)| other == function && known == arguments;
        let index = calls.iter().position(is_known).unwrap_or_else(|| {
            calls.push((function.clone(), arguments.clone()));
            calls.len() - 1
        });
        return Ok(Expression::Symbol(compact_str::format_compact!("⌊⌋_{index}")));
    }
    with_parts(expression, &mut |part| values_as_variables(part, calls, steps))
}

/// What stands in functions with a kink where it is zero.
#[derive(Debug, Default)]
struct Bends {
    arguments: Vec<Expression>,
}

impl Bends {
    fn add(&mut self, expression: &Expression, steps: &mut Steps) -> Result<(), Stop> {
        steps.spend(2)?;
        match expression {
            Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => Ok(()),
            Expression::Sum(parts) | Expression::Product(parts) => {
                parts.iter().try_for_each(|part| self.add(part, steps))
            }
            Expression::Power(base, exponent) => {
                if matches!(&**exponent, Expression::Number(exponent) if !exponent.is_int()) {
                    self.bend(base, steps)?;
                }
                self.add(base, steps)?;
                self.add(exponent, steps)
            }
            Expression::Call(function, parts) => {
                match function {
                    Function::Abs => parts.iter().try_for_each(|part| self.bend(part, steps))?,
                    Function::Max | Function::Min => {
                        for (index, part) in parts.iter().enumerate() {
                            for other in &parts[..index] {
                                self.bend(&part.clone().minus(other.clone()), steps)?;
                            }
                        }
                    }
                    _ => {}
                }
                parts.iter().try_for_each(|part| self.add(part, steps))
            }
        }
    }

    fn bend(&mut self, argument: &Expression, steps: &mut Steps) -> Result<(), Stop> {
        steps.spend(STEPS_PER_COPY * argument.node_count() as u64)?;
        if self.arguments.len() < MOST_BENDS && !argument.is_constant() {
            self.arguments.push(argument.clone());
        }
        Ok(())
    }

    /// The kinks, and the places between any two of one variable.
    fn places(&self, steps: &mut Steps) -> Result<Vec<(CompactString, Expression)>, Stop> {
        let mut kinks: Vec<(CompactString, Expression)> = Vec::new();
        for argument in &self.arguments {
            for variable in variables(argument) {
                let Some(coefficients) = polynomial::coefficients(argument, &variable, steps)? else {
                    continue;
                };
                let mut known = Vec::with_capacity(coefficients.len());
                for coefficient in coefficients.into_iter().take(MOST_COEFFICIENTS) {
                    known.push(simplified(coefficient, steps)?);
                }
                for zero in zeros(&known) {
                    let kink = (variable.clone(), simplified(zero, steps)?);
                    if kinks.len() < MOST_KINKS && !kinks.contains(&kink) {
                        kinks.push(kink);
                    }
                }
            }
        }
        let mut numbers: Vec<(CompactString, RBig)> = Vec::new();
        for (variable, kink) in &kinks {
            if let Expression::Number(kink) = kink {
                numbers.push((variable.clone(), kink.clone()));
            }
        }
        numbers.sort_unstable();
        for pair in numbers.windows(2) {
            let [(variable, low), (other, high)] = pair else {
                continue;
            };
            if variable == other {
                let middle = (low + high) / RBig::from(2);
                kinks.push((variable.clone(), Expression::Number(middle)));
            }
        }
        Ok(kinks)
    }
}

/// The names of two variables of an expression at most.
fn variables(expression: &Expression) -> Vec<CompactString> {
    let names = std::cell::RefCell::new(Vec::new());
    // Going on until it is found visits all names.
    let _ = expression.has_name(&|name| {
        let mut names = names.borrow_mut();
        if names.len() < 2 && !names.iter().any(|known| known == name) {
            names.push(CompactString::from(name));
        }
        false
    });
    names.into_inner()
}

/// A number where an expression is a rational one.
fn simplified(expression: Expression, steps: &mut Steps) -> Result<Expression, Stop> {
    if matches!(expression, Expression::Number(_)) {
        return Ok(expression);
    }
    match normal::normalise(&expression, steps) {
        Ok(form) => Ok(form.as_rational().cloned().map_or(expression, Expression::Number)),
        Err(Stop::OutOfSteps) => Err(Stop::OutOfSteps),
        Err(_) => Ok(expression),
    }
}

/// Where a polynomial of the first or second degree, given by its coefficients from the constant one on, is zero, and
/// where its vertex is.
fn zeros(coefficients: &[Expression]) -> Vec<Expression> {
    let is_zero = |value: &Expression| *value == Expression::integer(0);
    let quotient = |upper: &Expression, lower: &Expression| {
        Expression::Product(vec![upper.clone().negated(), lower.clone().inverse()])
    };
    match coefficients {
        [constant, linear] if !is_zero(linear) => vec![quotient(constant, linear)],
        [constant, linear, square] if is_zero(square) && !is_zero(linear) => vec![quotient(constant, linear)],
        [constant, linear, square] if !is_zero(square) => {
            let double = Expression::Product(vec![Expression::integer(2), square.clone()]);
            let mut places = vec![quotient(linear, &double)];
            if let (Expression::Number(constant), Expression::Number(linear), Expression::Number(square)) =
                (constant, linear, square)
            {
                let discriminant = linear * linear - RBig::from(4) * square * constant;
                let root = Expression::Power(
                    Box::new(Expression::Number(discriminant.clone())),
                    Box::new(Expression::Number(RBig::ONE / RBig::from(2))),
                );
                if discriminant > RBig::ZERO {
                    for root in [root.clone(), root.negated()] {
                        let sum = Expression::Sum(vec![Expression::Number(linear.clone()), root]);
                        places.push(quotient(&sum, &double));
                    }
                }
            }
            places
        }
        _ => Vec::new(),
    }
}
