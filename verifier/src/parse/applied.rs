//! Tells functions of letters from products with brackets: `P(A)` is a value of P, `P(1+r)` is P times 1 + r.
//!
//! Nobody writes `P(A)` for the product of two letters, nor `y(0)` for zero. So a letter before brackets around a single
//! letter or number is a function, there and wherever else in the same text it stands before brackets: both P in
//! `P(n+1)-P(n)` are. Letters that name functions by custom need no such sign.

use std::collections::BTreeSet;

use compact_str::CompactString;

use super::command::{argument, is_upright, is_variable_font, split_command};
use super::events::spell_event;
use super::grammar::{NoExpression, Parsed, Parser};
use super::names;
use super::noncommuting::of_matrices;
use super::spell::spell_argument;
use super::token::{Bracket, Kind, Token, closing};
use crate::expression::{Constant, Expression, Function};

/// Names of functions where brackets follow; without these they are products of letters. Those of one letter are so
/// where they are set upright: `\mathrm{E}(X)`.
const NAMES: [&str; 23] = [
    "E", "P", "Var", "var", "Cov", "cov", "Pr", "det", "tr", "Tr", "sgn", "sign", "erf", "erfc", "deg", "dim", "ker",
    "rank", "arg", "Arg", "Li", "Si", "ord",
];

/// The name of a function that a word is, where brackets follow it.
pub(super) fn function_name(word: &str, after: &str) -> Option<CompactString> {
    (has_brackets(after) && NAMES.contains(&word)).then(|| CompactString::from(word))
}

/// Whether a name is one of those.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether brackets stand at the beginning of a text, or behind a subscript there.
pub(super) fn has_brackets(after: &str) -> bool {
    let after = after.trim_start();
    let after = match after.strip_prefix('_') {
        Some(subscript) => argument(subscript).1.trim_start(),
        None => after,
    };
    after.starts_with(['(', '[']) || after.starts_with("\\left(") || after.starts_with("\\left[")
}

/// Whether a letter stands at the beginning of a text, which a function may be of.
pub(super) fn has_operand(after: &str) -> bool {
    let after = after.trim_start();
    if !after.starts_with('\\') {
        return after.starts_with(|next: char| next.is_ascii_alphabetic());
    }
    let (name, _) = split_command(after);
    is_variable_font(name) || matches!(names::command(name), Some(Kind::Symbol(_) | Kind::Accent(_)))
}

/// The name of a function that a LaTeX command without its backslash is; these need no brackets.
pub(super) fn function_command(name: &str) -> Option<CompactString> {
    matches!(name, "Pr" | "deg" | "dim" | "ker" | "arg").then(|| CompactString::from(name))
}

/// Letters that are functions before any brackets.
fn is_always_function(name: &str) -> bool {
    matches!(name, "Γ" | "Φ" | "ζ" | "δ" | "𝔼" | "ℙ") || is_upright(name)
}

