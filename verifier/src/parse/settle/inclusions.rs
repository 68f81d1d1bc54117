//! `B \supset A` says what `A \subset B` does, and `A \ni x` what `x \in A` does.

use super::super::token::{Kind, Token, split_outside};

/// Turns a text that is one inclusion so that the smaller side stands first.
pub(super) fn settle(tokens: &mut Vec<Token<'_>>) {
    let Some(sign) = tokens.iter().position(|token| turned(&token.kind).is_some()) else {
        return;
    };
    let separates = |kind: &Kind<'_>| {
        let is_inclusion = matches!(kind, Kind::Other(sign) if matches!(*sign, "\\subset" | "\\subseteq"));
        is_inclusion
            || turned(kind).is_some()
            || matches!(
                kind,
                Kind::Comma | Kind::Semicolon | Kind::Conjunction(_) | Kind::Relation(_) | Kind::In
            )
    };
    // In a chain or a list each sign has sides of its own.
    let is_one = matches!(split_outside(tokens, separates).as_slice(), [(at, smaller), (_, larger)]
        if *at == sign && !smaller.is_empty() && !larger.is_empty());
    if let (true, Some(kind)) = (is_one, turned(&tokens[sign].kind)) {
        let turned = Token {
            kind,
            ..tokens[sign].clone()
        };
        *tokens = [&tokens[sign + 1..], &[turned], &tokens[..sign]].concat();
    }
}

/// The sign that says the same from the other side.
fn turned(kind: &Kind<'_>) -> Option<Kind<'static>> {
    match kind {
        Kind::Other("\\supset") => Some(Kind::Other("\\subset")),
        Kind::Other("\\supseteq") => Some(Kind::Other("\\subseteq")),
        Kind::Other("\\ni") => Some(Kind::In),
        _ => None,
    }
}
