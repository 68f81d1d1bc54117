//! What stands beside a number and is no unit by itself: a unit in brackets, and the words behind a sign.

use super::token::{Bracket, Kind, Token};
use super::unit::{Unit, is_numeric, read};
use super::units::{is_currency, lookup};

/// Splits off a unit in brackets, `5 \left(\mathrm{~cm}\right)`, and `per cent`.
pub(super) fn split_brackets<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(&'t [Token<'a>], Unit)> {
    let is_word = |token: &Token<'_>| matches!(token.kind, Kind::Text(_) | Kind::Word(_));
    if let [value @ .., per, cent] = tokens
        && per.source == "per"
        && cent.source == "cent"
        && !value.is_empty()
    {
        return Some((value, Unit::Percent));
    }
    let [before @ .., close] = tokens else {
        return None;
    };
    if !matches!(close.kind, Kind::Close(Bracket::Round)) {
        return None;
    }
    let open = before
        .iter()
        .rposition(|token| token.kind == Kind::Open(Bracket::Round))?;
    let (value, inner) = (&tokens[..open], &before[open + 1..]);
    if !inner.first().is_some_and(is_word) || !value.iter().any(is_numeric) {
        return None;
    }
    read(inner)
        .filter(|unit| matches!(unit, Unit::Measure(..)))
        .map(|unit| (value, unit))
}

fn is_money(word: &str) -> bool {
    let found = lookup(word);
    found.is_some_and(|found| is_currency(found.dimension))
}

/// The words behind a percent sign, a degree sign or an amount of money; none if there are none but names of units.
pub(super) fn beside_sign(tokens: &[Token<'_>]) -> Option<Box<str>> {
    let is_sign = |token: &Token<'_>| matches!(token.kind, Kind::Percent | Kind::Degree | Kind::Currency(_));
    if !tokens.iter().any(is_sign) {
        return None;
    }
    let word = |token: &Token<'_>| match token.kind {
        Kind::Text(word) | Kind::Word(word) if word.len() > 1 && !is_money(word) => Some(word.to_lowercase()),
        _ => None,
    };
    let words: Vec<String> = tokens.iter().filter_map(word).collect();
    (!words.is_empty()).then(|| words.join(" ").into_boxed_str())
}

/// `\$5\text{M}`: behind an amount of money the letter is no unit but a power of ten. Returns the tokens with its word.
pub(super) fn with_magnitude<'a>(tokens: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let [
        Token {
            kind: Kind::Currency(_),
            ..
        },
        amount,
        rest @ ..,
    ] = tokens
    else {
        return None;
    };
    let place = match (&amount.kind, rest) {
        (Kind::Number(..), [_, ..]) => 2,
        (Kind::Minus, [number, _, ..]) if matches!(number.kind, Kind::Number(..)) => 3,
        _ => return None,
    };
    let (Kind::Text(letter) | Kind::Word(letter)) = tokens[place].kind else {
        return None;
    };
    let word = match letter {
        "k" | "K" => "thousand",
        "m" | "M" | "MM" => "million",
        "b" | "B" => "billion",
        "t" | "T" => "trillion",
        _ => return None,
    };
    let mut changed = tokens.to_vec();
    changed[place].kind = Kind::Text(word);
    Some(changed)
}
