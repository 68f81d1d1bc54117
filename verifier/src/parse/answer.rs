//! What a whole answer says.

use std::cell::OnceCell;

use compact_str::CompactString;
use dashu_int::IBig;
use dashu_ratio::RBig;

use super::dress::undress;
use super::grammar::{self, NoExpression};
use super::label::Label;
use super::lexer::{Commas, TooManyTokens, lex};
use super::matrix;
use super::spell::spell;
use super::token::{Bracket, Kind, Relation, Token};
use super::unit::{self, Unit};
use crate::expression::{Constant, Expression};
use crate::normal::Form;
use crate::steps::Stop;

/// An answer, or a part of one.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it was equated with, or a member of.
    pub label: Option<Label>,
    /// What it says.
    pub body: Body,
}

/// What an answer says.
#[derive(Clone, Debug)]
pub enum Body {
    /// A number or an expression, perhaps with a unit.
    Quantity(Quantity),
    /// Words, in one spelling.
    Text(CompactString),
    /// Items without brackets.
    List(Vec<Answer>),
    /// Items in braces; none is the empty set.
    Set(Vec<Answer>),
    /// Items in brackets: a tuple, a vector or an interval.
    Sequence(Bracket, Bracket, Vec<Answer>),
    /// The union of sets.
    Union(Vec<Answer>),
    /// The first set without the second.
    Difference(Box<Answer>, Box<Answer>),
    /// A matrix, row by row.
    Matrix(Vec<Vec<Quantity>>),
    /// Sides and the relations between them: equations, inequalities, chains.
    Chain(Vec<Quantity>, Vec<Relation>),
    /// `3 : 4`.
    Ratio(Vec<Quantity>),
}

/// An expression with what is known of it.
#[derive(Clone, Debug)]
pub struct Quantity {
    /// Its value.
    pub expression: Expression,
    /// What it was measured in.
    pub unit: Option<Unit>,
    /// How a number was written.
    pub literal: Literal,
    /// Its spelling where it might be a word: letters only.
    pub spelled: Option<CompactString>,
    /// Its canonical form, once it was needed.
    pub(crate) form: OnceCell<Result<Form, Stop>>,
}

/// How a number was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literal {
    /// With so many digits after the point.
    Decimal(u32),
    /// As a fraction of two integers that is in lowest terms, or is not.
    Fraction {
        /// Whether it is.
        is_reduced: bool,
    },
    /// In any other way.
    Other,
}

impl Quantity {
    /// A bare expression.
    pub(crate) fn new(expression: Expression) -> Self {
        Self {
            expression,
            unit: None,
            literal: Literal::Other,
            spelled: None,
            form: OnceCell::new(),
        }
    }
}

/// A whole text, read.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What it says.
    pub answer: Answer,
    /// Its one spelling, for texts that are no mathematics.
    pub spelled: CompactString,
    /// The letter of a multiple choice that it names.
    pub choice: Option<Choice>,
    /// Whether a comma was taken for a separator of thousands that might separate items.
    pub ambiguous_comma: bool,
}

/// A letter that may be the choice of a multiple-choice problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The letter.
    pub letter: char,
    /// Whether nothing else is said, as in `(B) 12`.
    pub is_alone: bool,
    /// Whether it was set as a choice: in brackets or as text.
    pub is_marked: bool,
}

/// Why nothing can be made of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is blank or punctuation.
    #[error("nothing to compare")]
    Nothing,
    /// It exceeds the limits on tokens or nesting.
    #[error("too many tokens, or nested too deep")]
    TooLarge,
}

/// Reads an answer or a ground truth.
///
/// # Errors
/// If nothing can be made of it.
pub fn parse(raw: &str, commas: Commas) -> Result<Parsed, ParseError> {
    let (text, is_text) = undress(raw);
    let lexed = lex(text, commas).map_err(|TooManyTokens| ParseError::TooLarge)?;
    let tokens = lexed.tokens.as_slice();
    if !tokens.iter().any(says_something) {
        return Err(ParseError::Nothing);
    }
    let answer = list(tokens, 0)?;
    let answer = if is_text { words_of(answer) } else { answer };
    Ok(Parsed {
        answer,
        spelled: spell(tokens),
        choice: choice(tokens, is_text),
        ambiguous_comma: lexed.ambiguous_comma,
    })
}

