//! Reads sums, products, integrals and limits: `\sum_{k=1}^{n} k^2`, `\int_0^1 x\,dx`, `\lim_{x\to 0} f(x)`.
//!
//! The bound variable is renamed before the body is read, so that it is renamed in subscripts as well, and an index is
//! shifted to run from zero. What stands behind the sign belongs to it up to the next plus or minus.

use compact_str::{CompactString, format_compact};

use super::grammar::{NoExpression, Parsed, Parser};
use super::signs::is_operator;
use super::spell::{argument_end, group};
use super::token::{Bracket, Kind, Relation, Token};
use crate::expression::{Constant, Expression, Function, operator};

/// Most operators of one expression: what follows each of them is copied.
const MAX_OPERATORS: usize = 8;

/// Deepest nesting of operators.
const MAX_BINDERS: usize = 4;

/// The tokens of an argument of an operator.
type Part<'t, 'a> = Option<&'t [Token<'a>]>;

/// An end of a range, or the point of a limit: ∞ is part of the operator's name, as no function has a value there.
enum End {
    Finite(Expression),
    Infinite(&'static str),
}

impl<'t, 'a> Parser<'t, 'a> {
    /// Reads an operator whose sign was just passed.
    pub(super) fn operator(&mut self, sign: &str) -> Parsed {
        if !is_operator(sign) || self.binders >= MAX_BINDERS || self.operators >= MAX_OPERATORS {
            return Err(NoExpression::NotMathematics);
        }
        self.operators += 1;
        let (below, above) = self.bounds();
        match sign {
            "\\int" => self.integral(below, above),
            "\\lim" | "\\limsup" | "\\liminf" => self.limit(&sign[1..], below),
            _ => self.series(sign, below, above),
        }
    }

    /// What stands below and above the sign.
    fn bounds(&mut self) -> (Part<'t, 'a>, Part<'t, 'a>) {
        let tokens: &'t [Token<'a>] = self.tokens;
        let (mut below, mut above) = (None, None);
        loop {
            let part = match self.peek() {
                Some(Kind::Underscore) if below.is_none() => &mut below,
                Some(Kind::Caret) if above.is_none() => &mut above,
                _ => return (below, above),
            };
            let start = self.position + 1;
            let end = argument_end(tokens, start).min(tokens.len());
            let argument = tokens.get(start..end).unwrap_or_default();
            *part = Some(match group(argument) {
                Some((inner, [])) => inner,
                _ => argument,
            });
            self.position = end;
        }
    }

