//! The unit vectors along the axes: `\hat{i}`, `\hat\imath` and `\hat{\mathbf i}` are `\mathbf{i}`.

use super::super::token::{Kind, Token};
use crate::expression::Constant;

/// Sets the letters under hats in bold that name an axis.
pub(super) fn settle(tokens: &mut Vec<Token<'_>>) {
    let mut place = 0;
    while place < tokens.len() {
        if let Some((letter, length)) = axis(&tokens[place..]) {
            let vector = Token {
                is_bold: true,
                spaced: tokens[place].spaced,
                ..tokens[place + letter].clone()
            };
            tokens.splice(place..place + length, [vector]);
        }
        place += 1;
    }
}

/// Where the letter of the axis stands that is named here, and how many tokens its name takes.
fn axis(tokens: &[Token<'_>]) -> Option<(usize, usize)> {
    let is_axis = |token: &Token<'_>| match &token.kind {
        Kind::Constant(constant) => *constant == Constant::Imaginary,
        Kind::Symbol(name) => matches!(name.as_str(), "j" | "k"),
        _ => false,
    };
    match tokens {
        [hat, open, letter, close, ..]
            if hat.kind == Kind::Accent("hat")
                && (&open.kind, &close.kind) == (&Kind::GroupOpen, &Kind::GroupClose)
                && is_axis(letter) =>
        {
            Some((2, 4))
        }
        [hat, letter, ..] if hat.kind == Kind::Accent("hat") && is_axis(letter) => Some((1, 2)),
        _ => None,
    }
}
