//! `1 \cdot 3 \cdots (2n-1)` is `1 \times 3 \times \cdots \times (2n-1)`: beside dots a sign of multiplication says nothing.

use super::super::token::{Kind, Token};

/// Drops the signs of multiplication that stand beside dots.
pub(super) fn settle(tokens: &mut Vec<Token<'_>>) {
    let is_dots = |place: Option<usize>| {
        let token = place.and_then(|place| tokens.get(place));
        token.is_some_and(|token| token.kind == Kind::Dots)
    };
    let is_said =
        |place: usize| tokens[place].kind == Kind::Times && (is_dots(place.checked_sub(1)) || is_dots(Some(place + 1)));
    let dropped: Vec<usize> = (0..tokens.len()).filter(|place| is_said(*place)).collect();
    for place in dropped.into_iter().rev() {
        tokens.remove(place);
    }
}
