//! Reads sets that are made of others: unions, intersections, differences, and sets by a condition.

use super::answer::{Answer, Body, ParseError};
use super::structure::{MAX_LIST_DEPTH, list, real_line, split_outside, unlabelled};
use super::token::{Bracket, Kind, Token};

/// Reads sets with signs between them; none if there are no such signs.
pub(super) fn combined(tokens: &[Token<'_>], depth: usize) -> Result<Option<Body>, ParseError> {
    if let [whole, minus, removed @ ..] = tokens
        && (&whole.kind, &minus.kind) == (&Kind::Reals, &Kind::Minus)
        && removed
            .first()
            .is_some_and(|open| open.kind == Kind::Open(Bracket::Brace))
    {
        // `\mathbb{R} - \{0\}`
        let removed = list(removed, depth + 1)?;
        let whole = unlabelled(real_line());
        return Ok(Some(Body::Difference(Box::new(whole), Box::new(removed))));
    }
    // Most answers are no sets.
    if !tokens.iter().any(|token| joins(&token.kind)) {
        return Ok(None);
    }
    let has = |wanted: fn(&Kind<'_>) -> bool| tokens.iter().any(|token| wanted(&token.kind));
    if has(|kind| *kind == Kind::Cup) {
        let parts = split_outside(tokens, |kind| *kind == Kind::Cup);
        if parts.len() > 1 {
            // `A \cup B \cap C` without brackets says two things.
            if has(is_cap) && split_outside(tokens, is_cap).len() > 1 {
                return Ok(None);
            }
            return pieces(&parts, depth).map(|pieces| Some(Body::Union(pieces)));
        }
    }
    if has(is_cap) {
        let parts = split_outside(tokens, is_cap);
        if parts.len() > 1 {
            let pieces = pieces(&parts, depth)?;
            // What cannot be read is compared by its spelling, as a whole.
            let is_text = |piece: &Answer| matches!(piece.body, Body::Text(_));
            return Ok((!pieces.iter().any(is_text)).then_some(Body::Intersection(pieces)));
        }
    }
    if has(|kind| *kind == Kind::SetMinus) {
        let parts = split_outside(tokens, |kind| *kind == Kind::SetMinus);
        if let [(_, whole), (_, removed)] = parts.as_slice() {
            let whole = piece(whole, depth)?;
            let removed = piece(removed, depth)?;
            return Ok(Some(Body::Difference(Box::new(whole), Box::new(removed))));
        }
    }
    Ok(None)
}

fn is_cap(kind: &Kind<'_>) -> bool {
    matches!(kind, Kind::Other("\\cap"))
}

/// Whether a sign joins sets.
fn joins(kind: &Kind<'_>) -> bool {
    matches!(kind, Kind::Cup | Kind::SetMinus) || is_cap(kind)
}

fn pieces(parts: &[(usize, &[Token<'_>])], depth: usize) -> Result<Vec<Answer>, ParseError> {
    parts.iter().map(|(_, part)| piece(part, depth)).collect()
}

/// One of the sets, perhaps in brackets: `((0, 1) \cup (2, 3))`.
fn piece(tokens: &[Token<'_>], depth: usize) -> Result<Answer, ParseError> {
    let separates = |kind: &Kind<'_>| joins(kind) || *kind == Kind::Comma || *kind == Kind::Semicolon;
    if let [open, inner @ .., close] = tokens
        && open.kind == Kind::Open(Bracket::Round)
        && close.kind == Kind::Close(Bracket::Round)
        && depth < MAX_LIST_DEPTH
        && split_outside(inner, separates).len() > 1
        && split_outside(inner, separates).len() == split_outside(inner, joins).len()
        && split_outside(tokens, joins).len() == 1
    {
        return list(inner, depth + 1);
    }
    list(tokens, depth + 1)
}

/// The condition in `\{x \mid x \le 3\}`, what is inside of the braces.
pub(super) fn condition<'t, 'a>(inner: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let position = inner
        .iter()
        .position(|token| matches!(token.kind, Kind::Bar | Kind::Colon))?;
    let (variable, condition) = (&inner[..position], &inner[position + 1..]);
    let is_variable = match variable {
        [only] => matches!(only.kind, Kind::Symbol(_)),
        [only, member, reals] => {
            matches!(only.kind, Kind::Symbol(_)) && member.kind == Kind::In && reals.kind == Kind::Reals
        }
        _ => false,
    };
    (is_variable && !condition.is_empty()).then_some(condition)
}
