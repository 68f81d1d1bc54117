//! Units whose sign has a Greek letter, which stands outside of words: `3\,\mu\text{m}`, `3\text{ k}\Omega`.

use std::borrow::Cow;

use super::grammar;
use super::token::{Bracket, Kind, Token};
use super::units::lookup;
use crate::expression::Constant;

/// Where such a unit begins behind a number. Behind anything else the letter is rather a variable, as in `x\Omega`, and
/// so it is in a power or a product with itself.
pub(super) fn start(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0usize;
    let mut has_number = false;
    for (index, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Number(..) => has_number = true,
            Kind::GroupOpen | Kind::Open(Bracket::Round) => depth += 1,
            Kind::GroupClose | Kind::Close(Bracket::Round) => depth = depth.saturating_sub(1),
            Kind::Times | Kind::Divide | Kind::Frac | Kind::Sqrt | Kind::Caret | Kind::Constant(Constant::Pi) => {}
            Kind::Minus if index == 0 || depth > 0 || tokens[index - 1].kind == Kind::Caret => {}
            Kind::Symbol(_) if depth == 0 && has_number => {
                let (_, taken) = name(&tokens[index..])?;
                let rest = &tokens[index + taken..];
                let is_raised = rest.first().is_some_and(Token::is_mark) || rest.iter().any(|next| is(next, "Ω"));
                let value = match &tokens[..index] {
                    [value @ .., dot] if dot.kind == Kind::Times => value,
                    value => value,
                };
                // Not the denominator of `\frac1\Omega`.
                let is_unit = (taken > 1 || !is_raised) && grammar::expression(value).is_ok();
                return is_unit.then_some(index);
            }
            _ => return None,
        }
    }
    None
}

/// The word or the sign of a unit that begins here, and how many tokens it takes.
pub(super) fn name<'a>(tokens: &[Token<'a>]) -> Option<(Cow<'a, str>, usize)> {
    let is_ohm = |token: Option<&Token<'_>>| token.is_some_and(|token| is(token, "Ω"));
    let next = tokens.get(1);
    match &tokens.first()?.kind {
        Kind::Text(prefix @ ("k" | "K" | "M" | "m" | "G")) if is_ohm(next) => Some((format!("{prefix}Ω").into(), 2)),
        Kind::Text(word) | Kind::Word(word) => Some((Cow::Borrowed(*word), 1)),
        Kind::Symbol(sign) if sign == "Ω" => Some((Cow::Borrowed("Ω"), 1)),
        Kind::Symbol(sign) if sign == "μ" => {
            let unit = match &next?.kind {
                Kind::Text(unit) => *unit,
                _ if is_ohm(next) => "Ω",
                _ => return None,
            };
            let sign = format!("μ{unit}");
            lookup(&sign).map(|_| (sign.into(), 2))
        }
        _ => None,
    }
}

fn is(token: &Token<'_>, letter: &str) -> bool {
    matches!(&token.kind, Kind::Symbol(name) if name == letter)
}
