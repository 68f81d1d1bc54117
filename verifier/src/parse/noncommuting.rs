//! Products whose factors keep their order: of letters in bold, which are matrices and vectors, and of operators with hats.
//! `\mathbf{A}\mathbf{B}` is not `\mathbf{B}\mathbf{A}`. Numbers and letters of other kinds are taken out of them; brackets are multiplied out, powers
//! of products and sums too, as far as that stays small.

use compact_str::CompactString;
use dashu_ratio::RBig;

use super::operation::{call, split_number};
use super::token::{Kind, Token};
use crate::expression::{Expression, Function};

/// The name of a product whose factors keep their order.
const NAME: &str = "matrix product";

/// The most terms that brackets are multiplied out to; more are kept as one factor.
const MAX_TERMS: usize = 32;

/// The most parts that a product may have for anything in it to be multiplied out. The bound keeps nested powers from
/// growing at every level.
const MAX_PARTS: usize = 200;

/// The highest power of a sum or product that is multiplied out.
const MAX_POWER: i64 = 4;

/// Whether these tokens are a matrix, or a sum or product of some, and their value is no number.
pub(super) fn are_matrix(tokens: &[Token<'_>], value: &Expression) -> bool {
    let is_before = |token: &&Token<'_>| {
        matches!(
            token.kind,
            Kind::Minus | Kind::Plus | Kind::Open(_) | Kind::GroupOpen | Kind::Number(..)
        )
    };
    let is_matrix = |token: &Token<'_>| keeps_place(token);
    tokens.iter().find(|token| !is_before(token)).is_some_and(is_matrix) && is_of_letters(value)
}

/// Whether a letter begins here that keeps its place in a product: one in bold, a matrix or a vector beside one, or one
/// with a hat, which may be an operator.
pub(super) fn keeps_place(token: &Token<'_>) -> bool {
    token.is_bold && matches!(token.kind, Kind::Symbol(_)) || token.kind == Kind::Accent("hat")
}

/// Whether these tokens may be a matrix or a vector, so that `^T` behind them transposes: letters in bold, with an arrow or a
/// hat, capitals, products of these in brackets, and the usual names of vectors.
pub(super) fn may_be_transposed(tokens: &[Token<'_>]) -> bool {
    let is_name = |token: &Token<'_>| match &token.kind {
        Kind::Symbol(name) => {
            token.is_bold
                || name.starts_with(|first: char| first.is_ascii_uppercase())
                || matches!(name.as_str(), "x" | "y" | "u" | "v" | "w")
        }
        _ => false,
    };
    let has_accent = matches!(tokens.first(), Some(token) if matches!(token.kind, Kind::Accent(_)));
    let joins = |token: &Token<'_>| {
        matches!(
            token.kind,
            Kind::Open(_)
                | Kind::Close(_)
                | Kind::GroupOpen
                | Kind::GroupClose
                | Kind::Plus
                | Kind::Minus
                | Kind::Prime
        )
    };
    let mut subscript = false;
    has_accent
        || tokens.iter().any(is_name)
            && tokens.iter().all(|token| {
                let is_index = std::mem::replace(&mut subscript, token.kind == Kind::Underscore);
                subscript || is_index || is_name(token) || joins(token)
            })
}

