//! Gives congruences their least remainder: `x \equiv 10 \pmod 7` says what `x \equiv 3 \pmod 7` does.

use dashu_base::Signed as _;
use dashu_ratio::RBig;

use super::token::{Kind, Token};

/// Reduces the number between `\equiv` and `\pmod`, where the left side is unknown. Between numbers every congruence is
/// true or false, so that these stay as they are.
pub(super) fn reduce(tokens: &mut Vec<Token<'_>>) {
    let (before, modulus) = match tokens.as_slice() {
        [before @ .., open, modulus, close] if (&open.kind, &close.kind) == (&Kind::GroupOpen, &Kind::GroupClose) => {
            (before, modulus)
        }
        [before @ .., modulus] => (before, modulus),
        [] => return,
    };
    let Some((sign, _)) = before.split_last() else {
        return;
    };
    let Some(modulus) = integer(modulus).filter(|modulus| sign.kind == Kind::Other("\\mod") && modulus.is_positive())
    else {
        return;
    };
    let modulus = modulus.clone();
    let end = before.len() - 1;
    let Some(start) = tokens.iter().position(|token| token.kind == Kind::Other("\\equiv")) else {
        return;
    };
    let is_unknown = tokens[..start]
        .iter()
        .any(|token| matches!(token.kind, Kind::Symbol(_)));
    let (is_negative, number) = match &tokens[start + 1..end] {
        [number] => (false, number),
        [minus, number] if minus.kind == Kind::Minus => (true, number),
        _ => return,
    };
    let Some(value) = integer(number).filter(|_| is_unknown) else {
        return;
    };
    let value = if is_negative { -value.clone() } else { value.clone() };
    let times = RBig::from((&value / &modulus).floor());
    tokens[end - 1].kind = Kind::Number(value - modulus * times, None);
    if is_negative {
        tokens.remove(start + 1);
    }
}

fn integer<'t>(token: &'t Token<'_>) -> Option<&'t RBig> {
    match &token.kind {
        Kind::Number(value, None) if value.is_int() => Some(value),
        _ => None,
    }
}
