//! Reads the parts of an expression: numerals, variables, functions, roots, fractions, groups.

use compact_str::CompactString;
use dashu_base::Signed;
use dashu_int::IBig;
use dashu_ratio::RBig;

use super::call::{call, inverse_of};
use super::command::is_upright;
use super::grammar::{NoExpression, Parsed, Parser, power, quotient, starts_factor};
use super::lines::LINE;
use super::names;
use super::token::{Bracket, Kind, Token};
use crate::expression::{Constant, Expression, Function};
use crate::limits::MAX_NESTING;
use crate::normal;
use crate::steps::Steps;

/// Steps for the sum in a subscript.
const SUBSCRIPT_STEPS: u64 = 2_000;

impl Parser<'_, '_> {
    /// Reads a primary. Every nesting passes through here, so that its depth is bounded here.
    pub(super) fn primary(&mut self) -> Parsed {
        if self.depth >= MAX_NESTING {
            return Err(NoExpression::TooDeep);
        }
        self.depth += 1;
        let value = self.unbounded_primary();
        self.depth -= 1;
        value
    }

    fn unbounded_primary(&mut self) -> Parsed {
        let Some(token) = self.tokens.get(self.position) else {
            return Err(NoExpression::NotMathematics);
        };
        self.position += 1;
        match &token.kind {
            Kind::Number(value, places) => self.number(value.clone(), *places),
            Kind::Constant(constant) => {
                if self.peek() == Some(&Kind::Underscore) {
                    return self.symbol(token.source);
                }
                Ok(Expression::Constant(*constant))
            }
            Kind::Symbol(name) => {
                if let Some(derivative) = self.leibniz_line() {
                    return derivative;
                }
                if let Some(one) = self.differential(name) {
                    return one;
                }
                if token.applies || is_function_letter(name) || is_upright(name) {
                    return self.application(name, token.applies);
                }
                if name == "∂" {
                    return self.partial();
                }
                // `\mathbb{Q}(\sqrt2)`
                let is_set = matches!(name.as_str(), "ℤ" | "ℕ" | "ℚ" | "ℂ");
                if is_set && matches!(self.peek(), Some(Kind::Open(Bracket::Round | Bracket::Square))) {
                    return Err(NoExpression::NotMathematics);
                }
                self.symbol(name)
            }
            Kind::Other("\\neg") => self.negation(),
            Kind::Function(function) => self.function(function.clone()),
            Kind::Frac => {
                if let Some(derivative) = self.leibniz_fraction() {
                    return derivative;
                }
                let numerator = self.argument()?;
                let denominator = self.argument()?;
                Ok(quotient(numerator, denominator))
            }
            Kind::Binom => {
                let upper = self.argument()?;
                self.below_in_binomial(upper)
            }
            Kind::Sqrt => self.root(),
            Kind::Accent(mark) => {
                let start = self.position;
                // The function with the accent takes the brackets: `\bar F(1)`.
                let inner = match self.peek() {
                    Some(Kind::Symbol(name)) if is_function_letter(name) => {
                        let name = name.clone();
                        self.position += 1;
                        Expression::Symbol(name)
                    }
                    _ => self.argument()?,
                };
                // Over anything but a name a bar conjugates.
                // Over a numeral it repeats, or does something else.
                if *mark == "bar" && matches!(inner, Expression::Number(_)) {
                    return Err(NoExpression::NotMathematics);
                }
                if *mark == "bar" && !is_product_of_symbols(&inner) {
                    return Ok(Expression::Call(Function::Conjugate, vec![inner]));
                }
                if matches!(*mark, "" | LINE) && !is_product_of_symbols(&inner) {
                    return Ok(inner);
                }
                // Over one letter the arrow of a line says no more than that of a vector.
                let is_plain = mark.is_empty() || *mark == LINE && matches!(inner, Expression::Symbol(_));
                let mut name = CompactString::from(if is_plain { "" } else { *mark });
                if is_plain {
                    super::spell::spell_argument(&self.tokens[start..self.position], &mut name);
                } else {
                    name.push('{');
                    super::spell::spell_argument(&self.tokens[start..self.position], &mut name);
                    name.push('}');
                }
                let has_subscript = self.peek() == Some(&Kind::Underscore);
                let name = self.symbol_name(&name)?;
                if token.applies {
                    return self.applied("", name, true, has_subscript);
                }
                Ok(Expression::Symbol(name))
            }
            Kind::Other("\\det") => self.determinant_of(),
            Kind::Other(sign) => self.operator(sign),
            Kind::Shape(_) => Err(NoExpression::NotMathematics),
            Kind::GroupOpen => {
                // `{}_8`, `{}^{\circ}` start with an empty group.
                if self.take(&Kind::GroupClose) {
                    return self.primary();
                }
                let inner = self.sum()?;
                self.expect(&Kind::GroupClose)?;
                self.after_group(inner)
            }
            Kind::Open(bracket) => match self.combined_function() {
                Some(value) => value,
                None => self.bracketed(*bracket),
            },
            Kind::Begin("vmatrix") => self.determinant(self.position - 1),
            Kind::Bar if matches!(self.peek(), Some(Kind::Begin(_))) => {
                let value = self.determinant(self.position)?;
                self.expect(&Kind::Bar)?;
                Ok(value)
            }
            Kind::Bar => self.between_bars(),
            _ => Err(NoExpression::NotMathematics),
        }
    }

