//! Angles in sums: `\angle DEF + \angle ABC` adds what `\angle ABC + \angle DEF` does. An angle alone, and on the left of an
//! equals sign, stays a name.

use compact_str::CompactString;

use super::super::figures;
use super::super::spell::spell;
use super::super::token::{Kind, Token};

/// Makes a variable of every angle of a text that adds some.
pub(super) fn settle(tokens: &mut Vec<Token<'_>>) {
    let is_angle = |token: &Token<'_>| token.kind == Kind::Shape("angle");
    // Quickly past most answers, which have no angle.
    if !tokens.iter().any(is_angle) {
        return;
    }
    let adds = |token: Option<&Token<'_>>| token.is_some_and(|token| matches!(token.kind, Kind::Plus | Kind::Minus));
    let mut found: Vec<(usize, usize, CompactString)> = Vec::new();
    let mut is_sum = false;
    for sign in (0..tokens.len()).filter(|index| is_angle(&tokens[*index])) {
        // `m\angle A`
        let is_measure = |before: &usize| matches!(&tokens[*before].kind, Kind::Symbol(name) if name == "m");
        let start = sign.checked_sub(1).filter(is_measure).unwrap_or(sign);
        let Some((points, end)) = figures::angle(tokens, start) else {
            continue;
        };
        let before = start.checked_sub(1).map(|before| &tokens[before]);
        is_sum |= adds(before) || adds(tokens.get(end));
        let begins = before.is_none_or(|before| matches!(before.kind, Kind::Comma | Kind::Semicolon));
        let is_name = begins
            && tokens
                .get(end)
                .is_some_and(|next| matches!(next.kind, Kind::Relation(_)));
        if !is_name {
            found.push((start, end, name(&points)));
        }
    }
    if !is_sum {
        return;
    }
    for (start, end, name) in found.into_iter().rev() {
        let variable = Token {
            kind: Kind::Symbol(name),
            ..tokens[start].clone()
        };
        tokens.splice(start..end, [variable]);
    }
}

/// The name of an angle by its points: ∠CBA is ∠ABC.
fn name(points: &[Token<'_>]) -> CompactString {
    let mut points = points.to_vec();
    points.iter_mut().for_each(|point| point.spaced = false);
    if let [first, _, last] = points.as_mut_slice()
        && first.source > last.source
    {
        std::mem::swap(first, last);
    }
    let mut name = CompactString::const_new("∠");
    name.push_str(&spell(&points));
    name
}
