//! Reads derivatives in Leibniz's spelling. `\frac{dy}{dx}` is no quotient: nothing cancels.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use compact_str::CompactString;

use super::grammar::{NoExpression, Parsed, Parser};
use super::spell::spell_argument;
use super::token::{Bracket, Kind, Token, closing};
use crate::expression::{Expression, Function};
use crate::limits::MAX_NESTING;

/// The letter of a differential.
fn differential(token: &Token<'_>) -> Option<&'static str> {
    match &token.kind {
        Kind::Symbol(name) if name == "d" => Some("d"),
        Kind::Symbol(name) if name == "∂" => Some("∂"),
        Kind::Symbol(name) if name == "Δ" => Some("Δ"),
        Kind::Symbol(name) if name == "δ" => Some("δ"),
        Kind::Text("d") | Kind::Word("d") => Some("d"),
        _ => None,
    }
}

/// `2` in `d^2y`: a numeral or a letter. Returns it with the tokens that it takes.
fn order<'a>(tokens: &[Token<'a>]) -> Option<(&'a str, usize)> {
    let is_order = |token: &Token<'_>| matches!(token.kind, Kind::Number(_, None) | Kind::Symbol(_));
    match tokens {
        [caret, order, ..] if caret.kind == Kind::Caret && is_order(order) => Some((order.source, 2)),
        [caret, open, order, close, ..]
            if caret.kind == Kind::Caret
                && open.kind == Kind::GroupOpen
                && is_order(order)
                && close.kind == Kind::GroupClose =>
        {
            Some((order.source, 4))
        }
        _ => None,
    }
}

/// A variable with its accent and subscript, and the tokens that it takes.
fn variable(tokens: &[Token<'_>]) -> Option<(CompactString, usize)> {
    let is_name =
        |token: &Token<'_>| matches!(token.kind, Kind::Symbol(_) | Kind::Text(_)) && differential(token).is_none();
    let mut length = match tokens {
        // `\dot q`
        [accent, group, ..] if matches!(accent.kind, Kind::Accent(_)) && group.kind == Kind::GroupOpen => {
            closing(tokens, 1)? + 1
        }
        [accent, letter, ..] if matches!(accent.kind, Kind::Accent(_)) && is_name(letter) => 2,
        [letter, ..] if is_name(letter) => 1,
        _ => return None,
    };
    if tokens.get(length).map(|token| &token.kind) == Some(&Kind::Underscore) {
        length = match tokens.get(length + 1)?.kind {
            Kind::GroupOpen => closing(tokens, length + 1)? + 1,
            _ => length + 2,
        };
    }
    let mut name = CompactString::default();
    spell_argument(&tokens[..length], &mut name);
    Some((name, length))
}

/// What stands above the line: the letter of the differential, the order, and the tokens that these take.
struct Above<'a> {
    letter: &'static str,
    order: &'a str,
    length: usize,
}

