//! Reads tokens as a value: a number or an expression, with its unit and the way in which it was written.

use compact_str::CompactString;
use dashu_int::IBig;
use dashu_ratio::RBig;

use super::answer::{Literal, ParseError, Quantity};
use super::compound::compound;
use super::grammar::{self, NoExpression};
use super::kinds::Kinds;
use super::names;
use super::primary::in_base;
use super::sense;
use super::spell::{spell_argument, spell_text};
use super::token::{Bracket, Kind, Token};
use super::written::Written;
use super::{beside, multiple, unit};
use crate::expression::{Constant, Expression};

/// An expression with its unit; none if it is no mathematics.
pub(super) fn quantity(tokens: &[Token<'_>]) -> Result<Option<Quantity>, ParseError> {
    let kinds = Kinds::of(tokens);
    let has_words = kinds.has(Kinds::WORD);
    if let Some(compound) = compound(tokens, kinds) {
        return Ok(Some(compound));
    }
    if kinds.has(Kinds::UNDERSCORE)
        && let Some(value) = numeral_in_base(tokens)
    {
        return Ok(Some(Quantity::new(Expression::Number(value))));
    }
    // `\text{US}\$5`
    let tokens = match tokens {
        [us, sign, ..] if us.source == "US" && sign.kind == Kind::Currency("$") => &tokens[1..],
        all => all,
    };
    let without_currency: Vec<Token<'_>>;
    let mut tokens = tokens;
    if let [
        minus,
        Token {
            kind: Kind::Currency(_),
            ..
        },
        ..,
    ] = tokens
        && minus.kind == Kind::Minus
    {
        // `-\$5` is `\$-5`.
        without_currency = [&tokens[1..2], &tokens[..1], &tokens[2..]].concat();
        tokens = &without_currency;
    }
    let with_magnitude: Vec<Token<'_>>;
    if let Some(changed) = beside::with_magnitude(tokens) {
        with_magnitude = changed;
        tokens = &with_magnitude;
    }
    let with_portion: Vec<Token<'_>>;
    if has_words && let Some(changed) = multiple::settled(tokens) {
        with_portion = changed;
        tokens = &with_portion;
    }
    let (value, unit) = match beside::split_brackets(tokens).filter(|_| has_words) {
        Some((value, unit)) => (value, Some(unit)),
        None => unit::split(tokens, kinds),
    };
    let (value, scale) = if has_words {
        multiple::split_scale(value)
    } else {
        (value, None)
    };
    match grammar::expression(value) {
        Ok(expression) => {
            let mut quantity = Quantity::new(match scale {
                Some(scale) => Expression::Product(vec![expression, Expression::Number(scale)]),
                None => expression,
            });
            quantity.unit = unit;
            quantity.literal = literal(value);
            let is_word = value.iter().all(|token| {
                matches!(
                    token.kind,
                    Kind::Symbol(_) | Kind::Constant(_) | Kind::Open(_) | Kind::Close(_)
                )
            });
            if is_word && quantity.unit.is_none() {
                // With its scale: `two` of `two thirds` is no number by itself.
                let letters: CompactString = tokens.iter().map(|token| token.source).collect();
                // `HT` in a sample space keeps its case.
                let are_capitals = letters.len() > 1 && letters.bytes().all(|letter| letter.is_ascii_uppercase());
                quantity.spelled = Some(if are_capitals { letters } else { spell_text(tokens) });
            }
            if quantity.unit.is_some() {
                quantity.sense = sense::of(tokens);
                quantity.beside = beside::beside_sign(tokens);
            }
            Ok(Some(quantity))
        }
        Err(NoExpression::TooDeep) => Err(ParseError::TooLarge),
        Err(NoExpression::NotMathematics) => Ok(None),
    }
}

/// The same for a side of a relation. Between numbers it matters how these were written.
pub(super) fn side_of_relation(tokens: &[Token<'_>]) -> Result<Option<Quantity>, ParseError> {
    let mut side = quantity(tokens)?;
    if let Some(side) = &mut side
        && side.expression.is_constant()
    {
        side.written = Some(Box::new(Written::read(tokens)));
    }
    Ok(side)
}

/// A numeral with letters for digits: `1A3_{16}`, `(FACE)_{16}`, `\text{A5}_{11}`.
fn numeral_in_base(tokens: &[Token<'_>]) -> Option<RBig> {
    let underscore = tokens.iter().position(|token| token.kind == Kind::Underscore)?;
    let (digits, below) = tokens.split_at(underscore);
    let mut spelled = String::new();
    for token in digits {
        match token.kind {
            Kind::Number(..) | Kind::Symbol(_) | Kind::Text(_) | Kind::Word(_) | Kind::Constant(Constant::Euler) => {
                spelled.push_str(token.source);
            }
            Kind::GroupOpen | Kind::GroupClose | Kind::Open(Bracket::Round) | Kind::Close(Bracket::Round) => {}
            _ => return None,
        }
    }
    let has_letter = spelled.contains(|next: char| next.is_ascii_alphabetic());
    let has_digit = spelled.contains(|next: char| next.is_ascii_digit());
    let is_upper = spelled.len() > 1 && spelled.bytes().all(|next| next.is_ascii_uppercase());
    // `A_{16}` may as well be a variable with a subscript as a digit in base 16.
    if !has_letter || !has_digit && !is_upper {
        return None;
    }
    let mut base = CompactString::default();
    spell_argument(&below[1..], &mut base);
    let base =
        names::base(base.trim_start_matches('(').trim_end_matches(')')).filter(|base| (11..=36).contains(base))?;
    in_base(&spelled, base)
}

/// Most tokens of a fraction beside signs and brackets.
const MOST_OF_FRACTION: usize = 4;

/// How a number was written.
fn literal(tokens: &[Token<'_>]) -> Literal {
    // Signs and brackets do not make another fraction of it.
    let mut significant: Vec<&Kind<'_>> = Vec::with_capacity(MOST_OF_FRACTION);
    let mut signs = 0;
    for token in tokens {
        match token.kind {
            Kind::Minus => signs += 1,
            Kind::GroupOpen | Kind::GroupClose | Kind::Open(Bracket::Round) | Kind::Close(Bracket::Round) => {}
            _ if significant.len() == MOST_OF_FRACTION => return Literal::Other,
            _ => significant.push(&token.kind),
        }
    }
    let fraction = match significant.as_slice() {
        [Kind::Number(_, Some(places))] if signs < 2 => return Literal::Decimal(*places),
        [Kind::Frac, Kind::Number(upper, None), Kind::Number(lower, None)]
        | [Kind::Number(upper, None), Kind::Divide, Kind::Number(lower, None)]
        // `1\frac{2}{4}`, `1 2/4`
        | [Kind::Number(..), Kind::Frac, Kind::Number(upper, None), Kind::Number(lower, None)]
        | [Kind::Number(..), Kind::Number(upper, None), Kind::Divide, Kind::Number(lower, None)] => (upper, lower),
        _ => return Literal::Other,
    };
    let (upper, lower) = fraction;
    if lower.is_zero() {
        return Literal::Other;
    }
    let quotient = upper / lower;
    Literal::Fraction {
        // Two signs cancel as two factors do.
        is_reduced: signs < 2 && !quotient.is_int() && IBig::from(quotient.denominator().clone()) == *lower.numerator(),
    }
}
