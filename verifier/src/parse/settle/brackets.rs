//! Braces that only group where something else groups already: `\left( {2, -3} \right)`, `\triangle {ABC}`.

use super::super::token::{Kind, Token, closing};

/// Drops the braces that fill a bracket, and those around the points of a figure.
pub(super) fn drop_braces(tokens: &mut Vec<Token<'_>>) {
    let mut dropped: Vec<usize> = Vec::new();
    for open in 1..tokens.len() {
        if tokens[open].kind != Kind::GroupOpen {
            continue;
        }
        let before = &tokens[open - 1];
        let (in_bracket, of_figure) = match before.kind {
            Kind::Open(_) => (true, false),
            Kind::Shape(_) => (false, true),
            _ => continue,
        };
        let Some(close) = closing(tokens, open) else {
            return;
        };
        let fills = in_bracket && matches!(tokens.get(close + 1), Some(next) if matches!(next.kind, Kind::Close(_)));
        let are_points = of_figure && tokens[open + 1..close].iter().all(Token::is_point);
        // A bracket around nothing has nothing to group.
        if close > open + 1 && (fills || are_points) {
            dropped.extend([open, close]);
        }
        if dropped.len() > MOST_BRACES {
            return;
        }
    }
    dropped.sort_unstable();
    for place in dropped.into_iter().rev() {
        tokens.remove(place);
    }
}

/// Most braces that are dropped: a text with more is no answer.
const MOST_BRACES: usize = 64;
