//! Units of measurement with their dimension and size, so that equal quantities are equal.

use compact_str::CompactString;
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::meaning::changes_meaning;
use super::token::{Kind, Token};
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

/// A unit by its names: the dimension, the exponent of it, the size in the dimension's base unit as a fraction.
struct Entry {
    names: &'static [&'static str],
    dimension: &'static str,
    exponent: i32,
    size: (u64, u64),
}

const fn entry(names: &'static [&'static str], dimension: &'static str, size: (u64, u64)) -> Entry {
    Entry {
        names,
        dimension,
        exponent: 1,
        size,
    }
}

/// The units; lengths in micrometres, times in seconds, masses in milligrams, volumes as cubed lengths.
const UNITS: [Entry; 42] = [
    entry(&["m", "meter", "metre"], "length", (1_000_000, 1)),
    entry(&["cm", "centimeter", "centimetre"], "length", (10_000, 1)),
    entry(&["mm", "millimeter", "millimetre"], "length", (1_000, 1)),
    entry(&["km", "kilometer", "kilometre"], "length", (1_000_000_000, 1)),
    entry(&["nm", "nanometer", "nanometre"], "length", (1, 1_000)),
    entry(&["in", "inch", "inche"], "length", (25_400, 1)),
    entry(&["ft", "foot", "feet"], "length", (304_800, 1)),
    entry(&["yd", "yard"], "length", (914_400, 1)),
    entry(&["mi", "mile"], "length", (1_609_344_000, 1)),
    entry(&["s", "sec", "second"], "time", (1, 1)),
    entry(&["ms", "millisecond"], "time", (1, 1_000)),
    entry(&["min", "minute"], "time", (60, 1)),
    entry(&["h", "hr", "hour"], "time", (3_600, 1)),
    entry(&["d", "day"], "time", (86_400, 1)),
    entry(&["week"], "time", (604_800, 1)),
    entry(&["month"], "month", (1, 1)),
    entry(&["year", "yr"], "month", (12, 1)),
    entry(&["g", "gram"], "mass", (1_000, 1)),
    entry(&["kg", "kilogram"], "mass", (1_000_000, 1)),
    entry(&["mg", "milligram"], "mass", (1, 1)),
    entry(&["lb", "pound"], "weight", (16, 1)),
    entry(&["oz", "ounce"], "weight", (1, 1)),
    entry(&["ton"], "tons", (1, 1)),
    entry(&["$", "dollar", "usd", "buck"], "dollar", (1, 1)),
    entry(&["¢", "cent"], "dollar", (1, 100)),
    entry(&["€", "euro", "eur"], "euro", (1, 1)),
    entry(&["£"], "sterling", (1, 1)),
    entry(&["¥", "yen"], "yen", (1, 1)),
    entry(&["rupee"], "rupee", (1, 1)),
    entry(&["l", "liter", "litre"], "liters", (1_000, 1)),
    entry(&["ml", "milliliter", "millilitre"], "liters", (1, 1)),
    entry(&["gal", "gallon"], "gallons", (4, 1)),
    entry(&["qt", "quart"], "gallons", (1, 1)),
    entry(&["acre"], "acres", (1, 1)),
    entry(&["n", "newton"], "newton", (1, 1)),
    entry(&["j", "joule"], "joule", (1, 1)),
    entry(&["w", "watt"], "watt", (1, 1)),
    entry(&["v", "volt"], "volt", (1, 1)),
    entry(&["hz", "hertz"], "hertz", (1, 1)),
    entry(&["k", "kelvin"], "kelvin", (1, 1)),
    entry(&["rad", "radian"], "radian", (1, 1)),
    entry(&["pa", "pascal"], "pascal", (1, 1)),
];

/// Whether a plain word after a number is one of the units that can hardly be a product of variables.
pub(super) fn is_unit_word(word: &str) -> bool {
    // `2 mg` is a weight as often as a mass.
    word.len() > 1
        && word != "mg"
        && (lookup(word).is_some() || matches!(word, "mph" | "kph" | "units" | "unit" | "sq"))
}

