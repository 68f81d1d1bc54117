//! Functions by cases: `\begin{cases} x + 1, & \text{if } x \ge 0 \\ -x, & \text{otherwise} \end{cases}`.

use super::token::{Bracket, Kind, Relation, Token};

/// Words before a condition.
const INTRODUCTIONS: [&str; 7] = ["if", "for", "when", "whenever", "where", "provided", "as"];

/// Words for all other cases.
const OTHERWISE: [&str; 3] = ["otherwise", "else", "elsewhere"];

/// The tokens of a value, and those of its condition; none of these for all other cases.
type Case<'t, 'a> = (&'t [Token<'a>], &'t [Token<'a>]);

/// Splits tokens into cases; none if they are anything else.
pub(super) fn split<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<Vec<Case<'t, 'a>>> {
    let inner = match tokens {
        [begin, inner @ .., end] if end.kind == Kind::End && is_cases(begin) => inner,
        // `\left\{ \begin{array}{ll} … \end{array} \right.`
        [brace, begin, inner @ .., end]
            if end.kind == Kind::End
                && brace.kind == Kind::Open(Bracket::Brace)
                && matches!(begin.kind, Kind::Begin("array" | "aligned" | "matrix")) =>
        {
            inner
        }
        _ => return None,
    };
    if inner
        .iter()
        .any(|token| matches!(token.kind, Kind::Begin(_) | Kind::End))
    {
        return None;
    }
    let rows = inner.split(|token| token.kind == Kind::RowBreak);
    let cases: Vec<Case<'t, 'a>> = rows.filter(|row| !row.is_empty()).map(parts).collect::<Option<_>>()?;
    let others = cases.iter().filter(|(_, condition)| condition.is_empty()).count();
    (cases.len() > 1 && others <= 1).then_some(cases)
}

/// The equations of a system, `\begin{cases} x = 1 \\ y = 2 \end{cases}`; none if anything but equations stands there.
pub(super) fn system<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<Vec<&'t [Token<'a>]>> {
    let [begin, inner @ .., end] = tokens else {
        return None;
    };
    if end.kind != Kind::End || !is_cases(begin) {
        return None;
    }
    let rows = inner.split(|token| token.kind == Kind::RowBreak);
    let rows: Vec<&[Token<'a>]> = rows.filter(|row| !row.is_empty()).map(trimmed).collect();
    let is_equation = |row: &&[Token<'a>]| {
        let relations = row.iter().filter(|token| matches!(token.kind, Kind::Relation(_)));
        let is_equal = |token: &Token<'_>| token.kind == Kind::Relation(Relation::Equal);
        let is_other =
            |token: &Token<'_>| matches!(token.kind, Kind::Ampersand | Kind::Comma | Kind::Begin(_) | Kind::End);
        relations.count() == 1 && row.iter().any(is_equal) && !row.iter().any(is_other)
    };
    (rows.len() > 1 && rows.iter().all(is_equation)).then_some(rows)
}

fn is_cases(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Begin("cases" | "dcases" | "rcases" | "numcases"))
}

fn parts<'t, 'a>(row: &'t [Token<'a>]) -> Option<Case<'t, 'a>> {
    let (value, condition) = match row.iter().position(|token| token.kind == Kind::Ampersand) {
        Some(position) => (&row[..position], &row[position + 1..]),
        None => {
            let position = (0..row.len()).find(|index| *index > 0 && begins_condition(&row[*index..]))?;
            row.split_at(position)
        }
    };
    let mut condition = trimmed(condition);
    let mut has_word = false;
    loop {
        let length = word_length(condition, &INTRODUCTIONS);
        if length == 0 {
            break;
        }
        has_word = true;
        condition = trimmed(&condition[length..]);
    }
    let is_rest = word_length(condition, &OTHERWISE) == condition.len();
    let value = trimmed(value);
    if value.is_empty() || condition.is_empty() || has_word && is_rest {
        return None;
    }
    Some((value, if is_rest { &[] } else { condition }))
}

fn begins_condition(tokens: &[Token<'_>]) -> bool {
    tokens[0].kind == Kind::Comma || word_length(tokens, &INTRODUCTIONS) > 0 || word_length(tokens, &OTHERWISE) > 0
}

/// Without the commas and semicolons at either end.
fn trimmed<'t, 'a>(mut tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let is_mark = |token: &Token<'_>| {
        matches!(
            token.kind,
            Kind::Comma | Kind::Semicolon | Kind::Ampersand | Kind::Other(".")
        )
    };
    while let [first, rest @ ..] = tokens
        && is_mark(first)
    {
        tokens = rest;
    }
    while let [rest @ .., last] = tokens
        && is_mark(last)
    {
        tokens = rest;
    }
    tokens
}

/// How many tokens the word at the start takes, if it is one of these. Short words were read as products of letters.
fn word_length(tokens: &[Token<'_>], words: &[&str]) -> usize {
    let Some(first) = tokens.first() else {
        return 0;
    };
    if let Kind::Text(word) | Kind::Word(word) = first.kind {
        return usize::from(words.contains(&word.to_lowercase().as_str()));
    }
    let is_letter =
        |token: &&Token<'_>| token.source.len() == 1 && token.source.starts_with(|next: char| next.is_alphabetic());
    let joined = tokens.iter().skip(1).take_while(|next| is_letter(next) && !next.spaced);
    let length = 1 + joined.count();
    let word: String = tokens[..length].iter().map(|token| token.source).collect();
    if length > 1 && words.contains(&word.as_str()) {
        length
    } else {
        0
    }
}
