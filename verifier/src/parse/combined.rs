//! Functions that are made of functions: `(f+g)(x)` is f(x) + g(x), `(f\circ g)(x)` is f(g(x)), and neither is a product
//! with x.

use super::applied::inverse_length;
use super::grammar::{NoExpression, Parsed, Parser};
use super::primary::is_function_letter;
use super::token::{Bracket, Kind, Token, closing};
use crate::expression::{Expression, Function};

/// Whether these tokens hold functions, numbers and what joins them, and nothing else.
fn are_functions(tokens: &[Token<'_>]) -> bool {
    let joins = |kind: &Kind<'_>| {
        matches!(
            kind,
            Kind::Plus
                | Kind::Minus
                | Kind::Times
                | Kind::Divide
                | Kind::Operator("∘")
                | Kind::Frac
                | Kind::GroupOpen
                | Kind::GroupClose
                | Kind::Number(..)
                | Kind::Prime
        )
    };
    let is_function = |kind: &Kind<'_>| matches!(kind, Kind::Symbol(name) if is_function_letter(name));
    tokens.iter().any(|token| is_function(&token.kind))
        && tokens
            .iter()
            .all(|token| is_function(&token.kind) || joins(&token.kind))
}

/// Whether the brackets that open here hold functions, and are followed by their argument.
pub(super) fn functions_in_brackets(tokens: &[Token<'_>], open: usize) -> bool {
    let Some(close) = closing(tokens, open) else {
        return false;
    };
    let is_round = |index: usize| matches!(tokens.get(index), Some(token) if token.kind == Kind::Open(Bracket::Round));
    is_round(open) && is_round(close + 1) && are_functions(&tokens[open + 1..close])
}

/// The value of a combination of functions at these arguments; none if it is none.
fn value_at(function: Expression, arguments: &[Expression]) -> Option<Expression> {
    let all = |parts: Vec<Expression>| -> Option<Vec<Expression>> {
        parts.into_iter().map(|part| value_at(part, arguments)).collect()
    };
    Some(match function {
        Expression::Number(_) => function,
        Expression::Symbol(name) => Expression::Call(Function::Named(name), arguments.to_vec()),
        Expression::Sum(parts) => Expression::Sum(all(parts)?),
        Expression::Product(parts) => Expression::Product(all(parts)?),
        Expression::Power(base, exponent) => Expression::Power(Box::new(value_at(*base, arguments)?), exponent),
        Expression::Call(Function::Named(name), mut parts) if name == "∘" && parts.len() == 2 => {
            let inner = value_at(parts.remove(1), arguments)?;
            value_at(parts.remove(0), &[inner])?
        }
        Expression::Call(..) | Expression::Constant(_) => return None,
    })
}

impl Parser<'_, '_> {
    /// Functions in brackets, whose first was just passed, with brackets behind them. None if these are something else.
    pub(super) fn combined_function(&mut self) -> Option<Parsed> {
        let tokens = self.tokens;
        let open = self.position.checked_sub(1)?;
        if tokens[open].kind != Kind::Open(Bracket::Round) {
            return None;
        }
        // The cheap look first: most brackets hold something else.
        let (Kind::Symbol(_) | Kind::Number(..) | Kind::Minus | Kind::Frac) = tokens.get(open + 1)?.kind else {
            return None;
        };
        let close = closing(tokens, open)?;
        if tokens.get(close + 1)?.kind != Kind::Open(Bracket::Round) {
            return None;
        }
        let content = &tokens[open + 1..close];
        if let [letter, inverse @ ..] = content
            && let Kind::Symbol(name) = &letter.kind
            && inverse_length(inverse) == Some(inverse.len())
        {
            let mut name = name.clone();
            name.push_str("^{-1}");
            self.position = close + 1;
            return Some(self.applied("", name, true, false));
        }
        // `(f*g)(t)` is a convolution, of which nothing is known.
        if content
            .iter()
            .any(|token| token.kind == Kind::Times && token.source == "*")
        {
            return are_functions(content).then_some(Err(NoExpression::NotMathematics));
        }
        are_functions(content).then(|| self.combined(close))
    }

    fn combined(&mut self, close: usize) -> Parsed {
        let function = self.sum()?;
        if self.position != close {
            return Err(NoExpression::NotMathematics);
        }
        self.position += 1;
        let arguments = self.arguments(Bracket::Round)?;
        value_at(function, &arguments).ok_or(NoExpression::NotMathematics)
    }
}
