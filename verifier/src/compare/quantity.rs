//! Compares values with their units.

use std::cmp::Ordering;

use dashu_ratio::RBig;

use super::counted::{is_generic, may_be_same, same_dimensions};
use super::kinks::Kinks;
use super::{Comparison, kinks, places, powers};
use crate::equality::Decision;
use crate::expression::{Constant, Expression, Function};
use crate::normal::{self, Form};
use crate::options::Units;
use crate::parse::{Literal, Quantity, Unit};
use crate::steps::{Steps, Stop};
use crate::{ball, field};

/// The canonical form of a quantity, computed once.
pub(crate) fn normal_form<'q>(quantity: &'q Quantity, steps: &mut Steps) -> Result<&'q Form, Stop> {
    let form = quantity
        .form
        .get_or_init(|| Box::new(normal::normalise(&quantity.expression, steps)));
    (**form).as_ref().map_err(|stop| *stop)
}

impl Comparison<'_> {
    /// Whether two values are equal, whatever their units.
    pub(super) fn values(&mut self, left: &Quantity, right: &Quantity) -> bool {
        if let (Expression::Number(left), Expression::Number(right)) = (&left.expression, &right.expression) {
            return left == right;
        }
        if left.expression == right.expression {
            return true;
        }
        match (normal_form(left, self.steps), normal_form(right, self.steps)) {
            (Ok(left_form), Ok(right_form)) => match normal::decide(left_form, right_form) {
                Decision::Equal => true,
                Decision::Different => false,
                Decision::Undecided => self.evaluated(&left.expression, &right.expression),
            },
            (Err(Stop::Undefined), _) | (_, Err(Stop::Undefined)) => false,
            (Err(Stop::OutOfSteps), _) | (_, Err(Stop::OutOfSteps)) => {
                self.exceeded = true;
                false
            }
            _ => {
                self.same_huge_powers(&left.expression, &right.expression)
                    || self.evaluated(&left.expression, &right.expression)
            }
        }
    }

    /// Whether two expressions are equal because the powers in them that are too large to write down are the same.
    fn same_huge_powers(&mut self, left: &Expression, right: &Expression) -> bool {
        let (Ok(left_named), Ok(right_named)) = (powers::named(left, self.steps), powers::named(right, self.steps))
        else {
            return false;
        };
        match (left_named, right_named) {
            (Some(left), Some(right)) => self.expressions(left, right),
            _ => false,
        }
    }

    /// Whether two expressions are equal by evaluation at points; canonical forms could not tell.
    fn evaluated(&mut self, left: &Expression, right: &Expression) -> bool {
        match field::decide(left, right, self.steps) {
            Ok(Decision::Equal) => return true,
            Ok(Decision::Different) | Err(Stop::Undefined) => return false,
            Ok(Decision::Undecided) | Err(Stop::Unsupported | Stop::TooLarge | Stop::OutOfSteps) => {}
        }
        match self.evaluated_in_balls(left, right) {
            Ok(decision) => decision == Decision::Equal,
            Err(stop) => {
                self.exceeded |= matches!(stop, Stop::TooLarge | Stop::OutOfSteps);
                false
            }
        }
    }

    /// Decides by balls at points around zero and, if the functions have kinks, beyond these.
    fn evaluated_in_balls(&mut self, left: &Expression, right: &Expression) -> Result<Decision, Stop> {
        let left = &kinks::with_steps_unknown(left, self.steps)?;
        let right = &kinks::with_steps_unknown(right, self.steps)?;
        let (near, are_real) = ball::decide_near(left, right, self.steps)?;
        if near != Decision::Equal {
            return Ok(near);
        }
        if self.bars_are_missing_elsewhere(left, right)? {
            return Ok(Decision::Different);
        }
        let mut kinks = Kinks::default();
        kinks.add(left, self.steps)?;
        kinks.add(right, self.steps)?;
        if kinks.is_empty() {
            return Ok(near);
        }
        if places::differ(left, right, self.steps)? {
            return Ok(Decision::Different);
        }
        // Beyond the kinks something must be seen: e^|x - 10⁸| is too large there.
        let (mut is_unseen, mut is_seen) = (false, false);
        for [left, right] in kinks.magnified([left, right], self.steps)? {
            match ball::decide_far(&left, &right, are_real, self.steps) {
                Ok(Decision::Different) => return Ok(Decision::Different),
                Err(Stop::OutOfSteps) => return Err(Stop::OutOfSteps),
                Ok(Decision::Undecided) => is_unseen = true,
                _ => is_seen = true,
            }
        }
        // At the powers of e at which logarithms are as large as the numbers beside them it must be seen that they agree.
        let (near_logarithms, mut further) = if kinks.are_under_logarithms() {
            match kinks.exponentiated([left, right], self.steps)? {
                Some([near, far]) => (near, far),
                None => return Ok(Decision::Undecided),
            }
        } else {
            Default::default()
        };
        for [left, right] in near_logarithms {
            match ball::decide_far_and_real(&left, &right, self.steps) {
                Ok(Decision::Equal) | Err(Stop::Undefined) => {}
                other => return other,
            }
        }
        further.extend(kinks.magnified_otherwise([left, right], self.steps)?);
        for [left, right] in further {
            match ball::decide_far_and_real(&left, &right, self.steps) {
                Ok(Decision::Different) => return Ok(Decision::Different),
                Err(Stop::OutOfSteps) => return Err(Stop::OutOfSteps),
                other => is_seen |= other == Ok(Decision::Equal),
            }
        }
        Ok(if is_unseen && !is_seen {
            Decision::Undecided
        } else {
            near
        })
    }

    /// Whether the bars under a logarithm of one side, `\ln|x-1|`, stand for another branch than that of the other side,
    /// which has none: `\ln(x-1)` leaves the bars out, `\ln(1-x)` is the other half of the function.
    fn bars_are_missing_elsewhere(&mut self, left: &Expression, right: &Expression) -> Result<bool, Stop> {
        self.steps.spend((left.node_count() + right.node_count()) as u64)?;
        let (bare_left, bare_right) = (without_bars(left, false), without_bars(right, false));
        Ok(match (bare_left == *left, bare_right == *right) {
            (false, true) => ball::decide(&bare_left, right, self.steps)? != Decision::Equal,
            (true, false) => ball::decide(left, &bare_right, self.steps)? != Decision::Equal,
            _ => false,
        })
    }

    /// Whether two expressions are equal.
    pub(super) fn expressions(&mut self, left: Expression, right: Expression) -> bool {
        self.values(&Quantity::new(left), &Quantity::new(right))
    }

    /// Whether two quantities are equal under the conventions on units, percents, fractions and rounding.
    pub(super) fn quantities(&mut self, answer: &Quantity, truth: &Quantity) -> bool {
        if self.conventions.reduced_fractions
            && matches!(truth.literal, Literal::Fraction { .. })
            && answer.literal == (Literal::Fraction { is_reduced: false })
        {
            return false;
        }
        // `2 hours 30 minutes` is no bare number.
        let is_compound = |quantity: &Quantity| quantity.literal == Literal::Compound;
        if is_compound(answer) && truth.unit.is_none() || is_compound(truth) && answer.unit.is_none() {
            return false;
        }
        if let (Some(sense), Some(wanted)) = (answer.sense, truth.sense)
            && sense.contradicts(wanted)
        {
            return false;
        }
        // `5\% \text{ of the boys}` are no 5 % of the girls.
        if self.conventions.units != Units::Ignored
            && let (Some(words), Some(wanted)) = (&answer.beside, &truth.beside)
            && !may_be_same(words, &Unit::Words(wanted.as_ref().into()))
        {
            return false;
        }
        match self.conventions.units {
            Units::Ignored => return self.close_enough(answer, truth),
            Units::Required if answer.unit.is_some() != truth.unit.is_some() => return false,
            Units::Required | Units::Optional => {}
        }
        match (&answer.unit, &truth.unit) {
            (None, None) => self.close_enough(answer, truth),
            (Some(Unit::Percent), Some(Unit::Percent)) => self.close_enough(answer, truth),
            // `50 \text{ apples}` are no 50 %.
            (Some(sign @ Unit::Percent), Some(Unit::Words(words)))
            | (Some(Unit::Words(words)), Some(sign @ Unit::Percent))
                if !may_be_same(words, sign) =>
            {
                false
            }
            (Some(Unit::Percent), None | Some(Unit::Words(_))) => {
                self.scaled(answer, hundredth(), truth)
                    || !self.conventions.exact_percents && self.close_enough(answer, truth)
            }
            (None | Some(Unit::Words(_)), Some(Unit::Percent)) => {
                !self.conventions.exact_percents && self.close_enough(answer, truth)
                    || self.scaled(truth, hundredth(), answer)
            }
            // A multiple of π is in radians, so that a degree sign behind it says more.
            (Some(Unit::Degree), None) => {
                !has_pi(&truth.expression) && self.close_enough(answer, truth) || self.scaled(answer, degree(), truth)
            }
            (None, Some(Unit::Degree)) => {
                !has_pi(&answer.expression) && self.close_enough(answer, truth) || self.scaled(truth, degree(), answer)
            }
            (Some(unit), Some(wanted)) if let Some([size, wanted_size]) = sizes_of_angles(unit, wanted) => {
                let in_radians = |quantity: &Quantity, size| {
                    Quantity::new(Expression::Product(vec![quantity.expression.clone(), size]))
                };
                self.values(&in_radians(answer, size), &in_radians(truth, wanted_size))
            }
            (Some(Unit::Measure(dimensions, _)), Some(Unit::Measure(wanted, _)))
                if is_generic(dimensions) != is_generic(wanted) =>
            {
                // `20 square units` is right for 20 cm², `20 units` is not.
                let exponents = |dimensions: &[(&str, i32)]| dimensions.first().map(|(_, exponent)| *exponent);
                exponents(dimensions) == exponents(wanted) && self.close_enough(answer, truth)
            }
            // `\$15 \text{ per hour}` is right for \$15.
            (Some(Unit::Measure(dimensions, _)), Some(Unit::Measure(wanted, _)))
                if is_rate_of_money(dimensions, wanted) || is_rate_of_money(wanted, dimensions) =>
            {
                self.close_enough(answer, truth)
            }
            (Some(Unit::Measure(dimensions, size)), Some(Unit::Measure(wanted, wanted_size))) => {
                same_dimensions(dimensions, wanted)
                    && (size == wanted_size && self.close_enough(answer, truth)
                        || size != wanted_size && {
                            let ratio = size / wanted_size;
                            self.scaled(answer, Expression::Number(ratio), truth)
                        })
            }
            (Some(Unit::Words(words)), Some(other)) | (Some(other), Some(Unit::Words(words)))
                if !may_be_same(words, other) =>
            {
                false
            }
            (Some(Unit::Words(_)), _)
            | (_, Some(Unit::Words(_)))
            | (Some(Unit::Measure(..)), None)
            | (None, Some(Unit::Measure(..))) => self.close_enough(answer, truth),
            (Some(Unit::Degree), Some(Unit::Degree)) => self.close_enough(answer, truth),
            // A degree may be one of temperature.
            (Some(Unit::Degree), Some(Unit::Measure(dimensions, _)))
            | (Some(Unit::Measure(dimensions, _)), Some(Unit::Degree))
                if matches!(dimensions.as_slice(), [("celsius" | "fahrenheit", 1)]) =>
            {
                self.close_enough(answer, truth)
            }
            (
                Some(Unit::Percent | Unit::Degree | Unit::Measure(..)),
                Some(Unit::Percent | Unit::Degree | Unit::Measure(..)),
            ) => false,
        }
    }

    fn scaled(&mut self, quantity: &Quantity, factor: Expression, other: &Quantity) -> bool {
        let product = Expression::Product(vec![quantity.expression.clone(), factor]);
        self.values(&Quantity::new(product), other)
    }

    /// Equal, or rounded to the ground truth where the request allows it.
    fn close_enough(&mut self, answer: &Quantity, truth: &Quantity) -> bool {
        self.values(answer, truth) || self.conventions.rounding && self.rounds_to(answer, truth)
    }

    /// Whether the answer, rounded half up or half to even at the last digit of the ground truth, is the ground truth.
    fn rounds_to(&mut self, answer: &Quantity, truth: &Quantity) -> bool {
        let (Literal::Decimal(places), Expression::Number(value)) = (truth.literal, &truth.expression) else {
            return false;
        };
        let half = RBig::ONE / (RBig::from(2) * RBig::from(dashu_int::UBig::from(10u8).pow(places as usize)));
        let bounds = [(value - &half, Ordering::Less), (value + &half, Ordering::Greater)];
        bounds.into_iter().all(|(bound, outside)| {
            let order = match &answer.expression {
                Expression::Number(answer) => Some(answer.cmp(&bound)),
                other => ball::compare(other, &Expression::Number(bound), self.steps)
                    .ok()
                    .flatten(),
            };
            order.is_some_and(|order| order != outside)
        })
    }
}

