//! Capitals that are matrices, told by the inverse of one in a product of several: `PDP^{-1}` is neither D nor `P^{-1}DP`.

use dashu_ratio::RBig;

use super::token::{Bracket, Kind, Token};

/// What dimensions are written with: `MLT^{-1}`.
const DIMENSIONS: [&str; 7] = ["M", "L", "T", "I", "K", "N", "J"];

/// Capitals that are units behind a number: `8.31 JK^{-1}`.
const UNITS: [&str; 14] = ["J", "K", "N", "C", "V", "A", "W", "T", "H", "F", "S", "M", "L", "G"];

/// The name of a capital, Latin or Greek.
fn capital<'t>(token: &'t Token<'_>) -> Option<&'t str> {
    match &token.kind {
        Kind::Symbol(name) if name.chars().count() == 1 && name.starts_with(char::is_uppercase) => Some(name),
        _ => None,
    }
}

/// How many tokens the exponent −1 takes here.
fn inversion(tokens: &[Token<'_>]) -> Option<usize> {
    let [caret, open, minus, one, close, ..] = tokens else {
        return None;
    };
    let is_inverse = caret.kind == Kind::Caret
        && open.kind == Kind::GroupOpen
        && minus.kind == Kind::Minus
        && matches!(&one.kind, Kind::Number(one, _) if *one == RBig::ONE)
        && close.kind == Kind::GroupClose;
    is_inverse.then_some(5)
}

/// How many tokens a capital takes here, with its index, if it stands to the power of −1.
fn inverse(tokens: &[Token<'_>]) -> Option<usize> {
    capital(tokens.first()?)?;
    let mut power = 1;
    if tokens.get(1)?.kind == Kind::Underscore {
        let index = &tokens[2..];
        power = match index.first()?.kind {
            Kind::GroupOpen => 3 + index.iter().position(|token| token.kind == Kind::GroupClose)?,
            _ => 3,
        };
    }
    Some(power + inversion(tokens.get(power..)?)?)
}

/// Where the round bracket that closes at this place opens.
fn opening(tokens: &[Token<'_>], close: usize) -> Option<usize> {
    let mut depth = 0usize;
    (0..=close).rev().find(|place| {
        match tokens[*place].kind {
            Kind::Close(Bracket::Round) => depth += 1,
            Kind::Open(Bracket::Round) => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })
}

/// Whether two capitals stand side by side.
pub(super) fn has_product(tokens: &[Token<'_>]) -> bool {
    let are_capitals = |pair: &[Token<'_>]| pair.iter().all(|token| capital(token).is_some());
    tokens.windows(2).any(are_capitals)
}

/// Whether the capitals of a text are matrices: one of them, or a bracket with one, is inverted, and others stand beside
/// it.
pub(super) fn are_matrices(tokens: &[Token<'_>]) -> bool {
    let is_at = |place: Option<usize>, is: &dyn Fn(&Token<'_>) -> bool| {
        place.and_then(|place| tokens.get(place)).is_some_and(is)
    };
    let is_factor = |place: Option<usize>| {
        let is_bracket = |token: &Token<'_>| matches!(token.kind, Kind::GroupClose | Kind::Close(_) | Kind::Open(_));
        let is_above = |token: &Token<'_>| matches!(token.kind, Kind::Caret | Kind::Underscore | Kind::Times);
        is_at(place, &|token| capital(token).is_some() || is_bracket(token))
            // `B^2Q^{-1}`
            || is_at(place.and_then(|place| place.checked_sub(1)), &is_above)
            // `Q^{-1} \cdot B`
            || is_at(place, &|token| token.kind == Kind::Times)
    };
    let is_in_product = |place: usize| {
        let (first, behind) = if tokens[place].kind == Kind::Close(Bracket::Round) {
            let (Some(length), Some(open)) = (inversion(&tokens[place + 1..]), opening(tokens, place)) else {
                return false;
            };
            let inside = &tokens[open..place];
            if !inside.iter().any(|token| capital(token).is_some()) {
                return false;
            }
            // `(AB)^{-1}`
            if has_product(inside) {
                return true;
            }
            (open, place + 1 + length)
        } else {
            let Some(length) = inverse(&tokens[place..]) else {
                return false;
            };
            (place, place + length)
        };
        is_factor(first.checked_sub(1)) || is_factor(Some(behind))
    };
    if !(0..tokens.len()).any(is_in_product) {
        return false;
    }
    let mut names: Vec<&str> = tokens.iter().filter_map(capital).collect();
    names.sort_unstable();
    names.dedup();
    let are_all = |known: &[&str]| names.iter().all(|name| known.contains(name));
    let is_measurement = matches!(tokens.first(), Some(first) if matches!(first.kind, Kind::Number(..)));
    names.len() > 1 && !are_all(&DIMENSIONS) && !(is_measurement && are_all(&UNITS))
}

/// Makes all capitals keep their order. False where something is divided by one: then they are numbers.
pub(super) fn keep_order(tokens: &mut Vec<Token<'_>>) -> bool {
    let divides = tokens
        .iter()
        .any(|token| matches!(token.kind, Kind::Frac | Kind::Divide));
    if divides {
        return false;
    }
    for token in tokens.iter_mut() {
        token.is_bold |= capital(token).is_some();
    }
    // A sign between matrices is no product of vectors.
    let is_sign = |pair: &[Token<'_>]| pair[0].kind == Kind::Times && pair[1].is_bold;
    let signs: Vec<usize> = (tokens.windows(2).enumerate())
        .filter_map(|(place, pair)| is_sign(pair).then_some(place))
        .collect();
    for place in signs.into_iter().rev() {
        tokens.remove(place);
    }
    true
}