    fn series(&mut self, sign: &str, below: Part<'t, 'a>, above: Part<'t, 'a>) -> Parsed {
        let range = below.and_then(|below| match above {
            Some(to) => range_of(below, &Relation::Equal).map(|(variable, from)| (variable, from, Some(to))),
            // `\sum_{n \ge 1}`.
            None => range_of(below, &Relation::GreaterOrEqual).map(|(variable, from)| (variable, from, None)),
        });
        let Some((variable, from, to)) = range else {
            return self.over_condition(sign, below, above);
        };
        let first = self.within(from)?;
        let last = match to {
            Some(to) => end_of(self.within(to)?),
            None => End::Infinite("+"),
        };
        let bound = operator::bound(self.binders);
        let is_sum = sign == "\\sum";
        let first = match (end_of(first), &last) {
            (End::Finite(first), _) => first,
            (End::Infinite("-"), End::Infinite("+")) if is_sum => {
                let body = self.renamed(variable, &bound, &[])?;
                return Ok(applied(operator::DOUBLE_SERIES.into(), &bound, body, Vec::new(), true));
            }
            _ => return Err(NoExpression::NotMathematics),
        };
        let is_from_zero = first == Expression::integer(0);
        let shift: &[Token<'a>] = if is_from_zero { &[] } else { from };
        let body = self.renamed(variable, &bound, shift)?;
        let (name, count) = match last {
            End::Infinite("+") if is_sum => (operator::SERIES, None),
            End::Infinite("+") => (operator::INFINITE_PRODUCT, None),
            End::Infinite(_) => return Err(NoExpression::NotMathematics),
            End::Finite(last) => {
                let count = if is_from_zero { last } else { difference(last, first) };
                (if is_sum { operator::SUM } else { operator::PRODUCT }, Some(count))
            }
        };
        let bounds = count.into_iter().collect();
        Ok(applied(name.into(), &bound, body, bounds, is_sum))
    }

    /// `kind` is `lim`, `limsup` or `liminf`.
    fn limit(&mut self, kind: &str, below: Part<'t, 'a>) -> Parsed {
        let Some([variable, arrow, point @ ..]) = below else {
            return Err(NoExpression::NotMathematics);
        };
        let name = name_of(variable).filter(|_| arrow.kind == Kind::Other("\\to"));
        let variable = name.ok_or(NoExpression::NotMathematics)?;
        let (point, side) = side_of(point);
        let point = end_of(self.within(point)?);
        let bound = operator::bound(self.binders);
        let body = self.renamed(variable, &bound, &[])?;
        let (name, bounds) = match point {
            End::Finite(point) => (format_compact!("{kind}{side}"), vec![point]),
            End::Infinite(sign) => (format_compact!("{kind}{sign}∞"), Vec::new()),
        };
        Ok(applied(name, &bound, body, bounds, false))
    }

    fn integral(&mut self, below: Part<'t, 'a>, above: Part<'t, 'a>) -> Parsed {
        let (inside, after, variable) = self.integrand().ok_or(NoExpression::NotMathematics)?;
        let (Some(below), Some(above)) = (below, above) else {
            if below.is_some() || above.is_some() {
                return Err(NoExpression::NotMathematics);
            }
            // The variable of an indefinite integral is that of its value.
            let body = self.all_of(&inside)?;
            self.position = after;
            let arguments = vec![Expression::Symbol(variable), body];
            return Ok(Expression::Call(Function::Named("∫d".into()), arguments));
        };
        let ends = [end_of(self.within(below)?), end_of(self.within(above)?)];
        let bound = operator::bound(self.binders);
        let is_meant = |token: &Token<'_>| name_of(token) == Some(&variable);
        let renamed: Vec<Token<'a>> = inside
            .into_iter()
            .map(|mut token| {
                if is_meant(&token) {
                    token.kind = Kind::Symbol(bound.clone());
                }
                token
            })
            .collect();
        let body = self.all_of(&renamed)?;
        self.position = after;
        let mut name = CompactString::const_new(operator::INTEGRAL);
        let mut bounds = Vec::with_capacity(2);
        for (end, mark) in ends.into_iter().zip(['_', '^']) {
            match end {
                End::Finite(end) => bounds.push(end),
                End::Infinite(sign) => name.push_str(&format_compact!("{mark}{sign}∞")),
            }
        }
        Ok(applied(name, &bound, body, bounds, true))
    }

    /// The tokens of an integrand, where its differential ends, and the variable of that.
    fn integrand(&self) -> Option<(Vec<Token<'a>>, usize, CompactString)> {
        let tokens: &'t [Token<'a>] = self.tokens;
        let start = self.position;
        let mut depth = 0usize;
        let mut open = 1usize;
        let mut in_fraction = None;
        for index in start..tokens.len() {
            match &tokens[index].kind {
                Kind::Open(_) | Kind::GroupOpen | Kind::Begin(_) => depth += 1,
                Kind::Close(_) | Kind::GroupClose | Kind::End if depth == 0 => break,
                Kind::Close(_) | Kind::GroupClose | Kind::End => depth -= 1,
                _ if depth > 0 => {}
                Kind::Relation(_) | Kind::Comma | Kind::Semicolon => break,
                Kind::Other("\\int") => open += 1,
                Kind::Frac if in_fraction.is_none() && open == 1 => {
                    in_fraction = fraction_with_differential(tokens, index)
                }
                _ => {
                    if let Some(variable) = differential(&tokens[index..]) {
                        open -= 1;
                        if open == 0 {
                            let end = match &tokens[start..index] {
                                [.., last] if last.kind == Kind::Times => index - 1,
                                _ => index,
                            };
                            return Some((tokens[start..end].to_vec(), index + 2, variable.into()));
                        }
                    }
                }
            }
        }
        // `\int \frac{dx}{x}`
        let (numerator, end, variable) = in_fraction?;
        let mut inside = tokens[start..numerator].to_vec();
        if tokens[numerator - 1].kind == Kind::GroupOpen {
            inside.push(Token {
                kind: Kind::Number(dashu_ratio::RBig::ONE, None),
                spaced: false,
                is_bold: false,
                is_script: false,
                applies: false,
                source: "1",
            });
        }
        inside.extend_from_slice(&tokens[numerator + 2..end]);
        Some((inside, end, variable))
    }

