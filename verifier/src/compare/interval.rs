//! Compares sets of real numbers. Intervals, unions, complements and inequalities in one variable all become one sorted
//! list of intervals.

use std::cmp::Ordering;

use dashu_ratio::RBig;

use super::measured::{InOneUnit, is_half_open};
use super::{Comparison, Rule};
use crate::ball;
use crate::expression::{Constant, Expression, Function};
use crate::normal::Form;
use crate::parse::token::{Bracket, Relation};
use crate::parse::{Answer, Body, Label, Quantity};

/// An end of an interval.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// ±∞ or a real constant.
    pub(super) value: Expression,
    pub(super) is_closed: bool,
}

/// All numbers from one end to another.
#[derive(Clone, Debug)]
pub(super) struct Interval {
    pub(super) from: End,
    pub(super) to: End,
}

/// Most intervals of one set.
const MAX_INTERVALS: usize = 64;

impl Comparison<'_> {
    /// Whether both are the same set of real numbers.
    pub(super) fn number_sets(&mut self, answer: &Body, truth: &Body) -> Option<Rule> {
        match self.in_one_unit(answer, truth)? {
            InOneUnit::AsTheyAre => self.plain_number_sets(answer, truth),
            InOneUnit::Bodies(answer, truth) => self.plain_number_sets(&answer, &truth),
            InOneUnit::Perhaps(answer_numbers, truth_numbers) => self
                .plain_number_sets(answer, truth)
                .or_else(|| self.plain_number_sets(&answer_numbers, &truth_numbers)),
            InOneUnit::Contradicts => None,
        }
    }

    /// The same for sets in one unit.
    pub(super) fn plain_number_sets(&mut self, answer: &Body, truth: &Body) -> Option<Rule> {
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
        self.same_numbers(answer, truth)
    }

    /// The same, whatever the variables are called.
    pub(super) fn same_numbers(&mut self, answer: &Body, truth: &Body) -> Option<Rule> {
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
            && !set.is_empty()
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
            Body::Chain(sides, relations) => {
                let side = sides.iter().find(|side| !side.expression.is_constant())?;
                // `|x| < 1` is a condition on x.
                if let Some((inner, _)) = absolute(sides, relations)
                    && let Some(linear) = super::normal_form(&inner, self.steps).ok().and_then(Form::linear)
                {
                    let name = linear.atom.to_string();
                    self.take_steps(name.len() as u64)?;
                    return Some(name);
                }
                let linear = super::normal_form(side, self.steps).ok()?.linear()?;
                let name = linear.atom.to_string();
                // Conditions in a list meet each other many times.
                self.take_steps(name.len() as u64)?;
                Some(name)
            }
            Body::Union(pieces) | Body::List(pieces) | Body::Intersection(pieces) => {
                let mut variables = pieces.iter().filter_map(|piece| match &piece.label {
                    Some(label) => self.named(label),
                    None => self.variable(&piece.body),
                });
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

    /// What a label names, in canonical form.
    fn named(&mut self, label: &Label) -> Option<String> {
        let name = Quantity::new(label.expression.clone()?);
        let linear = super::normal_form(&name, self.steps).ok()?.linear()?;
        let name = linear.atom.to_string();
        self.take_steps(name.len() as u64)?;
        Some(name)
    }

    /// Takes steps off the budget; none if it is spent.
    pub(super) fn take_steps(&mut self, steps: u64) -> Option<()> {
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
                let removed = self.number_set(&removed.body)?;
                self.overlaps(&whole, &complement(removed))
            }
            Body::Chain(sides, relations) => self.solution(sides, relations),
            Body::Quantity(_) | Body::Text(_) | Body::Matrix(_) | Body::Ratio(_) | Body::Cases(_) => None,
        }
    }

    /// The intersection of all pieces. Only of sets that are written as such it may be empty; nobody writes conditions
    /// that cannot hold together.
    fn intersection(&mut self, pieces: &[Answer]) -> Option<Vec<Interval>> {
        let mut common: Option<Vec<Interval>> = None;
        for piece in pieces.iter().take(MAX_INTERVALS) {
            let next = self.number_set(&piece.body)?;
            common = Some(match common {
                None => next,
                Some(known) => self.overlaps(&known, &next)?,
            });
        }
        let common = self.merged(common.unwrap_or_default())?;
        let is_condition = |piece: &Answer| matches!(piece.body, Body::Chain(..));
        (!common.is_empty() || !pieces.iter().any(is_condition)).then_some(common)
    }

    /// What two sorted sets have in common.
    fn overlaps(&mut self, left: &[Interval], right: &[Interval]) -> Option<Vec<Interval>> {
        let mut common = Vec::new();
        for left in left {
            for right in right {
                let from = match self.order(&left.from.value, &right.from.value)? {
                    Ordering::Less => right.from.clone(),
                    Ordering::Greater => left.from.clone(),
                    Ordering::Equal => End {
                        is_closed: left.from.is_closed && right.from.is_closed,
                        value: left.from.value.clone(),
                    },
                };
                let to = match self.order(&left.to.value, &right.to.value)? {
                    Ordering::Less => left.to.clone(),
                    Ordering::Greater => right.to.clone(),
                    Ordering::Equal => End {
                        is_closed: left.to.is_closed && right.to.is_closed,
                        value: left.to.value.clone(),
                    },
                };
                let holds_any = match self.order(&from.value, &to.value)? {
                    Ordering::Less => true,
                    Ordering::Equal => from.is_closed && to.is_closed,
                    Ordering::Greater => false,
                };
                if holds_any {
                    common.push(Interval { from, to });
                }
            }
        }
        (common.len() <= MAX_INTERVALS).then_some(common)
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
    pub(super) fn order(&mut self, left: &Expression, right: &Expression) -> Option<Ordering> {
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

/// All numbers that are in none of these sorted intervals, which do not touch.
fn complement(intervals: Vec<Interval>) -> Vec<Interval> {
    let infinity = Expression::Constant(Constant::Infinity);
    let mut from = End::open(infinity.clone().negated());
    let mut gaps = Vec::with_capacity(intervals.len() + 1);
    for interval in intervals {
        if infinity_sign(&interval.from.value) >= 0 {
            gaps.push(Interval {
                from,
                to: interval.from.other_side(),
            });
        }
        from = interval.to.other_side();
    }
    if infinity_sign(&from.value) <= 0 {
        gaps.push(Interval {
            from,
            to: End::open(infinity),
        });
    }
    gaps
}

impl End {
    /// The end of what begins where this ends.
    fn other_side(self) -> Self {
        Self {
            is_closed: !self.is_closed,
            ..self
        }
    }

    pub(super) fn open(value: Expression) -> Self {
        Self {
            value,
            is_closed: false,
        }
    }
}

impl Interval {
    pub(super) fn point(value: Expression) -> Self {
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
        Body::Quantity(quantity) if quantity.expression.is_constant() => Some(quantity.expression.clone()),
        _ => None,
    }
}

/// +1 for ∞, -1 for -∞, 0 for anything else.
pub(super) fn infinity_sign(expression: &Expression) -> i8 {
    match expression {
        Expression::Constant(Constant::Infinity) => 1,
        Expression::Product(factors) => match factors.as_slice() {
            [Expression::Number(sign), Expression::Constant(Constant::Infinity)] if *sign == RBig::from(-1) => -1,
            _ => 0,
        },
        _ => 0,
    }
}

/// What stands between the bars of `|x| < 2`, and how it is related to the bound; none for anything else.
pub(super) fn absolute(sides: &[Quantity], relations: &[Relation]) -> Option<(Quantity, Relation)> {
    let ([left, right], [relation]) = (sides, relations) else {
        return None;
    };
    let (side, bound, relation) = match (&left.expression, &right.expression) {
        (Expression::Call(Function::Abs, inner), bound) => (inner, bound, *relation),
        (bound, Expression::Call(Function::Abs, inner)) => (inner, bound, relation.reversed()),
        _ => return None,
    };
    let is_order = !matches!(relation, Relation::Equal | Relation::Approximate | Relation::NotEqual);
    match side.as_slice() {
        // z and w are complex numbers as a rule, and `|z| < 1` a disc.
        [inner] if inner.has_name(&|name| name.starts_with(['z', 'w'])) => None,
        [inner] if is_order && bound.is_constant() && !inner.is_constant() => {
            Some((Quantity::new(inner.clone()), relation))
        }
        _ => None,
    }
}
