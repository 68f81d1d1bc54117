//! Functions by cases: `\begin{cases} x + 1, & \text{if } x \ge 0 \\ -x, & \text{otherwise} \end{cases}`.

use super::token::{Bracket, Kind, Relation, Token, closing};

/// Words before a condition.
const INTRODUCTIONS: [&str; 7] = ["if", "for", "when", "whenever", "where", "provided", "as"];

/// Words for all other cases.
const OTHERWISE: [&str; 3] = ["otherwise", "else", "elsewhere"];

/// The tokens of a value, and those of its condition; none of these for all other cases.
type Case<'t, 'a> = (&'t [Token<'a>], &'t [Token<'a>]);

/// Splits tokens into cases; none if they are anything else.
pub(super) fn split<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<Vec<Case<'t, 'a>>> {
    let inner = rows_of(tokens)?;
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

/// The rows behind a large brace, all together.
fn rows_of<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    match tokens {
        [begin, inner @ .., end] if end.kind == Kind::End && is_cases(begin) => Some(inner),
        // `\left\{ \begin{array}{ll} … \end{array} \right.`
        [brace, begin, inner @ .., end]
            if end.kind == Kind::End
                && brace.kind == Kind::Open(Bracket::Brace)
                && matches!(
                    begin.kind,
                    Kind::Begin("array" | "aligned" | "matrix" | "split" | "gathered")
                ) =>
        {
            Some(inner)
        }
        _ => None,
    }
}

/// The equations of a system, `\begin{cases} x = 1 \\ y = 2 \end{cases}`; none if anything but equations stands there.
pub(super) fn system<'a>(tokens: &[Token<'a>]) -> Option<Vec<Vec<Token<'a>>>> {
    equations(rows_of(tokens)?)
}

fn equations<'a>(inner: &[Token<'a>]) -> Option<Vec<Vec<Token<'a>>>> {
    let rows = inner.split(|token| token.kind == Kind::RowBreak);
    let rows: Vec<Vec<Token<'a>>> = rows
        .filter(|row| !row.is_empty())
        .map(|row| {
            let mut row = trimmed(row).to_vec();
            drop_alignment(&mut row);
            row
        })
        .collect();
    let is_equation = |row: &Vec<Token<'a>>| {
        let relations = row.iter().filter(|token| matches!(token.kind, Kind::Relation(_)));
        let is_equal = |token: &Token<'_>| token.kind == Kind::Relation(Relation::Equal);
        let is_other =
            |token: &Token<'_>| matches!(token.kind, Kind::Ampersand | Kind::Comma | Kind::Begin(_) | Kind::End);
        relations.count() == 1 && row.iter().any(is_equal) && !row.iter().any(is_other)
    };
    (rows.len() > 1 && rows.iter().all(is_equation)).then_some(rows)
}

/// The equations of rows without a brace, `\begin{aligned} x &= 1 \\ y &= 2 \end{aligned}` and `x = 1 \\ y = 2`; none if
/// anything else stands there. A row that begins with its sign goes on with the one before.
pub(super) fn rows<'a>(tokens: &[Token<'a>]) -> Option<Vec<Vec<Token<'a>>>> {
    let inner = match tokens {
        [begin, inner @ .., end] if end.kind == Kind::End && is_alignment(begin) => inner,
        all => all,
    };
    let goes_on = |row: &[Token<'a>]| {
        let mut meant = row.iter().filter(|token| token.kind != Kind::Ampersand);
        matches!(meant.next(), Some(first) if matches!(first.kind, Kind::Relation(_)))
    };
    let mut all = inner.split(|token| token.kind == Kind::RowBreak);
    if all.any(goes_on) {
        return None;
    }
    equations(inner)
}

fn is_alignment(begin: &Token<'_>) -> bool {
    matches!(
        begin.kind,
        Kind::Begin("aligned" | "align" | "align*" | "gathered" | "gather" | "gather*" | "split" | "array")
    )
}

/// Drops the `&` that align a row at its relation or at its start. Between two values they separate columns.
pub(super) fn drop_alignment(row: &mut Vec<Token<'_>>) {
    if !row.iter().any(|token| token.kind == Kind::Ampersand) {
        return;
    }
    let is_relation = |token: Option<&Token<'_>>| token.is_none_or(|token| matches!(token.kind, Kind::Relation(_)));
    let aligns = |index: usize| {
        row[index].kind == Kind::Ampersand
            && (is_relation(index.checked_sub(1).and_then(|before| row.get(before)))
                || row.get(index + 1).is_some() && is_relation(row.get(index + 1)))
    };
    let kept: Vec<bool> = (0..row.len()).map(|index| !aligns(index)).collect();
    let mut kept = kept.into_iter();
    row.retain(|_| kept.next().unwrap_or(true));
}

/// A condition without the verb that may be left out: `n \text{ is even}` is `n \text{ even}`.
pub(super) fn shortened<'a>(condition: &[Token<'a>]) -> Vec<Token<'a>> {
    let is_verb = |token: &&Token<'a>| !matches!(token.kind, Kind::Text("is") | Kind::Word("is"));
    condition.iter().filter(is_verb).cloned().collect()
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
        let is_for = word_length(condition, &["for"]) > 0;
        condition = trimmed(&condition[length..]);
        if is_for {
            condition = &condition[word_length(condition, &["all", "any", "every"])..];
        }
    }
    // `x &= 1` is a row of a system.
    if matches!(condition.first(), Some(first) if first.kind == Kind::Relation(Relation::Equal)) {
        return None;
    }
    // `& (x \ge 0)`
    if let [open, inner @ .., close] = condition
        && open.kind == Kind::Open(Bracket::Round)
        && close.kind == Kind::Close(Bracket::Round)
        && closing(condition, 0) == Some(condition.len() - 1)
        && !inner.is_empty()
    {
        condition = inner;
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