impl<'a> Above<'a> {
    fn read(tokens: &[Token<'a>]) -> Option<Self> {
        let letter = differential(tokens.first()?)?;
        let (order, length) = order(&tokens[1..]).unwrap_or(("1", 0));
        Some(Self {
            letter,
            order,
            length: 1 + length,
        })
    }

    /// The name of the operator with these tokens below the line, and how many it takes of them; none if they are no
    /// differentials of the same order.
    fn over(&self, below: &[Token<'a>]) -> Option<(CompactString, usize)> {
        let mut orders: BTreeMap<CompactString, u32> = BTreeMap::new();
        let mut symbolic: Option<&str> = None;
        let mut length = 0;
        while below.get(length).and_then(differential) == Some(self.letter) {
            let (name, name_length) = variable(&below[length + 1..])?;
            length += 1 + name_length;
            let mut times = 1;
            if let Some((order, order_length)) = order(&below[length..]) {
                match order.parse::<u32>() {
                    Ok(order) => times = order,
                    Err(_) => symbolic = Some(order),
                }
                length += order_length;
            }
            let total = orders.entry(name).or_default();
            *total = total.saturating_add(times);
        }
        if orders.is_empty() {
            return None;
        }
        let matches_order = match symbolic {
            Some(order) => orders.len() == 1 && order == self.order,
            None => {
                let total = orders.values().fold(0u32, |sum, times| sum.saturating_add(*times));
                self.order.parse() == Ok(total)
            }
        };
        // The order of partial derivatives does not matter.
        let mut operator = CompactString::from(self.letter);
        for (name, times) in orders {
            let order = symbolic.map_or_else(|| times.to_string(), str::to_owned);
            // Writing to a string cannot fail.
            let _ = write!(operator, "/{name}^{order}");
        }
        matches_order.then_some((operator, length))
    }
}

/// The operator and the operand of `\\frac{dy}{dx}` and its higher and mixed orders.
fn strictly<'t, 'a>(upper: &'t [Token<'a>], below: &[Token<'a>]) -> Option<(CompactString, &'t [Token<'a>])> {
    let above = Above::read(upper)?;
    let (operator, length) = above.over(below)?;
    (length == below.len()).then_some((operator, &upper[above.length..]))
}

/// The same of a derivative by more than a letter: `\\frac{d\\ln y}{d\\ln x}`, `\\frac{\\partial L}{\\partial\\dot q}`.
fn by_a_function<'t, 'a>(upper: &'t [Token<'a>], below: &[Token<'a>]) -> Option<(CompactString, &'t [Token<'a>])> {
    let letter = differential(upper.first()?)?;
    let [first, by @ ..] = below else {
        return None;
    };
    if differential(first) != Some(letter) || !is_operand(by) || !is_operand(&upper[1..]) {
        return None;
    }
    let mut operator = CompactString::from(letter);
    operator.push('/');
    spell_argument(by, &mut operator);
    Some((operator, &upper[1..]))
}

/// Whether a differential may be of these tokens: one factor, and no index or exponent of the letter.
fn is_operand(tokens: &[Token<'_>]) -> bool {
    let is_start = |kind: &Kind<'_>| {
        matches!(
            kind,
            Kind::Symbol(_)
                | Kind::Accent(_)
                | Kind::Function(_)
                | Kind::Sqrt
                | Kind::GroupOpen
                | Kind::Open(Bracket::Round | Bracket::Square | Bracket::Bar)
                | Kind::Bar
                | Kind::Text(_)
        )
    };
    let mut depth = 0usize;
    for token in tokens {
        match token.kind {
            Kind::Open(_) | Kind::GroupOpen => depth += 1,
            Kind::Close(_) | Kind::GroupClose => depth = depth.saturating_sub(1),
            Kind::Plus | Kind::Minus | Kind::Comma if depth == 0 => return false,
            _ => {}
        }
    }
    tokens.first().is_some_and(|token| is_start(&token.kind))
}

/// The same of `\\frac{D\\rho}{Dt}`, the derivative along a flow. D over D of other letters may be lengths.
fn material<'t, 'a>(upper: &'t [Token<'a>], below: &[Token<'a>]) -> Option<(CompactString, &'t [Token<'a>])> {
    let is = |token: &Token<'_>, letter: &str| matches!(&token.kind, Kind::Symbol(name) if name == letter);
    match (upper, below) {
        ([above, operand @ ..], [first, by]) if is(above, "D") && is(first, "D") && is(by, "t") => {
            is_operand(operand).then_some((CompactString::const_new("D/Dt"), operand))
        }
        _ => None,
    }
}

impl Parser<'_, '_> {
    /// `{dy}{dx}` behind a `\frac`. None if it is a fraction.
    pub(super) fn leibniz_fraction(&mut self) -> Option<Parsed> {
        let tokens = self.tokens;
        let open = self.position;
        let is_group = |index: usize| tokens.get(index).map(|token| &token.kind) == Some(&Kind::GroupOpen);
        if !is_group(open) {
            return None;
        }
        let close = closing(tokens, open)?;
        if !is_group(close + 1) {
            return None;
        }
        let end = closing(tokens, close + 1)?;
        let upper = &tokens[open + 1..close];
        let below = &tokens[close + 2..end];
        let (operator, operand) = strictly(upper, below)
            .or_else(|| by_a_function(upper, below))
            .or_else(|| material(upper, below))?;
        self.position = end + 1;
        let derived = self.derived(operator, operand);
        Some(derived.and_then(|derivative| self.at_a_point(derivative)))
    }

    /// The value of a derivative at the place in the brackets behind it: `\\frac{dy}{dx}(0)` is not zero. Brackets around
    /// more than one letter or number are a factor.
    fn at_a_point(&mut self, derivative: Expression) -> Parsed {
        let Some([open, atom, close]) = self.tokens.get(self.position..self.position + 3) else {
            return Ok(derivative);
        };
        let is_point = open.kind == Kind::Open(Bracket::Round)
            && matches!(atom.kind, Kind::Number(..) | Kind::Symbol(_) | Kind::Constant(_))
            && close.kind == Kind::Close(Bracket::Round);
        if !is_point {
            return Ok(derivative);
        }
        let arguments = self.arguments(Bracket::Round)?;
        let operands = std::iter::once(derivative).chain(arguments).collect();
        Ok(Expression::Call(
            Function::Named(CompactString::const_new("at")),
            operands,
        ))
    }

    /// `dy/dx`, of which the first letter was just passed. None if it is anything else.
    pub(super) fn leibniz_line(&mut self) -> Option<Parsed> {
        let start = self.position - 1;
        let tokens = &self.tokens[start..];
        let above = Above::read(tokens)?;
        let rest = &tokens[above.length..];
        let operand_length = variable(rest).map_or(0, |(_, length)| length);
        let primes = rest[operand_length..]
            .iter()
            .take_while(|token| token.kind == Kind::Prime)
            .count();
        let (operand, rest) = rest.split_at(operand_length + primes);
        let [line, below @ ..] = rest else {
            return None;
        };
        let (operator, length) = if line.kind == Kind::Divide {
            above.over(below)?
        } else {
            return None;
        };
        self.position = start + above.length + operand.len() + 1 + length;
        Some(self.derived(operator, operand))
    }

    /// The derivative of some tokens; of the next factor if there are none.
    fn derived(&mut self, operator: CompactString, operand: &[Token<'_>]) -> Parsed {
        if self.depth >= MAX_NESTING {
            return Err(NoExpression::TooDeep);
        }
        let operand = if operand.is_empty() {
            let is_next = self
                .peek()
                .is_some_and(|next| super::grammar::starts_factor(next, self.open_bars));
            if !is_next {
                return Ok(Expression::Symbol(operator));
            }
            self.depth += 1;
            let factor = self.factor();
            self.depth -= 1;
            factor?
        } else {
            self.all_of_operand(operand)?
        };
        Ok(Expression::Call(Function::Named(operator), vec![operand]))
    }

    fn all_of_operand(&mut self, tokens: &[Token<'_>]) -> Parsed {
        let mut inner = Parser {
            tokens,
            position: 0,
            depth: self.depth + 1,
            open_bars: 0,
            binders: self.binders,
            operators: self.operators,
            has_bold: self.has_bold,
        };
        let value = inner.sum()?;
        self.operators = inner.operators;
        if inner.position < tokens.len() {
            return Err(NoExpression::NotMathematics);
        }
        Ok(value)
    }
}
