//! Reads tokens as one expression tree: precedence, implicit products, mixed numbers, functions without brackets.

use dashu_ratio::RBig;

use super::noncommuting;
use super::operation::{are_vector, is_nabla, joins_statements, ordered, product_of_vectors};
use super::signs::is_operator;
use super::token::{Bracket, Kind, Token};
use crate::expression::{Constant, Expression, Function};
use crate::limits::MAX_NESTING;

/// Why tokens are no expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoExpression {
    /// They are no expression, or nonsense.
    NotMathematics,
    /// They nest deeper than the limits allow.
    TooDeep,
}

/// Reads all tokens as one expression.
///
/// # Errors
/// If they are no expression.
pub(super) fn expression(tokens: &[Token<'_>]) -> Result<Expression, NoExpression> {
    let mut parser = Parser {
        tokens,
        position: 0,
        depth: 0,
        open_bars: 0,
        binders: 0,
        operators: 0,
        has_bold: tokens.iter().any(noncommuting::keeps_place),
    };
    let parsed = parser.sum()?;
    if parser.position < tokens.len() {
        return Err(NoExpression::NotMathematics);
    }
    Ok(parsed)
}

/// The tokens and how far they are read.
pub(super) struct Parser<'t, 'a> {
    pub(super) tokens: &'t [Token<'a>],
    pub(super) position: usize,
    pub(super) depth: usize,
    /// How many `|` have opened and not closed; one at the place of an operator closes.
    pub(super) open_bars: usize,
    /// How many operators with a bound variable are open.
    pub(super) binders: usize,
    /// How many operators with a bound variable were opened so far.
    pub(super) operators: usize,
    /// Whether any letter keeps its place in a product: one in bold, or with a hat.
    pub(super) has_bold: bool,
}

/// An expression, or why there is none.
pub(super) type Parsed = Result<Expression, NoExpression>;