/// Whether the first is money per something, and the second the same money.
fn is_rate_of_money(dimensions: &[(&'static str, i32)], money: &[(&'static str, i32)]) -> bool {
    let [(currency, 1)] = money else {
        return false;
    };
    let is_money = matches!(*currency, "dollar" | "euro" | "sterling" | "yen" | "rupee");
    is_money
        && dimensions.len() > 1
        && dimensions
            .iter()
            .all(|(dimension, exponent)| dimension == currency && *exponent == 1 || *exponent < 0)
        && dimensions.contains(&money[0])
}

/// The sizes of two units of angles in radians; none if one is of anything else, or both are of one kind.
fn sizes_of_angles(unit: &Unit, other: &Unit) -> Option<[Expression; 2]> {
    let kind = |unit: &Unit| match unit {
        Unit::Degree => None,
        Unit::Measure(dimensions, _) => dimensions.first().map(|(dimension, _)| *dimension),
        Unit::Percent | Unit::Words(_) => Some(""),
    };
    let sizes = [angle(unit)?, angle(other)?];
    (kind(unit) != kind(other)).then_some(sizes)
}

/// The size of a unit of angles in radians.
pub(super) fn angle(unit: &Unit) -> Option<Expression> {
    match unit {
        Unit::Degree => Some(degree()),
        Unit::Measure(dimensions, size) => match dimensions.as_slice() {
            [("radian", 1)] => Some(Expression::Number(size.clone())),
            [("degree", 1)] => Some(Expression::Product(vec![degree(), Expression::Number(size.clone())])),
            _ => None,
        },
        Unit::Percent | Unit::Words(_) => None,
    }
}

