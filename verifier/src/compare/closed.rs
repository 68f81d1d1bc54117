//! Series whose value is an elementary function of what is raised to the index: the geometric series and those of e^x,
//! ln(1 − x), arctan, sin, cos, sinh and cosh, with polynomials as factors and from any index on.

use dashu_ratio::RBig;

use super::Comparison;
use super::at_integers::symbols;
use super::term::{Term, raised};
use crate::ball;
use crate::expression::{Constant, Expression, Function};
use crate::normal::numbers;
use crate::steps::Stop;

/// Most series that one is split into.
const MAX_ADDENDS: usize = 8;

/// Most terms that are missing at the start of a series.
const MAX_MISSING: i64 = 16;

/// Most variables of what is raised to the index.
const MAX_VARIABLES: usize = 4;

/// What the powers q^n are multiplied with, apart from a polynomial of n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// 1.
    Geometric,
    /// 1/n!.
    Exponential,
    /// 1/(2n)!.
    Even,
    /// 1/(2n + 1)!.
    Odd,
    /// 1/(n + 1).
    Logarithm,
    /// 1/(2n + 1).
    Arctangent,
}

impl Kind {
    /// The factor at an index.
    fn at(self, index: i64) -> RBig {
        let factorial = |last: i64| (1..=last).fold(RBig::ONE, |product, factor| product * RBig::from(factor));
        let below = match self {
            Self::Geometric => RBig::ONE,
            Self::Exponential => factorial(index),
            Self::Even => factorial(2 * index),
            Self::Odd => factorial(2 * index + 1),
            Self::Logarithm => RBig::from(index + 1),
            Self::Arctangent => RBig::from(2 * index + 1),
        };
        RBig::ONE / below
    }
}

/// The kind of a series, how many terms are missing at its start, and a number in front of it.
fn kind_of(term: &Term<'_>) -> Option<(Kind, i64, RBig)> {
    let is_number = term.numerator.len() == 1;
    let (kind, missing, scale) = match (term.denominators.as_slice(), term.factorials.as_slice()) {
        ([], []) => (Kind::Geometric, 0, 1),
        ([], [(1, shift, -1)]) => (Kind::Exponential, *shift, 1),
        ([], [(2, shift, -1)]) if is_number => {
            let kind = if shift % 2 == 0 { Kind::Even } else { Kind::Odd };
            (kind, shift / 2, 1)
        }
        ([shift], []) if is_number => {
            let two = RBig::from(2);
            // 1/(k + m) is 1/(n + 1) for n = k + m − 1, and 1/(k + m + 1/2) is 2/(2n + 1) for n = k + m.
            match (numbers::to_i64(shift), numbers::to_i64(&(shift * &two))) {
                (Some(shift), _) => (Kind::Logarithm, shift.checked_sub(1)?, 1),
                (None, Some(double)) => (Kind::Arctangent, double.checked_sub(1)? / 2, 2),
                _ => return None,
            }
        }
        _ => return None,
    };
    (0..=MAX_MISSING)
        .contains(&missing)
        .then(|| (kind, missing, RBig::from(scale)))
}

