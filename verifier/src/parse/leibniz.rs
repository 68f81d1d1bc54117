//! Reads derivatives in Leibniz's spelling. `\frac{dy}{dx}` is no quotient: nothing cancels.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use compact_str::CompactString;

use super::grammar::{NoExpression, Parsed, Parser};
use super::spell::spell_argument;
use super::token::{Kind, Token, closing};
use crate::expression::{Expression, Function};
use crate::limits::MAX_NESTING;

/// The letter of a differential.
fn differential(token: &Token<'_>) -> Option<&'static str> {
    match &token.kind {
        Kind::Symbol(name) if name == "d" => Some("d"),
        Kind::Symbol(name) if name == "∂" => Some("∂"),
        Kind::Symbol(name) if name == "Δ" => Some("Δ"),
        Kind::Text("d") | Kind::Word("d") => Some("d"),
        _ => None,
    }
}

/// `2` in `d^2y`: a numeral or a letter. Returns it with the tokens that it takes.
fn order<'a>(tokens: &[Token<'a>]) -> Option<(&'a str, usize)> {
    let is_order = |token: &Token<'_>| matches!(token.kind, Kind::Number(_, None) | Kind::Symbol(_));
    match tokens {
        [caret, order, ..] if caret.kind == Kind::Caret && is_order(order) => Some((order.source, 2)),
        [caret, open, order, close, ..]
            if caret.kind == Kind::Caret
                && open.kind == Kind::GroupOpen
                && is_order(order)
                && close.kind == Kind::GroupClose =>
        {
            Some((order.source, 4))
        }
        _ => None,
    }
}

/// A variable with its subscript and primes, and the tokens that it takes.
fn variable(tokens: &[Token<'_>]) -> Option<(CompactString, usize)> {
    let is_name =
        |token: &Token<'_>| matches!(token.kind, Kind::Symbol(_) | Kind::Text(_)) && differential(token).is_none();
    let mut length = usize::from(tokens.first().is_some_and(is_name));
    if length == 0 {
        return None;
    }
    if tokens.get(1).map(|token| &token.kind) == Some(&Kind::Underscore) {
        length = match tokens.get(2)?.kind {
            Kind::GroupOpen => closing(tokens, 2)? + 1,
            _ => 3,
        };
    }
    let mut name = CompactString::default();
    spell_argument(&tokens[..length], &mut name);
    Some((name, length))
}

/// What stands above the line: the letter of the differential, the order, and the tokens that these take.
struct Above<'a> {
    letter: &'static str,
    order: &'a str,
    length: usize,
}

impl<'a> Above<'a> {
    fn read(tokens: &[Token<'a>]) -> Option<Self> {
        let letter = differential(tokens.first()?)?;
        let (order, length) = order(&tokens[1..]).unwrap_or(("1", 0));
        Some(Self {
            letter,
            order,
            length: 1 + length,
        })
    }

    /// The name of the operator with these tokens below the line, and how many it takes of them; none if they are no
    /// differentials of the same order.
    fn over(&self, below: &[Token<'a>]) -> Option<(CompactString, usize)> {
        let mut orders: BTreeMap<CompactString, u32> = BTreeMap::new();
        let mut symbolic: Option<&str> = None;
        let mut length = 0;
        while below.get(length).and_then(differential) == Some(self.letter) {
            let (name, name_length) = variable(&below[length + 1..])?;
            length += 1 + name_length;
            let mut times = 1;
            if let Some((order, order_length)) = order(&below[length..]) {
                match order.parse::<u32>() {
                    Ok(order) => times = order,
                    Err(_) => symbolic = Some(order),
                }
                length += order_length;
            }
            let total = orders.entry(name).or_default();
            *total = total.saturating_add(times);
        }
        if orders.is_empty() {
            return None;
        }
        let matches_order = match symbolic {
            Some(order) => orders.len() == 1 && order == self.order,
            None => {
                let total = orders.values().fold(0u32, |sum, times| sum.saturating_add(*times));
                self.order.parse() == Ok(total)
            }
        };
        // The order of partial derivatives does not matter.
        let mut operator = CompactString::from(self.letter);
        for (name, times) in orders {
            let order = symbolic.map_or_else(|| times.to_string(), str::to_owned);
            // Writing to a string cannot fail.
            let _ = write!(operator, "/{name}^{order}");
        }
        matches_order.then_some((operator, length))
    }
}

impl Parser<'_, '_> {
    /// `{dy}{dx}` behind a `\frac`. None if it is a fraction.
    pub(super) fn leibniz_fraction(&mut self) -> Option<Parsed> {
        let tokens = self.tokens;
        let open = self.position;
        let is_group = |index: usize| tokens.get(index).map(|token| &token.kind) == Some(&Kind::GroupOpen);
        if !is_group(open) {
            return None;
        }
        let close = closing(tokens, open)?;
        if !is_group(close + 1) {
            return None;
        }
        let end = closing(tokens, close + 1)?;
        let upper = &tokens[open + 1..close];
        let above = Above::read(upper)?;
        let below = &tokens[close + 2..end];
        let (operator, length) = above.over(below)?;
        if length != below.len() {
            return None;
        }
        let operand = &upper[above.length..];
        self.position = end + 1;
        Some(self.derived(operator, operand))
    }

    /// `dy/dx`, of which the first letter was just passed. None if it is anything else.
    pub(super) fn leibniz_line(&mut self) -> Option<Parsed> {
        let start = self.position - 1;
        let tokens = &self.tokens[start..];
        let above = Above::read(tokens)?;
        let rest = &tokens[above.length..];
        let operand_length = variable(rest).map_or(0, |(_, length)| length);
        let primes = rest[operand_length..]
            .iter()
            .take_while(|token| token.kind == Kind::Prime)
            .count();
        let (operand, rest) = rest.split_at(operand_length + primes);
        let [line, below @ ..] = rest else {
            return None;
        };
        let (operator, length) = if line.kind == Kind::Divide {
            above.over(below)?
        } else {
            return None;
        };
        self.position = start + above.length + operand.len() + 1 + length;
        Some(self.derived(operator, operand))
    }

    /// The derivative of some tokens; of the next factor if there are none.
    fn derived(&mut self, operator: CompactString, operand: &[Token<'_>]) -> Parsed {
        if self.depth >= MAX_NESTING {
            return Err(NoExpression::TooDeep);
        }
        let operand = if operand.is_empty() {
            let is_next = self
                .peek()
                .is_some_and(|next| super::grammar::starts_factor(next, self.open_bars));
            if !is_next {
                return Ok(Expression::Symbol(operator));
            }
            self.depth += 1;
            let factor = self.factor();
            self.depth -= 1;
            factor?
        } else {
            self.all_of_operand(operand)?
        };
        Ok(Expression::Call(Function::Named(operator), vec![operand]))
    }

    fn all_of_operand(&mut self, tokens: &[Token<'_>]) -> Parsed {
        let mut inner = Parser {
            tokens,
            position: 0,
            depth: self.depth + 1,
            open_bars: 0,
            binders: self.binders,
            operators: self.operators,
            has_bold: self.has_bold,
        };
        let value = inner.sum()?;
        self.operators = inner.operators;
        if inner.position < tokens.len() {
            return Err(NoExpression::NotMathematics);
        }
        Ok(value)
    }
}
