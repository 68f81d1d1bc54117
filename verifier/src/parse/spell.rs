//! Gives tokens one spelling. Texts that are no mathematics are compared by it, and subscripts named.

use compact_str::CompactString;

use super::token::{Bracket, Kind, Token};

/// Spells tokens: words in lower case, one space between words, no space elsewhere, no braces around single tokens.
pub(super) fn spell(tokens: &[Token<'_>]) -> CompactString {
    let mut spelled = CompactString::default();
    spell_into(tokens, &mut spelled);
    spelled
}

/// Spells the tokens of a subscript without the group that encloses them.
pub(super) fn spell_argument(tokens: &[Token<'_>], out: &mut CompactString) {
    match tokens {
        [
            Token {
                kind: Kind::GroupOpen, ..
            },
            inner @ ..,
            Token {
                kind: Kind::GroupClose, ..
            },
        ] => spell_into(inner, out),
        _ => spell_into(tokens, out),
    }
}

pub(super) fn spell_into(tokens: &[Token<'_>], out: &mut CompactString) {
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        if token.kind == Kind::GroupOpen
            && let Some(inner) = tokens.get(index + 1)
            && tokens.get(index + 2).map(|token| &token.kind) == Some(&Kind::GroupClose)
        {
            spell_token(inner, out);
            index += 3;
            continue;
        }
        spell_token(token, out);
        index += 1;
    }
}

fn spell_token(token: &Token<'_>, out: &mut CompactString) {
    match &token.kind {
        Kind::Number(value, _) => {
            separate(token, out, |last| last.is_ascii_digit());
            out.push_str(&value.to_string());
        }
        Kind::Text(word) | Kind::Word(word) => {
            separate(token, out, char::is_alphanumeric);
            for next in word.chars() {
                out.extend(next.to_lowercase());
            }
        }
        Kind::Symbol(name) => {
            // A letter of a word that was read as variables.
            separate(token, out, char::is_alphanumeric);
            out.push_str(name);
        }
        Kind::Constant(_) | Kind::Function(_) | Kind::Conjunction(_) => {
            separate(token, out, char::is_alphanumeric);
            out.push_str(token.source);
        }
        Kind::Open(bracket) => out.push_str(brackets(*bracket).0),
        Kind::Close(bracket) => out.push_str(brackets(*bracket).1),
        Kind::Relation(relation) => out.push_str(relation.sign()),
        Kind::Times => out.push('·'),
        Kind::Divide => out.push('/'),
        Kind::Caret => out.push('^'),
        Kind::Minus => out.push('-'),
        Kind::Degree => out.push('°'),
        Kind::Frac => out.push_str("\\frac"),
        Kind::Sqrt => out.push_str("\\sqrt"),
        Kind::Bar => out.push('|'),
        Kind::Dots => out.push('…'),
        Kind::Cup => out.push('∪'),
        Kind::In => out.push('∈'),
        Kind::Begin(environment) => out.push_str(environment),
        Kind::EmptySet => out.push('∅'),
        Kind::Other(name) => out.push_str(name),
        _ => out.push_str(token.source),
    }
}

/// A space between two words.
fn separate(token: &Token<'_>, out: &mut CompactString, joins: fn(char) -> bool) {
    if token.spaced && out.chars().next_back().is_some_and(joins) {
        out.push(' ');
    }
}

fn brackets(bracket: Bracket) -> (&'static str, &'static str) {
    match bracket {
        Bracket::Round => ("(", ")"),
        Bracket::Square => ("[", "]"),
        Bracket::Brace => ("\\{", "\\}"),
        Bracket::Floor => ("⌊", "⌋"),
        Bracket::Ceiling => ("⌈", "⌉"),
        Bracket::Angle => ("⟨", "⟩"),
        Bracket::Bar => ("|", "|"),
    }
}