impl Comparison<'_> {
    /// The value of a series from 0 on, if it is known and converges.
    pub(super) fn closed(&mut self, variable: &str, body: &Expression) -> Result<Option<Expression>, Stop> {
        self.value_of(variable, body, true)
    }

    fn value_of(&mut self, variable: &str, body: &Expression, may_split: bool) -> Result<Option<Expression>, Stop> {
        if let Expression::Sum(parts) = body {
            return self.value_of_sum(variable, parts.clone(), may_split);
        }
        let term = Term::read(body, variable, self.steps)?;
        if term.rest.is_empty() {
            return self.value_of_term(&term);
        }
        // `(2^k + 3^k)/6^k`
        let Expression::Product(factors) = body else {
            return Ok(None);
        };
        let depends = |part: &&Expression| part.has_name(&|name: &str| name.contains(variable));
        let is_split = |factor: &Expression| matches!(factor, Expression::Sum(_)) && depends(&factor);
        let (Some(place), true) = (factors.iter().position(is_split), may_split) else {
            return Ok(None);
        };
        let Expression::Sum(parts) = &factors[place] else {
            return Ok(None);
        };
        if parts.len() > MAX_ADDENDS {
            return Ok(None);
        }
        self.steps.spend(4 * (body.node_count() * parts.len()) as u64)?;
        let addends = parts.iter().map(|part| {
            let mut factors = factors.clone();
            factors[place] = part.clone();
            Expression::Product(factors)
        });
        self.value_of_sum(variable, addends.collect(), false)
    }

    /// The value of a series of sums, if each part has one.
    fn value_of_sum(
        &mut self,
        variable: &str,
        parts: Vec<Expression>,
        may_split: bool,
    ) -> Result<Option<Expression>, Stop> {
        if parts.len() > MAX_ADDENDS {
            return Ok(None);
        }
        let mut values = Vec::with_capacity(parts.len());
        for part in parts {
            match self.value_of(variable, &part, may_split)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(Expression::Sum(values)))
    }

    fn value_of_term(&mut self, term: &Term<'_>) -> Result<Option<Expression>, Stop> {
        let Some((kind, missing, scale)) = kind_of(term) else {
            return Ok(None);
        };
        let mut size: Vec<Expression> = vec![Expression::Number(term.ratio.clone())];
        size.extend(term.powers.iter().map(|(base, factor)| raised(base, *factor)));
        let size = Expression::Product(size);
        let ratio = if term.alternates {
            size.clone().negated()
        } else {
            size.clone()
        };
        let converges = match kind {
            Kind::Exponential | Kind::Even | Kind::Odd => true,
            Kind::Geometric => self.converges(&ratio)?,
            // By Leibniz's test.
            Kind::Logarithm | Kind::Arctangent => {
                self.converges(&ratio)?
                    || ratio.is_constant() && self.expressions(ratio.clone(), Expression::integer(-1))
            }
        };
        if !converges {
            return Ok(None);
        }
        let mut root: Vec<Expression> = vec![square_root(Expression::Number(term.ratio.clone()))];
        root.extend(term.powers.iter().map(|(base, factor)| match factor % 2 {
            0 => raised(base, factor / 2),
            _ => square_root(raised(base, *factor)),
        }));
        let root = Expression::Product(root);
        // The polynomial of the index at the index −missing, −missing + 1, …
        let count = term.numerator.len() + missing as usize;
        let mut values = Vec::with_capacity(count);
        for index in 0..count as i64 {
            self.steps.spend(50 * term.numerator.len() as u64)?;
            values.push(at(&term.numerator, index - missing));
        }
        let whole = sum(kind, &ratio, &root, term.alternates, &values[..term.numerator.len()]);
        let mut parts = vec![whole];
        for (index, value) in values.iter().enumerate().take(missing as usize) {
            let coefficient = -(value * kind.at(index as i64));
            parts.push(Expression::Product(vec![
                Expression::Number(coefficient),
                raised(&ratio, index as i64),
            ]));
        }
        let mut factors = term.outside.clone();
        factors.push(Expression::Number(scale));
        factors.push(raised(&ratio, -missing));
        factors.push(Expression::Sum(parts));
        Ok(Some(Expression::Product(factors)))
    }

    /// Whether a geometric series with this ratio has a value. With variables it has one where it converges for some.
    fn converges(&mut self, ratio: &Expression) -> Result<bool, Stop> {
        if ratio.is_constant() {
            return Ok(self.is_below_one(ratio));
        }
        let mut variables = Vec::new();
        symbols(ratio, &mut variables);
        variables.sort_unstable();
        variables.dedup();
        if variables.len() > MAX_VARIABLES {
            return Ok(false);
        }
        for (upper, lower) in [(1, 7), (1, 1_000_000), (3, 1), (1_000_000, 1)] {
            for (sign, is_reversed) in [(1, false), (-1, false), (1, true), (-1, true)] {
                self.steps.spend(10 * (ratio.node_count() * variables.len()) as u64)?;
                let mut point = ratio.clone();
                for (place, variable) in variables.iter().enumerate() {
                    let place = if is_reversed {
                        variables.len() - place
                    } else {
                        place + 1
                    };
                    let value = RBig::from(sign * upper * place as i64) / RBig::from(lower);
                    point = point.substituted(variable, &Expression::Number(value));
                }
                // Nothing is known of the values of `f(x)`.
                if !point.is_constant() || self.is_below_one(&point) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn is_below_one(&mut self, ratio: &Expression) -> bool {
        let size = Expression::Call(Function::Abs, vec![ratio.clone()]);
        ball::compare(&size, &Expression::integer(1), self.steps) == Ok(Some(std::cmp::Ordering::Less))
    }
}

/// The sum of p(n)·g(n)·q^n over all n from 0 on, by the values of the polynomial p at 0, 1, …, its degree.
fn sum(kind: Kind, ratio: &Expression, root: &Expression, alternates: bool, values: &[RBig]) -> Expression {
    let one = Expression::integer(1);
    let number = Expression::Number(values.first().cloned().unwrap_or(RBig::ZERO));
    let call = |function| Expression::Call(function, vec![root.clone()]);
    let over_root = |value: Expression| Expression::Product(vec![number.clone(), value, root.clone().inverse()]);
    match kind {
        // The sum of the binomial coefficients n over i times q^n is q^i/(1 − q)^(i+1), and with 1/n! it is q^i·e^q/i!.
        Kind::Geometric | Kind::Exponential => {
            let terms = differences(values).into_iter().enumerate().map(|(index, difference)| {
                let index = index as i64;
                let rest = if kind == Kind::Geometric {
                    raised(&one.clone().minus(ratio.clone()), -index - 1)
                } else {
                    let euler = Expression::Constant(Constant::Euler);
                    let power = Expression::Power(Box::new(euler), Box::new(ratio.clone()));
                    Expression::Product(vec![Expression::Number(kind.at(index)), power])
                };
                Expression::Product(vec![Expression::Number(difference), raised(ratio, index), rest])
            });
            Expression::Sum(terms.collect())
        }
        Kind::Even => {
            let function = if alternates { Function::Cos } else { Function::Cosh };
            Expression::Product(vec![number, call(function)])
        }
        Kind::Odd => over_root(call(if alternates { Function::Sin } else { Function::Sinh })),
        Kind::Arctangent => over_root(call(if alternates { Function::Arctan } else { Function::Artanh })),
        Kind::Logarithm => {
            let logarithm = Expression::Call(Function::Ln, vec![one.minus(ratio.clone())]);
            Expression::Product(vec![number, logarithm.negated(), ratio.clone().inverse()])
        }
    }
}

/// The differences of all orders of values at 0, 1, 2, …
fn differences(values: &[RBig]) -> Vec<RBig> {
    let mut row = values.to_vec();
    let mut differences = Vec::with_capacity(row.len());
    while let Some(first) = row.first() {
        differences.push(first.clone());
        row = row.windows(2).map(|pair| &pair[1] - &pair[0]).collect();
    }
    differences
}

/// The value of a polynomial at an integer.
fn at(coefficients: &[RBig], index: i64) -> RBig {
    let index = RBig::from(index);
    coefficients
        .iter()
        .rev()
        .fold(RBig::ZERO, |value, coefficient| value * &index + coefficient)
}

fn square_root(value: Expression) -> Expression {
    Expression::Power(Box::new(value), Box::new(Expression::Number(RBig::ONE / RBig::from(2))))
}
