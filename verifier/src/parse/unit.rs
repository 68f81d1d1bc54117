//! Units of measurement with their dimension and size, so that equal quantities are equal.

use compact_str::{CompactString, format_compact};
use dashu_ratio::RBig;

use super::greek;
use super::kinds::Kinds;
use super::meaning::{changes_meaning, is_comparative, multiplies};
use super::multiple::{leading_scale, multiplies_at_once};
use super::token::{Bracket, Kind, Token};
use super::units::{Found, is_currency, is_letter, is_sign_in_other_case, joined, lookup, power_of};
use crate::expression::Constant;

/// The unit of a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Unit {
    /// Hundredths.
    Percent,
    /// Degrees of an angle.
    Degree,
    /// A unit with its dimensions (name and exponent, sorted) and its size in the base unit of those.
    Measure(Vec<(&'static str, i32)>, RBig),
    /// Words that name no unit of measurement, such as `ways`.
    Words(CompactString),
}

/// A unit with its dimensions (name and exponent, sorted) and its size in the base unit of those.
type Measured = (Vec<(&'static str, i32)>, RBig);

/// The known units among some words, with their sizes.
pub fn measures(words: &str) -> Vec<Measured> {
    // `in total` is no inch, and the C of `mg of vitamin C` no coulomb.
    let may_be_unit = |(place, word): &(usize, &str)| *word != "in" && (*place == 0 || !is_letter(word));
    let found = words.split(' ').enumerate().filter(may_be_unit);
    let read = |word: &str| match word.split_once('^') {
        Some((unit, exponent)) => named(unit, exponent.parse().ok()?),
        None => named(word, 1),
    };
    found.filter_map(|(_, word)| read(word)).collect()
}

/// The unit that one word names, raised to an exponent.
fn named(word: &str, exponent: i32) -> Option<Measured> {
    let (mut dimensions, mut size) = (Vec::new(), RBig::ONE);
    add(&mut dimensions, &mut size, word, exponent);
    dimensions.sort_unstable();
    (!dimensions.is_empty()).then_some((dimensions, size))
}

/// Splits a unit off the end of a numeral or an expression. Returns the rest and the unit. `5 \text{ million}` stays
/// with its number, see [`super::multiple::split_scale`].
pub(super) fn split<'t, 'a>(tokens: &'t [Token<'a>], kinds: Kinds) -> (&'t [Token<'a>], Option<Unit>) {
    let of_units = Kinds::WORD.or(Kinds::UNIT_SIGN);
    // Those with Greek letters have no words.
    if !kinds.has(of_units.or(Kinds::SYMBOL)) {
        return (tokens, None);
    }
    if let Some((value, unit)) = split_temperature(tokens).or_else(|| split_sign(tokens)) {
        return (value, Some(unit));
    }
    if let Some(start) = greek::start(tokens)
        && let Some(unit) = read(&tokens[start..])
    {
        return (without_dot(&tokens[..start]), Some(unit));
    }
    let Some(start) = first_word(tokens).filter(|start| *start > 0) else {
        return (tokens, None);
    };
    let start = start + leading_scale(&tokens[start..]);
    let (value, words) = tokens.split_at(start);
    if words.is_empty() {
        return (tokens, None);
    }
    let value = without_dot(value);
    match read(words) {
        Some(Unit::Words(_)) if !value.iter().any(is_numeric) => (tokens, None),
        // `\$5 \text{ CAD}` was refused before.
        Some(Unit::Words(_)) if matches!(value.first(), Some(first) if matches!(first.kind, Kind::Currency(_))) => {
            (tokens, None)
        }
        // `5\% \text{ of the cars}`
        Some(unit @ Unit::Words(_)) => match split_sign(value) {
            Some((value, sign)) => (value, Some(sign)),
            None => (value, Some(unit)),
        },
        // `3 \times 2 \text{ matrix}` is no matrix of six.
        _ if has(value, &Kind::Times) && words.iter().any(is_table) => (tokens, None),
        // `D \text{ A}` is two letters.
        Some(_)
            if !value.iter().any(is_numeric)
                && matches!(words, [Token { kind: Kind::Text(word) | Kind::Word(word), .. }] if is_letter(word)) =>
        {
            (tokens, None)
        }
        Some(unit) => (value, Some(unit)),
        None => (tokens, None),
    }
}

/// The value in `5 \cdot \text{m}`.
fn without_dot<'t, 'a>(value: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match value {
        [rest @ .., Token { kind: Kind::Times, .. }] => rest,
        all => all,
    }
}

/// Where the words of a unit may begin: outside of brackets and subscripts, or a fraction of words.
fn first_word(tokens: &[Token<'_>]) -> Option<usize> {
    let is_word =
        |token: Option<&Token<'_>>| matches!(token.map(|token| &token.kind), Some(Kind::Text(_) | Kind::Word(_)));
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open(_) | Kind::GroupOpen | Kind::Begin(_) => depth += 1,
            Kind::Close(_) | Kind::GroupClose | Kind::End => depth = depth.saturating_sub(1),
            Kind::Frac if depth == 0 && is_word(tokens.get(index + 2)) => return Some(index),
            Kind::Text(_) | Kind::Word(_) if depth == 0 => {
                let is_subscript = index > 0 && tokens[index - 1].kind == Kind::Underscore;
                if !is_subscript {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

fn is_table(token: &Token<'_>) -> bool {
    matches!(
        token.kind,
        Kind::Text("matrix" | "matrices" | "grid" | "board" | "array")
            | Kind::Word("matrix" | "matrices" | "grid" | "board" | "array")
    )
}

pub(super) fn is_numeric(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Number(..) | Kind::Constant(Constant::Pi))
}

/// Splits off `^\circ C` and `\text{ degrees Fahrenheit}`.
fn split_temperature<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(&'t [Token<'a>], Unit)> {
    let [value @ .., degree, scale] = tokens else {
        return None;
    };
    if degree.kind != Kind::Degree || value.is_empty() {
        return None;
    }
    let name = match &scale.kind {
        Kind::Symbol(name) => name.as_str(),
        Kind::Text(word) | Kind::Word(word) => word,
        _ => return None,
    };
    let dimension = match name.to_lowercase().as_str() {
        "c" | "celsius" | "centigrade" => "celsius",
        "f" | "fahrenheit" => "fahrenheit",
        _ => return None,
    };
    Some((value, Unit::Measure(vec![(dimension, 1)], RBig::ONE)))
}

/// Splits off `%`, `°` or a currency, which may stand before or after.
fn split_sign<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(&'t [Token<'a>], Unit)> {
    match tokens {
        [
            Token {
                kind: Kind::Currency(sign),
                ..
            },
            value @ ..,
        ] if !value.is_empty() => {
            // `\$5 \text{ dollars}`, `\$1.5 \text{ per person}`
            let is_word = |token: &Token<'_>| {
                matches!(token.kind, Kind::Text(_) | Kind::Word(_) | Kind::Currency(_)) && !multiplies_at_once(token)
            };
            let end = value.iter().position(is_word).unwrap_or(value.len());
            let (value, words) = value.split_at(end);
            // `\$7 \text{ gazillion}`, `\$5 \text{ squared}`, `\$5 \text{ to } \$10`
            let changes = |token: &Token<'_>| match token.kind {
                Kind::Text(word) | Kind::Word(word) => {
                    let lower = word.to_lowercase();
                    // `\$5 \text{ a month}`, `\$5 \text{ more}`
                    let is_short = matches!(lower.as_str(), "a" | "or");
                    multiplies(&lower)
                        || is_other_money(word, sign)
                        || !is_short && !is_comparative(&lower) && changes_meaning(word)
                }
                // `\$5 \text{ USD}`
                Kind::Currency(other) => other != *sign,
                Kind::Number(..) => true,
                _ => false,
            };
            (!words.iter().any(changes)).then(|| (value, with_rate(measure(sign), words)))
        }
        [
            value @ ..,
            Token {
                kind: Kind::Currency(sign),
                ..
            },
        ] if !value.is_empty() => Some((value, measure(sign))),
        [
            value @ ..,
            Token {
                kind: Kind::Percent, ..
            },
        ] if !value.is_empty() && !has(value, &Kind::Percent) => Some((value, Unit::Percent)),
        [value @ .., Token { kind: Kind::Degree, .. }]
            if !value.is_empty() && !has(value, &Kind::Degree) && !has_function(value) =>
        {
            Some((value, Unit::Degree))
        }
        _ => None,
    }
}

