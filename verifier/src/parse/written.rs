//! The numerals that a side of a relation between numbers was written with. The expression tree has the value of a
//! fraction only, but `\frac{6}{3} = 2` says something that `2 = 2` and `\frac{8}{4} = 2` do not.

use dashu_int::IBig;
use dashu_ratio::RBig;

use super::token::{Bracket, Kind, Token};

/// The numerals of a text, whatever stands between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Their values, and whether these were written with a period: `0.\overline{9}` is 1.
    numerals: Vec<(RBig, bool)>,
    /// How many minus signs there are.
    signs: usize,
    /// Whether one of its fractions can be reduced, so that another fraction has the same value.
    has_reducible: bool,
}

impl Written {
    pub(super) fn read(tokens: &[Token<'_>]) -> Self {
        let value = |token: &Token<'_>| match &token.kind {
            Kind::Number(value, _) => Some((value.clone(), has_period(token.source))),
            _ => None,
        };
        let numerals: Vec<(RBig, bool)> = tokens.iter().filter_map(value).collect();
        Self {
            numerals,
            signs: tokens.iter().filter(|token| token.kind == Kind::Minus).count(),
            has_reducible: has_reducible(tokens),
        }
    }

    /// Whether the numerals let two expressions of the same form be the same. They do where no fraction can be reduced,
    /// so that `0.5` may stand for `\frac{1}{2}`. Otherwise the numerals must be the same, in any order.
    pub fn agrees(&self, other: &Self) -> bool {
        let sorted = |numerals: &[(RBig, bool)]| {
            let mut numerals = numerals.to_vec();
            numerals.sort_unstable();
            numerals
        };
        !self.has_reducible && !other.has_reducible
            || self.signs == other.signs && sorted(&self.numerals) == sorted(&other.numerals)
    }
}

fn has_period(numeral: &str) -> bool {
    ["overline", "bar", "dot", "("]
        .iter()
        .any(|mark| numeral.contains(mark))
}

fn has_reducible(tokens: &[Token<'_>]) -> bool {
    let significant: Vec<&Kind<'_>> = tokens
        .iter()
        .map(|token| &token.kind)
        .filter(|kind| {
            !matches!(
                kind,
                Kind::GroupOpen
                    | Kind::GroupClose
                    | Kind::Open(Bracket::Round)
                    | Kind::Close(Bracket::Round)
                    | Kind::Minus
            )
        })
        .collect();
    significant.windows(3).any(|window| match window {
        [Kind::Frac, Kind::Number(upper, _), Kind::Number(lower, _)]
        | [
            Kind::Number(upper, _),
            Kind::Divide | Kind::Over,
            Kind::Number(lower, _),
        ] => is_reducible(upper, lower),
        _ => false,
    })
}

fn is_reducible(upper: &RBig, lower: &RBig) -> bool {
    // A decimal above or below the line makes a fraction that is not in lowest terms.
    if lower.is_zero() || !upper.is_int() || !lower.is_int() {
        return true;
    }
    let quotient = upper / lower;
    quotient.is_int() || IBig::from(quotient.denominator().clone()) != *lower.numerator()
}
