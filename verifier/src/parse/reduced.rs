//! Fractions that could be reduced, anywhere in a text: `\frac{2}{4}x`, `\frac{2+2\sqrt3}{4}`, `x < 3/6`.

use dashu_base::Gcd as _;
use dashu_int::UBig;

use super::spell::argument_end;
use super::token::{Bracket, Kind, Token, split_outside};

/// Whether a number can be cancelled from a fraction of some tokens and leaves a fraction: `4/2` is 2.
pub(super) fn has_unreduced(tokens: &[Token<'_>]) -> bool {
    tokens.iter().enumerate().any(|(place, token)| match token.kind {
        Kind::Frac => {
            let middle = argument_end(tokens, place + 1);
            let end = argument_end(tokens, middle);
            let parts = tokens.get(place + 1..middle).zip(tokens.get(middle..end));
            parts.is_some_and(|(upper, lower)| is_unreduced(upper, lower))
        }
        Kind::Divide | Kind::Over => is_unreduced_line(tokens, place),
        _ => false,
    })
}

/// The same for `2/4` and `2x/4`, whose stroke stands here.
fn is_unreduced_line(tokens: &[Token<'_>], stroke: usize) -> bool {
    let letters = tokens[..stroke]
        .iter()
        .rev()
        .take_while(|token| matches!(token.kind, Kind::Symbol(_) | Kind::Constant(_)))
        .count();
    let Some(first) = (stroke - letters).checked_sub(1) else {
        return false;
    };
    let begins = first.checked_sub(1).is_none_or(|before| {
        matches!(
            tokens[before].kind,
            Kind::Plus
                | Kind::Minus
                | Kind::PlusMinus
                | Kind::Relation(_)
                | Kind::Comma
                | Kind::Semicolon
                | Kind::Colon
                | Kind::Conjunction(_)
                | Kind::Open(_)
                | Kind::GroupOpen
                | Kind::Currency(_)
                | Kind::In
                // `1 2/4`
                | Kind::Number(..)
        )
    });
    let divisor = tokens.get(stroke + 1..stroke + 2);
    begins
        && ends_fraction(tokens.get(stroke + 2))
        && divisor.is_some_and(|divisor| is_unreduced(&tokens[first..stroke], divisor))
}

/// Whether the divisor may end before this: that of `2/4!` is 24.
fn ends_fraction(behind: Option<&Token<'_>>) -> bool {
    behind.is_none_or(|behind| !continues(&behind.kind))
}

/// Whether what stands behind a numeral makes another number of it, or another value.
fn continues(kind: &Kind<'_>) -> bool {
    matches!(
        kind,
        Kind::Caret
            | Kind::Bang
            | Kind::Underscore
            | Kind::Divide
            | Kind::Over
            | Kind::Number(..)
            | Kind::Frac
            | Kind::Colon
    )
}

fn is_unreduced(upper: &[Token<'_>], lower: &[Token<'_>]) -> bool {
    let (Some(above), Some(below)) = (content(upper), content(lower)) else {
        return false;
    };
    let common = (&above).gcd(&below);
    let is_number = matches!(bare(lower), [_]);
    common > UBig::ONE && !(is_number && common == below)
}

/// The greatest integer that is written as a factor of every term; none where one is zero.
fn content(tokens: &[Token<'_>]) -> Option<UBig> {
    let terms = split_outside(bare(tokens), |kind| {
        matches!(kind, Kind::Plus | Kind::Minus | Kind::PlusMinus | Kind::MinusPlus)
    });
    let mut terms = terms.into_iter().map(|(_, term)| term).filter(|term| !term.is_empty());
    let first = coefficient(terms.next()?)?;
    terms.try_fold(first, |common, term| Some(common.gcd(coefficient(term)?)))
}

/// The integer that a term begins with; none if it is zero.
fn coefficient(term: &[Token<'_>]) -> Option<UBig> {
    let is_split = split_outside(term, |kind| matches!(kind, Kind::Divide | Kind::Over | Kind::Comma)).len() > 1;
    match term {
        [
            Token {
                kind: Kind::Number(value, None),
                ..
            },
            behind @ ..,
        ] if value.is_int() && !is_split && ends_fraction(behind.first()) => {
            let value = UBig::try_from(value.numerator().clone()).ok()?;
            (value != UBig::ZERO).then_some(value)
        }
        _ => Some(UBig::ONE),
    }
}

/// The tokens inside of one group or pair of brackets around all of them.
fn bare<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let [first, inner @ .., last] = tokens else {
        return tokens;
    };
    let encloses = matches!(
        (&first.kind, &last.kind),
        (Kind::GroupOpen, Kind::GroupClose) | (Kind::Open(Bracket::Round), Kind::Close(Bracket::Round))
    );
    if encloses && super::token::closing(tokens, 0) == Some(tokens.len() - 1) {
        inner
    } else {
        tokens
    }
}
