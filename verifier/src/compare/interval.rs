//! Compares sets of real numbers. Intervals, unions, complements and inequalities in one variable all become one sorted
//! list of intervals.

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

/// All numbers from one end to another.
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
        let (variable, wanted) = (self.variable(answer), self.variable(truth));
        if is_mixed(variable.as_ref()) || is_mixed(wanted.as_ref()) {
            return None;
        }
        if let (Some(variable), Some(wanted)) = (variable, wanted)
            && variable != wanted
        {
            return None;
        }
        let wanted = self.readings(truth);
        let found = self.readings(answer);
        let is_same = found
            .iter()
            .any(|found| wanted.iter().any(|wanted| self.same_set(found, wanted)));
        is_same.then_some(Rule::Interval)
    }

    /// The sets that a body may mean, since conditions behind commas may hold together or each by itself. A condition
    /// that adds nothing to the others is a second guess.
    fn readings(&mut self, body: &Body) -> Vec<Vec<Interval>> {
        let Body::List(conditions) = body else {
            return self.number_set(body).into_iter().collect();
        };
        let Some(pieces) = self.intervals(body) else {
            return Vec::new();
        };
        let is_single = |body: &Body| !matches!(body, Body::Union(_) | Body::Difference(..));
        let count = pieces.len();
        let mut readings = Vec::new();
        if let Some(set) = self.merged(pieces.clone())
            && set.len() == count
            && conditions.iter().all(|condition| is_single(&condition.body))
        {
            readings.push(set);
        }
        if let Some(set) = self.intersection(conditions)
            && pieces.into_iter().all(|piece| !self.same_set(&[piece], &set))
        {
            readings.push(set);
        }
        readings
    }

    fn same_set(&mut self, left: &[Interval], right: &[Interval]) -> bool {
        left.len() == right.len()
            && left
                .iter()
                .zip(right)
                .all(|(left, right)| self.same_end(&left.from, &right.from) && self.same_end(&left.to, &right.to))
    }

    /// The subject of the conditions: the variable, or the function of it, in canonical form.
    pub(super) fn variable(&mut self, body: &Body) -> Option<String> {
        match body {
            Body::Chain(sides, _) => {
                let side = sides.iter().find(|side| !is_constant(&side.expression))?;
                let linear = super::normal_form(side, self.steps).ok()?.linear()?;
                let name = linear.atom.to_string();
                // Conditions in a list meet each other many times.
                self.take_steps(name.len() as u64)?;
                Some(name)
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

    /// Takes steps off the budget; none if it is spent.
    fn take_steps(&mut self, steps: u64) -> Option<()> {
        let taken = self.steps.spend(steps);
        self.exceeded |= taken.is_err();
        taken.ok()
    }

    fn same_end(&mut self, left: &End, right: &End) -> bool {
        left.is_closed == right.is_closed && self.expressions(left.value.clone(), right.value.clone())
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
            Body::Intersection(pieces) => self.intersection(pieces),
            Body::Difference(whole, removed) => {
                let whole = self.number_set(&whole.body)?;
                let Body::Set(points) = &removed.body else {
                    return None;
                };
                let points: Option<Vec<Expression>> = points.iter().map(end_value).collect();
                self.without(whole, points?)
            }
            Body::Chain(sides, relations) => self.solution(sides, relations),
            Body::Quantity(_) | Body::Text(_) | Body::Matrix(_) | Body::Ratio(_) | Body::Cases(_) => None,
        }
    }

    /// The intersection of all pieces, each of which is a single interval.
    fn intersection(&mut self, pieces: &[Answer]) -> Option<Vec<Interval>> {
        let mut common: Option<Interval> = None;
        for piece in pieces.iter().take(MAX_INTERVALS) {
            let [next] = <[Interval; 1]>::try_from(self.intervals(&piece.body)?).ok()?;
            common = Some(match common {
                None => next,
                Some(known) => {
                    let from = match self.order(&known.from.value, &next.from.value)? {
                        Ordering::Less => next.from,
                        Ordering::Greater => known.from,
                        Ordering::Equal => End {
                            is_closed: known.from.is_closed && next.from.is_closed,
                            ..known.from
                        },
                    };
                    let to = match self.order(&known.to.value, &next.to.value)? {
                        Ordering::Less => known.to,
                        Ordering::Greater => next.to,
                        Ordering::Equal => End {
                            is_closed: known.to.is_closed && next.to.is_closed,
                            ..known.to
                        },
                    };
                    Interval { from, to }
                }
            });
        }
        self.merged(common.into_iter().collect())
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

    /// Sorts the intervals and joins those that overlap or touch.
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
            // An interval that ends before it begins is empty, and nobody writes one on purpose.
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

    /// The order of two ends of intervals.
    fn order(&mut self, left: &Expression, right: &Expression) -> Option<Ordering> {
        self.take_steps(4)?;
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

/// Whether conditions are on more than one variable, so that they describe no set of numbers.
pub(super) fn is_mixed(variable: Option<&String>) -> bool {
    variable.is_some_and(String::is_empty)
}

/// Whether it is half open, as `(a, b]`, so that it can be no tuple.
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