impl<'a> Parser<'_, 'a> {
    pub(super) fn peek(&self) -> Option<&Kind<'a>> {
        self.tokens.get(self.position).map(|token| &token.kind)
    }

    pub(super) fn peek_at(&self, offset: usize) -> Option<&Kind<'a>> {
        self.tokens.get(self.position + offset).map(|token| &token.kind)
    }

    pub(super) fn take(&mut self, kind: &Kind<'_>) -> bool {
        let found = self.peek() == Some(kind);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, kind: &Kind<'_>) -> Result<(), NoExpression> {
        if self.take(kind) {
            Ok(())
        } else {
            Err(NoExpression::NotMathematics)
        }
    }

    /// All that may stand in brackets.
    pub(super) fn sum(&mut self) -> Parsed {
        self.statement(0)
    }

    /// A sum of products.
    pub(super) fn arithmetic(&mut self) -> Parsed {
        let mut terms = Vec::new();
        let mut is_first = true;
        loop {
            let is_negative = match self.peek() {
                Some(Kind::Plus) => {
                    self.position += 1;
                    false
                }
                Some(Kind::Minus) => {
                    self.position += 1;
                    true
                }
                _ if is_first => false,
                _ => break,
            };
            is_first = false;
            let term = self.product()?;
            terms.push(if is_negative { term.negated() } else { term });
        }
        let is_sum = terms.len() > 1;
        let sum = if terms.len() == 1 {
            terms.remove(0)
        } else {
            Expression::Sum(terms)
        };
        // `13 \bmod 5`; what is beside a sum, `1 + 13 \bmod 5`, does not say what is divided.
        if self.starts_modulo() {
            if is_sum {
                return Err(NoExpression::NotMathematics);
            }
            self.position += 1;
            let modulus = self.product()?;
            return Ok(Expression::Call(Function::Modulo, vec![sum, modulus]));
        }
        // `{a \over b}`: the command takes all that its group holds on either side.
        if self.depth < MAX_NESTING && self.take(&Kind::Over) {
            self.depth += 1;
            let denominator = self.sum()?;
            self.depth -= 1;
            return Ok(quotient(sum, denominator));
        }
        if self.depth < MAX_NESTING && self.take(&Kind::Choose) {
            self.depth += 1;
            let lower = self.sum()?;
            self.depth -= 1;
            return Ok(Expression::Call(Function::Binomial, vec![sum, lower]));
        }
        Ok(sum)
    }

    /// A product, which ends before the next plus or minus.
    pub(super) fn product(&mut self) -> Parsed {
        let mut last = self.position;
        let mut factors = vec![self.signed_factor()?];
        let mut matrices = Vec::new();
        if self.is_matrix(last, &factors) {
            matrices.push(0);
        }
        loop {
            let before = std::mem::replace(&mut last, self.position);
            match self.peek() {
                Some(Kind::Times) => {
                    let source = self.tokens[self.position].source;
                    self.position += 1;
                    let left_tokens = &self.tokens[before..last];
                    last = self.position;
                    let factor = self.signed_factor()?;
                    let of_vectors = factors.last().is_some_and(|left| {
                        is_nabla(left)
                            || are_vector(left_tokens, left) && are_vector(&self.tokens[last..self.position], &factor)
                    });
                    match factors.pop() {
                        Some(left) if of_vectors => {
                            matrices.retain(|place| *place < factors.len());
                            factors.push(product_of_vectors(source, left, factor));
                        }
                        left => {
                            factors.extend(left);
                            factors.push(factor);
                        }
                    }
                }
                Some(Kind::Operator(operator)) if !joins_statements(operator) => {
                    let operator = *operator;
                    self.position += 1;
                    last = self.position;
                    let right = self.signed_factor()?;
                    if let Some(left) = factors.pop() {
                        matrices.retain(|place| *place < factors.len());
                        factors.push(ordered(operator, left, right));
                    }
                }
                Some(Kind::Symbol(name)) if name == "x" && self.is_times_sign() => {
                    self.position += 1;
                    factors.push(self.signed_factor()?);
                }
                Some(Kind::Divide) => {
                    self.position += 1;
                    let divisor = self.signed_factor()?;
                    let dividend = factors.pop();
                    match (dividend, divisor) {
                        (Some(Expression::Number(numerator)), Expression::Number(denominator))
                            if !denominator.is_zero() =>
                        {
                            factors.push(Expression::Number(numerator / denominator));
                        }
                        (dividend, divisor) => {
                            factors.extend(dividend);
                            factors.push(divisor.inverse());
                        }
                    }
                }
                Some(next) if starts_factor(next, self.open_bars) => {
                    // `2 3` is no product.
                    if matches!(next, Kind::Number(..)) && !self.may_precede_number() {
                        return Err(NoExpression::NotMathematics);
                    }
                    factors.push(self.factor()?);
                    // `1{2}` prints 12.
                    if is_bare_numeral(&self.tokens[before..last]) && is_bare_numeral(&self.tokens[last..self.position])
                    {
                        return Err(NoExpression::NotMathematics);
                    }
                    if self.is_matrix(last, &factors) {
                        matrices.push(factors.len() - 1);
                    }
                }
                _ => break,
            }
        }
        if !matrices.is_empty() {
            return Ok(noncommuting::product(factors, &matrices));
        }
        Ok(if factors.len() == 1 {
            factors.remove(0)
        } else {
            Expression::Product(factors)
        })
    }

    /// Whether the last factor, which began at the token `start`, keeps its place among others of its kind.
    pub(super) fn is_matrix(&self, start: usize, factors: &[Expression]) -> bool {
        let is_matrix = |factor| noncommuting::are_matrix(&self.tokens[start..self.position], factor);
        self.has_bold && factors.last().is_some_and(is_matrix)
    }

    /// Whether the operation is next, and not the congruence of `3 \pmod 5`.
    fn starts_modulo(&self) -> bool {
        let next = self.tokens.get(self.position);
        next.is_some_and(|next| match next.kind {
            Kind::Other("\\bmod") => true,
            Kind::Other("\\mod") => matches!(next.source, "\\bmod" | "mod"),
            _ => false,
        })
    }

    /// `1.39 x 10^9`, `3 x 4`: a letter between two numerals, set apart from both.
    fn is_times_sign(&self) -> bool {
        let before = self.position.checked_sub(1).and_then(|index| self.tokens.get(index));
        let after = self.tokens.get(self.position + 1);
        let is_number = |token: Option<&Token<'_>>| matches!(token.map(|token| &token.kind), Some(Kind::Number(..)));
        // `3x10^8` is a power of ten even if nothing is set apart.
        let is_ten = matches!(
            after.map(|token| (&token.kind, token.source)),
            Some((Kind::Number(..), "10"))
        ) && self.peek_at(2) == Some(&Kind::Caret);
        if is_number(before) && is_ten {
            return true;
        }
        is_number(before)
            && is_number(after)
            && self.tokens[self.position].spaced
            && after.is_some_and(|next| next.spaced)
    }

    /// Whether a numeral may follow the last token as a factor: after a bracket, a group or a letter, not a numeral or its sign.
    fn may_precede_number(&self) -> bool {
        let before = self.position.checked_sub(1).and_then(|index| self.tokens.get(index));
        let before = before.map(|token| &token.kind);
        // `5\% 0` is neither 0 nor 50, and `5^\circ 3` may be minutes.
        !matches!(before, None | Some(Kind::Number(..) | Kind::Percent | Kind::Degree))
    }

    fn signed_factor(&mut self) -> Parsed {
        let mut is_negative = false;
        let mut signs = 0;
        loop {
            match self.peek() {
                Some(Kind::Minus) => is_negative = !is_negative,
                Some(Kind::Plus) => {}
                _ => break,
            }
            signs += 1;
            if signs > 4 {
                return Err(NoExpression::NotMathematics);
            }
            self.position += 1;
        }
        let factor = self.factor()?;
        Ok(if is_negative { factor.negated() } else { factor })
    }

    /// A primary with its exponents and marks.
    pub(super) fn factor(&mut self) -> Parsed {
        let start = self.position;
        let mut value = self.primary()?;
        loop {
            match self.peek() {
                Some(Kind::Caret) => {
                    if let Some(derivative) = self.derivative_of(&value) {
                        value = derivative;
                        continue;
                    }
                    // `x^\circ` was one token; `x^{\prime}` and `x^*` are marks.
                    self.position += 1;
                    if self.transposed(start) {
                        value = self.transpose_in_sum(start).ok_or(NoExpression::NotMathematics)?;
                        continue;
                    }
                    let exponent = self.exponent()?;
                    value = power(value, exponent);
                }
                // `x^2_0` is `x_0^2`.
                Some(Kind::Underscore) => match value {
                    Expression::Power(base, exponent) if matches!(*base, Expression::Symbol(_)) => {
                        let Expression::Symbol(name) = *base else {
                            return Err(NoExpression::NotMathematics);
                        };
                        value = Expression::Power(Box::new(self.symbol(&name)?), exponent);
                    }
                    _ => return Ok(value),
                },
                Some(Kind::Bang) => {
                    self.position += 1;
                    let function = if self.take(&Kind::Bang) {
                        Function::DoubleFactorial
                    } else {
                        Function::Factorial
                    };
                    // `3!!!` is read in more than one way.
                    if function == Function::DoubleFactorial && self.peek() == Some(&Kind::Bang) {
                        return Err(NoExpression::NotMathematics);
                    }
                    value = Expression::Call(function, vec![value]);
                }
                Some(Kind::Degree) => {
                    self.position += 1;
                    value = Expression::Product(vec![value, Expression::Constant(Constant::Degree)]);
                }
                Some(Kind::Percent) => {
                    self.position += 1;
                    value = Expression::Product(vec![value, Expression::Number(hundredth())]);
                }
                _ => return Ok(value),
            }
        }
    }

    /// `^T` and `^\top` transpose what began at this token; neither is a power. `e^T`, `2^T` and `(1+r)^T` are.
    fn transposed(&self, start: usize) -> bool {
        let is_t = |kind: Option<&Kind<'_>>| matches!(kind, Some(Kind::Symbol(name)) if name == "T");
        match self.peek() {
            Some(Kind::Other("\\top" | "\\intercal" | "\\dagger")) => true,
            Some(Kind::GroupOpen) if is_t(self.peek_at(1)) && self.peek_at(2) == Some(&Kind::GroupClose) => {
                noncommuting::may_be_transposed(&self.tokens[start..self.position - 1])
            }
            next if is_t(next) => noncommuting::may_be_transposed(&self.tokens[start..self.position - 1]),
            _ => false,
        }
    }

    pub(super) fn exponent(&mut self) -> Parsed {
        // `n^{\underline{3}}` is n(n - 1)(n - 2).
        let first = if self.peek() == Some(&Kind::GroupOpen) { 1 } else { 0 };
        let is_lined = self
            .tokens
            .get(self.position + first)
            .is_some_and(|token| token.source == "\\underline");
        if is_lined {
            return Err(NoExpression::NotMathematics);
        }
        match self.peek() {
            Some(Kind::Minus | Kind::Plus) => {
                let is_negative = self.peek() == Some(&Kind::Minus);
                self.position += 1;
                let exponent = self.argument()?;
                Ok(if is_negative { exponent.negated() } else { exponent })
            }
            // The base of `x^2_0` is no base of a numeral.
            Some(Kind::Number(value, _)) if self.peek_at(1) == Some(&Kind::Underscore) => {
                let value = value.clone();
                self.position += 1;
                Ok(Expression::Number(value))
            }
            // A tower without braces: `2^3^4`, `9**9**9`.
            // A numeral is all of the exponent: `x^2\frac{1}{3}` holds no mixed number.
            _ => {
                let exponent = self.argument()?;
                if self.peek() == Some(&Kind::Caret) {
                    if self.depth >= MAX_NESTING {
                        return Err(NoExpression::TooDeep);
                    }
                    self.depth += 1;
                    self.position += 1;
                    let tower = self.exponent()?;
                    self.depth -= 1;
                    return Ok(power(exponent, tower));
                }
                Ok(exponent)
            }
        }
    }
}

