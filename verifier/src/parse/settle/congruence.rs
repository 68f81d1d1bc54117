//! Tells remainders, `13 \bmod 5`, from congruences, and gives these their least remainders: `x \equiv 10 \pmod 7` says what `x \equiv 3 \pmod 7` does, and
//! `n \equiv \pm 1 \pmod 5` what `n \equiv 1, 4 \pmod 5` does.

use dashu_base::Signed as _;
use dashu_ratio::RBig;

use super::super::spell::spell;
use super::super::token::{Conjunction, Kind, Token};

/// Most remainders of one congruence.
const MAX_REMAINDERS: usize = 64;

/// Brings the remainders of a congruence into one spelling, where the left side is unknown. Between numbers every
/// congruence is true or false, so that these stay as they are.
pub(super) fn reduce(tokens: &mut Vec<Token<'_>>) {
    let is_congruent = |token: &Token<'_>| token.kind == Kind::Other("\\equiv");
    let Some(sign) = tokens.iter().position(is_congruent) else {
        // `13 \bmod 5` is no class, as `13 \pmod 5` is. In plain text it may be either.
        for token in tokens.iter_mut() {
            if token.kind == Kind::Other("\\mod") && token.source == "\\bmod" {
                token.kind = Kind::Other("\\bmod");
            }
        }
        return;
    };
    turn(tokens, sign);
    if let Some(reduced) = reduced(tokens) {
        *tokens = reduced;
    }
}

/// Puts the unknown of `3 \equiv x \pmod 5` on the left; of two unknowns, that which is spelled first.
fn turn(tokens: &mut Vec<Token<'_>>, sign: usize) {
    let (left, right) = (&tokens[..sign], &tokens[sign + 1..]);
    let is_remainder = match left {
        [number] => integer(number).is_some(),
        [minus, number] => minus.kind == Kind::Minus && integer(number).is_some(),
        _ => false,
    };
    let Some(modulus) = right.iter().position(|token| token.kind == Kind::Other("\\mod")) else {
        return;
    };
    let unknown = &right[..modulus];
    let is_unknown = unknown.iter().any(|token| matches!(token.kind, Kind::Symbol(_)));
    let is_one = !unknown
        .iter()
        .any(|token| separates(token) || token.kind == tokens[sign].kind);
    let is_second = || {
        let is_whole = !left.iter().any(separates) && left.iter().any(|token| matches!(token.kind, Kind::Symbol(_)));
        is_whole && spell(unknown) < spell(left)
    };
    if is_unknown && is_one && (is_remainder || is_second()) {
        let turned = [unknown, &tokens[sign..=sign], left, &right[modulus..]].concat();
        *tokens = turned;
    }
}

fn reduced<'a>(tokens: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let sign = tokens.iter().position(|token| token.kind == Kind::Other("\\equiv"))?;
    let (unknown, mut rest) = tokens.split_at_checked(sign + 1)?;
    let is_unknown = unknown.iter().any(|token| matches!(token.kind, Kind::Symbol(_)));
    if !is_unknown || unknown.iter().any(separates) {
        return None;
    }
    let mut values: Vec<(&Token<'a>, RBig)> = Vec::new();
    let mut modulus: Option<(&[Token<'a>], &RBig)> = None;
    // One item after the other: `1`, `\pm 2`, `3 \pmod 5`, `n \equiv 4 \pmod 5`.
    loop {
        let (signs, after): (&[i64], _) = match rest {
            [first, after @ ..] if first.kind == Kind::Minus => (&[-1], after),
            [first, after @ ..] if matches!(first.kind, Kind::PlusMinus | Kind::MinusPlus) => (&[1, -1], after),
            after => (&[1], after),
        };
        let (token, after) = after.split_first()?;
        let value = integer(token)?;
        values.extend(signs.iter().map(|sign| (token, value * RBig::from(*sign))));
        let (own, after) = match modulus_at(after) {
            Some((length, modulus)) => {
                let (own, after) = after.split_at_checked(length)?;
                (Some((own, modulus)), after)
            }
            None => (None, after),
        };
        match (modulus, own) {
            (Some((_, known)), Some((_, other))) if known != other => return None,
            (_, Some(own)) => modulus = Some(own),
            // The modulus is that of all items before it.
            (Some(_), None) => return None,
            (None, None) => {}
        }
        let Some((next, after)) = after.split_first() else {
            break;
        };
        if !separates(next) || values.len() > MAX_REMAINDERS {
            return None;
        }
        rest = if starts_with(after, unknown) {
            after.get(unknown.len()..)?
        } else {
            after
        };
    }
    let (end, modulus) = modulus?;
    for (_, value) in &mut values {
        let times = RBig::from((&*value / modulus).floor());
        *value = &*value - modulus * times;
    }
    values.sort_by(|(_, left), (_, right)| left.cmp(right));
    values.dedup_by(|(_, left), (_, right)| left == right);
    let mut reduced = unknown.to_vec();
    for (index, (token, value)) in values.into_iter().enumerate() {
        if index > 0 {
            // Together they are one answer, and no list.
            reduced.push(Token {
                kind: Kind::Other(";"),
                ..token.clone()
            });
        }
        reduced.push(Token {
            kind: Kind::Number(value, None),
            ..token.clone()
        });
    }
    reduced.extend_from_slice(end);
    Some(reduced)
}

fn separates(token: &Token<'_>) -> bool {
    matches!(
        token.kind,
        Kind::Comma | Kind::Semicolon | Kind::Conjunction(Conjunction::Or)
    )
}

/// Whether tokens start with the same ones, whatever the spaces between them.
fn starts_with(tokens: &[Token<'_>], start: &[Token<'_>]) -> bool {
    tokens.len() > start.len() && tokens.iter().zip(start).all(|(token, known)| token.kind == known.kind)
}

/// How many tokens the `\pmod 5` that begins here takes, and its modulus.
fn modulus_at<'t>(tokens: &'t [Token<'_>]) -> Option<(usize, &'t RBig)> {
    let (length, modulus) = match tokens {
        [sign, open, modulus, close, ..]
            if sign.kind == Kind::Other("\\mod")
                && (&open.kind, &close.kind) == (&Kind::GroupOpen, &Kind::GroupClose) =>
        {
            (4, modulus)
        }
        [sign, modulus, ..] if sign.kind == Kind::Other("\\mod") => (2, modulus),
        _ => return None,
    };
    integer(modulus)
        .filter(|modulus| modulus.is_positive())
        .map(|modulus| (length, modulus))
}

fn integer<'t>(token: &'t Token<'_>) -> Option<&'t RBig> {
    match &token.kind {
        Kind::Number(value, None) if value.is_int() => Some(value),
        _ => None,
    }
}
