//! Sums and products over what a condition says, `\sum_{i<j} a_i a_j`, `\sum_{d \mid n} d`. Nothing is known of what they
//! run over but its spelling, in which the letters that run have names of their own.

use compact_str::CompactString;

use super::events::spell_event;
use super::grammar::{Parsed, Parser};
use super::operator::name_of;
use super::spell::spell_argument;
use super::token::{Kind, Token};
use crate::expression::{Expression, Function, operator};

/// Letters that run by custom, where they stand in a condition with others.
const INDICES: [&str; 4] = ["i", "j", "k", "l"];

impl<'t, 'a> Parser<'t, 'a> {
    /// Reads the body of a sum or product of this sign, whose condition stands below it.
    pub(super) fn over_condition(
        &mut self,
        sign: &str,
        below: Option<&'t [Token<'a>]>,
        above: Option<&'t [Token<'a>]>,
    ) -> Parsed {
        let below = below.unwrap_or_default();
        let rest: &'t [Token<'a>] = &self.tokens[self.position..];
        let is_sign = |token: &Token<'_>| token.kind == Kind::Other(sign);
        let before = &self.tokens[..self.position];
        let outside = &before[..before.iter().rposition(is_sign).unwrap_or(0)];
        let bound = running(below, rest, outside);
        let renamed = |tokens: &[Token<'a>], depth: usize| -> Vec<Token<'a>> {
            let mut tokens = tokens.to_vec();
            for token in &mut tokens {
                if let Some(place) = name_of(token).and_then(|name| bound.iter().position(|bound| *bound == name)) {
                    let mut name = operator::bound(depth);
                    name.extend(std::iter::repeat_n('\'', place));
                    token.kind = Kind::Symbol(name);
                }
            }
            tokens
        };
        let mut name = CompactString::from(sign);
        name.push_str("_{");
        spell_event(&renamed(below, self.binders), &mut name);
        name.push_str("}^{");
        spell_argument(above.unwrap_or_default(), &mut name);
        name.push('}');
        let tokens = renamed(rest, self.binders);
        let mut inner = self.inner(&tokens);
        inner.open_bars = self.open_bars;
        let body = inner.product();
        let (position, operators) = (inner.position, inner.operators);
        self.operators = operators;
        self.position += position;
        Ok(Expression::Call(Function::Named(name), vec![body?]))
    }
}

/// The letters that run in a condition: its first one, and indices beside it that the body has and nothing outside.
fn running<'x>(below: &'x [Token<'_>], body: &[Token<'_>], outside: &[Token<'_>]) -> Vec<&'x str> {
    let is_in = |name: &str, tokens: &[Token<'_>]| tokens.iter().any(|token| name_of(token) == Some(name));
    let mut letters = below.iter().filter_map(name_of);
    // `\sum_{1 \le i < j}`, but no `\sum_{(i,j)}` and `\sum_{a_i < 1}`.
    let is_plain = below.iter().all(|token| {
        matches!(
            token.kind,
            Kind::Symbol(_) | Kind::Constant(_) | Kind::Number(..) | Kind::Relation(_) | Kind::Bar | Kind::In
        )
    });
    let Some(first) = letters.next().filter(|_| is_plain) else {
        return Vec::new();
    };
    if is_in(first, outside) || first.starts_with(operator::BOUND) {
        return Vec::new();
    }
    let mut bound = vec![first];
    for letter in letters {
        let is_index = INDICES.contains(&first) && INDICES.contains(&letter);
        if is_index && !bound.contains(&letter) && is_in(letter, body) && !is_in(letter, outside) {
            bound.push(letter);
        }
    }
    bound
}
