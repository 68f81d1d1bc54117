//! `[ABC]` is the area of a figure, and no product of its points.

use compact_str::CompactString;

use super::super::token::{Bracket, Kind, Token};

/// Most points of a figure.
const MOST_POINTS: usize = 6;

/// Makes a variable of every area. The points of a triangle stand in any order.
pub(super) fn settle(tokens: &mut Vec<Token<'_>>) {
    let mut place = 0;
    while place < tokens.len() {
        if let Some((name, length)) = area(tokens, place) {
            let variable = Token {
                kind: Kind::Symbol(name),
                ..tokens[place].clone()
            };
            tokens.splice(place..place + length, [variable]);
        }
        place += 1;
    }
}

/// The name of the area that begins here, and how many tokens it takes.
fn area(tokens: &[Token<'_>], start: usize) -> Option<(CompactString, usize)> {
    let rest = tokens.get(start..)?;
    if rest.first()?.kind != Kind::Open(Bracket::Square) {
        return None;
    }
    // `E[XYZ]` is an expectation.
    let applies = |before: usize| match &tokens[before].kind {
        Kind::Symbol(name) => !name.starts_with('['),
        Kind::Function(_) | Kind::Prime | Kind::Sqrt => true,
        _ => false,
    };
    if start.checked_sub(1).is_some_and(applies) {
        return None;
    }
    let count = rest[1..]
        .iter()
        .take(MOST_POINTS + 1)
        .take_while(|token| token.is_point())
        .count();
    let is_closed = rest
        .get(count + 1)
        .is_some_and(|close| close.kind == Kind::Close(Bracket::Square));
    if !(3..=MOST_POINTS).contains(&count) || !is_closed {
        return None;
    }
    let mut points: Vec<&str> = rest[1..=count].iter().map(|token| token.source).collect();
    if count == 3 {
        points.sort_unstable();
    }
    let mut name = CompactString::const_new("[");
    points.into_iter().for_each(|point| name.push_str(point));
    name.push(']');
    Some((name, count + 2))
}
