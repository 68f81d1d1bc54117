//! Families of values that a letter counts through all integers: `x=\frac\pi4+k\pi, k\in\mathbb{Z}`. Two of them are the
//! same if they hold the same values, however they begin and however many rows they are written in.

use dashu_base::{Gcd as _, UnsignedAbs as _};
use dashu_ratio::RBig;

use super::quantity::degree;
use super::{Comparison, polynomial};
use crate::expression::{Constant, Expression};
use crate::parse::{Answer, Body, COUNTED, Quantity, Unit};

/// Most rows of one family, written with the longest period of all.
const MOST_ROWS: usize = 32;

/// The values `offset + k · period` for all integers k.
#[derive(Debug)]
struct Row {
    offset: Expression,
    period: Expression,
}

/// The name of the first values of a list.
fn unknown(items: &[Answer]) -> Option<&Expression> {
    items.first()?.label.as_ref()?.expression.as_ref()
}

impl Comparison<'_> {
    /// Whether two lists are the same family of values.
    pub(super) fn same_families(&mut self, answer: &[Answer], truth: &[Answer]) -> bool {
        self.compare_families(answer, truth).unwrap_or(false)
    }

    fn compare_families(&mut self, answer: &[Answer], truth: &[Answer]) -> Option<bool> {
        // `y = k\pi` is no answer to `x = k\pi`.
        if let (Some(named), Some(wanted)) = (unknown(answer), unknown(truth))
            && named != wanted
        {
            return None;
        }
        let (rows, wanted) = (self.rows(answer)?, self.rows(truth)?);
        let unit = wanted.first()?.period.clone();
        let common = rows.iter().chain(&wanted).try_fold(RBig::ONE, |common, row| {
            let times = self.quotient(&row.period, &unit)?;
            Some(least_common_multiple(&common, &times))
        })?;
        let longest = Expression::Product(vec![Expression::Number(common.clone()), unit.clone()]);
        let (rows, wanted) = (self.offsets(rows, &longest)?, self.offsets(wanted, &longest)?);
        let mut covers = |these: &[Expression], others: &[Expression]| {
            these.iter().all(|one| {
                let is_one_of = |other: &Expression| {
                    let distance = one.clone().minus(other.clone());
                    self.quotient(&distance, &longest).is_some_and(|count| count.is_int())
                };
                others.iter().any(is_one_of)
            })
        };
        Some(covers(&rows, &wanted) && covers(&wanted, &rows))
    }

    /// The rows of a list that says of its letter that it is any integer; none if it is anything else. The rows must be
    /// values of one unknown, or multiples of a turn: two unknowns with one letter are a system, and `a_k` has one value.
    fn rows(&mut self, items: &[Answer]) -> Option<Vec<Row>> {
        let (declared, items) = items.split_last()?;
        let (Body::Quantity(set), Some(Expression::Symbol(letter))) =
            (&declared.body, declared.label.as_ref()?.expression.as_ref())
        else {
            return None;
        };
        let is_any_integer = letter == COUNTED && matches!(&set.expression, Expression::Symbol(name) if name == "ℤ");
        let name = |item: &Answer| item.label.as_ref().map(|label| label.expression.clone());
        let first = items.first()?;
        let is_of_one = items.iter().all(|item| name(item) == name(first))
            && name(first).is_none_or(|name| matches!(name, Some(Expression::Symbol(name)) if !name.contains(COUNTED)));
        if !is_any_integer || !is_of_one {
            return None;
        }
        let is_named = first.label.is_some();
        let mut rows = Vec::new();
        for item in items {
            match &item.body {
                Body::Quantity(quantity) => rows.push(self.row(quantity, is_named)?),
                Body::List(parts) => {
                    for part in parts {
                        match (&part.body, &part.label) {
                            (Body::Quantity(quantity), None) => rows.push(self.row(quantity, is_named)?),
                            _ => return None,
                        }
                    }
                }
                _ => return None,
            }
        }
        (rows.len() <= MOST_ROWS).then_some(rows)
    }

    fn row(&mut self, quantity: &Quantity, is_named: bool) -> Option<Row> {
        let expression = match &quantity.unit {
            None => quantity.expression.clone(),
            Some(Unit::Degree) => Expression::Product(vec![quantity.expression.clone(), degree()]),
            Some(_) => return None,
        };
        let coefficients = polynomial::coefficients(&expression, COUNTED, self.steps).ok()??;
        let [offset, period] = coefficients.as_slice() else {
            return None;
        };
        let (offset, period) = (offset.clone(), period.clone());
        let is_turn = || has_turn(&period);
        (period.is_constant() && (is_named || is_turn())).then_some(Row { offset, period })
    }

    /// The offsets of the rows, each written with the longest period.
    fn offsets(&mut self, rows: Vec<Row>, longest: &Expression) -> Option<Vec<Expression>> {
        let mut offsets = Vec::new();
        for Row { offset, period } in rows {
            let times = self.quotient(longest, &period)?;
            // The sign of a period says nothing.
            let times: usize = usize::try_from(times.numerator().clone().unsigned_abs()).ok()?;
            if offsets.len() + times > MOST_ROWS {
                return None;
            }
            for index in 0..times {
                let steps = Expression::Product(vec![Expression::integer(index as i64), period.clone()]);
                offsets.push(Expression::Sum(vec![offset.clone(), steps]));
            }
        }
        Some(offsets)
    }

    /// How many times one expression is another; none if that is no rational number.
    fn quotient(&mut self, expression: &Expression, other: &Expression) -> Option<RBig> {
        let quotient = Quantity::new(Expression::Product(vec![expression.clone(), other.clone().inverse()]));
        self.take_steps(4 * quotient.expression.node_count() as u64)?;
        let form = super::normal_form(&quotient, self.steps).ok()?;
        form.as_rational().cloned()
    }
}

/// The smallest number that is a whole multiple of both, whatever their signs; that of a/b and c/d in lowest terms is the
/// one of a and c over the largest divisor of b and d.
fn least_common_multiple(left: &RBig, right: &RBig) -> RBig {
    let (above, other_above) = (left.numerator().unsigned_abs(), right.numerator().unsigned_abs());
    let shared = (&above).gcd(&other_above);
    let below = left.denominator().gcd(right.denominator());
    RBig::from_parts((above / shared * other_above).into(), below)
}

/// Whether there is π or a degree in an expression.
fn has_turn(expression: &Expression) -> bool {
    match expression {
        Expression::Constant(constant) => matches!(constant, Constant::Pi | Constant::Degree),
        Expression::Number(_) | Expression::Symbol(_) => false,
        Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => parts.iter().any(has_turn),
        Expression::Power(base, exponent) => has_turn(base) || has_turn(exponent),
    }
}
