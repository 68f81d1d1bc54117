//! `{}_5C_2`, `^{10}C_3` and `5C2` are binomial coefficients, `{}_5P_2` counts permutations: `n!/(n-k)!`.

use super::super::spell::argument_end;
use super::super::token::{Bracket, Kind, Token};

/// Rewrites these forms as `\binom{n}{k}`, and as `\binom{n}{k}(k)!` in a group.
pub(super) fn settle<'a>(tokens: &mut Vec<Token<'a>>) {
    let is_letter = |token: &Token<'_>| matches!(&token.kind, Kind::Symbol(name) if name == "C" || name == "P");
    // Most answers have no such letter.
    if !tokens.iter().any(is_letter) {
        return;
    }
    let mut rewritten = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while index < tokens.len() {
        if let Some(form) = scripted(tokens, index).or_else(|| in_digits(tokens, index)) {
            rewritten.extend(form.rewritten(tokens, index));
            index = form.end;
        } else {
            rewritten.push(tokens[index].clone());
            index += 1;
        }
    }
    *tokens = rewritten;
}

/// Such a form: the tokens of n and of k, and where it ends.
struct Form {
    all: std::ops::Range<usize>,
    chosen: std::ops::Range<usize>,
    end: usize,
    is_ordered: bool,
}

impl Form {
    fn rewritten<'a>(&self, tokens: &[Token<'a>], start: usize) -> Vec<Token<'a>> {
        let like = |kind: Kind<'a>| Token {
            kind,
            spaced: false,
            ..tokens[start].clone()
        };
        let group = |range: &std::ops::Range<usize>| {
            let inner = tokens[range.clone()].iter().cloned();
            [like(Kind::GroupOpen)]
                .into_iter()
                .chain(inner)
                .chain([like(Kind::GroupClose)])
        };
        let mut written = vec![like(Kind::GroupOpen), like(Kind::Binom)];
        written.extend(group(&self.all).chain(group(&self.chosen)));
        if self.is_ordered {
            written.push(like(Kind::Open(Bracket::Round)));
            written.extend(tokens[self.chosen.clone()].iter().cloned());
            written.extend([like(Kind::Close(Bracket::Round)), like(Kind::Bang)]);
        }
        written.push(like(Kind::GroupClose));
        written
    }
}

/// `{}_5C_2`, `{}^5C_2`; without the braces only where nothing stands before that the script could belong to.
fn scripted(tokens: &[Token<'_>], start: usize) -> Option<Form> {
    let has_braces = tokens[start].kind == Kind::GroupOpen
        && tokens.get(start + 1).map(|next| &next.kind) == Some(&Kind::GroupClose);
    let before = start.checked_sub(1).map(|before| &tokens[before].kind);
    let is_free = has_braces
        || matches!(
            before,
            None | Some(
                Kind::Plus
                    | Kind::Minus
                    | Kind::Times
                    | Kind::Divide
                    | Kind::Relation(_)
                    | Kind::Comma
                    | Kind::Open(_)
                    | Kind::GroupOpen
            )
        );
    let script = if has_braces { start + 2 } else { start };
    if !is_free || !matches!(tokens.get(script)?.kind, Kind::Underscore | Kind::Caret) {
        return None;
    }
    let letter = argument_end(tokens, script + 1);
    let is_ordered = ordered(tokens.get(letter)?)?;
    if tokens.get(letter + 1)?.kind != Kind::Underscore {
        return None;
    }
    let end = argument_end(tokens, letter + 2);
    (end <= tokens.len() && letter + 2 < end).then_some(Form {
        all: script + 1..letter,
        chosen: letter + 2..end,
        end,
        is_ordered,
    })
}

/// `5C2` by itself: nobody writes a number behind a variable. In `65C7D_{16}` and `(5C2)_{16}` it is a digit.
fn in_digits(tokens: &[Token<'_>], start: usize) -> Option<Form> {
    let [all, letter, chosen, after @ ..] = tokens.get(start..)? else {
        return None;
    };
    let is_ordered = ordered(letter)?;
    let is_digit = |token: &Token<'_>| matches!(token.kind, Kind::Symbol(_) | Kind::Number(..) | Kind::Constant(_));
    let before = start.checked_sub(1).and_then(|before| tokens.get(before));
    let has_base = tokens.iter().any(|token| token.kind == Kind::Underscore);
    if has_base || before.is_some_and(is_digit) || after.first().is_some_and(is_digit) {
        return None;
    }
    let is_whole = |token: &Token<'_>| matches!(&token.kind, Kind::Number(value, None) if value.is_int());
    let is_alone = !letter.spaced && !chosen.spaced && is_whole(all) && is_whole(chosen);
    is_alone.then_some(Form {
        all: start..start + 1,
        chosen: start + 2..start + 3,
        end: start + 3,
        is_ordered,
    })
}

/// Whether a letter counts permutations; None for one that counts nothing.
fn ordered(letter: &Token<'_>) -> Option<bool> {
    match &letter.kind {
        Kind::Symbol(name) if name == "C" => Some(false),
        Kind::Symbol(name) if name == "P" => Some(true),
        _ => None,
    }
}
