//! Matrices and column vectors in every LaTeX spelling.

use super::grammar::{self, NoExpression};
use super::token::{Bracket, Kind, Token};
use crate::expression::Expression;

/// The entries, row by row; every row has the same length.
pub(super) type Rows = Vec<Vec<Expression>>;

/// Reads tokens as a matrix, perhaps with a factor before it and `^T` behind; none if there is no matrix in them.
pub(super) fn read(tokens: &[Token<'_>]) -> Option<Result<Rows, NoExpression>> {
    let begin = tokens.iter().position(|token| matches!(token.kind, Kind::Begin(_)))?;
    Some(read_from(tokens, begin).ok_or(NoExpression::NotMathematics).flatten())
}

fn read_from(tokens: &[Token<'_>], begin: usize) -> Option<Result<Rows, NoExpression>> {
    let Kind::Begin(environment) = tokens[begin].kind else {
        return None;
    };
    let is_matrix = matches!(
        environment,
        "pmatrix" | "bmatrix" | "Bmatrix" | "matrix" | "smallmatrix" | "psmallmatrix" | "bsmallmatrix" | "array"
    );
    let end = begin + tokens[begin..].iter().position(|token| token.kind == Kind::End)?;
    let mut before = &tokens[..begin];
    let mut after = &tokens[end + 1..];
    if let ([outer @ .., open], [close, rest @ ..]) = (before, after)
        && matches!(open.kind, Kind::Open(Bracket::Round | Bracket::Square))
        && matches!(close.kind, Kind::Close(Bracket::Round | Bracket::Square))
    {
        before = outer;
        after = rest;
    }
    if !is_matrix {
        return None;
    }
    let is_transposed = is_transposition(after)?;
    let factor = match before {
        [] => None,
        [Token { kind: Kind::Minus, .. }] => Some(Expression::integer(-1)),
        [factor @ .., Token { kind: Kind::Times, .. }] | factor => match grammar::expression(factor) {
            Ok(factor) => Some(factor),
            Err(error) => return Some(Err(error)),
        },
    };
    Some(rows(&tokens[begin + 1..end], factor.as_ref(), is_transposed))
}

/// Whether what follows a matrix is a `^T`; none if it is anything else.
fn is_transposition(after: &[Token<'_>]) -> Option<bool> {
    let [caret, inner @ ..] = after else {
        return Some(false);
    };
    let inner = match inner {
        [open, inner, close] if open.kind == Kind::GroupOpen && close.kind == Kind::GroupClose => inner,
        [inner] => inner,
        _ => return None,
    };
    let is_mark = match &inner.kind {
        Kind::Symbol(name) => name == "T",
        Kind::Text(word) => *word == "T",
        Kind::Other(command) => matches!(*command, "\\top" | "\\intercal"),
        _ => false,
    };
    (caret.kind == Kind::Caret && is_mark).then_some(true)
}

fn rows(tokens: &[Token<'_>], factor: Option<&Expression>, is_transposed: bool) -> Result<Rows, NoExpression> {
    let mut rows: Rows = Vec::new();
    for row in tokens.split(|token| token.kind == Kind::RowBreak) {
        let is_rule = |token: &&Token<'_>| matches!(token.kind, Kind::Other("\\hline"));
        let row: Vec<Token<'_>> = row.iter().filter(|token| !is_rule(token)).cloned().collect();
        if row.is_empty() {
            continue;
        }
        let mut entries = Vec::new();
        for cell in row.split(|token| token.kind == Kind::Ampersand) {
            let entry = grammar::expression(cell)?;
            entries.push(match factor {
                Some(factor) => Expression::Product(vec![factor.clone(), entry]),
                None => entry,
            });
        }
        rows.push(entries);
    }
    let width = rows.first().map_or(0, Vec::len);
    if rows.iter().any(|row| row.len() != width) || width == 0 {
        return Err(NoExpression::NotMathematics);
    }
    if is_transposed {
        let columns = (0..width).map(|column| rows.iter().map(|row| row[column].clone()).collect());
        return Ok(columns.collect());
    }
    Ok(rows)
}