/// Whether a word is other money than the sign is for: `\$5 \text{ cents}`, `\$5 \text{ CAD}`.
fn is_other_money(word: &str, sign: &str) -> bool {
    let is_code = matches!(
        word,
        "CAD" | "AUD" | "NZD" | "HKD" | "SGD" | "MXN" | "EUR" | "GBP" | "JPY" | "INR"
    );
    let found = lookup(word).filter(|found| is_currency(found.dimension));
    match found {
        Some(found) => lookup(sign).is_some_and(|known| known != found),
        None => is_code,
    }
}

/// `\$5 \text{ per hour}`: a currency with what stands behind the amount, as far as that is a known rate.
fn with_rate(currency: Unit, words: &[Token<'_>]) -> Unit {
    match (currency, read(words)) {
        (Unit::Measure(mut dimensions, size), Some(Unit::Measure(rate, rate_size)))
            if rate
                .iter()
                .all(|(dimension, exponent)| *exponent < 0 && *dimension != dimensions[0].0) =>
        {
            dimensions.extend(rate);
            dimensions.sort_unstable();
            Unit::Measure(dimensions, size * rate_size)
        }
        (currency, _) => currency,
    }
}

fn has(tokens: &[Token<'_>], kind: &Kind<'_>) -> bool {
    tokens.iter().any(|token| token.kind == *kind)
}

fn has_function(tokens: &[Token<'_>]) -> bool {
    tokens.iter().any(|token| matches!(token.kind, Kind::Function(_)))
}

/// The unit with this name.
pub(super) fn measure(sign: &str) -> Unit {
    match lookup(sign) {
        Some(Found { dimension, size }) => Unit::Measure(vec![power_of(dimension)], size),
        None => Unit::Words(CompactString::from(sign)),
    }
}

/// Most words of a unit: a longer text is no unit.
const MAX_WORDS: usize = 8;

/// Reads words, exponents and strokes as one unit; none if there is anything else among them.
pub(super) fn read(tokens: &[Token<'_>]) -> Option<Unit> {
    let mut dimensions: Vec<(&'static str, i32)> = Vec::new();
    let mut size = RBig::ONE;
    let mut words = CompactString::default();
    let mut word_count = 0;
    let mut is_known = true;
    // `side` is 1 above the stroke and -1 below it; `next_exponent` is what `square` gives to the next word.
    let mut side = 1;
    let mut next_exponent = 1;
    let mut last_unit: Option<CompactString> = None;
    let mut rest = tokens;
    while let [token, after @ ..] = rest {
        let is_hyphen = is_hyphen(&tokens[..tokens.len() - rest.len()], rest);
        if let Some((word, taken)) = greek::name(rest) {
            rest = &rest[taken..];
            word_count += 1;
            if word_count > MAX_WORDS {
                return None;
            }
            if !words.is_empty() {
                words.push(' ');
            }
            // `4:51 \text{ p.m.}`
            if is_half_of_day(&word, rest) {
                words.push_str(&format_compact!("{} m", word.to_lowercase()));
                return Some(Unit::Words(words));
            }
            words.push_str(&spelled(&word));
            match word.as_ref() {
                "square" | "sq" | "Square" => next_exponent = 2,
                "cubic" | "cu" => next_exponent = 3,
                "per" => side = -1,
                // `5 \text{ meters squared}`
                power @ ("squared" | "cubed") => {
                    let times = if power == "squared" { 2 } else { 3 };
                    let (Some(last), true) = (last_unit.take(), rest.is_empty()) else {
                        return None;
                    };
                    for _ in 1..times {
                        if !add(&mut dimensions, &mut size, &last, side) {
                            return None;
                        }
                    }
                }
                word => {
                    let (exponent, taken) = exponent(rest);
                    rest = &rest[taken..];
                    let exponent = exponent.saturating_mul(next_exponent * side);
                    next_exponent = 1;
                    if matches!(word, "unit" | "units") {
                        add_generic(&mut dimensions, exponent);
                        continue;
                    }
                    // `5 \text{K people}` are thousands, `5 \text{ score points}` may be a hundred.
                    if is_magnitude(word, rest)
                        || word_count == 1 && word == "score"
                        || tokens.len() == 1 && word == "arab"
                    {
                        return None;
                    }
                    let is_unit = add(&mut dimensions, &mut size, word, exponent);
                    // `5 \text{ apples}^2`
                    if taken > 0 && !is_unit {
                        return None;
                    }
                    last_unit = (is_unit && exponent == side).then(|| CompactString::from(word));
                    if exponent != side && !is_unit {
                        words.push_str(&format_compact!("^{exponent}"));
                    } else if exponent != side {
                        words.push_str(&format_compact!("^{}", exponent * side));
                    }
                    if !is_unit && changes_meaning(word) && !is_game(word, rest) {
                        return None;
                    }
                    is_known &= is_unit;
                }
            }
            continue;
        }
        rest = after;
        match &token.kind {
            Kind::Divide if rest.is_empty() => return None,
            Kind::Divide => {
                side = -1;
                if !words.is_empty() {
                    words.push_str(" per");
                }
            }
            // `\text{J/(mol K)}`
            Kind::Open(Bracket::Round) if is_below(&tokens[..tokens.len() - after.len() - 1]) => {}
            Kind::Close(Bracket::Round) if side < 0 && rest.is_empty() => {}
            // `\frac{\text{m}}{\text{s}}`
            Kind::GroupClose if matches!(rest.first(), Some(next) if next.kind == Kind::GroupOpen) => side = -1,
            Kind::Times if rest.is_empty() => return None,
            Kind::Times | Kind::Frac | Kind::GroupOpen | Kind::GroupClose => {}
            Kind::Minus if is_hyphen => {}
            // `degrees Celsius`, `percent of …` leave their words.
            Kind::Percent | Kind::Degree => is_known = false,
            _ => return None,
        }
    }
    if is_known && !dimensions.is_empty() {
        dimensions.retain(|(_, exponent)| *exponent != 0);
        dimensions.sort_unstable();
        return Some(Unit::Measure(dimensions, size));
    }
    Some(Unit::Words(words))
}

/// Whether what stands next is below a stroke.
fn is_below(before: &[Token<'_>]) -> bool {
    before.last().is_some_and(|last| last.kind == Kind::Divide)
}

/// A word as it is compared: in lower case unless that would make a unit of it, or another one.
fn spelled(word: &str) -> CompactString {
    if let Some(half) = half_of_day(word) {
        return CompactString::const_new(half);
    }
    let lower = CompactString::from(word.to_lowercase());
    let is_unit = |word: &str| joined(word).is_some() || lookup(word).is_some();
    let keeps_case = lower != word && (is_unit(word) || is_unit(&lower) || is_sign_in_other_case(word));
    if keeps_case { word.into() } else { lower }
}

/// Whether a minus sign joins two units: `newton-meters`.
fn is_hyphen(before: &[Token<'_>], rest: &[Token<'_>]) -> bool {
    let is_unit =
        |token: &Token<'_>| matches!(token.kind, Kind::Text(word) | Kind::Word(word) if named(word, 1).is_some());
    matches!((before, rest), ([.., first], [minus, second, ..])
        if minus.kind == Kind::Minus && !minus.spaced && !second.spaced && is_unit(first) && is_unit(second))
}

/// `5 \text{ billiard balls}` are no five thousand billions.
fn is_game(word: &str, rest: &[Token<'_>]) -> bool {
    matches!(word.to_lowercase().as_str(), "billiard" | "billiards")
        && matches!(rest, [Token { kind: Kind::Text(next) | Kind::Word(next), .. }, ..]
            if ["ball", "table", "cue", "player", "hall", "room", "parlo"].iter().any(|thing| next.starts_with(thing)))
}

/// Whether a letter before another word counts thousands or millions.
fn is_magnitude(word: &str, rest: &[Token<'_>]) -> bool {
    let names_a_thing = |token: &Token<'_>| matches!(token.kind, Kind::Text(word) | Kind::Word(word) if word.len() > 2);
    matches!(word, "K" | "k" | "M" | "B") && rest.first().is_some_and(names_a_thing)
}

/// `am` in the spelling that `a.m.` has without its points.
fn half_of_day(word: &str) -> Option<&'static str> {
    match word {
        "am" | "AM" => Some("a m"),
        "pm" | "PM" => Some("p m"),
        _ => None,
    }
}

fn is_half_of_day(word: &str, rest: &[Token<'_>]) -> bool {
    matches!(word, "a" | "p" | "A" | "P") && matches!(rest, [next] if matches!(next.source, "m" | "M"))
}

/// `square units` are no `cubic units`.
fn add_generic(dimensions: &mut Vec<(&'static str, i32)>, exponent: i32) {
    dimensions.push(("unit", exponent));
}

/// Multiplies a unit by the one that a word names, raised to an exponent. False if the word names none.
fn add(dimensions: &mut Vec<(&'static str, i32)>, size: &mut RBig, word: &str, exponent: i32) -> bool {
    if let Some(parts) = joined(word) {
        let mut multiply = |(part, power): (&str, i32)| add_one(dimensions, size, part, power.saturating_mul(exponent));
        return parts.into_iter().all(&mut multiply);
    }
    add_one(dimensions, size, word, exponent)
}

fn add_one(dimensions: &mut Vec<(&'static str, i32)>, size: &mut RBig, sign: &str, exponent: i32) -> bool {
    let Some(found) = lookup(sign) else {
        return false;
    };
    // No unit has such an exponent: a word that is none.
    if exponent.unsigned_abs() > 9 {
        return false;
    }
    for _ in 0..exponent.unsigned_abs() {
        if exponent > 0 {
            *size *= &found.size;
        } else {
            *size /= &found.size;
        }
    }
    let (base, power) = power_of(found.dimension);
    match dimensions.iter_mut().find(|(dimension, _)| *dimension == base) {
        Some((_, total)) => *total += power * exponent,
        None => dimensions.push((base, power * exponent)),
    }
    true
}

/// The exponent of a unit, as in `cm^2` or `s^{-1}`, and the tokens that it takes.
fn exponent(tokens: &[Token<'_>]) -> (i32, usize) {
    let number = |value: &RBig| -> i32 { i32::try_from(value.numerator()).unwrap_or(i32::MAX) };
    let kinds: Vec<&Kind<'_>> = tokens.iter().take(5).map(|token| &token.kind).collect();
    match kinds.as_slice() {
        [Kind::Caret, Kind::Number(value, None), ..] => (number(value), 2),
        [Kind::Caret, Kind::Minus, Kind::Number(value, None), ..] => (number(value).saturating_neg(), 3),
        [
            Kind::Caret,
            Kind::GroupOpen,
            Kind::Number(value, None),
            Kind::GroupClose,
            ..,
        ] => (number(value), 4),
        [
            Kind::Caret,
            Kind::GroupOpen,
            Kind::Minus,
            Kind::Number(value, None),
            Kind::GroupClose,
        ] => (number(value).saturating_neg(), 5),
        _ => (1, 0),
    }
}