fn lookup(word: &str) -> Option<&'static Entry> {
    let lower = word.to_lowercase();
    let singular = lower.strip_suffix('s').filter(|stem| stem.len() > 1);
    let find = |name: &str| UNITS.iter().find(|unit| unit.names.contains(&name));
    // Prefixes and single letters differ by case: `M` is no metre, `S` no second.
    if word.len() == 1
        && !matches!(
            word,
            "$" | "m" | "s" | "h" | "d" | "g" | "l" | "L" | "N" | "J" | "W" | "V" | "K"
        )
        && word.is_ascii()
    {
        return None;
    }
    find(&lower).or_else(|| singular.and_then(find))
}

/// Splits a unit off the end of a numeral or an expression. Returns the rest and the unit. `5 \text{ million}` stays
/// with its number, see [`split_scale`].
pub(super) fn split<'t, 'a>(tokens: &'t [Token<'a>]) -> (&'t [Token<'a>], Option<Unit>) {
    if let Some((value, unit)) = split_sign(tokens) {
        return (value, Some(unit));
    }
    let Some(start) = first_word(tokens).filter(|start| *start > 0) else {
        return (tokens, None);
    };
    let start = start + usize::from(scale(&tokens[start]).is_some());
    let (mut value, words) = tokens.split_at(start);
    if words.is_empty() {
        return (tokens, None);
    }
    // `5 \cdot \text{m}`
    if let [rest @ .., Token { kind: Kind::Times, .. }] = value {
        value = rest;
    }
    match read(words) {
        Some(Unit::Words(_)) if !value.iter().any(is_numeric) => (tokens, None),
        // `5\% \text{ of the cars}`
        Some(unit @ Unit::Words(_)) => match split_sign(value) {
            Some((value, sign)) => (value, Some(sign)),
            None => (value, Some(unit)),
        },
        Some(unit) => (value, Some(unit)),
        None => (tokens, None),
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

/// Splits a word such as `million` off the end. Returns the rest and the factor.
pub(super) fn split_scale<'t, 'a>(tokens: &'t [Token<'a>]) -> (&'t [Token<'a>], Option<RBig>) {
    match tokens {
        [value @ .., last] if !value.is_empty() => match scale(last) {
            Some(scale) => (value, Some(scale)),
            None => (tokens, None),
        },
        _ => (tokens, None),
    }
}

fn scale(token: &Token<'_>) -> Option<RBig> {
    let (Kind::Text(word) | Kind::Word(word)) = token.kind else {
        return None;
    };
    let factor: u64 = match word.to_lowercase().as_str() {
        "dozen" => 12,
        "hundred" => 100,
        "thousand" => 1_000,
        "million" => 1_000_000,
        "billion" => 1_000_000_000,
        "trillion" => 1_000_000_000_000,
        _ => return None,
    };
    Some(RBig::from(factor))
}

fn is_numeric(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Number(..) | Kind::Constant(Constant::Pi))
}