    /// Reads the product that follows with a variable renamed and, if there are tokens to shift it by, shifted.
    fn renamed(&mut self, variable: &str, bound: &CompactString, shift: &[Token<'a>]) -> Parsed {
        let all: &'t [Token<'a>] = self.tokens;
        let rest = &all[self.position..];
        let mut tokens = Vec::with_capacity(rest.len());
        // Where each token comes from.
        let mut origins = Vec::with_capacity(rest.len() + 1);
        for (index, token) in rest.iter().enumerate() {
            let before = tokens.len();
            if name_of(token) != Some(variable) {
                tokens.push(token.clone());
            } else {
                let piece = |kind, spaced| Token {
                    kind,
                    spaced,
                    is_bold: token.is_bold,
                    is_script: token.is_script,
                    applies: token.applies,
                    source: token.source,
                };
                let name = Kind::Symbol(bound.clone());
                if shift.is_empty() {
                    tokens.push(piece(name, token.spaced));
                } else {
                    tokens.push(piece(Kind::GroupOpen, token.spaced));
                    tokens.push(piece(name, false));
                    tokens.push(piece(Kind::Plus, false));
                    tokens.push(piece(Kind::Open(Bracket::Round), false));
                    tokens.extend_from_slice(shift);
                    tokens.push(piece(Kind::Close(Bracket::Round), false));
                    tokens.push(piece(Kind::GroupClose, false));
                }
            }
            origins.resize(origins.len() + tokens.len() - before, index);
        }
        origins.push(rest.len());
        let mut inner = self.inner(&tokens);
        inner.open_bars = self.open_bars;
        let body = inner.product();
        let (position, operators) = (inner.position, inner.operators);
        self.operators = operators;
        self.position += origins.get(position).copied().unwrap_or(rest.len());
        body
    }

