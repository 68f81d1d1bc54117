//! Words before an answer: those that say nothing of it, `The answer is`, and those that name it, `Total:`.

use super::kinds::Kinds;
use super::meaning::changes_meaning;
use super::token::{Kind, Token};

/// Words that introduce an answer and say nothing about it.
const INTRODUCTIONS: [&str; 16] = [
    "the",
    "answer",
    "final",
    "is",
    "are",
    "value",
    "result",
    "solution",
    "solutions",
    "point",
    "points",
    "so",
    "thus",
    "therefore",
    "hence",
    "equals",
];

/// The tokens after `Answer:`, `The answer is` or `The point`; none if there are no such words.
pub(super) fn without_introduction<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let is_introduction = |token: &Token<'_>| match token.kind {
        Kind::Text(word) | Kind::Word(word) => INTRODUCTIONS.contains(&word.to_lowercase().as_str()),
        _ => false,
    };
    let words = tokens.iter().take_while(|token| is_introduction(token)).count();
    let rest = match &tokens[words..] {
        [colon, rest @ ..] if words > 0 && colon.kind == Kind::Colon => rest,
        rest => rest,
    };
    let is_word = |token: &Token<'_>| matches!(token.kind, Kind::Text(_) | Kind::Word(_));
    // `the point` alone, or before other words, is a text.
    if words == 0 || rest.first().is_none_or(is_word) {
        return tokens;
    }
    rest
}

/// Most words of a name.
const MOST_OF_NAME: usize = 5;

/// `\text{Total: }42`, `\text{The maximum is }42`: the words that name what follows, and that.
pub(super) fn named_in_words<'t, 'a>(
    tokens: &'t [Token<'a>],
    kinds: Kinds,
) -> Option<(&'t [Token<'a>], &'t [Token<'a>])> {
    if !kinds.has(Kinds::WORD) || kinds.has(Kinds::RELATION.or(Kinds::IN)) {
        return None;
    }
    let word = |token: &Token<'a>| match token.kind {
        Kind::Text(word) | Kind::Word(word) => Some(word),
        _ => None,
    };
    let count = tokens
        .iter()
        .take(MOST_OF_NAME + 1)
        .take_while(|token| word(token).is_some())
        .count();
    let (words, rest) = tokens.split_at(count);
    let (name, rest) = match (words, rest) {
        (name, [colon, rest @ ..]) if colon.kind == Kind::Colon => (name, rest),
        ([name @ .., is], rest) if matches!(word(is), Some("is" | "are" | "equals")) => (name, rest),
        _ => return None,
    };
    let says_more = |token: &Token<'a>| word(token).is_none_or(changes_meaning);
    let is_value = rest.first().is_some_and(|first| word(first).is_none());
    (is_value && !name.is_empty() && count <= MOST_OF_NAME && !name.iter().any(says_more)).then_some((name, rest))
}