/// Splits off `%`, `°` or a currency, which may stand before or after.
fn split_sign<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(&'t [Token<'a>], Unit)> {
    match tokens {
        // `20^\circ C`
        [value @ .., degree, scale]
            if degree.kind == Kind::Degree
                && matches!(&scale.kind, Kind::Symbol(name) if name == "C" || name == "F") =>
        {
            Some((value, Unit::Degree))
        }
        [
            Token {
                kind: Kind::Currency(sign),
                ..
            },
            value @ ..,
        ] if !value.is_empty() => {
            // `\$5 \text{ dollars}`, `\$1.5 \text{ per person}`
            let is_word = |token: &Token<'_>| {
                matches!(token.kind, Kind::Text(_) | Kind::Word(_) | Kind::Currency(_)) && scale(token).is_none()
            };
            let end = value.iter().position(is_word).unwrap_or(value.len());
            Some((&value[..end], measure(sign)))
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

fn has(tokens: &[Token<'_>], kind: &Kind<'_>) -> bool {
    tokens.iter().any(|token| token.kind == *kind)
}

fn has_function(tokens: &[Token<'_>]) -> bool {
    tokens.iter().any(|token| matches!(token.kind, Kind::Function(_)))
}

/// The unit with this name.
pub(super) fn measure(sign: &str) -> Unit {
    match lookup(sign) {
        Some(entry) => Unit::Measure(vec![(entry.dimension, entry.exponent)], size_of(entry)),
        None => Unit::Words(CompactString::from(sign)),
    }
}

fn size_of(entry: &Entry) -> RBig {
    RBig::from_parts(IBig::from(entry.size.0), UBig::from(entry.size.1))
}

/// Most words of a unit: a longer text is no unit.
const MAX_WORDS: usize = 8;

/// Reads words, exponents and strokes as one unit; none if there is anything else among them.
fn read(tokens: &[Token<'_>]) -> Option<Unit> {
    let mut dimensions: Vec<(&'static str, i32)> = Vec::new();
    let mut size = RBig::ONE;
    let mut words = CompactString::default();
    let mut word_count = 0;
    let mut is_known = true;
    // `side` is 1 above the stroke and -1 below it; `next_exponent` is what `square` gives to the next word.
    let mut side = 1;
    let mut next_exponent = 1;
    let mut rest = tokens;
    while let [token, after @ ..] = rest {
        rest = after;
        match &token.kind {
            Kind::Text(word) | Kind::Word(word) => {
                word_count += 1;
                if word_count > MAX_WORDS {
                    return None;
                }
                if !words.is_empty() {
                    words.push(' ');
                }
                words.push_str(&word.to_lowercase());
                match *word {
                    "square" | "sq" | "Square" => next_exponent = 2,
                    "cubic" | "cu" => next_exponent = 3,
                    "per" => side = -1,
                    "mph" => add(&mut dimensions, &mut size, &[("mi", 1), ("h", -1)]),
                    "kph" | "kmh" => add(&mut dimensions, &mut size, &[("km", 1), ("h", -1)]),
                    "squared" => return None,
                    _ => {
                        let (exponent, taken) = exponent(rest);
                        rest = &rest[taken..];
                        let exponent = exponent * next_exponent * side;
                        next_exponent = 1;
                        if matches!(*word, "unit" | "units") {
                            add_generic(&mut dimensions, exponent);
                            continue;
                        }
                        match lookup(word) {
                            Some(_) => add(&mut dimensions, &mut size, &[(word, exponent)]),
                            // `4:51 \text{ p.m.}`
                            None if is_half_of_day(word, rest) => is_known = false,
                            None if changes_meaning(word) => return None,
                            None => is_known = false,
                        }
                    }
                }
            }
            Kind::Divide => side = -1,
            // `\frac{\text{m}}{\text{s}}`
            Kind::GroupClose if matches!(rest.first(), Some(next) if next.kind == Kind::GroupOpen) => side = -1,
            Kind::Times | Kind::Frac | Kind::GroupOpen | Kind::GroupClose => {}
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

fn is_half_of_day(word: &str, rest: &[Token<'_>]) -> bool {
    matches!(word, "a" | "p" | "A" | "P") && matches!(rest, [next] if matches!(next.source, "m" | "M"))
}

/// `square units` are no `cubic units`.
fn add_generic(dimensions: &mut Vec<(&'static str, i32)>, exponent: i32) {
    dimensions.push(("unit", exponent));
}

fn add(dimensions: &mut Vec<(&'static str, i32)>, size: &mut RBig, parts: &[(&str, i32)]) {
    for (name, exponent) in parts {
        let Some(entry) = lookup(name) else {
            continue;
        };
        let exponent = (*exponent).clamp(-9, 9);
        for _ in 0..exponent.unsigned_abs() {
            if exponent > 0 {
                *size *= size_of(entry);
            } else {
                *size /= size_of(entry);
            }
        }
        match dimensions
            .iter_mut()
            .find(|(dimension, _)| *dimension == entry.dimension)
        {
            Some((_, total)) => *total += exponent,
            None => dimensions.push((entry.dimension, exponent)),
        }
    }
}

/// The exponent of a unit, as in `cm^2` or `s^{-1}`, and the tokens that it takes.
fn exponent(tokens: &[Token<'_>]) -> (i32, usize) {
    let number = |value: &RBig| -> i32 { i32::try_from(value.numerator()).unwrap_or(1) };
    let kinds: Vec<&Kind<'_>> = tokens.iter().take(5).map(|token| &token.kind).collect();
    match kinds.as_slice() {
        [Kind::Caret, Kind::Number(value, None), ..] => (number(value), 2),
        [Kind::Caret, Kind::Minus, Kind::Number(value, None), ..] => (-number(value), 3),
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
        ] => (-number(value), 5),
        _ => (1, 0),
    }
}