    /// Reads all of some tokens as the body of an operator.
    fn all_of(&mut self, tokens: &[Token<'a>]) -> Parsed {
        if tokens.is_empty() {
            return Ok(Expression::integer(1));
        }
        let mut inner = self.inner(tokens);
        let body = inner.sum()?;
        let is_all = inner.position == tokens.len();
        self.operators = inner.operators;
        if is_all {
            Ok(body)
        } else {
            Err(NoExpression::NotMathematics)
        }
    }

    /// Reads all of some tokens that stand outside of the body, but among bound variables of operators around.
    fn within(&mut self, tokens: &[Token<'a>]) -> Parsed {
        if tokens.is_empty() {
            return Err(NoExpression::NotMathematics);
        }
        self.all_of(tokens)
    }

    pub(super) fn inner<'x>(&self, tokens: &'x [Token<'a>]) -> Parser<'x, 'a> {
        Parser {
            tokens,
            position: 0,
            depth: self.depth,
            open_bars: 0,
            binders: self.binders + 1,
            operators: self.operators,
            has_bold: self.has_bold,
        }
    }
}

/// The operator applied to a body, with what does not depend on the variable in front of it.
fn applied(
    name: CompactString,
    bound: &CompactString,
    body: Expression,
    bounds: Vec<Expression>,
    is_linear: bool,
) -> Expression {
    let depends = |part: &Expression| part.has_name(&|name: &str| name.contains(bound.as_str()));
    let (inside, mut outside): (Vec<_>, Vec<_>) = if is_linear {
        factors_of(body).into_iter().partition(depends)
    } else {
        (vec![body], Vec::new())
    };
    let body = match <[Expression; 1]>::try_from(inside) {
        Ok([single]) => single,
        Err(factors) if factors.is_empty() => Expression::integer(1),
        Err(factors) => Expression::Product(factors),
    };
    let mut arguments = vec![Expression::Symbol(bound.clone()), body];
    arguments.extend(bounds);
    let call = Expression::Call(Function::Named(name), arguments);
    if outside.is_empty() {
        return call;
    }
    outside.push(call);
    Expression::Product(outside)
}

/// The factors of a product, and those of a denominator that is one: `x/(3k)` is `x` by 3 by `k`.
fn factors_of(body: Expression) -> Vec<Expression> {
    let Expression::Product(factors) = body else {
        return match body {
            Expression::Power(base, exponent)
                if *exponent == Expression::integer(-1) && matches!(*base, Expression::Product(_)) =>
            {
                factors_of(*base).into_iter().map(Expression::inverse).collect()
            }
            other => vec![other],
        };
    };
    factors.into_iter().flat_map(factors_of).collect()
}

fn end_of(expression: Expression) -> End {
    let infinity = Expression::Constant(Constant::Infinity);
    if expression == infinity {
        End::Infinite("+")
    } else if expression == infinity.negated() {
        End::Infinite("-")
    } else {
        End::Finite(expression)
    }
}

fn difference(left: Expression, right: Expression) -> Expression {
    match (left, right) {
        (Expression::Number(left), Expression::Number(right)) => Expression::Number(left - right),
        (left, right) => left.minus(right),
    }
}

/// The variable and the first value of `k=1`.
fn range_of<'t, 'a>(tokens: &'t [Token<'a>], relation: &Relation) -> Option<(&'t str, &'t [Token<'a>])> {
    let [variable, sign, from @ ..] = tokens else {
        return None;
    };
    let is_range = sign.kind == Kind::Relation(*relation)
        && !from
            .iter()
            .any(|token| matches!(token.kind, Kind::Relation(_) | Kind::Comma | Kind::Semicolon));
    name_of(variable).filter(|_| is_range).map(|name| (name, from))
}

/// The name of a variable that may be bound. The letter i is one as well.
pub(super) fn name_of<'t>(token: &'t Token<'_>) -> Option<&'t str> {
    match &token.kind {
        Kind::Symbol(name) => Some(name),
        Kind::Constant(Constant::Imaginary) if token.source == "i" => Some("i"),
        _ => None,
    }
}

/// The point of a limit without the side that it is approached from: `0^+`.
fn side_of<'t, 'a>(tokens: &'t [Token<'a>]) -> (&'t [Token<'a>], &'static str) {
    let (point, sign) = match tokens {
        [point @ .., caret, open, sign, close]
            if caret.kind == Kind::Caret && open.kind == Kind::GroupOpen && close.kind == Kind::GroupClose =>
        {
            (point, sign)
        }
        [point @ .., caret, sign] if caret.kind == Kind::Caret => (point, sign),
        [point @ .., sign] => (point, sign),
        [] => return (tokens, ""),
    };
    match sign.kind {
        Kind::Plus => (point, "+"),
        Kind::Minus => (point, "-"),
        _ => (tokens, ""),
    }
}

/// The variable of the differential that begins here.
fn differential<'t>(tokens: &'t [Token<'_>]) -> Option<&'t str> {
    let [sign, variable, rest @ ..] = tokens else {
        return None;
    };
    let is_sign = match &sign.kind {
        Kind::Symbol(name) => name == "d",
        Kind::Text(word) => *word == "d",
        _ => false,
    };
    let has_mark =
        matches!(rest.first(), Some(next) if matches!(next.kind, Kind::Underscore | Kind::Caret | Kind::Prime));
    match &variable.kind {
        Kind::Symbol(name) if is_sign && !has_mark => Some(name),
        _ => None,
    }
}

/// Where the differential that ends the numerator of a fraction begins, where the fraction ends, and the variable.
fn fraction_with_differential(tokens: &[Token<'_>], fraction: usize) -> Option<(usize, usize, CompactString)> {
    let (inner, after) = group(&tokens[fraction + 1..])?;
    let sign = inner.len().checked_sub(2)?;
    let variable = differential(&inner[sign..])?;
    let numerator = fraction + 2 + sign;
    let denominator = tokens.len() - after.len();
    Some((
        numerator,
        argument_end(tokens, denominator).min(tokens.len()),
        variable.into(),
    ))
}
