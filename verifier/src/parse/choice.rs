//! The letter of a multiple-choice problem.

use super::answer::Choice;
use super::meaning::takes_back;
use super::token::{Bracket, Kind, Token};

/// The letter of a multiple choice: `B`, `(B)`, `B.`, `(B) 12`, `Option B`.
pub(super) fn choice(tokens: &[Token<'_>], is_text: bool) -> Option<Choice> {
    let word = |token: &Token<'_>| match token.kind {
        Kind::Word(word) | Kind::Text(word) => word.to_lowercase(),
        _ => String::new(),
    };
    // `The correct answer is`
    let introduces = |token: &&Token<'_>| {
        let word = word(token);
        is_choice_word(&word) || matches!(word.as_str(), "the" | "correct" | "final" | "best" | "right" | "is")
    };
    let count = tokens.iter().take_while(introduces).count();
    let has_prefix = tokens[..count].iter().any(|token| is_choice_word(&word(token)));
    let tokens = match &tokens[if has_prefix { count } else { 0 }..] {
        [colon, rest @ ..] if has_prefix && colon.kind == Kind::Colon => rest,
        rest => rest,
    };
    match tokens {
        // `B) 12`
        [single, close, rest @ ..] if close.kind == Kind::Close(Bracket::Round) => {
            let letter = letter_of(single).filter(char::is_ascii_uppercase)?;
            Some(Choice {
                letter,
                is_alone: rest.is_empty(),
                is_marked: true,
                is_text: is_text || matches!(single.kind, Kind::Text(_)),
            })
            .filter(|_| repeats_choice(rest, matches!(single.kind, Kind::Text(_))))
        }
        [single] => Some(Choice {
            letter: letter_of(single)?,
            is_alone: true,
            is_marked: is_text || has_prefix || matches!(single.kind, Kind::Text(_)),
            is_text: is_text || matches!(single.kind, Kind::Text(_)),
        }),
        [open, single, close, rest @ ..]
            if open.kind == Kind::Open(Bracket::Round) && close.kind == Kind::Close(Bracket::Round) =>
        {
            let letter = letter_of(single)?;
            let is_choice = rest.is_empty()
                || letter.is_ascii_uppercase() && repeats_choice(rest, matches!(single.kind, Kind::Text(_)));
            is_choice.then_some(Choice {
                letter,
                is_alone: rest.is_empty(),
                is_marked: true,
                is_text: is_text || matches!(single.kind, Kind::Text(_)),
            })
        }
        _ => None,
    }
}

/// The tokens behind the letter of `(C) 14`: what the choice stands for.
pub(super) fn beside<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let rest = match tokens {
        [open, _, close, rest @ ..] if open.kind == Kind::Open(Bracket::Round) => Some((close, rest)),
        [_, close, rest @ ..] => Some((close, rest)),
        _ => None,
    };
    rest.filter(|(close, rest)| close.kind == Kind::Close(Bracket::Round) && !rest.is_empty())
        .map(|(_, rest)| rest)
}

/// Whether the text after a letter may follow a choice. It may repeat the text of the choice, but not go on as
/// mathematics, name another choice, or take this one back.
fn repeats_choice(rest: &[Token<'_>], is_text: bool) -> bool {
    // Behind `\textbf{(C)}` stands the choice, whatever it begins with.
    let goes_on = !is_text && rest.first().is_some_and(|next| !starts_choice_text(&next.kind));
    let is_choice = |token: &Token<'_>| letter_of(token).is_some_and(|letter| !is_text || matches!(letter, 'A'..='H'));
    let denies = |(place, token): (usize, &Token<'_>)| match token.kind {
        Kind::Text(word) | Kind::Word(word) => {
            let lower = word.to_lowercase();
            takes_back(word)
                || (place > 0 || rest.len() == 1) && matches!(lower.as_str(), "not" | "never" | "cannot")
                || matches!(
                    lower.as_str(),
                    "rejected" | "excluded" | "eliminated" | "fails" | "invalid" | "impossible" | "cannot"
                )
        }
        _ => false,
    };
    let mut depth = 0usize;
    let names_another = rest.iter().any(|token| {
        match token.kind {
            Kind::Open(_) => depth += 1,
            Kind::Close(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        let separates = matches!(token.kind, Kind::Conjunction(_) | Kind::Comma | Kind::Semicolon);
        separates && (depth == 0 || !is_text) || is_choice(token)
    }) || rest.iter().enumerate().any(denies);
    !goes_on && !names_another
}

fn letter_of(token: &Token<'_>) -> Option<char> {
    let (Kind::Symbol(_) | Kind::Text(_) | Kind::Constant(_)) = token.kind else {
        return None;
    };
    // `\mathbb{C}` is a set.
    if matches!(&token.kind, Kind::Symbol(name) if name != token.source) {
        return None;
    }
    let mut letters = token.source.chars();
    let letter = letters.next().filter(char::is_ascii_alphabetic)?;
    letters.next().is_none().then_some(letter)
}

fn starts_choice_text(kind: &Kind<'_>) -> bool {
    matches!(
        kind,
        Kind::Number(..) | Kind::Text(_) | Kind::Word(_) | Kind::Frac | Kind::Sqrt | Kind::Colon | Kind::Currency(_)
    )
}

fn is_choice_word(word: &str) -> bool {
    matches!(word.to_lowercase().as_str(), "option" | "choice" | "answer" | "answers")
}
