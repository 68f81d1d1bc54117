//! Dates, times of day, bearings, and ratios in words.

use compact_str::CompactString;
use dashu_ratio::RBig;

use super::answer::Quantity;
use super::spell::spell_text;
use super::token::{Kind, Token};
use super::unit::Unit;
use crate::expression::Expression;

/// The numbers of `7 to 3`, which says what `7:3` does. With anything beside the numbers, as in `from 2 to 5` or `20 to
/// 30 minutes`, it may be a range.
pub(super) fn ratio_in_words(tokens: &[Token<'_>]) -> Option<Vec<Quantity>> {
    let is_to =
        |kind: &Kind<'_>| matches!(kind, Kind::Text(word) | Kind::Word(word) if word.eq_ignore_ascii_case("to"));
    let mut parts = tokens.split(|token| is_to(&token.kind));
    let first = parts.next().filter(|first| first.len() < tokens.len())?;
    std::iter::once(first)
        .chain(parts)
        .map(|part| match part {
            [number] => match &number.kind {
                Kind::Number(value, _) => Some(Quantity::new(Expression::Number(value.clone()))),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// Whether it is a date in numbers, `2020-01-15` or `1/15/2020`, and no difference or quotient.
pub(super) fn is_date(tokens: &[Token<'_>]) -> bool {
    let [first, joint, second, again, third] = tokens else {
        return false;
    };
    let digits = [first, second, third].map(|part| match part.kind {
        Kind::Number(_, None) if part.source.bytes().all(|next| next.is_ascii_digit()) => part.source.len(),
        _ => 0,
    });
    let is_spaced = tokens[1..].iter().any(|token| token.spaced);
    joint.kind == again.kind
        && !is_spaced
        && match joint.kind {
            Kind::Minus => digits == [4, 2, 2],
            Kind::Divide => matches!(digits, [1 | 2, 1 | 2, 4]),
            _ => false,
        }
}

/// The last part of `3:45 p.m.`, whichever way it is set.
pub(super) fn time(tokens: &[Token<'_>]) -> Option<Quantity> {
    let [number, half @ ..] = tokens else {
        return None;
    };
    let Kind::Number(value, None) = &number.kind else {
        return None;
    };
    let half: String = half.iter().map(|token| token.source.to_lowercase()).collect();
    let half = match half.as_str() {
        "am" => "a m",
        "pm" => "p m",
        _ => return None,
    };
    let mut quantity = Quantity::new(Expression::Number(value.clone()));
    quantity.unit = Some(Unit::Words(CompactString::const_new(half)));
    Some(quantity)
}

/// `8 PM`, which is no product of three.
pub(super) fn hour(tokens: &[Token<'_>]) -> Option<Quantity> {
    let [number, half, m] = tokens else {
        return None;
    };
    let is_hour = matches!(&number.kind, Kind::Number(hour, None) if hour.is_int() && *hour >= RBig::ONE && *hour <= RBig::from(12));
    let is_half = half.spaced && matches!(half.source, "A" | "P") && !m.spaced && m.source == "M";
    (is_hour && is_half).then(|| time(tokens)).flatten()
}

/// `N30^\circ E`, which is no product of letters and no `E30^\circ N`.
pub(super) fn bearing(tokens: &[Token<'_>]) -> Option<CompactString> {
    let [from, number, degree, to] = tokens else {
        return None;
    };
    let is_bearing = matches!(from.source, "N" | "S")
        && matches!(number.kind, Kind::Number(..))
        && degree.kind == Kind::Degree
        && matches!(to.source, "E" | "W");
    is_bearing.then(|| [from.source, number.source, "°", to.source].concat().into())
}

/// The spelling of a date: `01/05/2020` is `1/5/2020`.
pub(super) fn spell_date(tokens: &[Token<'_>]) -> CompactString {
    let mut tokens = tokens.to_vec();
    for token in &mut tokens {
        token.source = token.source.trim_start_matches('0');
    }
    spell_text(&tokens)
}
