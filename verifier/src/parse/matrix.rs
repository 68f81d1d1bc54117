//! Matrices and column vectors in every LaTeX spelling, and what is calculated with them: sums, products in their
//! order, multiples, powers, transposes, determinants.

use dashu_ratio::RBig;

use super::grammar::{self, NoExpression, Parsed, Parser};
use super::linear::{self, Rows};
use super::spell::argument_end;
use super::token::{Bracket, Kind, Token, closing};
use super::work::Work;
use crate::expression::Expression;
use crate::limits::MAX_NESTING;

/// Reads tokens as a matrix or a calculation that has one for its value; none if there is no matrix in them.
pub(super) fn read(tokens: &[Token<'_>], work: &Work) -> Option<Result<Rows, NoExpression>> {
    let mut is_matrix = false;
    for (index, token) in tokens.iter().enumerate() {
        let Kind::Begin(environment) = token.kind else {
            continue;
        };
        let is_determinant =
            environment == "vmatrix" || index > 0 && matches!(tokens[index - 1].kind, Kind::Bar | Kind::Other("\\det"));
        if is_determinant {
            return None;
        }
        is_matrix = is_matrix_environment(environment);
    }
    if tokens.iter().any(|token| matches!(token.kind, Kind::Other("\\det"))) {
        return None;
    }
    let found = tokens.iter().any(|token| matches!(token.kind, Kind::Begin(_)));
    if !found {
        return None;
    }
    if !is_matrix {
        return Some(Err(NoExpression::NotMathematics));
    }
    Some(sum(tokens, 0, work))
}

fn is_matrix_environment(environment: &str) -> bool {
    matches!(
        environment,
        "pmatrix" | "bmatrix" | "Bmatrix" | "matrix" | "smallmatrix" | "psmallmatrix" | "bsmallmatrix" | "array"
    )
}

/// Whether a text begins with a matrix, perhaps in brackets.
pub(super) fn stands_before(text: &str) -> bool {
    let text = text.trim_start();
    let text = text.strip_prefix("\\left").unwrap_or(text).trim_start();
    text.trim_start_matches(['(', '[']).trim_start().starts_with("\\begin")
}

impl Parser<'_, '_> {
    /// The determinant whose `\\begin` is at a position.
    pub(super) fn determinant(&mut self, begin: usize) -> Parsed {
        let (value, end) = determinant(self.tokens, begin)?;
        self.position = end;
        Ok(value)
    }

    /// `\det` before a matrix, perhaps in brackets.
    pub(super) fn determinant_of(&mut self) -> Parsed {
        let bracket = match self.peek() {
            Some(Kind::Open(bracket @ (Bracket::Round | Bracket::Square))) => Some(*bracket),
            _ => None,
        };
        self.position += usize::from(bracket.is_some());
        let is_matrix = matches!(self.peek(), Some(Kind::Begin(environment)) if *environment != "vmatrix");
        if !is_matrix {
            return Err(NoExpression::NotMathematics);
        }
        let value = self.determinant(self.position)?;
        if let Some(bracket) = bracket {
            self.expect(&Kind::Close(bracket))?;
        }
        Ok(value)
    }
}

/// The determinant whose `\begin` is here, and where it ends.
fn determinant(tokens: &[Token<'_>], begin: usize) -> Result<(Expression, usize), NoExpression> {
    let end = closing(tokens, begin).ok_or(NoExpression::NotMathematics)?;
    let rows = rows(&tokens[begin + 1..end])?;
    let value = linear::determinant(&rows).ok_or(NoExpression::NotMathematics)?;
    Ok((value, end + 1))
}

/// A factor: a number, or a matrix.
enum Factor {
    Scalar(Expression),
    Matrix(Rows),
}

fn sum(tokens: &[Token<'_>], depth: usize, work: &Work) -> Result<Rows, NoExpression> {
    if depth > MAX_NESTING / 4 {
        return Err(NoExpression::TooDeep);
    }
    let mut total: Option<Rows> = None;
    let mut start = 0;
    let mut is_negative = false;
    let mut index = 0;
    let mut is_first = true;
    while index <= tokens.len() {
        let kind = tokens.get(index).map(|token| &token.kind);
        let ends_term = matches!(kind, None | Some(Kind::Plus | Kind::Minus));
        // The sign of a factor, `2 \cdot -3`, is no operator.
        let is_operator = index > start
            && !matches!(
                tokens[index - 1].kind,
                Kind::Times | Kind::Caret | Kind::Plus | Kind::Minus
            );
        if ends_term && (is_operator || kind.is_none()) {
            let term = product(&tokens[start..index], depth, work)?;
            let term = if is_negative {
                linear::scaled(&Expression::integer(-1), &term)
            } else {
                Some(term)
            };
            let term = term.ok_or(NoExpression::NotMathematics)?;
            total = match total {
                None => Some(term),
                Some(total) => Some(linear::added(&total, &term).ok_or(NoExpression::NotMathematics)?),
            };
            is_negative = kind == Some(&Kind::Minus);
            start = index + 1;
            index += 1;
        } else if ends_term && is_first && index == start {
            is_negative = kind == Some(&Kind::Minus);
            start = index + 1;
            index += 1;
        } else {
            index = match kind {
                Some(Kind::Open(_) | Kind::GroupOpen | Kind::Begin(_)) => {
                    closing(tokens, index).ok_or(NoExpression::NotMathematics)? + 1
                }
                _ => index + 1,
            };
        }
        is_first = false;
    }
    total.ok_or(NoExpression::NotMathematics)
}

fn product(tokens: &[Token<'_>], depth: usize, work: &Work) -> Result<Rows, NoExpression> {
    let mut scalars = Vec::new();
    let mut matrix: Option<Rows> = None;
    let mut position = 0;
    while position < tokens.len() {
        let (factor, next) = factor(tokens, position, depth, work)?;
        position = next;
        match factor {
            Factor::Scalar(scalar) => scalars.push(scalar),
            Factor::Matrix(next) => {
                matrix = Some(match matrix {
                    None => next,
                    Some(before) => linear::multiplied(&before, &next, work).ok_or(NoExpression::NotMathematics)?,
                });
            }
        }
    }
    let mut matrix = matrix.ok_or(NoExpression::NotMathematics)?;
    for scalar in scalars {
        matrix = linear::scaled(&scalar, &matrix).ok_or(NoExpression::NotMathematics)?;
    }
    Ok(matrix)
}

/// The factor that begins here, and where the next one does.
fn factor(tokens: &[Token<'_>], position: usize, depth: usize, work: &Work) -> Result<(Factor, usize), NoExpression> {
    if let Some((matrix, end)) = atom(tokens, position, depth, work)? {
        return raised(matrix, tokens, end, work);
    }
    // All up to the next matrix is a number.
    let mut end = position;
    while end < tokens.len() && atom_length(tokens, end).is_none() {
        end = match tokens[end].kind {
            Kind::Open(_) | Kind::GroupOpen => closing(tokens, end).ok_or(NoExpression::NotMathematics)? + 1,
            _ => end + 1,
        };
    }
    let scalar = match &tokens[position..end] {
        [inner @ .., times] if times.kind == Kind::Times => inner,
        all => all,
    };
    let scalar = match scalar {
        [times, inner @ ..] if times.kind == Kind::Times => inner,
        all => all,
    };
    // `\cdot` alone between two matrices.
    if scalar.is_empty() {
        return if end > position && position > 0 && end < tokens.len() {
            Ok((Factor::Scalar(Expression::integer(1)), end))
        } else {
            Err(NoExpression::NotMathematics)
        };
    }
    Ok((Factor::Scalar(grammar::expression(scalar)?), end))
}

/// Where the matrix or the bracket with matrices that begins here ends, if there is one.
fn atom_length(tokens: &[Token<'_>], position: usize) -> Option<usize> {
    match tokens[position].kind {
        Kind::Begin(_) => closing(tokens, position),
        Kind::Open(Bracket::Round | Bracket::Square) | Kind::GroupOpen => {
            let end = closing(tokens, position)?;
            let inside = &tokens[position..end];
            inside
                .iter()
                .any(|token| matches!(token.kind, Kind::Begin(_)))
                .then_some(end)
        }
        _ => None,
    }
}

fn atom(
    tokens: &[Token<'_>],
    position: usize,
    depth: usize,
    work: &Work,
) -> Result<Option<(Rows, usize)>, NoExpression> {
    let Some(end) = atom_length(tokens, position) else {
        return Ok(None);
    };
    let inside = &tokens[position + 1..end];
    let matrix = match tokens[position].kind {
        Kind::Begin(environment) if is_matrix_environment(environment) => rows(inside)?,
        Kind::Begin(_) => return Err(NoExpression::NotMathematics),
        _ => sum(inside, depth + 1, work)?,
    };
    Ok(Some((matrix, end + 1)))
}

/// A matrix with what stands above it: `^T`, `^{-1}`, `^2`.
fn raised(matrix: Rows, tokens: &[Token<'_>], position: usize, work: &Work) -> Result<(Factor, usize), NoExpression> {
    let is_raised = tokens.get(position).is_some_and(|token| token.kind == Kind::Caret);
    if !is_raised {
        return Ok((Factor::Matrix(matrix), position));
    }
    let mut end = argument_end(tokens, position + 1);
    let is_signed = tokens.get(position + 1).is_some_and(|token| token.kind == Kind::Minus);
    if is_signed {
        end += 1;
    }
    let argument = tokens.get(position + 1..end).unwrap_or_default();
    let argument = match argument {
        [open, inner @ .., close] if open.kind == Kind::GroupOpen && close.kind == Kind::GroupClose => inner,
        all => all,
    };
    let count = |value: &RBig| usize::try_from(value.numerator()).ok().filter(|_| value.is_int());
    let value = match argument {
        [mark] if is_transposition(mark) => Some(linear::transposed(&matrix)),
        [
            Token {
                kind: Kind::Number(value, None),
                ..
            },
        ] => count(value).and_then(|count| linear::power(&matrix, count, work)),
        [
            Token { kind: Kind::Minus, .. },
            Token {
                kind: Kind::Number(value, None),
                ..
            },
        ] => linear::inverse(&matrix, work).and_then(|inverse| linear::power(&inverse, count(value)?, work)),
        _ => None,
    };
    let value = value.ok_or(NoExpression::NotMathematics)?;
    Ok((Factor::Matrix(value), end))
}

fn is_transposition(mark: &Token<'_>) -> bool {
    match &mark.kind {
        Kind::Symbol(name) => name == "T",
        Kind::Text(word) => *word == "T",
        Kind::Other(command) => matches!(*command, "\\top" | "\\intercal"),
        _ => false,
    }
}

fn rows(tokens: &[Token<'_>]) -> Result<Rows, NoExpression> {
    let mut rows: Rows = Vec::new();
    for row in tokens.split(|token| token.kind == Kind::RowBreak) {
        let is_rule = |token: &&Token<'_>| matches!(token.kind, Kind::Other("\\hline"));
        let row: Vec<Token<'_>> = row.iter().filter(|token| !is_rule(token)).cloned().collect();
        if row.is_empty() {
            continue;
        }
        let mut entries = Vec::new();
        for cell in row.split(|token| token.kind == Kind::Ampersand) {
            entries.push(grammar::expression(cell)?);
        }
        rows.push(entries);
    }
    let width = rows.first().map_or(0, Vec::len);
    if rows.iter().any(|row| row.len() != width) || width == 0 {
        return Err(NoExpression::NotMathematics);
    }
    Ok(rows)
}
