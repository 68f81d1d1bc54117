//! What a name says beside or instead of an expression: its letters and its words.

use compact_str::CompactString;

use super::command::is_upright;
use super::spell::spell;
use super::token::{Bracket, Kind, Token};
use crate::expression::Function;

/// The letters and the words of a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// What is left of the name without words, brackets and accents; empty if it is made of words.
    pub letters: CompactString,
    /// The words of the name, in lower case.
    pub words: Vec<CompactString>,
}

/// Words that are names of functions where brackets follow: `\operatorname{SD}(X)`.
fn applies(tokens: &[Token<'_>], index: usize) -> bool {
    tokens
        .get(index + 1)
        .is_some_and(|next| next.kind == Kind::Open(Bracket::Round) && !next.spaced)
}

/// The tokens that are no words, no brackets and no accents, in one spelling.
pub(super) fn letters(tokens: &[Token<'_>]) -> CompactString {
    let kept = tokens.iter().enumerate().filter(|(index, token)| match token.kind {
        Kind::Text(_) | Kind::Word(_) => applies(tokens, *index),
        Kind::Open(_) | Kind::Close(_) | Kind::Accent(_) | Kind::GroupOpen | Kind::GroupClose => false,
        // `\max f` may be `f_{\max}`.
        Kind::Function(Function::Max | Function::Min) => false,
        _ => true,
    });
    let kept: Vec<Token<'_>> = kept.map(|(_, token)| token.clone()).collect();
    without_brackets(&spell(&kept))
}

pub(super) fn without_brackets(spelled: &str) -> CompactString {
    let is_bracket = |letter: &char| matches!(letter, ' ' | '{' | '}' | '(' | ')' | '[' | ']');
    spelled.chars().filter(|letter| !is_bracket(letter)).collect()
}

pub(super) fn words(tokens: &[Token<'_>]) -> Vec<CompactString> {
    let word = |token: &Token<'_>| match &token.kind {
        Kind::Text(word) | Kind::Word(word) => Some(CompactString::from(word.to_lowercase())),
        Kind::Function(_) => Some(CompactString::from(token.source.trim_start_matches('\\'))),
        // `\ker T`
        Kind::Symbol(name) if is_upright(name) => Some(name.clone()),
        _ => None,
    };
    tokens.iter().filter_map(word).collect()
}