    /// `{66}_8` is a numeral in a base, and `{g}_k` a variable; any other group is itself.
    fn after_group(&mut self, inner: Expression) -> Parsed {
        match (self.peek(), &inner) {
            (Some(Kind::Underscore), Expression::Number(value)) => self.in_base(value.clone()),
            (Some(Kind::Underscore | Kind::Prime), Expression::Symbol(name)) => self.symbol(name),
            _ => Ok(inner),
        }
    }

    fn bracketed(&mut self, bracket: Bracket) -> Parsed {
        let inner = self.sum()?;
        self.expect(&Kind::Close(bracket))?;
        match bracket {
            Bracket::Round | Bracket::Square => self.after_group(inner),
            Bracket::Floor => Ok(Expression::Call(Function::Floor, vec![inner])),
            Bracket::Ceiling => Ok(Expression::Call(Function::Ceiling, vec![inner])),
            Bracket::Bar => Ok(Expression::Call(Function::Abs, vec![inner])),
            Bracket::Brace | Bracket::Angle => Err(NoExpression::NotMathematics),
        }
    }

    fn number(&mut self, value: RBig, places: Option<u32>) -> Parsed {
        match self.peek() {
            Some(Kind::Underscore) if places.is_none() => self.in_base(value),
            // A mixed number: `6\frac{1}{2}`, `6 1/2`.
            Some(Kind::Frac) if places.is_none() && value.is_int() && self.precedes_numerals() => {
                let start = self.position;
                self.position += 1;
                let numerator = self.argument()?;
                let denominator = self.argument()?;
                match (numerator, denominator) {
                    (Expression::Number(numerator), Expression::Number(denominator))
                        if !denominator.is_zero() && numerator.is_int() && denominator.is_int() =>
                    {
                        Ok(Expression::Number(value + numerator / denominator))
                    }
                    _ => {
                        self.position = start;
                        Ok(Expression::Number(value))
                    }
                }
            }
            Some(Kind::Number(numerator, None))
                if places.is_none()
                    && value.is_int()
                    && numerator.is_int()
                    && self.tokens[self.position].spaced
                    && self.peek_at(1) == Some(&Kind::Divide) =>
            {
                match self.peek_at(2) {
                    Some(Kind::Number(denominator, None)) if numerator < denominator && denominator.is_int() => {
                        let fraction = numerator / denominator;
                        self.position += 3;
                        Ok(Expression::Number(value + fraction))
                    }
                    _ => Err(NoExpression::NotMathematics),
                }
            }
            _ => Ok(Expression::Number(value)),
        }
    }

    /// Whether the fraction that follows is one of two numerals. Any other makes no mixed number; reading it to find
    /// that out would take twice as long at every level of nested fractions.
    fn precedes_numerals(&self) -> bool {
        let mut rest = &self.tokens[self.position + 1..];
        for _ in 0..2 {
            rest = match rest {
                [open, numeral, close, rest @ ..]
                    if open.kind == Kind::GroupOpen
                        && matches!(numeral.kind, Kind::Number(_, None))
                        && close.kind == Kind::GroupClose =>
                {
                    rest
                }
                [numeral, rest @ ..] if matches!(numeral.kind, Kind::Number(_, None)) => rest,
                _ => return false,
            };
        }
        true
    }

    /// A numeral with its base behind a `_`, the digits read so far as if they were decimal.
    fn in_base(&mut self, decimal: RBig) -> Parsed {
        self.position += 1;
        let start = self.position;
        self.skip_argument()?;
        let mut base = CompactString::default();
        super::spell::spell_argument(&self.tokens[start..self.position], &mut base);
        let base = names::base(base.trim_start_matches('(').trim_end_matches(')'))
            .filter(|base| (2..=36).contains(base))
            .ok_or(NoExpression::NotMathematics)?;
        if !decimal.is_int() || decimal.is_negative() {
            return Err(NoExpression::NotMathematics);
        }
        let digits = decimal.numerator().to_string();
        in_base(&digits, base)
            .map(Expression::Number)
            .ok_or(NoExpression::NotMathematics)
    }

