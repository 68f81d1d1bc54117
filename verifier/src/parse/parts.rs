//! Lists within an answer: parts that are named by letters, groups between semicolons.

use compact_str::CompactString;

use super::token::{Bracket, Kind, Token, split_outside};

/// Whether the answer is in parts that are named by letters in brackets.
pub(super) fn names_parts(tokens: &[Token<'_>]) -> bool {
    let is_part = |at: usize, letter: &str| {
        matches!(tokens.get(at..at + 3), Some([open, name, close])
            if matches!(open.kind, Kind::Open(Bracket::Round)) && matches!(close.kind, Kind::Close(Bracket::Round)) && name.source == letter)
    };
    is_part(0, "a") && (3..tokens.len()).any(|at| is_part(at, "b"))
}

/// Whether tokens begin with a letter in brackets: `(C)`.
pub(super) fn opens_part(tokens: &[Token<'_>]) -> bool {
    matches!(tokens, [open, name, close, ..]
        if matches!(open.kind, Kind::Open(Bracket::Round)) && matches!(close.kind, Kind::Close(Bracket::Round)) && matches!(name.source.as_bytes(), [letter] if letter.is_ascii_alphabetic()))
}

/// The tokens of the lists between semicolons, where commas separate the items of each; none if there are not both.
pub(super) fn groups<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<Vec<&'t [Token<'a>]>> {
    let parts = split_outside(tokens, |kind| *kind == Kind::Semicolon);
    let has_commas = |part: &[Token<'_>]| split_outside(part, |kind| *kind == Kind::Comma).len() > 1;
    let is_grouped = parts.len() > 1 && parts.iter().all(|(_, part)| has_commas(part));
    is_grouped.then(|| parts.into_iter().map(|(_, part)| part).collect())
}

/// Whether tokens begin with a letter, which may name any set.
pub(super) fn names_a_set(tokens: &[Token<'_>]) -> bool {
    let is_number_set = |name: &CompactString| matches!(name.as_str(), "ℤ" | "ℕ" | "ℚ" | "ℂ");
    matches!(tokens.first().map(|token| &token.kind), Some(Kind::Symbol(name)) if !is_number_set(name))
}
