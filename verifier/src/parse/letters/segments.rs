//! Pairs of capitals that are lengths of segments: in `\frac{AB}{AC}` nothing cancels, and `AB \cdot CD` is no `AC \cdot BD`.

use super::super::answer::{Parsed, Segments};
use super::super::kinds::Kinds;
use super::super::token::{Kind, Token};
use super::capitals::{are_several, capital};

/// Whether the capitals of these tokens are the ends of segments. Those of `A(B + C)` are none.
pub(in crate::parse) fn segments(tokens: &[Token<'_>], kinds: Kinds) -> Segments {
    let others = (Kinds::ACCENT.or(Kinds::SHAPE).or(Kinds::WORD))
        .or(Kinds::OPERATOR)
        .or(Kinds::BAR)
        .or(Kinds::STYLED);
    let may_be = kinds.has(Kinds::SYMBOL) && !kinds.has(others);
    if !may_be || !are_several(tokens) || tokens.iter().any(|token| token.applies) {
        return Segments::No;
    }
    let mut place = 0;
    let mut pairs = 0;
    while place < tokens.len() {
        if capital(&tokens[place]).is_none() {
            place += 1;
            continue;
        }
        if pair(&tokens[place..]).is_none() {
            return Segments::No;
        }
        pairs += 1;
        place += 2;
    }
    let is_operation = |token: &Token<'_>| {
        matches!(
            token.kind,
            Kind::Frac | Kind::Divide | Kind::Times | Kind::Plus | Kind::Minus | Kind::Caret
        )
    };
    match (pairs, tokens.iter().any(is_operation)) {
        (0, _) => Segments::No,
        (_, false) => Segments::Perhaps,
        (_, true) => Segments::Lengths,
    }
}

/// The two letters that begin here, in the order of the alphabet, if they are a pair by themselves.
fn pair<'t>(tokens: &'t [Token<'_>]) -> Option<[&'t str; 2]> {
    let [first, second, rest @ ..] = tokens else {
        return None;
    };
    let (one, other) = (capital(first)?, capital(second)?);
    let is_longer = rest.first().is_some_and(|next| {
        capital(next).is_some() && !next.spaced || matches!(next.kind, Kind::Underscore | Kind::Prime | Kind::Bang)
    });
    let is_pair = one != other && !second.spaced && !is_longer;
    is_pair.then(|| if one < other { [one, other] } else { [other, one] })
}

/// Makes one letter of each pair.
pub(in crate::parse) fn join(tokens: &mut Vec<Token<'_>>) {
    let mut is_second = false;
    let mut joined = Vec::with_capacity(tokens.len());
    for (place, token) in tokens.iter().enumerate() {
        if std::mem::take(&mut is_second) {
            continue;
        }
        let mut token = token.clone();
        if let Some([one, other]) = pair(&tokens[place..]) {
            token.kind = Kind::Symbol(compact_str::format_compact!("{one}{other}"));
            is_second = true;
        }
        joined.push(token);
    }
    *tokens = joined;
}

/// Whether the pairs of capitals of both are lengths.
pub fn have_lengths(answer: &Parsed, truth: &Parsed) -> bool {
    let both = [answer.segments, truth.segments];
    !both.contains(&Segments::No) && both.contains(&Segments::Lengths)
}
