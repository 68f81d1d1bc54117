//! Segments and lines, which may be named from either end: `\overline{BA}` is `\overline{AB}`. Rays and vectors may not, and
//! neither may numerals, whose digits are letters: `0.\overline{BA}`, `\overline{AB} + \overline{BA}`.

use super::token::{Kind, Token};

/// The mark of a line, `\overleftrightarrow{AB}`.
pub(super) const LINE: &str = "↔";

/// Names every segment and every line by its points in one order.
pub(super) fn settle(tokens: &mut [Token<'_>]) {
    let named: Vec<usize> = (0..tokens.len())
        .filter(|index| points(tokens, *index).is_some())
        .collect();
    let is_of_digits = |accent: usize| {
        let before = accent.checked_sub(1).map(|before| &tokens[before].kind);
        let names = points(tokens, accent);
        let is_turned = |other: &usize| points(tokens, *other).map(|[first, last]| [last, first]) == names;
        matches!(before, Some(Kind::Number(..) | Kind::Other("."))) || named.iter().any(is_turned)
    };
    // A text that names so many lines is no answer.
    if named.len() > MAX_LINES {
        return;
    }
    let is_turned = |accent: &usize| points(tokens, *accent).is_some_and(|[first, last]| first > last);
    let turned: Vec<usize> = (named.iter().copied())
        .filter(|accent| is_turned(accent) && !is_of_digits(*accent))
        .collect();
    for accent in turned {
        tokens.swap(accent + 2, accent + 3);
    }
}

/// Most segments and lines of one text.
const MAX_LINES: usize = 32;

/// The two points under the mark of a segment or a line at this place.
fn points<'a>(tokens: &[Token<'a>], accent: usize) -> Option<[&'a str; 2]> {
    let [mark, open, first, last, close] = tokens.get(accent..accent + 5)? else {
        return None;
    };
    let is_named = matches!(mark.kind, Kind::Accent("bar" | LINE))
        && (&open.kind, &close.kind) == (&Kind::GroupOpen, &Kind::GroupClose)
        && first.is_point()
        && last.is_point();
    is_named.then_some([first.source, last.source])
}
