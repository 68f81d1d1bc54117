//! Works out sums, products and integrals where that is exact: finite ones term by term, polynomials between constants,
//! and series whose value is known. Where the end is a variable, integers stand in for it ([`super::at_integers`]).

use super::series::KNOWN;
use super::{Comparison, Rule, polynomial};
use crate::ball;
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
        let answer = self.answer_worked_out(&answer.answer, &mut progress).ok()?;
        let truth = self.answer_worked_out(&truth.answer, &mut progress).ok()?;
        if progress.changed
            && let Some(rule) = self.answers(&answer, &truth)
        {
            return Some(rule);
        }
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
                        Expression::Call(Function::Named(name.clone()), arguments.clone())
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
                Ok(self.known_series(variable, &body, name == operator::SERIES))
            }
            (operator::INTEGRAL, [from, to]) => {
                let body = self.expression_worked_out(body, progress)?;
                let from = self.expression_worked_out(from, progress)?;
                let to = self.expression_worked_out(to, progress)?;
                polynomial::integral(&body, variable, &from, &to, self.steps)
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
        let index = Expression::Symbol(variable.into());
        let at = |expression: &Expression, value: i64| expression.substituted(variable, &Expression::integer(value));
        let (first, second) = (at(body, 0), at(body, 1));
        if is_sum && !self.expressions(first.clone(), Expression::integer(0)) {
            let ratio = Expression::Product(vec![second, first.clone().inverse()]);
            let power = |base: &Expression| Expression::Power(Box::new(base.clone()), Box::new(index.clone()));
            let next = Expression::Sum(vec![index.clone(), Expression::integer(1)]);
            // c·q^k
            if self.expressions(body.clone(), Expression::Product(vec![first.clone(), power(&ratio)])) {
                let below = Expression::integer(1).minus(ratio.clone());
                return self
                    .converges(&ratio)
                    .then(|| Expression::Product(vec![first, below.inverse()]));
            }
            // c·(k + 1)·q^k
            let half = Expression::Product(vec![ratio.clone(), Expression::integer(2).inverse()]);
            let grown = Expression::Product(vec![first.clone(), next.clone(), power(&half)]);
            if self.expressions(body.clone(), grown) {
                let below = Expression::integer(1).minus(half.clone());
                let square = Expression::Power(Box::new(below), Box::new(Expression::integer(-2)));
                return self.converges(&half).then(|| Expression::Product(vec![first, square]));
            }
            // c·q^k/k!
            let factorial = Expression::Call(Function::Factorial, vec![index.clone()]);
            let exponential = Expression::Product(vec![first.clone(), power(&ratio), factorial.inverse()]);
            if self.expressions(body.clone(), exponential) {
                let euler = Expression::Constant(crate::expression::Constant::Euler);
                let value = Expression::Power(Box::new(euler), Box::new(ratio));
                return Some(Expression::Product(vec![first, value]));
            }
        }
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

    /// Whether a geometric series with this ratio has a value; with variables it is one where these are small.
    fn converges(&mut self, ratio: &Expression) -> bool {
        if !ratio.is_constant() {
            return true;
        }
        let size = Expression::Call(Function::Abs, vec![ratio.clone()]);
        ball::compare(&size, &Expression::integer(1), self.steps) == Ok(Some(std::cmp::Ordering::Less))
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
