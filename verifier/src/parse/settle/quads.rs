//! Wide spaces, `\quad`, `\hspace{…}` or several in a row, which set two parts of an answer apart: `-1 \qquad x \ge 0` is a value and a
//! condition, and no product. Around words and signs they say nothing.

use super::super::parts::{names_parts, opens_part};
use super::super::signs::is_operator;
use super::super::token::{Bracket, Kind, Token, closing};

/// Puts commas at the wide spaces that stand between two parts. `gaps` are the places of the tokens behind wide spaces,
/// in ascending order.
pub(super) fn separate(tokens: &mut Vec<Token<'_>>, gaps: &[usize]) {
    // `(a) 5 \quad (b) 6`
    if gaps.is_empty() || names_parts(tokens) {
        return;
    }
    let mut depth = 0usize;
    let mut depths = Vec::with_capacity(tokens.len());
    for token in tokens.iter() {
        match token.kind {
            Kind::Open(_) | Kind::GroupOpen | Kind::Begin(_) => depth += 1,
            Kind::Close(_) | Kind::GroupClose | Kind::End => depth = depth.saturating_sub(1),
            _ => {}
        }
        depths.push(depth);
    }
    for gap in gaps.iter().rev().copied() {
        let is_outside = gap > 0 && depths.get(gap - 1) == Some(&0);
        if is_outside && stands_between(tokens, gap) {
            let comma = Token {
                kind: Kind::Comma,
                source: ",",
                ..tokens[gap].clone()
            };
            tokens.insert(gap, comma);
        }
    }
}

/// Whether the space before this token stands behind one part and before another.
fn stands_between(tokens: &[Token<'_>], gap: usize) -> bool {
    let (before, after) = tokens.split_at(gap);
    // `\sum_{k=1}^{n} \quad k`, `\int x \quad dx`
    let part = before
        .iter()
        .rev()
        .take_while(|token| !matches!(token.kind, Kind::Comma | Kind::Semicolon));
    let is_of_operator = part
        .into_iter()
        .any(|token| matches!(token.kind, Kind::Other(sign) if is_operator(sign)));
    // `(C) \quad 14`
    let is_behind_choice = before.len() == 3 && opens_part(before);
    // `3 \quad 5` may be anything.
    let is_numeral = |token: Option<&Token<'_>>| token.is_some_and(|token| matches!(token.kind, Kind::Number(..)));
    // `2 \quad 1/2` is no mixed number.
    let is_fraction = after.get(1).is_some_and(|next| next.kind == Kind::Divide);
    let are_numerals = is_numeral(before.last()) && is_numeral(after.first()) && !is_fraction;
    ends_part(before) && begins_part(after) && !is_of_operator && !is_behind_choice && !are_numerals
}

fn ends_part(before: &[Token<'_>]) -> bool {
    before.last().is_some_and(|last| {
        matches!(
            last.kind,
            Kind::Number(..)
                | Kind::Symbol(_)
                | Kind::Constant(_)
                | Kind::Close(_)
                | Kind::GroupClose
                | Kind::Bang
                | Kind::Prime
                | Kind::Degree
                | Kind::Percent
                | Kind::Reals
        )
    })
}

fn begins_part(after: &[Token<'_>]) -> bool {
    let Some(first) = after.first() else {
        return false;
    };
    match first.kind {
        Kind::Number(..)
        | Kind::Symbol(_)
        | Kind::Constant(_)
        | Kind::Function(_)
        | Kind::Frac
        | Kind::Sqrt
        | Kind::Binom
        | Kind::Accent(_)
        | Kind::Shape(_) => true,
        // `1 \quad -2` are two numbers, `a \quad - \quad b` is a difference.
        Kind::Minus | Kind::PlusMinus | Kind::MinusPlus => after.get(1).is_some_and(|next| !next.spaced),
        // `y = x + 1 \quad (x \ne 0)` is told by its brackets already.
        Kind::Open(Bracket::Round) => closing(after, 0).is_some_and(|close| {
            let says_more = |token: &Token<'_>| {
                matches!(
                    token.kind,
                    Kind::Relation(_) | Kind::In | Kind::Text(_) | Kind::Word(_) | Kind::Other(_)
                )
            };
            !after[1..close].iter().any(says_more)
        }),
        Kind::Open(Bracket::Square | Bracket::Brace) => true,
        _ => false,
    }
}
