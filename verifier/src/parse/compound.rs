//! One measurement in two parts: `2 hours 30 minutes`, `5 ft 10 in`, `5 and a half hours`; and in words, `half an hour`.

use dashu_ratio::RBig;

use super::answer::{Literal, Quantity};
use super::kinds::Kinds;
use super::token::{Conjunction, Kind, Token};
use super::unit::{Unit, measure};
use super::{scale, words};
use crate::expression::Expression;

/// Reads tokens as a measurement in units that get smaller, in the smallest of them; none if they are anything else.
pub(super) fn compound(tokens: &[Token<'_>], kinds: Kinds) -> Option<Quantity> {
    if !kinds.has(Kinds::WORD.or(Kinds::UNIT_SIGN)) {
        return None;
    }
    if let Some(quantity) = mixed(tokens).or_else(|| part_of_unit(tokens)) {
        return Some(quantity);
    }
    if let [_, degree, _, ..] = tokens
        && degree.kind == Kind::Degree
    {
        return minutes_of_arc(tokens);
    }
    let mut rest = tokens;
    let mut total = RBig::ZERO;
    // The dimension and size of the last unit.
    let mut last: Option<(Vec<(&'static str, i32)>, RBig)> = None;
    let mut parts = 0;
    loop {
        let [number, unit, after @ ..] = rest else {
            return None;
        };
        let (Kind::Number(value, _), Kind::Text(word) | Kind::Word(word)) = (&number.kind, &unit.kind) else {
            return None;
        };
        let Unit::Measure(dimensions, size) = measure(word) else {
            return None;
        };
        let amount = value * &size;
        if let Some((known, larger)) = &last {
            // `3 feet 20 inches` is as likely to be two lengths.
            if *known != dimensions || amount >= *larger || !(&total / larger).is_int() {
                return None;
            }
        }
        total += amount;
        parts += 1;
        last = Some((dimensions, size));
        rest = match after {
            [] => break,
            [comma, and, after @ ..] if comma.kind == Kind::Comma && is_and(and) => after,
            [joint, after @ ..] if joint.kind == Kind::Comma || is_and(joint) => after,
            after => after,
        };
    }
    let (dimensions, size) = last.filter(|_| parts > 1)?;
    let mut quantity = Quantity::new(Expression::Number(total / &size));
    quantity.unit = Some(Unit::Measure(dimensions, size));
    quantity.literal = Literal::Compound;
    Some(quantity)
}

/// The word of a token.
fn word<'a>(token: &Token<'a>) -> Option<&'a str> {
    match token.kind {
        Kind::Text(word) | Kind::Word(word) => Some(word),
        _ => None,
    }
}

/// The fraction that one word names: `half`, `quarters`.
fn fraction(token: &Token<'_>) -> Option<RBig> {
    match word(token)? {
        "quarter" | "quarters" => Some(RBig::ONE / RBig::from(4)),
        word => scale::factor(word).filter(|factor| *factor < RBig::ONE),
    }
}

/// An amount of a unit of measurement or of a number, or a number where nothing stands behind it.
fn amount(value: RBig, unit: &[Token<'_>]) -> Option<Quantity> {
    // `half a dozen`, `2 \text{ and a half million}`
    if let [unit] = unit
        && let Some(factor) = scale::factor(word(unit)?).filter(|factor| *factor > RBig::ONE)
    {
        return Some(Quantity::new(Expression::Number(value * factor)));
    }
    let mut quantity = Quantity::new(Expression::Number(value));
    quantity.unit = match unit {
        [] => None,
        [unit] => Some(measure(word(unit)?)).filter(|unit| matches!(unit, Unit::Measure(..))),
        _ => return None,
    };
    (unit.is_empty() || quantity.unit.is_some()).then_some(quantity)
}

/// `5 \text{ and a half}`, `2 \text{ and one third hours}`, `2 \text{ hours and a half}`, `an hour and a half`.
fn mixed(tokens: &[Token<'_>]) -> Option<Quantity> {
    let (number, rest) = tokens.split_first()?;
    let whole = match &number.kind {
        Kind::Number(whole, None) if whole.is_int() => whole.clone(),
        _ => match word(number)? {
            "a" | "an" => RBig::ONE,
            name => RBig::from(words::number(&name.to_lowercase())?),
        },
    };
    let (unit, one, part) = match rest {
        [and, one, part, unit @ ..] if is_and(and) => (unit, one, part),
        [unit, and, one, part] if is_and(and) => (std::slice::from_ref(unit), one, part),
        _ => return None,
    };
    let is_article = matches!(word(number), Some("a" | "an"));
    let is_one = matches!(word(one), Some("a" | "one")) && !(is_article && unit.is_empty());
    let part = fraction(part).filter(|_| is_one)?;
    amount(whole + part, unit)
}

/// `half an hour`, `three quarters of a mile`.
fn part_of_unit(tokens: &[Token<'_>]) -> Option<Quantity> {
    let [before @ .., article, unit] = tokens else {
        return None;
    };
    let before = match before {
        [before @ .., of] if word(of) == Some("of") => before,
        before => before,
    };
    let (count, part) = match before {
        [part] => (1, part),
        [count, part] => match word(count)? {
            "a" => (1, part),
            count => (words::number(count)?, part),
        },
        _ => return None,
    };
    let part = fraction(part).filter(|_| matches!(word(article), Some("a" | "an")))?;
    amount(RBig::from(count) * part, std::slice::from_ref(unit))
}

/// `30^\circ 15' 36''`, in degrees.
fn minutes_of_arc(tokens: &[Token<'_>]) -> Option<Quantity> {
    let [degrees, _, minutes, prime, rest @ ..] = tokens else {
        return None;
    };
    let sixty = RBig::from(60);
    let whole = |token: &Token<'_>| match &token.kind {
        Kind::Number(value, None) if value.is_int() => Some(value.clone()),
        _ => None,
    };
    let below_sixty = |token: &Token<'_>| match &token.kind {
        Kind::Number(value, _) => Some(value.clone()).filter(|value| *value < sixty),
        _ => None,
    };
    let is_prime = |token: &Token<'_>| token.kind == Kind::Prime;
    let seconds = match rest {
        [] => RBig::ZERO,
        [seconds, first, second] if is_prime(first) && is_prime(second) => below_sixty(seconds)?,
        _ => return None,
    };
    if !is_prime(prime) {
        return None;
    }
    let total = whole(degrees)? + below_sixty(minutes)? / &sixty + seconds / RBig::from(3600);
    let mut quantity = Quantity::new(Expression::Number(total));
    quantity.unit = Some(Unit::Degree);
    quantity.literal = Literal::Compound;
    Some(quantity)
}

fn is_and(token: &Token<'_>) -> bool {
    token.kind == Kind::Conjunction(Conjunction::And)
}