/// Whether these tokens print digits and nothing else, whatever groups and lines are around them.
fn is_bare_numeral(tokens: &[Token<'_>]) -> bool {
    let prints_nothing = |kind: &Kind<'_>| matches!(kind, Kind::GroupOpen | Kind::GroupClose | Kind::Accent(_));
    tokens
        .iter()
        .all(|token| prints_nothing(&token.kind) || matches!(token.kind, Kind::Number(..)))
        && tokens.iter().any(|token| matches!(token.kind, Kind::Number(..)))
}

/// Whether a token begins a factor of an implicit product.
pub(super) fn starts_factor(kind: &Kind<'_>, open_bars: usize) -> bool {
    match kind {
        Kind::Number(..)
        | Kind::Constant(_)
        | Kind::Symbol(_)
        | Kind::Function(_)
        | Kind::Frac
        | Kind::Binom
        | Kind::Sqrt
        | Kind::Accent(_)
        | Kind::GroupOpen
        | Kind::Open(Bracket::Round | Bracket::Square | Bracket::Floor | Bracket::Ceiling | Bracket::Bar) => true,
        Kind::Bar => open_bars == 0,
        Kind::Other(sign) => is_operator(sign),
        _ => false,
    }
}

/// A quotient; that of two numbers is computed at once.
pub(super) fn quotient(numerator: Expression, denominator: Expression) -> Expression {
    match (numerator, denominator) {
        (Expression::Number(numerator), Expression::Number(denominator)) if !denominator.is_zero() => {
            Expression::Number(numerator / denominator)
        }
        (numerator, denominator) => Expression::Product(vec![numerator, denominator.inverse()]),
    }
}

/// A power.
pub(super) fn power(base: Expression, exponent: Expression) -> Expression {
    Expression::Power(Box::new(base), Box::new(exponent))
}

fn hundredth() -> RBig {
    RBig::ONE / RBig::from(100)
}
