//! Words behind a number that multiply it, among the tokens of a value: `5 \text{ hundred thousand}`, `5 \text{ score}`,
//! `5 \text{ basis points}`, `5 \text{ quarters of an hour}`.

use dashu_ratio::RBig;

use super::scale;
use super::token::{Kind, Token};
use super::units::lookup;

/// Most words that multiply a number one after the other: `hundred thousand million`.
const MAX_SCALE_WORDS: usize = 3;

/// Splits words such as `million` and `hundred thousand` off the end. Returns the rest and the factor.
pub(super) fn split_scale<'t, 'a>(tokens: &'t [Token<'a>]) -> (&'t [Token<'a>], Option<RBig>) {
    let most = MAX_SCALE_WORDS.min(tokens.len().saturating_sub(1));
    let split = (1..=most).rev().find_map(|count| {
        let (value, words) = tokens.split_at(tokens.len() - count);
        Some((value, Some(scale(words)?)))
    });
    split.unwrap_or((tokens, None))
}

/// How many of the words that begin here multiply the number before them.
pub(super) fn leading_scale(tokens: &[Token<'_>]) -> usize {
    let most = MAX_SCALE_WORDS.min(tokens.len());
    let mut counts = (1..=most).rev();
    counts
        .find(|count| {
            let (words, behind) = tokens.split_at(*count);
            scale(words).is_some() && (collective(words).is_none() || may_follow_collective(behind))
        })
        .unwrap_or(0)
}

/// Whether a word multiplies an amount of money that it stands behind.
pub(super) fn multiplies_at_once(token: &Token<'_>) -> bool {
    word(token).and_then(scale::factor).is_some()
}

fn word<'a>(token: &Token<'a>) -> Option<&'a str> {
    match token.kind {
        Kind::Text(word) | Kind::Word(word) => Some(word),
        _ => None,
    }
}

fn scale(tokens: &[Token<'_>]) -> Option<RBig> {
    let words: Vec<String> = tokens
        .iter()
        .map(|token| word(token).map(str::to_lowercase))
        .collect::<Option<_>>()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let whole = match tokens {
        // The case of `MN` counts.
        [only] => word(only).and_then(scale::factor).or_else(|| collective(tokens)),
        _ => scale::product(words.iter().copied()),
    };
    whole.or_else(|| scale::part(&words))
}

fn collective(tokens: &[Token<'_>]) -> Option<RBig> {
    match tokens {
        [only] => scale::collective(&word(only)?.to_lowercase()),
        _ => None,
    }
}

/// Whether `score` is twenty before these words: `5 \text{ score people}`, but not `5 \text{ score points}`.
fn may_follow_collective(words: &[Token<'_>]) -> bool {
    let next = words.first().map(word);
    next.is_none_or(|next| matches!(next, Some("of" | "people" | "persons" | "men" | "women" | "years")))
}

/// The tokens of a value with words in one spelling that say how much of a unit is meant: quarters are fourths in `5
/// \text{ quarters of an hour}` and `5 \text{ quarter-hours}`, and `5\text{-hundred}` is 500. None where nothing changes.
pub(super) fn settled<'a>(tokens: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    // `5 \text{ minutes of arc}`
    if let [value @ .., unit, of, arc] = tokens
        && word(of) == Some("of")
        && word(arc) == Some("arc")
        && let Some(name) = match word(unit)? {
            "minute" | "minutes" => Some("arcminutes"),
            "second" | "seconds" => Some("arcseconds"),
            _ => None,
        }
    {
        let mut changed = tokens[..=value.len()].to_vec();
        changed[value.len()].kind = Kind::Text(name);
        return Some(changed);
    }
    let place = tokens.iter().position(|token| word(token).is_some())?;
    let first = word(&tokens[place])?.to_lowercase();
    // `5-\text{hundred}`
    if let [
        Token {
            kind: Kind::Number(..), ..
        },
        hyphen,
    ] = &tokens[..place]
        && hyphen.kind == Kind::Minus
        && !hyphen.spaced
        && !tokens[place].spaced
        && scale::factor(word(&tokens[place])?).is_some()
    {
        let mut changed = tokens.to_vec();
        changed.remove(1);
        return Some(settled(&changed).unwrap_or(changed));
    }
    let is_quarter = matches!(first.as_str(), "quarter" | "quarters");
    if place == 0 || !is_quarter && scale::factor(&first).is_none_or(|factor| factor >= RBig::ONE) {
        return None;
    }
    let behind = &tokens[place + 1..];
    // How many tokens join it to the unit.
    let joints = match behind {
        [hyphen, unit, ..] if hyphen.kind == Kind::Minus && !hyphen.spaced && !unit.spaced && is_unit(unit) => 1,
        [of, article, unit, ..]
            if word(of) == Some("of") && matches!(word(article), Some("a" | "an" | "one")) && is_unit(unit) =>
        {
            2
        }
        [unit, ..] if is_quarter && is_unit(unit) => 0,
        _ => return None,
    };
    let mut changed = tokens.to_vec();
    if is_quarter {
        changed[place].kind = Kind::Text("fourths");
    }
    changed.drain(place + 1..place + 1 + joints);
    Some(changed)
}

/// Whether a word is a unit of measurement, and no short word such as `in`.
fn is_unit(token: &Token<'_>) -> bool {
    word(token).is_some_and(|word| word.len() > 2 && lookup(word).is_some())
}
