//! Functions whose names are words, of what stands behind them without brackets: `\det M`, `\operatorname{tr} AB`; and transposed letters
//! in sums.

use compact_str::CompactString;

use super::command::is_upright;
use super::events::spell_event;
use super::grammar::{NoExpression, Parsed, Parser, starts_factor};
use super::noncommuting::{self, of_matrices};
use super::spell::{argument_end, spell};
use super::token::{Kind, Token};
use crate::expression::Expression;

impl Parser<'_, '_> {
    /// The function, whose name was just passed, of the factors that stand behind it; the name alone if there are none.
    pub(super) fn of_operand(&mut self, name: CompactString) -> Parsed {
        if !self.goes_on() {
            return Ok(Expression::Symbol(name));
        }
        let (start, depth, open_bars) = (self.position, self.depth, self.open_bars);
        let mut factors = Vec::new();
        let mut matrices = Vec::new();
        while self.goes_on() {
            let first = self.position;
            match self.factor() {
                Ok(factor) => {
                    factors.push(factor);
                    if self.is_matrix(first, &factors) {
                        matrices.push(factors.len() - 1);
                    }
                }
                Err(NoExpression::NotMathematics) => {
                    // `\det M^T`: what is no number is told by its spelling.
                    let end = end_of_operand(self.tokens, start);
                    (self.position, self.depth, self.open_bars) = (end, depth, open_bars);
                    let mut spelled = CompactString::default();
                    spell_event(&self.tokens[start..end], &mut spelled);
                    (factors, matrices) = (vec![Expression::Symbol(spelled)], Vec::new());
                    break;
                }
                Err(too_deep) => return Err(too_deep),
            }
        }
        let operand = if !matrices.is_empty() {
            noncommuting::product(factors, &matrices)
        } else if factors.len() == 1 {
            factors.remove(0)
        } else {
            Expression::Product(factors)
        };
        Ok(of_matrices(name, vec![operand]))
    }

    /// `M^T` in `M^T + I`: the letter at `start` with the mark behind the caret that was just passed is one thing, where it is
    /// a term by itself. None in products, whose order counts.
    pub(super) fn transpose_in_sum(&mut self, start: usize) -> Option<Expression> {
        let end = argument_end(self.tokens, self.position);
        let adds = |token: &Token<'_>| matches!(token.kind, Kind::Plus | Kind::Minus);
        let before = start.checked_sub(1).and_then(|before| self.tokens.get(before));
        let after = self.tokens.get(end);
        let begins = before
            .is_none_or(|before| matches!(before.kind, Kind::Plus | Kind::Minus | Kind::Open(_) | Kind::Number(..)));
        let ends = after.is_none_or(|after| matches!(after.kind, Kind::Plus | Kind::Minus | Kind::Close(_)));
        let is_letter = self.position == start + 2 && matches!(self.tokens[start].kind, Kind::Symbol(_));
        if !is_letter || !begins || !ends || !self.tokens.iter().any(adds) {
            return None;
        }
        self.position = end;
        Some(Expression::Symbol(spell(&self.tokens[start..end])))
    }

    /// Whether the next token belongs to the operand of a function without brackets.
    fn goes_on(&self) -> bool {
        match self.peek() {
            Some(Kind::Symbol(letter)) => !is_upright(letter),
            Some(Kind::Function(_) | Kind::Open(_) | Kind::Bar) | None => false,
            Some(next) => starts_factor(next, self.open_bars),
        }
    }
}

/// Where the letters that begin here end, with their marks.
fn end_of_operand(tokens: &[Token<'_>], start: usize) -> usize {
    let mut end = argument_end(tokens, start);
    while let Some(token) = tokens.get(end) {
        end = match token.kind {
            Kind::Caret | Kind::Underscore => {
                let is_signed = tokens.get(end + 1).is_some_and(|next| next.kind == Kind::Minus);
                argument_end(tokens, end + 1 + usize::from(is_signed))
            }
            Kind::Prime => end + 1,
            _ if token.is_point() => end + 1,
            _ => break,
        };
    }
    end.min(tokens.len())
}
