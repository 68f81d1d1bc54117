//! Solves inequalities in one variable: `0 < 2t + 1 \le 10`, `x \ne 3`, `|x| < 2`.

use std::cmp::Ordering;

use dashu_base::Signed as _;
use dashu_ratio::RBig;

use super::Comparison;
use super::interval::{End, Interval, absolute, infinity_sign};
use crate::expression::{Constant, Expression};
use crate::parse::Quantity;
use crate::parse::token::Relation;

impl Comparison<'_> {
    /// The solutions of inequalities that are linear in one variable: `0 < 2t + 1 \le 10`, `x \ne 3`.
    pub(super) fn solution(&mut self, sides: &[Quantity], relations: &[Relation]) -> Option<Vec<Interval>> {
        if let Some((inner, relation)) = absolute(sides, relations) {
            let bound = sides.iter().find(|side| side.expression.is_constant())?;
            return self.between(&inner, relation, bound);
        }
        match (sides, relations) {
            ([left, right], [relation]) => {
                let (relation, bound, variable) = match (left.expression.is_constant(), right.expression.is_constant())
                {
                    (false, true) => (*relation, right, left),
                    (true, false) => (relation.reversed(), left, right),
                    _ => return None,
                };
                let (slope, shift) = self.linear(variable)?;
                let value = solved(&bound.expression, &slope, &shift);
                let relation = if slope.is_negative() {
                    relation.reversed()
                } else {
                    relation
                };
                let infinity = || Expression::Constant(Constant::Infinity);
                let end = |is_closed| End {
                    value: value.clone(),
                    is_closed,
                };
                let below = |is_closed| Interval {
                    from: End::open(infinity().negated()),
                    to: end(is_closed),
                };
                let above = |is_closed| Interval {
                    from: end(is_closed),
                    to: End::open(infinity()),
                };
                Some(match relation {
                    Relation::Equal | Relation::Approximate => vec![Interval::point(value.clone())],
                    Relation::NotEqual => vec![below(false), above(false)],
                    Relation::Less => vec![below(false)],
                    Relation::LessOrEqual => vec![below(true)],
                    Relation::Greater => vec![above(false)],
                    Relation::GreaterOrEqual => vec![above(true)],
                })
            }
            ([low, variable, high], [first, second]) => {
                if !low.expression.is_constant() || !high.expression.is_constant() || variable.expression.is_constant()
                {
                    return None;
                }
                let is_rising = |relation: &Relation| matches!(relation, Relation::Less | Relation::LessOrEqual);
                let is_falling = |relation: &Relation| matches!(relation, Relation::Greater | Relation::GreaterOrEqual);
                let is_closed =
                    |relation: &Relation| matches!(relation, Relation::LessOrEqual | Relation::GreaterOrEqual);
                let falls = is_falling(first) && is_falling(second);
                let rises = is_rising(first) && is_rising(second);
                if !falls && !rises {
                    return None;
                }
                let (slope, shift) = self.linear(variable)?;
                let mut ends = [(low, first), (high, second)].map(|(bound, relation)| End {
                    value: solved(&bound.expression, &slope, &shift),
                    is_closed: is_closed(relation),
                });
                if falls != slope.is_negative() {
                    ends.reverse();
                }
                let [from, to] = ends;
                Some(vec![Interval { from, to }])
            }
            _ => None,
        }
    }

    /// The solutions of `|x - 1| < 2`: what is between the bars lies between the bound and its negative, or beyond them.
    fn between(&mut self, inner: &Quantity, relation: Relation, bound: &Quantity) -> Option<Vec<Interval>> {
        let zero = Expression::integer(0);
        if infinity_sign(&bound.expression) != 0 || self.order(&bound.expression, &zero)? != Ordering::Greater {
            return None;
        }
        let low = Quantity::new(bound.expression.clone().negated());
        let part =
            |this: &mut Self, bound: &Quantity, relation| this.solution(&[inner.clone(), bound.clone()], &[relation]);
        match relation {
            Relation::Less | Relation::LessOrEqual => {
                let sides = [low, inner.clone(), bound.clone()];
                self.solution(&sides, &[relation, relation])
            }
            Relation::Greater | Relation::GreaterOrEqual => {
                let mut all = part(self, &low, relation.reversed())?;
                all.extend(part(self, bound, relation)?);
                Some(all)
            }
            Relation::Equal | Relation::Approximate | Relation::NotEqual => None,
        }
    }

    /// The slope and the shift of a side that is linear in one variable.
    fn linear(&mut self, side: &Quantity) -> Option<(RBig, RBig)> {
        if matches!(side.expression, Expression::Symbol(_)) {
            return Some((RBig::ONE, RBig::ZERO));
        }
        let linear = super::normal_form(side, self.steps).ok()?.linear()?;
        Some((
            linear.slope.as_rational()?.clone(),
            linear.offset.as_rational()?.clone(),
        ))
    }
}

/// Solves a·x + b = bound for x.
fn solved(bound: &Expression, slope: &RBig, shift: &RBig) -> Expression {
    if *slope == RBig::ONE && shift.is_zero() {
        return bound.clone();
    }
    if infinity_sign(bound) != 0 {
        return if slope.is_negative() {
            bound.clone().negated()
        } else {
            bound.clone()
        };
    }
    let shifted = Expression::Sum(vec![bound.clone(), Expression::Number(-shift.clone())]);
    Expression::Product(vec![shifted, Expression::Number(RBig::ONE / slope)])
}
