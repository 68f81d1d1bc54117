//! Compares equations, inequalities and chains of them.

use std::borrow::Cow;
use std::cmp::Ordering;

use dashu_ratio::RBig;

use super::{Comparison, Rule};
use crate::ball::{self, Proportion};
use crate::expression::{Constant, Expression, Function};
use crate::normal;
use crate::parse::token::Relation;
use crate::parse::{Answer, Body, Label, Quantity, Unit};

/// The sides of a chain and the relations between them.
type Chain<'c> = (&'c [Quantity], &'c [Relation]);

/// Both sides of an equation.
type Sides = [Expression; 2];

impl Comparison<'_> {
    /// Whether a chain of equations, `m + n = 20 + 5 = 25`, says that something is the ground truth. The first side
    /// may name what was asked for; every other one must be the ground truth, or it would be a second guess.
    pub(super) fn chain_ends_in(&mut self, sides: &[Quantity], relations: &[Relation], truth: &Quantity) -> bool {
        if relations.iter().any(|relation| !relation.is_equality()) {
            return false;
        }
        // `1/3 ≈ 0.33`: a side that only approximates an exact value adds nothing.
        let approximation = relations.iter().position(|relation| *relation == Relation::Approximate);
        let exact = match approximation {
            Some(end) if sides[end].expression.is_constant() => {
                // `5 ≈ 7` is a second guess.
                if !sides[end + 1..].iter().all(|side| self.is_near(side, truth)) {
                    return false;
                }
                &sides[..=end]
            }
            _ => sides,
        };
        let [first, others @ ..] = exact else {
            return false;
        };
        if !others.iter().all(|side| self.quantities(side, truth)) {
            return false;
        }
        let names_something = !others.is_empty()
            && if truth.expression.is_constant() {
                Self::names_a_value(&first.expression)
                    || is_sum_of_symbols(&first.expression) && truth.expression != Expression::integer(0)
            } else {
                matches!(
                    first.expression,
                    Expression::Symbol(_) | Expression::Call(Function::Named(_), _)
                )
            };
        names_something || self.quantities(first, truth)
    }

    /// Whether a side only names a value: `x`, `f(2)`, `P(A)`, `|z|`.
    pub(super) fn names_a_value(expression: &Expression) -> bool {
        match expression {
            Expression::Symbol(_) | Expression::Call(Function::Named(_), _) => true,
            Expression::Call(Function::Abs, inside) => match inside.as_slice() {
                [Expression::Symbol(_)] => true,
                [Expression::Product(letters)] => letters.iter().all(|letter| matches!(letter, Expression::Symbol(_))),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether a side that is said to be approximately the ground truth is a number near it.
    fn is_near(&mut self, side: &Quantity, truth: &Quantity) -> bool {
        if !side.expression.is_constant() || !truth.expression.is_constant() {
            return false;
        }
        if self.quantities(side, truth) {
            return true;
        }
        let part = |numerator: i64| Expression::Number(RBig::from(numerator) / RBig::from(100));
        let mut ends = [95, 105].map(|numerator| Expression::Product(vec![truth.expression.clone(), part(numerator)]));
        if self.order(&ends[0], &ends[1]) == Some(Ordering::Greater) {
            ends.swap(0, 1);
        }
        let value = with_percent(side);
        self.order(&ends[0], &value) == Some(Ordering::Less) && self.order(&value, &ends[1]) == Some(Ordering::Less)
    }

    /// Whether two chains say the same, side by side, reversed, or as one relation brought to zero.
    pub(super) fn chains(&mut self, answer: Chain<'_>, truth: Chain<'_>) -> bool {
        if answer.1.len() != truth.1.len() {
            return false;
        }
        // `1 = 1` is as true as `\sin^2 x + \cos^2 x = 1`, and says something else.
        let is_numeric = |sides: &[Quantity]| sides.iter().all(|side| side.expression.is_constant());
        let are_numeric = is_numeric(answer.0);
        if are_numeric != is_numeric(truth.0) {
            return false;
        }
        if are_numeric && !self.same_forms(answer.0, truth.0) {
            return false;
        }
        if answer.1 == truth.1 && self.sides(answer.0.iter(), truth.0) {
            return are_numeric || self.no_other_identity(answer.0, truth.0);
        }
        let is_reversed = answer
            .1
            .iter()
            .rev()
            .map(|relation| relation.reversed())
            .eq(truth.1.iter().copied());
        if is_reversed && self.sides(answer.0.iter().rev(), truth.0) {
            return are_numeric || self.no_other_identity(answer.0, truth.0);
        }
        if let ([left, right], [relation]) = answer
            && let ([wanted_left, wanted_right], [wanted_relation]) = truth
        {
            // Relations between numbers are true or false; only their sides, compared above, tell them apart.
            if are_numeric {
                return false;
            }
            let difference = left.expression.clone().minus(right.expression.clone());
            let wanted = wanted_left.expression.clone().minus(wanted_right.expression.clone());
            return match self.proportion(&difference, &wanted) {
                Proportion::Positive => relation == wanted_relation,
                Proportion::Negative => relation.reversed() == *wanted_relation,
                Proportion::None | Proportion::Undecided => false,
            };
        }
        false
    }

    /// Whether the ground truth is no identity, or its sides are written like those of the answer. Otherwise `x^2 - 1 =
    /// x^2 - 1`, which says nothing, would pass for `x^2 - 1 = (x-1)(x+1)`, because it equals that side by side.
    fn no_other_identity(&mut self, answer: &[Quantity], truth: &[Quantity]) -> bool {
        // `AB \ne AB` for `AB \ne BA`
        let repeats = |sides: &[Quantity]| sides.windows(2).any(|pair| pair[0].expression == pair[1].expression);
        if repeats(answer) && !repeats(truth) {
            return false;
        }
        let is_identity = truth.windows(2).all(|pair| self.values(&pair[0], &pair[1]));
        let work = |sides: &[Quantity]| sides.iter().map(|side| side.expression.node_count()).sum::<usize>();
        !is_identity
            || self.steps.spend((work(answer) * work(truth)) as u64).is_ok() && {
                let same = |(answer, truth): (&Quantity, &Quantity)| same_form(&answer.expression, &truth.expression);
                answer.iter().zip(truth).all(same) || answer.iter().rev().zip(truth).all(same)
            }
    }

    fn sides<'q>(&mut self, answer: impl Iterator<Item = &'q Quantity>, truth: &[Quantity]) -> bool {
        let mut pairs = answer.zip(truth);
        pairs.all(|(answer, truth)| self.quantities(answer, truth))
    }

    /// Whether two expressions without variables are written as different things, as `5` and `\log_2 32`. Their values
    /// cannot tell: the sides of any true equation between numbers have one value, so that whoever knows one side could
    /// repeat it as the other.
    pub(super) fn written_apart(&mut self, left: &Expression, right: &Expression) -> bool {
        if !left.is_constant() || !right.is_constant() {
            return false;
        }
        let work = left.node_count() * right.node_count();
        self.exceeded |= self.steps.spend(work as u64).is_err();
        self.exceeded || !same_form(left, right)
    }

    /// Whether an equation only says `\log_2(32) = \log_2(32)`, where the ground truth says what that is.
    pub(super) fn repeats_the_question(&mut self, answer: &Answer, truth: &Answer) -> bool {
        let (Some(wanted), Some(_)) = (&truth.label, &answer.label) else {
            return false;
        };
        let (Some(wanted), Body::Quantity(said), Body::Quantity(value)) =
            (&wanted.expression, &answer.body, &truth.body)
        else {
            return false;
        };
        let is_formula = wanted.is_constant()
            || matches!(wanted, Expression::Call(function, _) if !matches!(function, Function::Named(_)));
        let work = wanted.node_count() * (said.expression.node_count() + value.expression.node_count());
        is_formula
            && self.steps.spend(work as u64).is_ok()
            && !same_form(&value.expression, wanted)
            && same_form(&said.expression, wanted)
    }

    /// Whether an equation has one thing on both sides, `AB = AB`, where the ground truth says more: `AB = BA`.
    pub(super) fn says_nothing(answer: &Answer, truth: &Answer) -> bool {
        let repeats = |one: &Answer| match (&one.label, &one.body) {
            (Some(label), Body::Quantity(value)) => Some(label.expression.as_ref()? == &value.expression),
            (None, Body::Chain(sides, _)) => {
                Some(sides.windows(2).any(|pair| pair[0].expression == pair[1].expression))
            }
            _ => None,
        };
        repeats(answer) == Some(true) && repeats(truth) == Some(false)
    }

    /// Whether no side of an answer between numbers, such as `5 = 5`, is written like `wanted`, the left side of the
    /// ground truth `\log_2 32 = 5`.
    pub(super) fn says_something_else(&mut self, sides: &[Quantity], wanted: &Expression) -> bool {
        sides.iter().all(|side| self.written_apart(&side.expression, wanted))
    }

    /// Whether two chains between numbers have the same sides as written, in this order or in reverse. A chain with
    /// sides of one form, such as `\frac{6}{3} = 2`, is about how numbers are written, so that its numerals count too.
    fn same_forms(&mut self, answer: &[Quantity], truth: &[Quantity]) -> bool {
        let is_about_numerals = truth
            .windows(2)
            .any(|pair| !self.written_apart(&with_degrees(&pair[0]), &with_degrees(&pair[1])));
        let mut same = |(answer, truth): (&Quantity, &Quantity)| {
            let agrees = match (&answer.written, &truth.written) {
                (Some(answer), Some(truth)) if is_about_numerals => answer == truth,
                (Some(answer), Some(truth)) => answer.agrees(truth),
                _ => true,
            };
            agrees && !self.written_apart(&with_degrees(answer), &with_degrees(truth))
        };
        answer.iter().zip(truth).all(&mut same) || answer.iter().rev().zip(truth).all(&mut same)
    }

    /// Whether one expression is a constant times the other, and of which sign.
    fn proportion(&mut self, left: &Expression, right: &Expression) -> Proportion {
        if let (Ok(left), Ok(right)) = (
            normal::normalise(left, self.steps),
            normal::normalise(right, self.steps),
        ) && let Ok(Some(proportion)) = normal::proportional(&left, &right, self.steps)
            && let Some(sign) = proportion.sign
        {
            return match sign {
                Ordering::Less => Proportion::Negative,
                Ordering::Equal => Proportion::None,
                Ordering::Greater => Proportion::Positive,
            };
        }
        ball::proportional(left, right, self.steps).unwrap_or(Proportion::Undecided)
    }

    /// Compares an equation with a name alone on one side, as `y = 2x + 3`, with an equation of any form.
    pub(super) fn equations(&mut self, answer: &Answer, truth: &Answer) -> Option<Rule> {
        if !matches!(answer.body, Body::Chain(..)) && !matches!(truth.body, Body::Chain(..)) {
            return None;
        }
        if answer.label.is_none() && truth.label.is_none() {
            return None;
        }
        self.same_equation(&equation(answer)?, &equation(truth)?)
    }

    /// Whether two equations, given by their sides, say the same.
    fn same_equation(&mut self, answer: &Sides, truth: &Sides) -> Option<Rule> {
        let is_numeric = |sides: &Sides| sides.iter().all(Expression::is_constant);
        let is_same = match (is_numeric(answer), is_numeric(truth)) {
            (false, false) => {
                let difference = |[left, right]: &Sides| left.clone().minus(right.clone());
                matches!(
                    self.proportion(&difference(answer), &difference(truth)),
                    Proportion::Positive | Proportion::Negative
                )
            }
            // Between numbers an equation is true or false; only its sides tell it from another one.
            (true, true) => {
                let [left, right] = answer;
                let [wanted_left, wanted_right] = truth;
                let mut same = |answer: &Expression, truth: &Expression| {
                    !self.written_apart(answer, truth) && self.expressions(answer.clone(), truth.clone())
                };
                same(left, wanted_left) && same(right, wanted_right)
                    || same(left, wanted_right) && same(right, wanted_left)
            }
            _ => false,
        };
        is_same.then_some(Rule::Relation)
    }

    /// Compares equations whose names differ: the same equation solved for another variable, or the same function of
    /// another letter.
    pub(super) fn differently_labelled(
        &mut self,
        answer: &Answer,
        truth: &Answer,
        named: &Label,
        wanted: &Label,
    ) -> Option<Rule> {
        if let (Body::Quantity(value), Body::Quantity(wanted_value)) = (&answer.body, &truth.body) {
            if let (
                Some(Expression::Call(Function::Named(name), arguments)),
                Some(Expression::Call(Function::Named(wanted_name), wanted_arguments)),
            ) = (&named.expression, &wanted.expression)
                && name == wanted_name
                && !differentiates(name)
                && let ([Expression::Symbol(variable)], [wanted_variable @ Expression::Symbol(wanted_letter)]) =
                    (arguments.as_slice(), wanted_arguments.as_slice())
            {
                // The other letter may occur already, and would be captured.
                if variable.as_str() != wanted_letter && mentions(&value.expression, wanted_letter) {
                    return None;
                }
                // `P(A) = p` speaks of A, not of every A, and `P(X > t)` of no variable.
                // The degree of f is not that of g.
                let is_variable = mentions(&value.expression, variable)
                    || name.chars().count() == 1
                        && variable.chars().count() == 1
                        && !variable.starts_with(char::is_uppercase);
                if !is_variable {
                    return None;
                }
                let renamed = substitute(&value.expression, variable, wanted_variable);
                let is_same = self.expressions(renamed, wanted_value.expression.clone());
                return is_same.then_some(Rule::Value);
            }
            if let (Some(named), Some(wanted)) = (&named.expression, &wanted.expression)
                && (is_graph_of(named, wanted) || is_graph_of(wanted, named))
            {
                return self.quantities(value, wanted_value).then_some(Rule::Value);
            }
            let are_other_angles = named.same_angle(wanted) == Some(false);
            if !are_other_angles && !wanted_value.expression.is_constant() {
                return self.same_equation(&equation(answer)?, &equation(truth)?);
            }
        }
        None
    }
}

/// Whether two expressions are written alike, up to the order of addends and factors and to the spelling of a number.
fn same_form(left: &Expression, right: &Expression) -> bool {
    if let (Some(left), Some(right)) = (numeral(left), numeral(right)) {
        return left == right;
    }
    // `\sin 30^\circ` is `\sin\frac{\pi}{6}`.
    match (half_turns(left), half_turns(right)) {
        (Some(left), Some(right)) => return left == right,
        // 0° is 0.
        (Some(turns), None) if turns.is_zero() => return numeral(right) == Some(turns),
        (None, Some(turns)) if turns.is_zero() => return numeral(left) == Some(turns),
        _ => {}
    }
    // Being written alike is an equivalence, so that it does not matter which partner is taken.
    let in_any_order = |left: &[Expression], right: &[Expression]| {
        let mut partners: Vec<&Expression> = right.iter().collect();
        left.len() == right.len()
            && left.iter().all(|part| {
                let found = partners.iter().position(|partner| same_form(part, partner));
                found.map(|index| partners.swap_remove(index)).is_some()
            })
    };
    match (left, right) {
        (Expression::Sum(left), Expression::Sum(right)) | (Expression::Product(left), Expression::Product(right)) => {
            in_any_order(left, right)
        }
        (
            Expression::Call(function @ (Function::Gcd | Function::Lcm | Function::Max | Function::Min), left),
            Expression::Call(other, right),
        ) => function == other && in_any_order(left, right),
        (Expression::Power(left, left_exponent), Expression::Power(right, right_exponent)) => {
            same_form(left, right) && same_form(left_exponent, right_exponent)
        }
        (Expression::Call(left, arguments), Expression::Call(right, others)) => {
            left == right
                && arguments.len() == others.len()
                && arguments.iter().zip(others).all(|(left, right)| same_form(left, right))
        }
        _ => left == right,
    }
}

/// The value of an expression that is one number, with or without a sign. The parser has made numbers of fractions of two
/// numerals already.
fn numeral(expression: &Expression) -> Option<RBig> {
    match expression {
        Expression::Number(value) => Some(value.clone()),
        Expression::Product(parts) => match parts.as_slice() {
            [sign, part] if *sign == Expression::integer(-1) => numeral(part).map(|value| -value),
            _ => None,
        },
        _ => None,
    }
}

/// The half turns of an angle that is a number of degrees or of π.
fn half_turns(expression: &Expression) -> Option<RBig> {
    let mut has_unit = false;
    let turns = turns_of(expression, &mut has_unit)?;
    has_unit.then_some(turns)
}

/// The value of a product of numbers with one π or degree sign at most, for which one half turn stands.
fn turns_of(expression: &Expression, has_unit: &mut bool) -> Option<RBig> {
    let mut unit = |turns| (!std::mem::replace(has_unit, true)).then_some(turns);
    match expression {
        Expression::Number(value) => Some(value.clone()),
        Expression::Constant(Constant::Pi) => unit(RBig::ONE),
        Expression::Constant(Constant::Degree) => unit(RBig::ONE / RBig::from(180)),
        Expression::Product(parts) => parts
            .iter()
            .try_fold(RBig::ONE, |turns, part| Some(turns * turns_of(part, has_unit)?)),
        Expression::Power(base, exponent) if **exponent == Expression::integer(-1) => {
            let divisor = numeral(base).filter(|divisor| !divisor.is_zero())?;
            Some(RBig::ONE / divisor)
        }
        _ => None,
    }
}

/// A side with its degree sign, which is a unit where it stands at the end.
fn with_degrees(side: &Quantity) -> Cow<'_, Expression> {
    if side.unit == Some(Unit::Degree) {
        let degree = Expression::Constant(Constant::Degree);
        return Cow::Owned(Expression::Product(vec![side.expression.clone(), degree]));
    }
    Cow::Borrowed(&side.expression)
}