fn says_something(token: &Token<'_>) -> bool {
    !matches!(
        token.kind,
        Kind::Comma
            | Kind::Semicolon
            | Kind::Colon
            | Kind::Open(Bracket::Round | Bracket::Square)
            | Kind::Close(_)
            | Kind::GroupOpen
            | Kind::GroupClose
            | Kind::Bang
            | Kind::Prime
            | Kind::Currency(_)
            | Kind::Percent
            | Kind::Degree
            | Kind::Underscore
            | Kind::Caret
            | Kind::Ampersand
            | Kind::RowBreak
            | Kind::Dots
            | Kind::Bar
            | Kind::Other("?" | "\"" | "`" | "\\")
    )
}

/// In `\text{…}` letters are words, not variables.
fn words_of(answer: Answer) -> Answer {
    let body = match answer.body {
        Body::Quantity(Quantity {
            spelled: Some(spelled), ..
        }) if answer.label.is_none() => Body::Text(CompactString::from(spelled.to_lowercase())),
        Body::List(items) => Body::List(items.into_iter().map(words_of).collect()),
        other => other,
    };
    Answer {
        label: answer.label,
        body,
    }
}

/// The letter of a multiple choice: `B`, `(B)`, `B.`, `(B) 12`, `Option B`.
fn choice(tokens: &[Token<'_>], is_text: bool) -> Option<Choice> {
    let (tokens, has_prefix) = match tokens {
        [first, rest @ ..] if matches!(first.kind, Kind::Word(word) | Kind::Text(word) if is_choice_word(word)) => {
            let rest = match rest {
                [colon, rest @ ..] if colon.kind == Kind::Colon => rest,
                rest => rest,
            };
            (rest, true)
        }
        tokens => (tokens, false),
    };
    match tokens {
        [single] => Some(Choice {
            letter: letter_of(single)?,
            is_alone: true,
            is_marked: is_text || has_prefix || matches!(single.kind, Kind::Text(_)),
        }),
        [open, single, close, rest @ ..]
            if open.kind == Kind::Open(Bracket::Round) && close.kind == Kind::Close(Bracket::Round) =>
        {
            let letter = letter_of(single)?;
            // What follows may repeat the text of the choice, but not go on as mathematics or name another one.
            let goes_on = rest.first().is_some_and(|next| !starts_choice_text(&next.kind));
            let names_another = rest.iter().any(|token| {
                matches!(token.kind, Kind::Conjunction | Kind::Comma | Kind::Semicolon) || letter_of(token).is_some()
            });
            let is_choice = rest.is_empty() || letter.is_ascii_uppercase() && !goes_on && !names_another;
            is_choice.then_some(Choice {
                letter,
                is_alone: rest.is_empty(),
                is_marked: true,
            })
        }
        _ => None,
    }
}

fn letter_of(token: &Token<'_>) -> Option<char> {
    let (Kind::Symbol(_) | Kind::Text(_) | Kind::Constant(_)) = token.kind else {
        return None;
    };
    let mut letters = token.source.chars();
    let letter = letters.next().filter(char::is_ascii_alphabetic)?;
    letters.next().is_none().then_some(letter)
}

fn starts_choice_text(kind: &Kind<'_>) -> bool {
    matches!(
        kind,
        Kind::Number(..) | Kind::Text(_) | Kind::Word(_) | Kind::Frac | Kind::Sqrt | Kind::Colon | Kind::Currency(_)
    )
}

fn is_choice_word(word: &str) -> bool {
    matches!(word.to_lowercase().as_str(), "option" | "choice" | "answer" | "answers")
}

/// Splits tokens where `is_split` says so, outside of all brackets and groups.
fn split_outside<'t, 'a>(
    tokens: &'t [Token<'a>],
    is_split: impl Fn(&Kind<'_>) -> bool,
) -> Vec<(usize, &'t [Token<'a>])> {
    let mut parts = Vec::new();
    let mut depth = 0usize;
    let mut start = 0;
    for (index, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Open(_) | Kind::GroupOpen | Kind::Begin(_) => depth += 1,
            Kind::Close(_) | Kind::GroupClose | Kind::End => depth = depth.saturating_sub(1),
            kind if depth == 0 && is_split(kind) => {
                parts.push((index, &tokens[start..index]));
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push((tokens.len(), &tokens[start..]));
    parts
}

/// Deepest nesting of lists in lists: tuples of sets of tuples.
const MAX_LIST_DEPTH: usize = 8;

/// Items between commas, semicolons and conjunctions; a single one is itself.
fn list(tokens: &[Token<'_>], depth: usize) -> Result<Answer, ParseError> {
    if depth > MAX_LIST_DEPTH {
        return Ok(text(tokens));
    }
    let Some(mut items) = items(tokens, depth)? else {
        return Ok(text(tokens));
    };
    if items.len() == 1 {
        return Ok(items.remove(0));
    }
    Ok(unlabelled(Body::List(items)))
}

/// The items of a list; nothing if one of them is empty.
fn items(tokens: &[Token<'_>], depth: usize) -> Result<Option<Vec<Answer>>, ParseError> {
    let separates = |kind: &Kind<'_>| matches!(kind, Kind::Comma | Kind::Semicolon | Kind::Conjunction);
    let parts = split_outside(tokens, separates);
    let mut items = Vec::with_capacity(parts.len());
    for (end, part) in &parts {
        if part.is_empty() {
            // `2, 3, and 4`
            let ends_in_conjunction = tokens.get(*end).is_some_and(|token| token.kind == Kind::Conjunction);
            if ends_in_conjunction && !items.is_empty() {
                continue;
            }
            return Ok(None);
        }
        expand(part, depth, &mut items)?;
    }
    Ok(Some(items))
}

/// Most `±` of one item.
const MAX_SIGNS: usize = 4;

/// Adds an item, or for one with `±` every item that it stands for.
fn expand(tokens: &[Token<'_>], depth: usize, items: &mut Vec<Answer>) -> Result<(), ParseError> {
    let is_sign = |token: &Token<'_>| matches!(token.kind, Kind::PlusMinus | Kind::MinusPlus);
    let count = tokens.iter().filter(|token| is_sign(token)).count();
    let in_braces = tokens
        .first()
        .is_some_and(|token| token.kind == Kind::Open(Bracket::Brace));
    if count == 0 || in_braces {
        items.push(item(tokens, depth)?);
        return Ok(());
    }
    if count > MAX_SIGNS {
        items.push(text(tokens));
        return Ok(());
    }
    // `∓` is tied to the `±` before it; two `±` alone are independent.
    let is_tied = tokens.iter().any(|token| token.kind == Kind::MinusPlus);
    let choices: u32 = if is_tied { 2 } else { 1 << count };
    for choice in 0..choices {
        let mut position = 0;
        let mut signed: Vec<Token<'_>> = tokens.to_vec();
        for token in signed.iter_mut().filter(|token| is_sign(token)) {
            let bit = if is_tied { choice } else { choice >> position };
            let is_minus = (bit & 1 == 1) != (token.kind == Kind::MinusPlus);
            token.kind = if is_minus { Kind::Minus } else { Kind::Plus };
            position += 1;
        }
        items.push(item(&signed, depth)?);
    }
    Ok(())
}

/// One item: with a label, a relation, or neither.
fn item(tokens: &[Token<'_>], depth: usize) -> Result<Answer, ParseError> {
    if let [single] = tokens
        && let Kind::Number(value, places) = &single.kind
    {
        let mut quantity = Quantity::new(Expression::Number(value.clone()));
        quantity.literal = places.map_or(Literal::Other, Literal::Decimal);
        return Ok(unlabelled(Body::Quantity(quantity)));
    }
    let parts = split_outside(tokens, |kind| matches!(kind, Kind::Relation(_) | Kind::In));
    if parts.len() > 1 {
        return related(tokens, &parts, depth);
    }
    body(tokens, depth).map(unlabelled)
}

fn related(tokens: &[Token<'_>], parts: &[(usize, &[Token<'_>])], depth: usize) -> Result<Answer, ParseError> {
    let relation_after = |part: usize| &tokens[parts[part].0].kind;
    if let [(_, left), (_, right)] = parts {
        let is_naming = matches!(relation_after(0), Kind::Relation(Relation::Equal) | Kind::In);
        if is_naming && left.is_empty() && !right.is_empty() {
            // `= 5`, `\approx 8.24`
            return body(right, depth).map(unlabelled);
        }
        if is_naming && let Some(label) = Label::read(left) {
            // The right side may hold brackets but no list: the list was split before.
            return Ok(Answer {
                label: Some(label),
                body: body(right, depth)?,
            });
        }
        if is_naming
            && *relation_after(0) != Kind::In
            && let Some(label) = Label::read(right)
            && let numeric @ Body::Quantity(_) = body(left, depth)?
        {
            // `5 = x`
            return Ok(Answer {
                label: Some(label),
                body: numeric,
            });
        }
    }
    let mut sides = Vec::with_capacity(parts.len());
    let mut relations = Vec::with_capacity(parts.len());
    for (index, (_, side)) in parts.iter().enumerate() {
        match quantity(side)? {
            Some(side) => sides.push(side),
            None => return Ok(text(tokens)),
        }
        if index + 1 < parts.len() {
            match relation_after(index) {
                Kind::Relation(relation) => relations.push(*relation),
                _ => return Ok(text(tokens)),
            }
        }
    }
    Ok(unlabelled(Body::Chain(sides, relations)))
}

fn body(tokens: &[Token<'_>], depth: usize) -> Result<Body, ParseError> {
    if tokens.is_empty() {
        return Ok(Body::Text(CompactString::default()));
    }
    if let Some(special) = special(tokens, depth)? {
        return Ok(special);
    }
    match quantity(tokens)? {
        Some(quantity) => Ok(Body::Quantity(quantity)),
        None => Ok(text_body(tokens)),
    }
}

/// What is more than an expression: sets, unions, tuples, intervals, matrices, ratios.
fn special(tokens: &[Token<'_>], depth: usize) -> Result<Option<Body>, ParseError> {
    match tokens {
        [
            Token {
                kind: Kind::EmptySet, ..
            },
        ] => return Ok(Some(Body::Set(Vec::new()))),
        [Token { kind: Kind::Reals, .. }] => return Ok(Some(real_line())),
        _ => {}
    }
    let has = |wanted: fn(&Kind<'_>) -> bool| tokens.iter().any(|token| wanted(&token.kind));
    if has(|kind| *kind == Kind::Cup) {
        let parts = split_outside(tokens, |kind| *kind == Kind::Cup);
        if parts.len() > 1 {
            let mut pieces = Vec::with_capacity(parts.len());
            for (_, part) in parts {
                pieces.push(list(part, depth + 1)?);
            }
            return Ok(Some(Body::Union(pieces)));
        }
    }
    if has(|kind| *kind == Kind::SetMinus) {
        let parts = split_outside(tokens, |kind| *kind == Kind::SetMinus);
        if let [(_, whole), (_, removed)] = parts.as_slice() {
            let whole = list(whole, depth + 1)?;
            let removed = list(removed, depth + 1)?;
            return Ok(Some(Body::Difference(Box::new(whole), Box::new(removed))));
        }
    }
    if has(|kind| matches!(kind, Kind::Begin(_)))
        && let Some(rows) = matrix::read(tokens)
    {
        return match rows {
            Ok(rows) => {
                let quantities = |row: Vec<Expression>| row.into_iter().map(Quantity::new).collect();
                Ok(Some(Body::Matrix(rows.into_iter().map(quantities).collect())))
            }
            Err(NoExpression::TooDeep) => Err(ParseError::TooLarge),
            Err(NoExpression::NotMathematics) => Ok(None),
        };
    }
    if let Some(sequence) = sequence(tokens, depth)? {
        return Ok(Some(sequence));
    }
    if has(|kind| *kind == Kind::Colon) {
        let parts = split_outside(tokens, |kind| *kind == Kind::Colon);
        let mut sides = Vec::with_capacity(parts.len());
        for (_, part) in &parts {
            sides.extend(quantity(part)?);
        }
        if parts.len() > 1 && sides.len() == parts.len() {
            return Ok(Some(Body::Ratio(sides)));
        }
    }
    Ok(None)
}

/// Items in brackets that enclose all tokens.
fn sequence(tokens: &[Token<'_>], depth: usize) -> Result<Option<Body>, ParseError> {
    let [first, inner @ .., last] = tokens else {
        return Ok(None);
    };
    let (Kind::Open(open), Kind::Close(close)) = (&first.kind, &last.kind) else {
        return Ok(None);
    };
    let mut nesting = 0usize;
    for token in inner {
        match token.kind {
            Kind::Open(_) => nesting += 1,
            Kind::Close(_) if nesting == 0 => return Ok(None),
            Kind::Close(_) => nesting -= 1,
            _ => {}
        }
    }
    if *open == Bracket::Brace {
        if inner.is_empty() {
            return Ok(Some(Body::Set(Vec::new())));
        }
        return Ok(items(inner, depth + 1)?.map(Body::Set));
    }
    let is_list = |kind: &Kind<'_>| matches!(kind, Kind::Comma | Kind::Semicolon);
    let has_comma = split_outside(inner, is_list).len() > 1;
    let is_bracket = matches!(open, Bracket::Round | Bracket::Square | Bracket::Angle);
    if !has_comma || !is_bracket || depth >= MAX_LIST_DEPTH {
        return Ok(None);
    }
    Ok(items(inner, depth + 1)?.map(|items| Body::Sequence(*open, *close, items)))
}

/// An expression with its unit; nothing if it is no mathematics.
fn quantity(tokens: &[Token<'_>]) -> Result<Option<Quantity>, ParseError> {
    if let Some(value) = numeral_in_base(tokens) {
        return Ok(Some(Quantity::new(Expression::Number(value))));
    }
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
    let (value, unit) = unit::split(tokens);
    let (value, scale) = unit::split_scale(value);
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
                quantity.spelled = Some(spell(value));
            }
            Ok(Some(quantity))
        }
        Err(NoExpression::TooDeep) => Err(ParseError::TooLarge),
        Err(NoExpression::NotMathematics) => Ok(None),
    }
}

/// A numeral with letters for digits: `1A3_{16}`, `\text{A5}_{11}`.
fn numeral_in_base(tokens: &[Token<'_>]) -> Option<RBig> {
    let underscore = tokens.iter().position(|token| token.kind == Kind::Underscore)?;
    let (digits, below) = tokens.split_at(underscore);
    let has_letter = digits
        .iter()
        .any(|token| matches!(token.kind, Kind::Symbol(_) | Kind::Text(_) | Kind::Constant(_)));
    let has_digit = digits.iter().any(|token| matches!(token.kind, Kind::Number(..)));
    // `A_{16}` is a variable with a subscript as often as a digit.
    if !has_letter || !has_digit {
        return None;
    }
    let mut spelled = String::new();
    for token in digits {
        match token.kind {
            Kind::Number(..) | Kind::Symbol(_) | Kind::Text(_) | Kind::Constant(Constant::Euler) => {
                spelled.push_str(token.source)
            }
            Kind::GroupOpen | Kind::GroupClose | Kind::Open(Bracket::Round) | Kind::Close(Bracket::Round) => {}
            _ => return None,
        }
    }
    let base = match below {
        [_, base] => base,
        [_, open, base, close] if open.kind == Kind::GroupOpen && close.kind == Kind::GroupClose => base,
        _ => return None,
    };
    let Kind::Number(base, None) = &base.kind else {
        return None;
    };
    let base = i64::try_from(base.numerator())
        .ok()
        .filter(|base| (11..=36).contains(base))?;
    grammar::in_base(&spelled, base)
}

/// How a number was written.
fn literal(tokens: &[Token<'_>]) -> Literal {
    let unsigned = match tokens {
        [sign, rest @ ..] if sign.kind == Kind::Minus => rest,
        all => all,
    };
    let significant: Vec<&Token<'_>> = unsigned
        .iter()
        .filter(|token| !matches!(token.kind, Kind::GroupOpen | Kind::GroupClose))
        .take(4)
        .collect();
    let kinds: Vec<&Kind<'_>> = significant.iter().map(|token| &token.kind).collect();
    let fraction = match kinds.as_slice() {
        [Kind::Number(_, Some(places))] => return Literal::Decimal(*places),
        [Kind::Frac, Kind::Number(upper, None), Kind::Number(lower, None)]
        | [Kind::Number(upper, None), Kind::Divide, Kind::Number(lower, None)] => (upper, lower),
        _ => return Literal::Other,
    };
    let (upper, lower) = fraction;
    if lower.is_zero() {
        return Literal::Other;
    }
    let quotient = upper / lower;
    Literal::Fraction {
        is_reduced: !quotient.is_int() && IBig::from(quotient.denominator().clone()) == *lower.numerator(),
    }
}

fn real_line() -> Body {
    let infinity = || Expression::Constant(Constant::Infinity);
    let end = |expression| unlabelled(Body::Quantity(Quantity::new(expression)));
    let ends = vec![end(infinity().negated()), end(infinity())];
    Body::Sequence(Bracket::Round, Bracket::Round, ends)
}

fn text(tokens: &[Token<'_>]) -> Answer {
    unlabelled(text_body(tokens))
}

/// Words that say that there is nothing are the empty set.
fn text_body(tokens: &[Token<'_>]) -> Body {
    let spelled = CompactString::from(spell(tokens).to_lowercase());
    if matches!(
        spelled.as_str(),
        "no solution" | "no solutions" | "no real solution" | "no real solutions" | "empty set" | "the empty set"
    ) {
        return Body::Set(Vec::new());
    }
    Body::Text(spelled)
}

fn unlabelled(body: Body) -> Answer {
    Answer { label: None, body }
}
