//! Sets of real numbers: intervals, unions, complements, inequalities in one variable, as one sorted list of intervals.

use std::cmp::Ordering;

use dashu_base::Signed as _;
use dashu_ratio::RBig;

use super::relation::is_constant;
use super::{Comparison, Rule};
use crate::ball;
use crate::expression::{Constant, Expression};
use crate::parse::token::{Bracket, Relation};
use crate::parse::{Answer, Body, Quantity};

/// An end of an interval.
#[derive(Clone, Debug)]
struct End {
    /// ±∞ or a real constant.
    value: Expression,
    is_closed: bool,
}

/// From one end to another.
#[derive(Clone, Debug)]
struct Interval {
    from: End,
    to: End,
}

/// Most intervals of one set.
const MAX_INTERVALS: usize = 64;

impl Comparison<'_> {
    /// Whether both are the same set of real numbers.
    pub(super) fn number_sets(&mut self, answer: &Body, truth: &Body) -> Option<Rule> {
        // A pair of brackets is an interval only where something says so.
        if !is_surely_numbers(answer) && !is_surely_numbers(truth) {
            return None;
        }
        let (mut variable, mut wanted_variable) = (None, None);
        let has_one_variable = one_variable(answer, &mut variable) && one_variable(truth, &mut wanted_variable);
        if !has_one_variable || variable.is_some() && wanted_variable.is_some() && variable != wanted_variable {
            return None;
        }
        // `g(x)` is another quantity than `x`.
        if let (Some(condition), Some(wanted)) = (self.variable(answer), self.variable(truth))
            && condition != wanted
        {
            return None;
        }
        let wanted = self.number_set(truth)?;
        let found = self.number_set(answer).is_some_and(|set| self.same_set(set, &wanted));
        found.then_some(Rule::Interval)
    }

    fn same_set(&mut self, left: Vec<Interval>, right: &[Interval]) -> bool {
        left.len() == right.len()
            && left.into_iter().zip(right).all(|(left, right)| {
                self.same_end(left.from, right.from.clone()) && self.same_end(left.to, right.to.clone())
            })
    }

    /// What conditions are on: the variable or the function of it, in canonical form.
    fn variable(&mut self, body: &Body) -> Option<String> {
        match body {
            Body::Chain(sides, _) => {
                let side = sides.iter().find(|side| !is_constant(&side.expression))?;
                let linear = super::normal_form(side, self.steps).ok()?.linear()?;
                Some(linear.atom.to_string())
            }
            Body::Union(pieces) | Body::List(pieces) | Body::Intersection(pieces) => {
                let mut variables = pieces.iter().filter_map(|piece| self.variable(&piece.body));
                let first = variables.next()?;
                // Two variables are no set of numbers.
                Some(if variables.all(|next| next == first) {
                    first
                } else {
                    String::new()
                })
            }
            _ => None,
        }
    }

    fn same_end(&mut self, left: End, right: End) -> bool {
        left.is_closed == right.is_closed && self.expressions(left.value, right.value)
    }

    /// The set as sorted intervals that do not touch.
    fn number_set(&mut self, body: &Body) -> Option<Vec<Interval>> {
        let intervals = self.intervals(body)?;
        self.merged(intervals)
    }

    fn intervals(&mut self, body: &Body) -> Option<Vec<Interval>> {
        match body {
            Body::Sequence(open, close, ends) => {
                let [from, to] = ends.as_slice() else {
                    return None;
                };
                let from = End {
                    value: end_value(from)?,
                    is_closed: *open == Bracket::Square,
                };
                let to = End {
                    value: end_value(to)?,
                    is_closed: *close == Bracket::Square,
                };
                Some(vec![Interval { from, to }])
            }
            Body::Set(points) => points
                .iter()
                .map(|point| end_value(point).map(Interval::point))
                .collect(),
            Body::List(pieces) if is_surely_numbers(body) => {
                // Inequalities that go together hold together, if they can: `x > 1, x < 3`.
                let mut sets = Vec::with_capacity(pieces.len());
                for piece in pieces {
                    sets.push(self.intervals(&piece.body)?);
                }
                self.common(&sets).or_else(|| Some(sets.concat()))
            }
            Body::Union(pieces) | Body::List(pieces) => {
                let mut all = Vec::new();
                for piece in pieces {
                    match &piece.body {
                        // `x = 0 or x > 3`
                        Body::Quantity(_) if piece.label.is_some() => all.push(Interval::point(end_value(piece)?)),
                        other => all.extend(self.intervals(other)?),
                    }
                    if all.len() > MAX_INTERVALS {
                        return None;
                    }
                }
                Some(all)
            }
            Body::Intersection(pieces) => {
                let mut sets = Vec::with_capacity(pieces.len());
                for piece in pieces {
                    sets.push(self.intervals(&piece.body)?);
                }
                self.common(&sets)
            }
            Body::Difference(whole, removed) => {
                let whole = self.number_set(&whole.body)?;
                let Body::Set(points) = &removed.body else {
                    return None;
                };
                let points: Option<Vec<Expression>> = points.iter().map(end_value).collect();
                self.without(whole, points?)
            }
            Body::Chain(sides, relations) => self.solution(sides, relations),
            Body::Quantity(_) | Body::Text(_) | Body::Matrix(_) | Body::Ratio(_) => None,
        }
    }

    /// What single intervals have in common; nothing if that is nothing, or if one is more than a single interval.
    fn common(&mut self, sets: &[Vec<Interval>]) -> Option<Vec<Interval>> {
        let mut common: Option<Interval> = None;
        for set in sets {
            let [interval] = set.as_slice() else {
                return None;
            };
            let Some(so_far) = &mut common else {
                common = Some(interval.clone());
                continue;
            };
            match self.order(&so_far.from.value, &interval.from.value)? {
                Ordering::Less => so_far.from = interval.from.clone(),
                Ordering::Equal => so_far.from.is_closed &= interval.from.is_closed,
                Ordering::Greater => {}
            }
            match self.order(&so_far.to.value, &interval.to.value)? {
                Ordering::Greater => so_far.to = interval.to.clone(),
                Ordering::Equal => so_far.to.is_closed &= interval.to.is_closed,
                Ordering::Less => {}
            }
        }
        let common = common?;
        let is_empty = match self.order(&common.from.value, &common.to.value)? {
            Ordering::Less => false,
            Ordering::Equal => !(common.from.is_closed && common.to.is_closed),
            Ordering::Greater => true,
        };
        (!is_empty).then(|| vec![common])
    }

    /// Takes points out of a set.
    fn without(&mut self, whole: Vec<Interval>, points: Vec<Expression>) -> Option<Vec<Interval>> {
        let mut pieces = whole;
        for point in points.into_iter().take(MAX_INTERVALS) {
            let mut next = Vec::with_capacity(pieces.len() + 1);
            for piece in pieces {
                let after_from = self.order(&piece.from.value, &point)?;
                let before_to = self.order(&point, &piece.to.value)?;
                if after_from == Ordering::Less && before_to == Ordering::Less {
                    let open = End {
                        value: point.clone(),
                        is_closed: false,
                    };
                    next.push(Interval {
                        from: piece.from,
                        to: open.clone(),
                    });
                    next.push(Interval {
                        from: open,
                        to: piece.to,
                    });
                } else {
                    let mut piece = piece;
                    piece.from.is_closed &= after_from != Ordering::Equal;
                    piece.to.is_closed &= before_to != Ordering::Equal;
                    next.push(piece);
                }
            }
            pieces = next;
        }
        Some(pieces)
    }

    /// The solutions of inequalities that are linear in one variable: `0 < 2t + 1 \le 10`, `x \ne 3`.
    fn solution(&mut self, sides: &[Quantity], relations: &[Relation]) -> Option<Vec<Interval>> {
        match (sides, relations) {
            ([left, right], [relation]) => {
                let (relation, bound, variable) = match (is_constant(&left.expression), is_constant(&right.expression))
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
                if !is_constant(&low.expression) || !is_constant(&high.expression) || is_constant(&variable.expression)
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

    /// The intervals sorted, and those that overlap or touch joined.
    fn merged(&mut self, mut intervals: Vec<Interval>) -> Option<Vec<Interval>> {
        // Insertion sort: there are few, and an order that cannot be decided ends it.
        for index in 1..intervals.len() {
            let mut position = index;
            while position > 0 {
                let order = self.order(&intervals[position].from.value, &intervals[position - 1].from.value)?;
                let is_before = order == Ordering::Less
                    || order == Ordering::Equal
                        && intervals[position].from.is_closed
                        && !intervals[position - 1].from.is_closed;
                if !is_before {
                    break;
                }
                intervals.swap(position, position - 1);
                position -= 1;
            }
        }
        let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
        for interval in intervals {
            // An interval that ends before it begins is empty, and nothing that one writes.
            let length = self.order(&interval.from.value, &interval.to.value)?;
            if length == Ordering::Greater
                || length == Ordering::Equal && !(interval.from.is_closed && interval.to.is_closed)
            {
                return None;
            }
            if let Some(last) = merged.last_mut() {
                let gap = self.order(&last.to.value, &interval.from.value)?;
                let touches = gap == Ordering::Greater
                    || gap == Ordering::Equal && (last.to.is_closed || interval.from.is_closed);
                if touches {
                    match self.order(&last.to.value, &interval.to.value)? {
                        Ordering::Less => last.to = interval.to,
                        Ordering::Equal => last.to.is_closed |= interval.to.is_closed,
                        Ordering::Greater => {}
                    }
                    continue;
                }
            }
            merged.push(interval);
        }
        Some(merged)
    }

    /// The order of two ends.
    fn order(&mut self, left: &Expression, right: &Expression) -> Option<Ordering> {
        match (infinity_sign(left), infinity_sign(right)) {
            (0, 0) => {}
            (left, right) => return Some(left.cmp(&right)),
        }
        if let (Expression::Number(left), Expression::Number(right)) = (left, right) {
            return Some(left.cmp(right));
        }
        if self.expressions(left.clone(), right.clone()) {
            return Some(Ordering::Equal);
        }
        ball::compare(left, right, self.steps).ok().flatten()
    }
}

impl End {
    fn open(value: Expression) -> Self {
        Self {
            value,
            is_closed: false,
        }
    }
}

impl Interval {
    fn point(value: Expression) -> Self {
        let end = End { value, is_closed: true };
        Self {
            from: end.clone(),
            to: end,
        }
    }
}

/// `(a, b]` is no tuple.
fn is_half_open(body: &Body) -> bool {
    matches!(body, Body::Sequence(open, close, _) if (*open == Bracket::Square) != (*close == Bracket::Square))
}

/// Whether a body can be nothing but a set of numbers.
fn is_surely_numbers(body: &Body) -> bool {
    match body {
        Body::Union(_) | Body::Intersection(_) | Body::Difference(..) | Body::Chain(..) => true,
        Body::List(items) => items.iter().all(|item| matches!(item.body, Body::Chain(..))),
        other => is_half_open(other),
    }
}

/// Whether no more than one variable occurs in the inequalities among these pieces.
pub(super) fn has_one_variable(pieces: &[Answer]) -> bool {
    let mut variable = None;
    pieces.iter().all(|piece| one_variable(&piece.body, &mut variable))
}

/// Whether no second variable occurs in the inequalities of a set; notes the one that does.
fn one_variable<'b>(body: &'b Body, variable: &mut Option<&'b str>) -> bool {
    match body {
        Body::Chain(sides, _) => sides.iter().all(|side| only_variable(&side.expression, variable)),
        Body::Union(pieces) | Body::List(pieces) | Body::Intersection(pieces) => pieces.iter().all(|piece| {
            let label = piece.label.as_ref().and_then(|label| label.expression.as_ref());
            label.is_none_or(|label| only_variable(label, variable)) && one_variable(&piece.body, variable)
        }),
        _ => true,
    }
}

fn only_variable<'e>(expression: &'e Expression, variable: &mut Option<&'e str>) -> bool {
    match expression {
        Expression::Symbol(name) => *variable.get_or_insert(name) == name.as_str(),
        Expression::Number(_) | Expression::Constant(_) => true,
        Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => {
            parts.iter().all(|part| only_variable(part, variable))
        }
        Expression::Power(base, exponent) => only_variable(base, variable) && only_variable(exponent, variable),
    }
}

fn end_value(end: &Answer) -> Option<Expression> {
    match &end.body {
        Body::Quantity(quantity) if is_constant(&quantity.expression) => Some(quantity.expression.clone()),
        _ => None,
    }
}

/// +1 for ∞, -1 for -∞, 0 for anything else.
fn infinity_sign(expression: &Expression) -> i8 {
    match expression {
        Expression::Constant(Constant::Infinity) => 1,
        Expression::Product(factors) => match factors.as_slice() {
            [Expression::Number(sign), Expression::Constant(Constant::Infinity)] if *sign == RBig::from(-1) => -1,
            _ => 0,
        },
        _ => 0,
    }
}

/// x from a·x + b = bound.
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