/// Marks the letters that are functions of what stands in brackets behind them.
pub(super) fn mark(tokens: &mut [Token<'_>]) {
    // Quickly past most answers, which have no brackets behind letters.
    let is_open = |token: &Token<'_>| matches!(token.kind, Kind::Open(Bracket::Round | Bracket::Square));
    if !tokens.iter().any(is_open) {
        return;
    }
    // A current and an error over time.
    for place in 0..tokens.len().saturating_sub(3) {
        let is_of_time = tokens[place + 1].kind == Kind::Open(Bracket::Round)
            && matches!(&tokens[place + 2].kind, Kind::Symbol(name) if name == "t")
            && tokens[place + 3].kind == Kind::Close(Bracket::Round);
        if is_of_time
            && matches!(
                tokens[place].kind,
                Kind::Constant(Constant::Imaginary | Constant::Euler)
            )
        {
            tokens[place].kind = Kind::Symbol(CompactString::from(tokens[place].source));
        }
    }
    let mut functions: BTreeSet<CompactString> = BTreeSet::new();
    let mut candidates: Vec<(usize, CompactString)> = Vec::new();
    for index in 0..tokens.len() {
        let Some(call) = Call::at(tokens, index) else {
            continue;
        };
        let is_letter = matches!(tokens[index].kind, Kind::Symbol(_));
        let is_function = is_letter && is_always_function(&call.name)
            // Bessel's functions.
            || call.name.starts_with("J_")
            || call.has_order
            || call.is_of_statement(tokens)
            || call.is_expectation(tokens)
            || call.is_step(tokens)
            || call.is_order(tokens)
            || call.is_condition(tokens, index)
            || call.is_of_atom(tokens);
        if is_function {
            functions.insert(call.name.clone());
        }
        candidates.push((index, call.name));
    }
    for (index, name) in candidates {
        tokens[index].applies = functions.contains(&name);
        // Other signs for a probability and an expectation.
        let usual = match name.as_str() {
            "Pr" | "ℙ" => "P",
            "𝔼" => "E",
            _ => continue,
        };
        tokens[index].kind = Kind::Symbol(CompactString::const_new(usual));
        tokens[index].applies = true;
    }
}

/// A letter with brackets behind it.
struct Call {
    /// The letter with its subscript.
    name: CompactString,
    /// Whether it has an order, as `y^{(4)}` has.
    has_order: bool,
    /// Where the content of the brackets begins and ends.
    content: std::ops::Range<usize>,
}

impl Call {
    fn at(tokens: &[Token<'_>], index: usize) -> Option<Self> {
        let (letter, after_letter) = match &tokens[index].kind {
            Kind::Symbol(letter) => (letter.as_str(), index + 1),
            // `\dot x(0)`
            Kind::Accent(mark) => (*mark, after_argument(tokens, index + 1)?),
            _ => return None,
        };
        // `d(x)` is a differential, and what is an argument itself ends with the letter: `e^x(x+1)`, `\sin x(2)`.
        let before = index.checked_sub(1).map(|before| &tokens[before].kind);
        let is_argument = matches!(
            before,
            Some(Kind::Caret | Kind::Underscore | Kind::Frac | Kind::Sqrt | Kind::Binom | Kind::Accent(_))
        ) || matches!(before, Some(Kind::Function(_))) && !super::primary::is_function_letter(letter)
            || before != Some(&Kind::GroupOpen)
                && matches!(
                    index.checked_sub(2).map(|before| &tokens[before].kind),
                    Some(Kind::Frac | Kind::Binom)
                );
        if is_argument || letter == "∂" || letter == "∇" {
            return None;
        }
        let mut next = after_letter;
        if tokens.get(next)?.kind == Kind::Underscore {
            next = after_argument(tokens, next + 1)?;
        }
        let mut name = CompactString::default();
        spell_argument(&tokens[index..next], &mut name);
        while tokens.get(next)?.kind == Kind::Prime {
            next += 1;
        }
        let after_order = order_at(tokens, next).map(|order| order.end + 2);
        next = after_order.unwrap_or(next);
        // `Φ^{-1}(0.95)`, `f^2(0)`
        if let Some(length) = inverse_at(&tokens[next..]).or_else(|| iterate_at(letter, &tokens[next..])) {
            next += length;
        }
        if !matches!(tokens.get(next)?.kind, Kind::Open(Bracket::Round | Bracket::Square)) {
            return None;
        }
        let close = closing(tokens, next)?;
        // `d(x)` is a differential; `d(12)` is a value.
        let is_number = matches!(
            tokens[next + 1..close],
            [Token {
                kind: Kind::Number(..),
                ..
            }]
        );
        if letter == "d" && !is_number {
            return None;
        }
        Some(Self {
            name,
            has_order: after_order.is_some(),
            content: next + 1..close,
        })
    }

    /// Whether it is the chance of something, `P(X = 1)`, `P(\text{heads})`, or counts a set, `n(A \cup B)`.
    fn is_of_statement(&self, tokens: &[Token<'_>]) -> bool {
        let is_statement = |token: &Token<'_>| {
            matches!(
                token.kind,
                Kind::Relation(_) | Kind::Text(_) | Kind::In | Kind::Cup | Kind::Other("\\cap")
            )
        };
        let content = &tokens[self.content.clone()];
        let is_of_sets = |token: &Token<'_>| matches!(token.kind, Kind::Cup | Kind::Other("\\cap"));
        self.name.starts_with(char::is_uppercase) && content.iter().any(is_statement) || content.iter().any(is_of_sets)
    }

    /// Whether it is the expectation of a random variable: `E[2X+1]`. In round brackets it may be a product, unless the
    /// variable has one of the usual names.
    fn is_expectation(&self, tokens: &[Token<'_>]) -> bool {
        let in_square = tokens[self.content.start - 1].kind == Kind::Open(Bracket::Square);
        let is_variable = |token: &Token<'_>| match &token.kind {
            Kind::Symbol(name) if in_square => name.starts_with(char::is_uppercase),
            Kind::Symbol(name) => matches!(name.as_str(), "X" | "Y" | "Z"),
            _ => false,
        };
        self.name == "E" && tokens[self.content.clone()].iter().any(is_variable)
    }

    /// Whether it is the unit step at a time: `u(t-2)`, `u[n-1]`.
    fn is_step(&self, tokens: &[Token<'_>]) -> bool {
        let time = match tokens[self.content.start - 1].kind {
            Kind::Open(Bracket::Square) => "n",
            _ => "t",
        };
        let is_shifted = match &tokens[self.content.clone()] {
            [first, sign, shift] => {
                matches!(&first.kind, Kind::Symbol(name) if name == time)
                    && matches!(sign.kind, Kind::Minus | Kind::Plus)
                    && is_atom(&shift.kind)
            }
            _ => false,
        };
        is_shifted && matches!(self.name.as_str(), "u" | "H" | "θ")
    }

    /// Whether it is an order of growth, `O(n^2)`. `O(0, 0)` is a point.
    fn is_order(&self, tokens: &[Token<'_>]) -> bool {
        let content = &tokens[self.content.clone()];
        matches!(self.name.as_str(), "O" | "o") && !content.iter().any(|token| token.kind == Kind::Comma)
    }

    /// Whether it is a value at a number and all of one side of an equation: `y(\pi/2) = 1`.
    fn is_condition(&self, tokens: &[Token<'_>], letter: usize) -> bool {
        let begins = letter.checked_sub(1).is_none_or(|before| {
            matches!(
                tokens[before].kind,
                Kind::Comma | Kind::Semicolon | Kind::Conjunction(_)
            )
        });
        let ends = matches!(tokens.get(self.content.end + 1), Some(next) if matches!(next.kind, Kind::Relation(_)));
        let is_number = |token: &Token<'_>| {
            matches!(
                token.kind,
                Kind::Number(..)
                    | Kind::Constant(_)
                    | Kind::Plus
                    | Kind::Minus
                    | Kind::Times
                    | Kind::Divide
                    | Kind::Frac
                    | Kind::Sqrt
                    | Kind::Caret
                    | Kind::GroupOpen
                    | Kind::GroupClose
            )
        };
        begins && ends && !self.content.is_empty() && tokens[self.content.clone()].iter().all(is_number)
    }

    /// Whether the brackets hold a single letter or number, and are no factor among others in brackets.
    fn is_of_atom(&self, tokens: &[Token<'_>]) -> bool {
        let content = &tokens[self.content.clone()];
        let is_number = matches!(
            content,
            [Token {
                kind: Kind::Number(..),
                ..
            }]
        );
        // `k(3)(x+1)`, `k(3)^{1/2}`
        let is_factor = tokens
            .get(self.content.end + 1)
            .is_some_and(|next| next.kind == Kind::Open(Bracket::Round) || is_number && next.kind == Kind::Caret);
        let is_plain = match content {
            [atom] => is_atom(&atom.kind),
            [atom, Token { kind: Kind::Prime, .. }] => is_atom(&atom.kind),
            [
                atom,
                Token {
                    kind: Kind::Underscore, ..
                },
                rest @ ..,
            ] => is_atom(&atom.kind) && after_argument(rest, 0) == Some(rest.len()),
            _ => false,
        };
        is_plain && !is_factor
    }
}

fn is_atom(kind: &Kind<'_>) -> bool {
    matches!(
        kind,
        Kind::Symbol(_) | Kind::Number(..) | Kind::Constant(Constant::Pi | Constant::Infinity)
    )
}

/// The content of `^{(n)}`, the order of a derivative, at this place.
pub(super) fn order_at(tokens: &[Token<'_>], start: usize) -> Option<std::ops::Range<usize>> {
    let [caret, group, open, ..] = tokens.get(start..)? else {
        return None;
    };
    let begins = caret.kind == Kind::Caret && group.kind == Kind::GroupOpen && open.kind == Kind::Open(Bracket::Round);
    if !begins {
        return None;
    }
    let close = closing(tokens, start + 2)?;
    (tokens.get(close + 1)?.kind == Kind::GroupClose).then_some(start + 3..close)
}

/// Adds the order of a derivative to its name: as primes if it is a small number, because `f^{(3)}` is the third.
fn push_order(order: &[Token<'_>], name: &mut CompactString) {
    let primes = match order {
        [order] => order.source.parse().ok().filter(|order| (1..=9).contains(order)),
        _ => None,
    };
    match primes {
        Some(primes) => name.extend(std::iter::repeat_n('\'', primes)),
        None => {
            name.push_str("^(");
            spell_argument(order, name);
            name.push(')');
        }
    }
}

/// What follows an argument, which is a group or one token.
fn after_argument(tokens: &[Token<'_>], start: usize) -> Option<usize> {
    match tokens.get(start)?.kind {
        Kind::GroupOpen => closing(tokens, start).map(|close| close + 1),
        _ => Some(start + 1),
    }
}

impl Parser<'_, '_> {
    /// A letter that may be a function: `f(x)`, `f'(x)`, `f^{(n)}(0)`, `f^{-1}(2)`; else the variable.
    pub(super) fn application(&mut self, letter: &str, applies: bool) -> Parsed {
        let has_subscript = self.peek() == Some(&Kind::Underscore);
        let name = self.symbol_name(letter)?;
        self.applied(letter, name, applies, has_subscript)
    }

    /// What the letter, whose `name` was just passed, is with the brackets behind it.
    pub(super) fn applied(
        &mut self,
        letter: &str,
        mut name: CompactString,
        applies: bool,
        has_subscript: bool,
    ) -> Parsed {
        if let Some(order) = order_at(self.tokens, self.position) {
            push_order(&self.tokens[order.clone()], &mut name);
            self.position = order.end + 2;
        } else if (applies || super::primary::is_function_letter(letter))
            && let Some(length) = inverse_at(&self.tokens[self.position..])
        {
            name.push_str("^{-1}");
            self.position += length;
        } else if super::primary::is_function_letter(letter)
            && let Some(length) = inverse_length(&self.tokens[self.position..])
            && self.holds_function(length)
        {
            name.push_str("^{-1}");
            self.position += length;
        } else if applies && let Some(length) = iterate_at(letter, &self.tokens[self.position..]) {
            spell_argument(&self.tokens[self.position..self.position + length], &mut name);
            self.position += length;
        }
        let open = self.position;
        let bracket = match self.peek() {
            Some(Kind::Open(Bracket::Round)) if applies || !has_subscript => Bracket::Round,
            Some(Kind::Open(Bracket::Square)) if applies || self.holds_function(0) => Bracket::Square,
            _ if is_upright(letter) => return self.of_operand(name),
            _ => return Ok(Expression::Symbol(name)),
        };
        let (depth, open_bars) = (self.depth, self.open_bars);
        match self.arguments(bracket) {
            Ok(arguments) => Ok(of_matrices(name, arguments)),
            // `P(X > 1)`, `P(A \cap B)`: what is in the brackets is no number, and told by its spelling.
            Err(NoExpression::NotMathematics) => {
                let close = closing(self.tokens, open).ok_or(NoExpression::NotMathematics)?;
                (self.position, self.depth, self.open_bars) = (close + 1, depth, open_bars);
                let mut content = CompactString::default();
                spell_event(&self.tokens[open + 1..close], &mut content);
                Ok(Expression::Call(
                    Function::Named(name),
                    vec![Expression::Symbol(content)],
                ))
            }
            Err(too_deep) => Err(too_deep),
        }
    }

    /// Whether a square bracket stands behind so many tokens and begins with a function: `f[g(x)]`.
    fn holds_function(&self, offset: usize) -> bool {
        let is_function =
            matches!(self.peek_at(offset + 1), Some(Kind::Symbol(name)) if super::primary::is_function_letter(name));
        is_function
            && self.peek_at(offset) == Some(&Kind::Open(Bracket::Square))
            && self.peek_at(offset + 2) == Some(&Kind::Open(Bracket::Round))
    }

    /// `y^{(4)}`, the fourth derivative of y and no power; in braces, since `y^(4)` is plain text for one.
    pub(super) fn derivative_of(&mut self, value: &Expression) -> Option<Expression> {
        let Expression::Symbol(name) = value else {
            return None;
        };
        let range = order_at(self.tokens, self.position)?;
        let [order] = &self.tokens[range.clone()] else {
            return None;
        };
        let is_order = match &order.kind {
            Kind::Number(_, places) => places.is_none(),
            kind => matches!(kind, Kind::Symbol(_)),
        };
        let in_brackets =
            matches!(self.position.checked_sub(1), Some(before) if matches!(self.tokens[before].kind, Kind::Close(_)));
        if !is_order || in_brackets {
            return None;
        }
        let mut name = name.clone();
        push_order(std::slice::from_ref(order), &mut name);
        self.position = range.end + 2;
        Some(Expression::Symbol(name))
    }

    pub(super) fn arguments(&mut self, bracket: Bracket) -> Result<Vec<Expression>, NoExpression> {
        self.position += 1;
        let mut arguments = vec![self.sum()?];
        while self.take(&Kind::Comma) {
            arguments.push(self.sum()?);
        }
        self.expect(&Kind::Close(bracket))?;
        Ok(arguments)
    }
}

/// The length of `^2` between a letter that is a function by custom and its bracket. Whether it means a power of the value
/// or the function twice is not decided: `f^2(0)` is neither `f^2` times zero nor anything else.
fn iterate_at(letter: &str, tokens: &[Token<'_>]) -> Option<usize> {
    let is_count = |token: &Token<'_>| matches!(token.kind, Kind::Number(_, None) | Kind::Symbol(_));
    let length = match tokens {
        [caret, open, count, close, ..]
            if caret.kind == Kind::Caret
                && open.kind == Kind::GroupOpen
                && is_count(count)
                && close.kind == Kind::GroupClose =>
        {
            4
        }
        [caret, count, ..] if caret.kind == Kind::Caret && is_count(count) => 2,
        _ => return None,
    };
    // `\pi h^2(r)` is a volume.
    let is_function = matches!(letter, "f" | "g" | "F" | "G" | "P" | "Q" | "Φ" | "φ");
    (is_function && tokens.get(length)?.kind == Kind::Open(Bracket::Round)).then_some(length)
}

/// The length of `^{-1}` with a bracket behind it.
pub(super) fn inverse_at(tokens: &[Token<'_>]) -> Option<usize> {
    let length = inverse_length(tokens)?;
    (tokens.get(length)?.kind == Kind::Open(Bracket::Round)).then_some(length)
}

/// The length of `^{-1}`.
pub(super) fn inverse_length(tokens: &[Token<'_>]) -> Option<usize> {
    let is_one = |token: &Token<'_>| matches!(token.source, "1") && matches!(token.kind, Kind::Number(..));
    match tokens {
        [caret, open, minus, one, close, ..]
            if caret.kind == Kind::Caret
                && open.kind == Kind::GroupOpen
                && minus.kind == Kind::Minus
                && is_one(one)
                && close.kind == Kind::GroupClose =>
        {
            Some(5)
        }
        [caret, minus, one, ..] if caret.kind == Kind::Caret && minus.kind == Kind::Minus && is_one(one) => Some(3),
        _ => None,
    }
}