/// The sides of an equation.
fn equation(answer: &Answer) -> Option<Sides> {
    match (&answer.label, &answer.body) {
        (Some(label), Body::Quantity(value)) => Some([label.expression.clone()?, value.expression.clone()]),
        (None, Body::Chain(sides, relations)) => match (sides.as_slice(), relations.as_slice()) {
            ([left, right], [Relation::Equal]) => Some([left.expression.clone(), right.expression.clone()]),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a name can stand for a call of a function: `y`, or `f`, for `f(x)`.
fn is_graph_of(name: &Expression, function: &Expression) -> bool {
    let (Expression::Symbol(name), Expression::Call(Function::Named(function), arguments)) = (name, function) else {
        return false;
    };
    matches!(arguments.as_slice(), [Expression::Symbol(_)])
        && !differentiates(function)
        && (name == "y" || name == function)
}

/// Whether the name of a function is that of a derivative, `d/dx`: what it is of is no variable of its own.
fn differentiates(function: &str) -> bool {
    function.starts_with(['d', '∂']) && function.contains('/')
}

/// Whether a variable occurs.
fn mentions(expression: &Expression, variable: &str) -> bool {
    match expression {
        Expression::Symbol(name) => name == variable,
        Expression::Number(_) | Expression::Constant(_) => false,
        Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => {
            parts.iter().any(|part| mentions(part, variable))
        }
        Expression::Power(base, exponent) => mentions(base, variable) || mentions(exponent, variable),
    }
}

/// Whether it is a symbol or a sum of different symbols, such as `m + n`: a side that only repeats the question.
fn is_sum_of_symbols(expression: &Expression) -> bool {
    match expression {
        Expression::Sum(terms) => {
            let is_new = |(index, term): (usize, &Expression)| {
                matches!(term, Expression::Symbol(_)) && !terms[..index].contains(term)
            };
            terms.iter().enumerate().all(is_new)
        }
        Expression::Symbol(_) => true,
        _ => false,
    }
}

/// A side as a number where it is in percent.
fn with_percent(side: &Quantity) -> Expression {
    match side.unit {
        Some(Unit::Percent) => Expression::Product(vec![
            side.expression.clone(),
            Expression::Number(RBig::ONE / RBig::from(100)),
        ]),
        _ => side.expression.clone(),
    }
}

/// The expression with another expression in the place of a variable.
fn substitute(expression: &Expression, variable: &str, value: &Expression) -> Expression {
    let all = |parts: &[Expression]| parts.iter().map(|part| substitute(part, variable, value)).collect();
    match expression {
        Expression::Symbol(name) if name == variable => value.clone(),
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => expression.clone(),
        Expression::Sum(parts) => Expression::Sum(all(parts)),
        Expression::Product(parts) => Expression::Product(all(parts)),
        Expression::Call(function, parts) => Expression::Call(function.clone(), all(parts)),
        Expression::Power(base, exponent) => Expression::Power(
            Box::new(substitute(base, variable, value)),
            Box::new(substitute(exponent, variable, value)),
        ),
    }
}
