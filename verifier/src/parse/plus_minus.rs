//! Items with `±` and `∓`, which stand for several: `x = 1 \pm 2`, `x = \pm 3, y = \mp 4`.

use super::token::{Bracket, Kind, Relation, Token, split_outside};
use crate::limits::MAX_TOKENS;

/// Most `±` of one item.
const MAX_SIGNS: usize = 4;

/// Most items of a list with a `±` in it.
const MAX_SIGNED_ITEMS: usize = 256;

/// What an item stands for.
pub(super) enum Signed<'a> {
    /// Itself: there is no such sign in it.
    Itself,
    /// An item for each choice of its signs.
    Items(Vec<Vec<Token<'a>>>),
    /// Too many.
    TooMany,
}

fn is_sign(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::PlusMinus | Kind::MinusPlus)
}

/// The tokens with a sign chosen for each of the `±` in them, by its position among these. That of `∓` is the opposite.
fn chosen<'a>(tokens: &[Token<'a>], is_minus: impl Fn(usize) -> bool) -> Vec<Token<'a>> {
    let mut signed = tokens.to_vec();
    for (position, token) in signed.iter_mut().filter(|token| is_sign(token)).enumerate() {
        let is_minus = is_minus(position) != (token.kind == Kind::MinusPlus);
        token.kind = if is_minus { Kind::Minus } else { Kind::Plus };
    }
    signed
}

/// What an item stands for, if the list has `count` items so far.
pub(super) fn expanded<'a>(tokens: &[Token<'a>], count: usize) -> Signed<'a> {
    let signs = tokens.iter().filter(|token| is_sign(token)).count();
    let in_braces = tokens
        .first()
        .is_some_and(|token| token.kind == Kind::Open(Bracket::Brace));
    if signs == 0 || in_braces {
        return Signed::Itself;
    }
    // Every choice of signs is read anew.
    let is_costly = tokens.len() << signs.min(MAX_SIGNS) > MAX_TOKENS;
    if signs > MAX_SIGNS || is_costly || count + (1 << signs) > MAX_SIGNED_ITEMS {
        return Signed::TooMany;
    }
    // `∓` is tied to the `±` before it; two `±` alone are independent.
    let is_tied = tokens.iter().any(|token| token.kind == Kind::MinusPlus);
    let choices: usize = if is_tied { 2 } else { 1 << signs };
    let bit = |choice: usize, position: usize| {
        let bit = if is_tied { choice } else { choice >> position };
        bit & 1 == 1
    };
    Signed::Items(
        (0..choices)
            .map(|choice| chosen(tokens, |position| bit(choice, position)))
            .collect(),
    )
}

/// A list whose items have signs that go together, `x = \pm 3, y = \mp 4`: the list with the upper signs, and with the lower
/// ones behind it. None where no sign of one item is tied to that of another.
pub(super) fn tied<'a>(tokens: &[Token<'a>], separates: impl Fn(&Kind<'_>) -> bool) -> Option<Vec<Token<'a>>> {
    // Most lists have no such sign.
    if !tokens.iter().any(|token| token.kind == Kind::MinusPlus) {
        return None;
    }
    let parts = split_outside(tokens, separates);
    let in_braces = |part: &[Token<'_>]| {
        part.first()
            .is_some_and(|first| first.kind == Kind::Open(Bracket::Brace))
    };
    let has_signs = |part: &[Token<'_>]| part.iter().any(is_sign);
    let signed = parts.iter().filter(|(_, part)| has_signs(part)).count();
    if signed < 2 || parts.iter().any(|(_, part)| in_braces(part)) || 2 * tokens.len() > MAX_TOKENS {
        return None;
    }
    let is_named = |part: &[Token<'_>]| part.iter().any(|token| token.kind == Kind::Relation(Relation::Equal));
    let are_named = parts.iter().all(|(_, part)| is_named(part));
    let first = tokens.first()?;
    let comma = Token {
        kind: Kind::Comma,
        source: ",",
        ..first.clone()
    };
    let mut both: Vec<Token<'a>> = Vec::with_capacity(2 * tokens.len() + 1);
    for is_minus in [false, true] {
        for (_, part) in &parts {
            // A value without a sign is one value in both, but a part of two solutions.
            if part.is_empty() || is_minus && !are_named && !has_signs(part) {
                continue;
            }
            if !both.is_empty() {
                both.push(comma.clone());
            }
            both.extend(chosen(part, |_| is_minus));
        }
    }
    Some(both)
}