/// Whether this dot stands before a plain letter in a product with something transposed, where it says nothing: `A^\top
/// \cdot B`.
pub(super) fn is_idle_dot(tokens: &[Token<'_>], dot: usize) -> bool {
    let is_letter = |token: &Token<'_>| matches!(token.kind, Kind::Symbol(_));
    let is_transposed =
        |pair: &[Token<'_>]| pair[0].kind == Kind::Caret && matches!(pair[1].source, "\\top" | "\\intercal" | "T");
    tokens[dot].kind == Kind::Times
        && matches!(tokens[dot].source, "\\cdot" | "·" | "⋅")
        && tokens.get(dot + 1).is_some_and(is_letter)
        && tokens.windows(2).any(is_transposed)
        && !tokens.iter().any(Token::is_vector)
}

/// Whether nothing in it turns matrices into a number, as a determinant or a product of vectors does.
fn is_of_letters(value: &Expression) -> bool {
    match value {
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => true,
        Expression::Sum(parts) | Expression::Product(parts) => parts.iter().all(is_of_letters),
        Expression::Power(base, _) => is_of_letters(base),
        Expression::Call(Function::Named(name), parts) => name == NAME && parts.iter().all(is_of_letters),
        Expression::Call(..) => false,
    }
}

/// How many parts an expression has, counted as far as `MAX_PARTS`.
fn parts(value: &Expression) -> usize {
    let sum = |values: &[Expression]| {
        values
            .iter()
            .try_fold(1, |sum, value| Some(sum + parts(value)).filter(|sum| *sum <= MAX_PARTS))
            .unwrap_or(MAX_PARTS + 1)
    };
    match value {
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => 1,
        Expression::Sum(values) | Expression::Product(values) | Expression::Call(_, values) => sum(values),
        Expression::Power(base, exponent) => 1 + parts(base) + parts(exponent),
    }
}

/// A function of its arguments. The trace of a product stays the same where its first factor comes to be the last one, and its
/// determinant in any order.
pub(super) fn of_matrices(name: CompactString, mut arguments: Vec<Expression>) -> Expression {
    if let [Expression::Call(Function::Named(product), factors)] = arguments.as_mut_slice()
        && product == NAME
    {
        let rotated = |by: usize| factors[by..].iter().chain(&factors[..by]);
        match name.as_str() {
            "tr" | "Tr" if factors.len() <= MAX_TERMS => {
                let precedes = |left: usize, right: usize| {
                    rotated(left).partial_cmp(rotated(right)) == Some(std::cmp::Ordering::Less)
                };
                let first = (1..factors.len()).fold(0, |first, by| if precedes(by, first) { by } else { first });
                factors.rotate_left(first);
            }
            "det" => factors.sort_by(|left, right| left.partial_cmp(right).unwrap_or(std::cmp::Ordering::Equal)),
            _ => {}
        }
    }
    Expression::Call(Function::Named(name), arguments)
}

/// The product of `factors`, of which those at the places `matrices`, in ascending order, keep their order.
pub(super) fn product(factors: Vec<Expression>, matrices: &[usize]) -> Expression {
    let mut term = Term::default();
    let mut ordered = Vec::new();
    for (place, factor) in factors.into_iter().enumerate() {
        if matrices.binary_search(&place).is_ok() {
            ordered.push(factor);
        } else {
            term.scalars.push(factor);
        }
    }
    if ordered.iter().map(parts).sum::<usize>() > MAX_PARTS {
        term.scalars.push(if ordered.len() == 1 {
            ordered.remove(0)
        } else {
            call(NAME, ordered)
        });
        return term.into_expression();
    }
    let mut terms = vec![term];
    for factor in ordered {
        multiply(&mut terms, factor);
    }
    let mut terms: Vec<Expression> = terms.into_iter().map(Term::into_expression).collect();
    if terms.len() == 1 {
        terms.remove(0)
    } else {
        Expression::Sum(terms)
    }
}

/// A product: what commutes, and matrices with their exponents in order.
#[derive(Clone, Default)]
struct Term {
    scalars: Vec<Expression>,
    matrices: Vec<(Expression, RBig)>,
}

impl Term {
    fn push(&mut self, base: Expression, exponent: RBig) {
        match self.matrices.last_mut() {
            Some((last, sum)) if *last == base => {
                *sum += exponent;
                if sum.is_zero() {
                    self.matrices.pop();
                }
            }
            _ => self.matrices.push((base, exponent)),
        }
    }

    fn into_expression(self) -> Expression {
        let mut matrices: Vec<Expression> = self
            .matrices
            .into_iter()
            .map(|(base, exponent)| {
                if exponent.is_one() {
                    base
                } else {
                    Expression::Power(Box::new(base), Box::new(Expression::Number(exponent)))
                }
            })
            .collect();
        let mut factors = self.scalars;
        if matrices.len() > 1 {
            factors.push(call(NAME, matrices));
        } else {
            factors.append(&mut matrices);
        }
        match factors.len() {
            0 => Expression::integer(1),
            1 => factors.remove(0),
            _ => Expression::Product(factors),
        }
    }
}

/// Multiplies every term by a factor from the right.
fn multiply(terms: &mut Vec<Term>, factor: Expression) {
    let (numbers, factor) = split_number(factor);
    for term in terms.iter_mut() {
        term.scalars.extend(numbers.iter().cloned());
    }
    match factor {
        Expression::Number(_) => terms.iter_mut().for_each(|term| term.scalars.push(factor.clone())),
        Expression::Call(Function::Named(name), parts) if name == NAME => {
            parts.into_iter().for_each(|part| multiply(terms, part));
        }
        Expression::Sum(parts) if terms.len() * parts.len() <= MAX_TERMS => {
            let before = std::mem::take(terms);
            for part in parts {
                let mut multiplied = before.clone();
                multiply(&mut multiplied, part);
                terms.append(&mut multiplied);
            }
        }
        Expression::Power(base, exponent) => match (*base, whole(&exponent)) {
            // (AB)⁻¹ is B⁻¹A⁻¹.
            (Expression::Call(Function::Named(name), parts), Some(power)) if name == NAME && power < 0 => {
                for _ in power..0 {
                    for part in parts.iter().rev() {
                        multiply(terms, inverse(part.clone()));
                    }
                }
            }
            (base @ (Expression::Sum(_) | Expression::Call(..)), Some(power)) if power > 0 => {
                for _ in 0..power {
                    multiply(terms, base.clone());
                }
            }
            (base, _) => {
                let power = match *exponent {
                    Expression::Number(power) => Ok(power),
                    other => Err(other),
                };
                for term in terms {
                    match &power {
                        Ok(power) => term.push(base.clone(), power.clone()),
                        Err(other) => term.push(
                            Expression::Power(Box::new(base.clone()), Box::new(other.clone())),
                            RBig::ONE,
                        ),
                    }
                }
            }
        },
        other => terms.iter_mut().for_each(|term| term.push(other.clone(), RBig::ONE)),
    }
}

/// The inverse of one matrix, whose exponent changes its sign.
fn inverse(matrix: Expression) -> Expression {
    match matrix {
        Expression::Power(base, exponent) => match *exponent {
            Expression::Number(power) => Expression::Power(base, Box::new(Expression::Number(-power))),
            other => Expression::Power(base, Box::new(other.negated())),
        },
        other => other.inverse(),
    }
}

/// A whole exponent that is multiplied out.
fn whole(exponent: &Expression) -> Option<i64> {
    let Expression::Number(power) = exponent else {
        return None;
    };
    (-MAX_POWER..=MAX_POWER).find(|whole| RBig::from(*whole) == *power)
}
