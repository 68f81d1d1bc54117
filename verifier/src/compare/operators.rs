//! Works out sums, products and integrals where that is exact: finite ones term by term, polynomials between constants,
//! and series whose value is known. Where the end is a variable, integers stand in for it ([`super::at_integers`]).

use super::series::KNOWN;
use super::term::Term;
use super::{Comparison, Rule, antiderivative};
use crate::expression::{Expression, Function, operator};
use crate::normal;
use crate::parse::lexer::Commas;
use crate::parse::{Answer, Body, Parsed, Quantity, parse};
use crate::steps::Stop;

/// Most terms of a sum that is worked out.
const MAX_TERMS: i64 = 4_096;

/// What became of the operators of an expression.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether any was worked out.
    changed: bool,
    /// Whether any was left.
    pub(super) left: bool,
    /// Whether any runs over nothing.
    pub(super) empty: bool,
}

impl Comparison<'_> {
    /// How two answers with operators are the same once these are worked out.
    pub(super) fn worked_out(&mut self, answer: &Parsed, truth: &Parsed) -> Option<Rule> {
        let mut progress = Progress::default();
        let worked_out = self.answer_worked_out(&answer.answer, &mut progress).ok()?;
        let wanted = self.answer_worked_out(&truth.answer, &mut progress).ok()?;
        if progress.changed
            && let Some(rule) = self.answers(&worked_out, &wanted)
        {
            return Some(rule);
        }
        // As they were written: what was done for the comparison above adds parts that matter to the integers.
        let (answer, truth) = (&answer.answer, &truth.answer);
        let same_name = match (&answer.label, &truth.label) {
            (Some(named), Some(wanted)) => named == wanted,
            _ => true,
        };
        match (&answer.body, &truth.body) {
            (Body::Quantity(left), Body::Quantity(right))
                if progress.left && same_name && left.unit.is_none() && right.unit.is_none() =>
            {
                let agree = self.agree_at_integers(&left.expression, &right.expression);
                self.exceeded |= matches!(agree, Err(Stop::OutOfSteps));
                (agree == Ok(true)).then_some(Rule::Value)
            }
            _ => None,
        }
    }

    fn answer_worked_out(&mut self, answer: &Answer, progress: &mut Progress) -> Result<Answer, Stop> {
        let body = match &answer.body {
            Body::Quantity(quantity) => Body::Quantity(self.quantity_worked_out(quantity, progress)?),
            Body::List(items) => Body::List(self.all_answers(items, progress)?),
            Body::Set(items) => Body::Set(self.all_answers(items, progress)?),
            Body::Sequence(open, close, items) => Body::Sequence(*open, *close, self.all_answers(items, progress)?),
            Body::Union(pieces) => Body::Union(self.all_answers(pieces, progress)?),
            Body::Chain(sides, relations) => {
                let mut worked_out = Vec::with_capacity(sides.len());
                for side in sides {
                    worked_out.push(self.quantity_worked_out(side, progress)?);
                }
                Body::Chain(worked_out, relations.clone())
            }
            other => other.clone(),
        };
        Ok(Answer {
            label: answer.label.clone(),
            body,
        })
    }

    fn all_answers(&mut self, answers: &[Answer], progress: &mut Progress) -> Result<Vec<Answer>, Stop> {
        answers
            .iter()
            .map(|answer| self.answer_worked_out(answer, progress))
            .collect()
    }

    fn quantity_worked_out(&mut self, quantity: &Quantity, progress: &mut Progress) -> Result<Quantity, Stop> {
        let mut worked_out = Quantity::new(self.expression_worked_out(&quantity.expression, progress)?);
        worked_out.unit.clone_from(&quantity.unit);
        worked_out.literal = quantity.literal;
        worked_out.written.clone_from(&quantity.written);
        worked_out.spelled.clone_from(&quantity.spelled);
        Ok(worked_out)
    }

    pub(super) fn expression_worked_out(
        &mut self,
        expression: &Expression,
        progress: &mut Progress,
    ) -> Result<Expression, Stop> {
        self.steps.spend(5).inspect_err(|_| self.exceeded = true)?;
        Ok(match expression {
            Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => expression.clone(),
            Expression::Sum(parts) => Expression::Sum(self.all_worked_out(parts, progress)?),
            Expression::Product(parts) => Expression::Product(self.all_worked_out(parts, progress)?),
            Expression::Power(base, exponent) => Expression::Power(
                Box::new(self.expression_worked_out(base, progress)?),
                Box::new(self.expression_worked_out(exponent, progress)?),
            ),
            Expression::Call(Function::Named(name), arguments) if is_operator(name) => {
                match self.call_worked_out(name, arguments, progress)? {
                    Some(value) => {
                        progress.changed = true;
                        value
                    }
                    None => {
                        progress.left = true;
                        match self.spread(name, arguments)? {
                            Some(spread) => {
                                progress.changed = true;
                                spread
                            }
                            None => Expression::Call(Function::Named(name.clone()), arguments.clone()),
                        }
                    }
                }
            }
            Expression::Call(function, parts) => {
                Expression::Call(function.clone(), self.all_worked_out(parts, progress)?)
            }
        })
    }

    fn all_worked_out(&mut self, parts: &[Expression], progress: &mut Progress) -> Result<Vec<Expression>, Stop> {
        parts
            .iter()
            .map(|part| self.expression_worked_out(part, progress))
            .collect()
    }

    /// The value of an operator, if it can be worked out.
    fn call_worked_out(
        &mut self,
        name: &str,
        arguments: &[Expression],
        progress: &mut Progress,
    ) -> Result<Option<Expression>, Stop> {
        let [Expression::Symbol(variable), body, bounds @ ..] = arguments else {
            return Ok(None);
        };
        // `a_k` is not known for any k.
        if body.has_name(&|name: &str| name != variable.as_str() && name.contains(variable.as_str())) {
            return Ok(None);
        }
        match (name, bounds) {
            (operator::SUM | operator::PRODUCT, [count]) => {
                let Some(last) = self.integer(count)? else {
                    return Ok(None);
                };
                progress.empty |= last < 0;
                if !(-1..MAX_TERMS).contains(&last) {
                    return Ok(None);
                }
                let terms = self.terms(variable, body, last, progress)?;
                Ok(Some(if name == operator::SUM {
                    Expression::Sum(terms)
                } else {
                    Expression::Product(terms)
                }))
            }
            (operator::SERIES | operator::INFINITE_PRODUCT, []) => {
                let body = self.expression_worked_out(body, &mut Progress::default())?;
                let is_sum = name == operator::SERIES;
                if is_sum && let Some(value) = none_beyond_limits(self.closed(variable, &body))? {
                    return Ok(Some(value));
                }
                if !is_sum {
                    return Ok(self.known_series(variable, &body, false));
                }
                let term = Term::read(&body, variable, self.steps).map(|term| Some(term.spread()));
                let Some((mut outside, body)) = none_beyond_limits(term)? else {
                    return Ok(None);
                };
                Ok(self.known_series(variable, &body, true).map(|value| {
                    outside.push(value);
                    Expression::Product(outside)
                }))
            }
            (operator::INTEGRAL, [from, to]) => {
                let body = self.expression_worked_out(body, progress)?;
                let from = self.expression_worked_out(from, progress)?;
                let to = self.expression_worked_out(to, progress)?;
                none_beyond_limits(antiderivative::integral(&body, variable, &from, &to, self.steps))
            }
            _ => Ok(None),
        }
    }

    /// The body at every integer from 0 to the last, which may be −1.
    fn terms(
        &mut self,
        variable: &str,
        body: &Expression,
        last: i64,
        progress: &mut Progress,
    ) -> Result<Vec<Expression>, Stop> {
        let cost = 4 * body.node_count() as u64;
        let mut terms = Vec::new();
        for index in 0..=last {
            self.steps.spend(cost).inspect_err(|_| self.exceeded = true)?;
            let term = body.substituted(variable, &Expression::integer(index));
            let term = self.expression_worked_out(&term, progress)?;
            // A number is kept as one, so that nested sums stay small.
            let form = normal::normalise(&term, self.steps);
            self.exceeded |= form == Err(Stop::OutOfSteps);
            match form.as_ref().map(|form| form.as_rational()) {
                Ok(Some(value)) => terms.push(Expression::Number(value.clone())),
                Err(Stop::OutOfSteps) => return Err(Stop::OutOfSteps),
                _ => terms.push(term),
            }
        }
        Ok(terms)
    }

    fn integer(&mut self, expression: &Expression) -> Result<Option<i64>, Stop> {
        match normal::normalise(expression, self.steps) {
            Ok(form) => Ok(form
                .as_rational()
                .filter(|value| value.is_int())
                .and_then(|value| i64::try_from(value.numerator()).ok())),
            Err(Stop::OutOfSteps) => {
                self.exceeded = true;
                Err(Stop::OutOfSteps)
            }
            Err(_) => Ok(None),
        }
    }

    /// The value of a series or an infinite product that is known.
    fn known_series(&mut self, variable: &str, body: &Expression, is_sum: bool) -> Option<Expression> {
        // All terms of the table are numbers.
        if body.has_name(&|name: &str| name != variable) {
            return None;
        }
        let index = Expression::Symbol(variable.into());
        let at = |expression: &Expression, value: i64| expression.substituted(variable, &Expression::integer(value));
        let first = at(body, 0);
        KNOWN.iter().filter(|known| known.is_sum == is_sum).find_map(|known| {
            let term = read(known.term)?.substituted("k", &index);
            let scale = if is_sum {
                Expression::Product(vec![first.clone(), at(&term, 0).inverse()])
            } else {
                Expression::integer(1)
            };
            let scaled = Expression::Product(vec![scale.clone(), term]);
            if !self.expressions(body.clone(), scaled) {
                return None;
            }
            Some(Expression::Product(vec![scale, read(known.value)?]))
        })
    }

    /// A sum whose value is not known, with its term in one spelling and in front of it what has no index.
    fn spread(&mut self, name: &str, arguments: &[Expression]) -> Result<Option<Expression>, Stop> {
        let [index @ Expression::Symbol(variable), body, bounds @ ..] = arguments else {
            return Ok(None);
        };
        if !matches!(name, operator::SUM | operator::SERIES | operator::DOUBLE_SERIES) {
            return Ok(None);
        }
        let term = Term::read(body, variable, self.steps).map(|term| Some(term.spread()));
        let Some((mut outside, inside)) = none_beyond_limits(term)? else {
            return Ok(None);
        };
        let mut parts = vec![index.clone(), inside];
        parts.extend_from_slice(bounds);
        outside.push(Expression::Call(Function::Named(name.into()), parts));
        Ok(Some(Expression::Product(outside)))
    }
}

/// What exceeds a limit is not known; only the budget ends the comparison.
fn none_beyond_limits<T>(value: Result<Option<T>, Stop>) -> Result<Option<T>, Stop> {
    match value {
        Err(Stop::TooLarge | Stop::Undefined | Stop::Unsupported) => Ok(None),
        other => other,
    }
}

/// Whether a function is an operator that binds a variable.
pub(super) fn is_operator(name: &str) -> bool {
    name.starts_with(['∑', '∏', '∫', '\\']) || name.starts_with("lim")
}

/// A formula of the table.
fn read(formula: &str) -> Option<Expression> {
    match parse(formula, Commas::Thousands).ok()?.answer.body {
        Body::Quantity(quantity) => Some(quantity.expression),
        _ => None,
    }
}
