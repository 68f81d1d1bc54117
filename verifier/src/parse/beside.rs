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
    // `8.31 \text{ J/(mol K)}`
    let is_below = value.last().is_some_and(|last| last.kind == Kind::Divide);
    if !inner.first().is_some_and(is_word) || !value.iter().any(is_numeric) || is_below {
        return None;
    }
    read(inner)
        .filter(|unit| matches!(unit, Unit::Measure(..)))
        .map(|unit| (value, unit))
}

/// Commands between a number and its unit, or within either.
const BETWEEN: [&str; 9] = ["times", "cdot", ",", ";", ":", " ", "!", "quad", "left"];

/// The longest unit in plain letters, in bytes.
const LONGEST_UNIT: usize = 24;

/// A text with the letters behind its number set upright, as those of a unit are: `9.8 m/s^2`. None where no two letters
/// stand behind one number.
pub(super) fn set_upright(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next == '\\' {
            let (command, behind) = super::command::split_command(rest);
            if !BETWEEN.contains(&command) {
                return None;
            }
            rest = behind;
        } else if next.is_ascii_alphabetic() {
            break;
        } else if next.is_ascii_digit() || matches!(next, '.' | ',' | '-' | '^' | '{' | '}' | ' ' | '~') {
            rest = &rest[next.len_utf8()..];
        } else {
            return None;
        }
    }
    let (number, unit) = text.split_at(text.len() - rest.len());
    let letters = unit.bytes().filter(u8::is_ascii_alphabetic).count();
    let is_unit = letters > 1 && unit.len() <= LONGEST_UNIT && !unit.contains(['\\', '=', '+', '|']);
    let is_number = number.bytes().any(|next| next.is_ascii_digit());
    (is_unit && is_number).then(|| format!("{number}\\text{{ {unit}}}"))
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