    /// A variable with its subscript and marks.
    pub(super) fn symbol(&mut self, name: &str) -> Parsed {
        self.symbol_name(name).map(Expression::Symbol)
    }

    /// The name of a variable with its subscript and marks.
    pub(super) fn symbol_name(&mut self, name: &str) -> Result<CompactString, NoExpression> {
        let mut name = CompactString::from(name);
        loop {
            match self.peek() {
                Some(Kind::Underscore) => {
                    self.position += 1;
                    let start = self.position;
                    self.skip_argument()?;
                    name.push_str("_{");
                    self.spell_subscript(start, &mut name);
                    name.push('}');
                }
                Some(Kind::Prime) => {
                    self.position += 1;
                    name.push('\'');
                }
                _ => return Ok(name),
            }
        }
    }

    /// Spells the subscript that was just passed; a sum in one order: `a_{n+1}` is `a_{1+n}`.
    fn spell_subscript(&self, start: usize, name: &mut CompactString) {
        let tokens = &self.tokens[start..self.position];
        // `a_{ij}` has two indices and no product, also where they are shifted: then each is a group.
        if let Some((inner, [])) = super::spell::group(tokens)
            && let Some(indices) = indices(inner)
        {
            for (position, index) in indices.into_iter().enumerate() {
                name.push_str(if position > 0 { "," } else { "" });
                self.spell_index(index, name);
            }
            return;
        }
        self.spell_index(tokens, name);
    }

