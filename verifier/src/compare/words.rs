//! Words and letters that are no mathematics, though they read as products or lists: criteria of congruence, and things
//! that are joined by `or`.

use crate::expression::Expression;
use crate::parse::token::Conjunction;
use crate::parse::{Answer, Body, Parsed, Quantity, Unit};

/// Whether two criteria of congruence are the same, which are `SSS`, `SAS` and the like: the order of their letters counts, but
/// may be that from either end. None if one of the values is no such criterion.
pub(super) fn same_criterion(answer: &Quantity, truth: &Quantity) -> Option<bool> {
    let (answer, truth) = (criterion(answer)?, criterion(truth)?);
    Some(answer == truth || answer.iter().rev().eq(&truth))
}

/// The letters of a criterion of congruence, for sides and angles.
fn criterion(quantity: &Quantity) -> Option<Vec<&str>> {
    let Expression::Product(letters) = &quantity.expression else {
        return None;
    };
    let letter = |letter: &'_ Expression| match letter {
        Expression::Symbol(name) if name == "S" => Some("S"),
        Expression::Symbol(name) if name == "A" => Some("A"),
        _ => None,
    };
    let letters: Vec<&str> = letters.iter().map(letter).collect::<Option<_>>()?;
    (quantity.spelled.is_some() && letters.len() == 3).then_some(letters)
}

/// Whether one of two lists leaves open which of its things is meant, and the other names them all: three cats or two dogs are
/// not both. Numbers that are joined by `or` are solutions as often, so that these are the same list.
pub(super) fn leave_open(answer: &Parsed, truth: &Parsed) -> bool {
    let is_open = |parsed: &Parsed| parsed.joined == Some(Conjunction::Or);
    if is_open(answer) == is_open(truth) {
        return false;
    }
    let holds_things = |parsed: &Parsed| match &parsed.answer.body {
        Body::List(items) => items.iter().any(is_thing),
        _ => false,
    };
    holds_things(answer) && holds_things(truth)
}

/// Whether it is a thing, by a name or with its number, and no solution of an equation.
fn is_thing(item: &Answer) -> bool {
    item.label.is_none()
        && match &item.body {
            Body::Text(_) => true,
            Body::Quantity(Quantity {
                unit: Some(Unit::Words(_)),
                ..
            }) => true,
            Body::Quantity(quantity) => quantity.spelled.as_ref().is_some_and(|name| is_capital(name)),
            _ => false,
        }
}

fn is_capital(name: &str) -> bool {
    name.len() == 1 && name.starts_with(|letter: char| letter.is_ascii_uppercase())
}

/// Whether a word may be an outcome of several trials: capitals, two at least.
pub(super) fn is_outcome(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|letter| letter.is_ascii_uppercase())
}

/// Whether all items are outcomes of several trials, and no segments: one has a letter twice, or two have the same letters.
pub(super) fn are_outcomes(items: &[Answer]) -> bool {
    let word = |item: &Answer| match &item.body {
        Body::Quantity(quantity) if item.label.is_none() => quantity.spelled.clone().filter(|word| is_outcome(word)),
        _ => None,
    };
    let sorted = |word: &str| {
        let mut letters = word.as_bytes().to_vec();
        letters.sort_unstable();
        letters
    };
    let Some(words) = items.iter().map(word).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let mut letters: Vec<Vec<u8>> = words.iter().map(|word| sorted(word)).collect();
    letters.sort_unstable();
    let is_same_twice = |pair: &[Vec<u8>]| pair[0] == pair[1];
    letters
        .iter()
        .any(|letters| letters.windows(2).any(|pair| pair[0] == pair[1]))
        || letters.windows(2).any(is_same_twice)
}