pub(super) fn hundredth() -> Expression {
    Expression::Number(RBig::ONE / RBig::from(100))
}

pub(super) fn degree() -> Expression {
    Expression::Constant(Constant::Degree)
}

/// An expression without the bars of absolute values under its logarithms.
fn without_bars(expression: &Expression, is_in_logarithm: bool) -> Expression {
    let all = |parts: &[Expression], is_in_logarithm| {
        let parts = parts.iter().map(|part| without_bars(part, is_in_logarithm));
        parts.collect::<Vec<_>>()
    };
    match expression {
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => expression.clone(),
        Expression::Sum(parts) => Expression::Sum(all(parts, is_in_logarithm)),
        Expression::Product(parts) => Expression::Product(all(parts, is_in_logarithm)),
        Expression::Power(base, exponent) => Expression::Power(
            Box::new(without_bars(base, is_in_logarithm)),
            Box::new(without_bars(exponent, is_in_logarithm)),
        ),
        Expression::Call(Function::Abs, parts) if is_in_logarithm && let [inside] = parts.as_slice() => {
            without_bars(inside, true)
        }
        Expression::Call(function, parts) => {
            let is_logarithm = matches!(function, Function::Ln | Function::Log);
            Expression::Call(function.clone(), all(parts, is_in_logarithm || is_logarithm))
        }
    }
}

/// Whether π is in it.
fn has_pi(expression: &Expression) -> bool {
    match expression {
        Expression::Constant(constant) => *constant == Constant::Pi,
        Expression::Number(_) | Expression::Symbol(_) => false,
        Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => parts.iter().any(has_pi),
        Expression::Power(base, exponent) => has_pi(base) || has_pi(exponent),
    }
}