    fn spell_index(&self, tokens: &[Token<'_>], name: &mut CompactString) {
        let is_sum = tokens
            .iter()
            .any(|token| matches!(token.kind, Kind::Plus | Kind::Minus));
        // The variables of an operator would be told by its depth here, not by that of those around.
        let has_operator = tokens.iter().any(|token| matches!(token.kind, Kind::Other(_)));
        if is_sum
            && !has_operator
            && let Ok(expression) = super::grammar::expression(tokens)
            && let Ok(form) = normal::normalise(&expression, &mut Steps::new(SUBSCRIPT_STEPS))
        {
            name.push_str(&form.to_string());
        } else {
            super::spell::spell_argument(tokens, name);
        }
    }

    /// Passes a group or a single token without reading it as an expression: a subscript may be anything.
    fn skip_argument(&mut self) -> Result<(), NoExpression> {
        let mut depth = 0usize;
        loop {
            let kind = self.peek().ok_or(NoExpression::NotMathematics)?;
            match kind {
                Kind::GroupOpen => depth += 1,
                Kind::GroupClose => {
                    if depth == 0 {
                        return Err(NoExpression::NotMathematics);
                    }
                    depth -= 1;
                }
                _ => {}
            }
            self.position += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn function(&mut self, function: Function) -> Parsed {
        let mut base = None;
        let mut exponent = None;
        loop {
            match self.peek() {
                Some(Kind::Underscore) if base.is_none() => {
                    self.position += 1;
                    base = Some(self.argument()?);
                }
                Some(Kind::Caret) if exponent.is_none() => {
                    self.position += 1;
                    exponent = Some(self.exponent()?);
                }
                _ => break,
            }
        }
        let arguments = self.function_arguments()?;
        let minus_one = Expression::integer(-1);
        if exponent.as_ref() == Some(&minus_one)
            && let Some(inverse) = inverse_of(&function)
        {
            return call(inverse, None, arguments);
        }
        let value = call(function, base, arguments)?;
        Ok(match exponent {
            Some(exponent) => power(value, exponent),
            None => value,
        })
    }

    /// The argument of a function: brackets, a group, or the factors up to the next operator or function.
    fn function_arguments(&mut self) -> Result<Vec<Expression>, NoExpression> {
        match self.peek() {
            Some(Kind::Open(Bracket::Round | Bracket::Square | Bracket::Brace)) => {
                let Some(Kind::Open(bracket)) = self.peek() else {
                    return Err(NoExpression::NotMathematics);
                };
                let bracket = *bracket;
                self.position += 1;
                let mut arguments = vec![self.sum()?];
                while self.take(&Kind::Comma) {
                    arguments.push(self.sum()?);
                }
                self.expect(&Kind::Close(bracket))?;
                Ok(arguments)
            }
            // `\sin{x} y` is a product; the shifted index in `\sin nx` is a group that nobody wrote.
            Some(Kind::Function(_)) => Ok(vec![self.factor()?]),
            Some(Kind::GroupOpen) if self.tokens[self.position].source == "{" => Ok(vec![self.factor()?]),
            _ => {
                let is_negative = self.take(&Kind::Minus);
                let mut factors = vec![self.factor()?];
                while let Some(next) = self.peek() {
                    // `\cos t\,\mathbf i` is a vector of that length.
                    let continues = starts_factor(next, self.open_bars)
                        && !self.tokens[self.position].is_vector()
                        && !matches!(next, Kind::Function(_) | Kind::Open(_) | Kind::Bar);
                    if !continues {
                        break;
                    }
                    factors.push(self.factor()?);
                }
                // `\sin x/2` is left alone, `\sin \pi/3` means the angle.
                if self.peek() == Some(&Kind::Divide)
                    && factors
                        .iter()
                        .any(|factor| *factor == Expression::Constant(Constant::Pi))
                {
                    self.position += 1;
                    factors.push(self.factor()?.inverse());
                }
                let argument = if factors.len() == 1 {
                    factors.remove(0)
                } else {
                    Expression::Product(factors)
                };
                Ok(vec![if is_negative { argument.negated() } else { argument }])
            }
        }
    }

    fn root(&mut self) -> Parsed {
        let index = if self.take(&Kind::Open(Bracket::Square)) {
            let index = self.sum()?;
            self.expect(&Kind::Close(Bracket::Square))?;
            index
        } else {
            Expression::integer(2)
        };
        // Plain `sqrt` and `√` take brackets, LaTeX's takes a group; either is a primary.
        let radicand = self.argument()?;
        let exponent = match index {
            Expression::Number(index) if !index.is_zero() => Expression::Number(RBig::ONE / index),
            index => index.inverse(),
        };
        Ok(Expression::Power(Box::new(radicand), Box::new(exponent)))
    }

    /// The argument of a command: a group, brackets in plain text, or one primary.
    pub(super) fn argument(&mut self) -> Parsed {
        match self.peek() {
            // One token only, so that `\sqrt x^2` is a square of a root and `\frac n2` takes the letter only.
            Some(Kind::Number(value, _)) => {
                let value = value.clone();
                self.position += 1;
                Ok(Expression::Number(value))
            }
            Some(Kind::Minus) => {
                self.position += 1;
                Ok(self.primary()?.negated())
            }
            _ => self.primary(),
        }
    }
}

/// Whether an expression is a name such as `AB`, or a single letter.
fn is_product_of_symbols(expression: &Expression) -> bool {
    match expression {
        Expression::Symbol(_) => true,
        Expression::Product(factors) => factors.iter().all(is_product_of_symbols),
        _ => false,
    }
}

/// Letters that are functions when a bracket follows.
pub(super) fn is_function_letter(name: &str) -> bool {
    matches!(name, "f" | "g" | "h" | "F" | "G" | "H")
}

/// The value of digits in a base, if they are digits of it.
pub(super) fn in_base(digits: &str, base: i64) -> Option<RBig> {
    let radix = u32::try_from(base).ok()?;
    let mut value = IBig::ZERO;
    for digit in digits.chars() {
        let digit = digit.to_digit(36).filter(|digit| *digit < radix)?;
        value = value * IBig::from(base) + IBig::from(digit);
    }
    Some(RBig::from(value))
}

/// The indices of a subscript that stand side by side or between commas, if there are several and a sum or a group
/// among them.
fn indices<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<Vec<&'t [Token<'a>]>> {
    let has = |kind: &Kind<'_>| tokens.iter().any(|token| token.kind == *kind);
    if has(&Kind::Comma) {
        let is_nested = has(&Kind::GroupOpen) && !has(&Kind::Plus) || has(&Kind::Open(Bracket::Brace));
        let parts = tokens.split(|token| token.kind == Kind::Comma);
        return (!is_nested && (has(&Kind::Plus) || has(&Kind::Minus))).then(|| parts.collect());
    }
    let mut rest = tokens;
    let mut indices = Vec::new();
    while let Some(token) = rest.first() {
        let length = match token.kind {
            // `i` is the imaginary unit elsewhere.
            Kind::Symbol(_) | Kind::Constant(_) => 1,
            Kind::GroupOpen => super::spell::argument_end(rest, 0),
            _ => return None,
        };
        let (index, after) = rest.split_at_checked(length)?;
        indices.push(index);
        rest = after;
    }
    (has(&Kind::GroupOpen) && indices.len() > 1).then_some(indices)
}
