//! Derivatives that are written as operators, `\partial_x u`, and the coefficients of several letters,
//! `\binom{6}{2,2,2}`.

use compact_str::CompactString;

use super::grammar::{NoExpression, Parsed, Parser, starts_factor};
use super::spell::{argument_end, spell_argument};
use super::token::Kind;
use crate::expression::{Expression, Function};

impl Parser<'_, '_> {
    /// What follows `\partial`, with its indices and exponents: the operator applied to the next factor. Nothing is known
    /// of the derivative but its name. An operator alone keeps its name.
    pub(super) fn partial(&mut self) -> Parsed {
        let mut name = CompactString::const_new("∂");
        while let Some(Kind::Underscore | Kind::Caret) = self.peek() {
            let end = argument_end(self.tokens, self.position + 1).min(self.tokens.len());
            spell_argument(&self.tokens[self.position..end], &mut name);
            self.position = end;
        }
        let is_applied = self.peek().is_some_and(|next| starts_factor(next, self.open_bars));
        if !is_applied {
            return Ok(Expression::Symbol(name));
        }
        let operand = self.factor()?;
        Ok(Expression::Call(Function::Named(name), vec![operand]))
    }

    /// The lower part of a binomial, whose upper part was read. Several numbers between commas make a multinomial, which
    /// has a value where they add up to the upper one.
    pub(super) fn below_in_binomial(&mut self, upper: Expression) -> Parsed {
        let end = argument_end(self.tokens, self.position).min(self.tokens.len());
        let has_commas = self.tokens[self.position..end]
            .iter()
            .any(|token| token.kind == Kind::Comma);
        if !has_commas {
            let lower = self.argument()?;
            return Ok(Expression::Call(Function::Binomial, vec![upper, lower]));
        }
        self.expect(&Kind::GroupOpen)?;
        let mut parts = vec![self.sum()?];
        while self.take(&Kind::Comma) {
            parts.push(self.sum()?);
        }
        self.expect(&Kind::GroupClose)?;
        let number = |of: &Expression| match of {
            Expression::Number(value) if value.is_int() => i32::try_from(value.numerator()).ok().map(i64::from),
            _ => None,
        };
        let is_whole = match (number(&upper), parts.iter().map(number).collect::<Option<Vec<i64>>>()) {
            (Some(upper), Some(parts)) => parts.iter().all(|part| *part >= 0) && parts.iter().sum::<i64>() == upper,
            _ => false,
        };
        if !is_whole {
            return Err(NoExpression::NotMathematics);
        }
        let factorial = |of: Expression| Expression::Call(Function::Factorial, vec![of]);
        let mut factors = vec![factorial(upper)];
        factors.extend(parts.into_iter().map(|part| factorial(part).inverse()));
        Ok(Expression::Product(factors))
    }
}
