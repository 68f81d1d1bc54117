//! Reads tokens as the structure of an answer: lists, sets, tuples, intervals, unions, relations.

use compact_str::CompactString;

use super::answer::{Answer, Body, Literal, ParseError, Quantity};
use super::compound::compound;
use super::grammar::NoExpression;
use super::introduction::{named_in_words, without_introduction};
use super::kinds::Kinds;
use super::label::Label;
use super::parts::{groups, names_a_set, names_parts};
use super::plus_minus::{self, Signed};
use super::quantity::{quantity, side_of_relation};
use super::sets::Combined;
use super::spell::spell_text;
use super::token::{Bracket, Conjunction, Kind, Relation, Token, split_outside};
use super::work::Place;
use super::{cases, clock, groups, matrix, sets, solutions, words};
use crate::expression::{Constant, Expression};

/// Deepest nesting of lists in lists: tuples of sets of tuples.
const MAX_LIST_DEPTH: usize = 8;

/// Reads items between commas, semicolons and conjunctions. A single item is no list but itself.
pub(super) fn list(tokens: &[Token<'_>], place: Place<'_>) -> Result<Answer, ParseError> {
    if place.depth > MAX_LIST_DEPTH {
        return Ok(text(tokens));
    }
    // `(a) 5 (b) 6`
    if names_parts(tokens) {
        return Ok(text(tokens));
    }
    if place.kinds.has(Kinds::ROW_BREAK)
        && let Some(rows) = cases::rows(tokens)
    {
        let equations = rows.into_iter().map(|row| list(&row, place.deeper()));
        return Ok(unlabelled(Body::List(equations.collect::<Result<_, _>>()?)));
    }
    // `2 hours and 30 minutes`
    if let Some(quantity) = compound(tokens, place.kinds) {
        return Ok(unlabelled(Body::Quantity(quantity)));
    }
    let Some(mut items) = items(tokens, place)? else {
        return Ok(text(tokens));
    };
    if items.len() == 1 {
        return Ok(items.remove(0));
    }
    let count = items.len();
    let items = solutions::joined(items);
    // `1, 2; 3, 4` is two lists.
    if items.len() == count
        && let Some(groups) = groups(tokens)
    {
        let groups = groups.into_iter().map(|group| list(group, place.deeper()));
        return Ok(unlabelled(Body::List(groups.collect::<Result<_, _>>()?)));
    }
    let joined = |by: Conjunction| tokens.iter().any(|token| token.kind == Kind::Conjunction(by));
    let by_or = joined(Conjunction::Or) && !joined(Conjunction::And);
    let by_and = joined(Conjunction::And) && !joined(Conjunction::Or);
    // `Alice or Bob` is one answer in words, not two.
    if by_or && items.iter().all(is_word) {
        return Ok(text(tokens));
    }
    let is_chain = |item: &Answer| matches!(item.body, Body::Chain(..));
    let all_chains = items.iter().all(is_chain);
    // `x = 0 or x > 3`
    let has_inequality = items.iter().any(is_inequality);
    let all_named = items.iter().all(|item| is_chain(item) || item.label.is_some());
    // `x = 2 or y = -1` is no pair of values.
    let is_either = by_or && all_named && !has_inequality && solutions::name_different_things(&items);
    if is_either
        && tokens
            .iter()
            .any(|token| matches!(token.kind, Kind::Comma | Kind::Semicolon))
    {
        return Ok(text(tokens));
    }
    Ok(unlabelled(
        if is_either || by_or && (all_chains || has_inequality && all_named) {
            Body::Union(items)
        } else if by_and && all_chains {
            Body::Intersection(items)
        } else {
            Body::List(items)
        },
    ))
}

fn is_word(item: &Answer) -> bool {
    let is_long = |text: &CompactString| text.chars().count() > 2;
    item.label.is_none()
        && match &item.body {
            Body::Text(text) => is_long(text),
            Body::Quantity(quantity) => quantity.spelled.as_ref().is_some_and(is_long),
            _ => false,
        }
}

/// Whether it is an inequality such as `x < 1`; an equation is not.
fn is_inequality(item: &Answer) -> bool {
    matches!(&item.body, Body::Chain(_, relations) if relations.iter().any(|relation| !relation.is_equality()))
}

/// The items of a list; none if one of them is empty.
fn items(tokens: &[Token<'_>], place: Place<'_>) -> Result<Option<Vec<Answer>>, ParseError> {
    if tokens.is_empty() {
        return Ok(None);
    }
    if !place.kinds.has(Kinds::SEPARATOR.or(Kinds::CONJUNCTION)) {
        let mut items = Vec::with_capacity(1);
        expand(tokens, place, &mut items)?;
        return Ok(Some(items));
    }
    let separates = |kind: &Kind<'_>| matches!(kind, Kind::Comma | Kind::Semicolon | Kind::Conjunction(_));
    let tied = plus_minus::tied(tokens, separates);
    let tokens = tied.as_deref().unwrap_or(tokens);
    let parts = split_outside(tokens, separates);
    let mut items = Vec::with_capacity(parts.len());
    for (end, part) in &parts {
        if part.is_empty() {
            // `2, 3, and 4`
            let ends_in_conjunction = tokens
                .get(*end)
                .is_some_and(|token| matches!(token.kind, Kind::Conjunction(_)));
            if ends_in_conjunction && !items.is_empty() {
                continue;
            }
            return Ok(None);
        }
        expand(part, place, &mut items)?;
    }
    Ok(Some(items))
}

/// Adds an item; an item with `±` adds every item that it stands for.
fn expand(tokens: &[Token<'_>], place: Place<'_>, items: &mut Vec<Answer>) -> Result<(), ParseError> {
    if !place.kinds.has(Kinds::EITHER_SIGN) {
        items.push(item(tokens, place)?);
        return Ok(());
    }
    match plus_minus::expanded(tokens, items.len()) {
        Signed::Itself => items.push(item(tokens, place)?),
        Signed::TooMany => items.push(text(tokens)),
        Signed::Items(choices) => {
            for signed in choices {
                items.push(item(&signed, place)?);
            }
        }
    }
    Ok(())
}

/// One item: with a label, a relation, or neither.
fn item(tokens: &[Token<'_>], place: Place<'_>) -> Result<Answer, ParseError> {
    if let [single] = tokens
        && let Kind::Number(value, places) = &single.kind
    {
        let mut quantity = Quantity::new(Expression::Number(value.clone()));
        quantity.literal = places.map_or(Literal::Other, Literal::Decimal);
        return Ok(unlabelled(Body::Quantity(quantity)));
    }
    let tokens = if place.kinds.has(Kinds::WORD) {
        without_introduction(tokens)
    } else {
        tokens
    };
    if let Some((name, rest)) = named_in_words(tokens, place.kinds)
        && let Some(label) = Label::read(name)
    {
        return Ok(Answer {
            label: Some(label),
            body: body(rest, place)?,
        });
    }
    if place.kinds.has(Kinds::RELATION.or(Kinds::IN)) {
        let parts = split_outside(tokens, |kind| matches!(kind, Kind::Relation(_) | Kind::In));
        if parts.len() > 1 {
            return related(tokens, &parts, place);
        }
    }
    body(tokens, place).map(unlabelled)
}

fn related(tokens: &[Token<'_>], parts: &[(usize, &[Token<'_>])], place: Place<'_>) -> Result<Answer, ParseError> {
    let relation_after = |part: usize| &tokens[parts[part].0].kind;
    if let [(_, left), (_, right)] = parts {
        let is_naming = match relation_after(0) {
            Kind::Relation(relation) => relation.is_equality(),
            _ => true,
        };
        if is_naming && left.is_empty() && !right.is_empty() {
            // `= 5`, `\approx 8.24`
            return body(right, place).map(unlabelled);
        }
        // `A \in B` says nothing of what A is.
        let is_of_a_letter = *relation_after(0) == Kind::In && names_a_set(right);
        if is_naming
            && !is_of_a_letter
            && let Some(label) = Label::read(left)
        {
            // The right side may hold brackets but no list: the list was split before.
            return Ok(Answer {
                label: Some(label),
                body: body(right, place)?,
            });
        }
        if is_naming
            && *relation_after(0) != Kind::In
            && let Some(label) = Label::read(right)
            && let numeric @ Body::Quantity(_) = body(left, place)?
        {
            // `5 = x`
            return Ok(Answer {
                label: Some(label),
                body: numeric,
            });
        }
    }
    // `x : y = 3 : 2`
    if let [(_, left), (_, right)] = parts
        && *relation_after(0) == Kind::Relation(Relation::Equal)
        && let Some(label) = Label::of_ratio(left)
        && let ratio @ Body::Ratio(_) = body(right, place)?
    {
        let label = Some(label);
        return Ok(Answer { label, body: ratio });
    }
    let mut sides = Vec::with_capacity(parts.len());
    let mut relations = Vec::with_capacity(parts.len());
    for (index, (_, side)) in parts.iter().enumerate() {
        match side_of_relation(side)? {
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

fn body(tokens: &[Token<'_>], place: Place<'_>) -> Result<Body, ParseError> {
    if tokens.is_empty() {
        return Ok(Body::Text(CompactString::default()));
    }
    if let Some(special) = special(tokens, place)? {
        return Ok(special);
    }
    match quantity(tokens)? {
        Some(quantity) => Ok(Body::Quantity(quantity)),
        None => Ok(text_body(tokens)),
    }
}

/// Reads the parts of a set that is made of others. None where a part of an intersection is only text: the whole is
/// then compared by its spelling.
fn made_of_sets(combined: Combined<'_, '_>, place: Place<'_>) -> Result<Option<Body>, ParseError> {
    let piece = |tokens| list(sets::without_brackets(tokens), place.deeper());
    let difference = |whole, removed| Body::Difference(Box::new(whole), Box::new(removed));
    Ok(match combined {
        Combined::Union(parts) => Some(Body::Union(parts.into_iter().map(piece).collect::<Result<_, _>>()?)),
        Combined::Intersection(parts) => {
            let pieces = parts.into_iter().map(piece).collect::<Result<Vec<_>, _>>()?;
            let is_text = |piece: &Answer| matches!(piece.body, Body::Text(_));
            (!pieces.iter().any(is_text)).then_some(Body::Intersection(pieces))
        }
        Combined::Difference(whole, removed) => Some(difference(piece(whole)?, piece(removed)?)),
        Combined::RealsWithout(removed) => Some(difference(unlabelled(real_line()), list(removed, place.deeper())?)),
    })
}

/// Reads whatever is more than an expression: sets, unions, tuples, intervals, matrices, ratios.
fn special(tokens: &[Token<'_>], place: Place<'_>) -> Result<Option<Body>, ParseError> {
    match tokens {
        [
            Token {
                kind: Kind::EmptySet, ..
            },
        ] => return Ok(Some(Body::Set(Vec::new()))),
        [Token { kind: Kind::Reals, .. }] => return Ok(Some(real_line())),
        _ => {}
    }
    if let [Token { kind: Kind::Reals, .. }, caret, sign @ ..] = tokens
        && matches!(caret.kind, Kind::Caret | Kind::Underscore)
        && let Some(half) = half_line(sign)
    {
        return Ok(Some(half));
    }
    if clock::is_date(tokens) {
        return Ok(Some(Body::Text(clock::spell_date(tokens))));
    }
    if let Some(hour) = clock::hour(tokens) {
        return Ok(Some(Body::Quantity(hour)));
    }
    if let Some(bearing) = clock::bearing(tokens) {
        return Ok(Some(Body::Text(bearing)));
    }
    if place.kinds.has(Kinds::SYMBOL.or(Kinds::REALS))
        && let Some(group) = groups::spelled(tokens)
    {
        return Ok(Some(Body::Text(group)));
    }
    // A union, an intersection or a difference, whose sign may be a minus behind ℝ.
    let may_be_combined = place.kinds.has(Kinds::JOINED_SETS.or(Kinds::OTHER)) || tokens[0].kind == Kind::Reals;
    if may_be_combined
        && let Some(combined) = sets::combined(tokens)
        && let Some(body) = made_of_sets(combined, place)?
    {
        return Ok(Some(body));
    }
    let may_have_rows = place.kinds.has(Kinds::BEGIN);
    if may_have_rows && let Some(rows) = cases::split(tokens) {
        let mut cases = Vec::with_capacity(rows.len());
        for (value, condition) in rows {
            let value = list(value, place.deeper())?;
            let condition = match condition {
                [] => None,
                condition => Some(list(&cases::shortened(condition), place.deeper())?),
            };
            cases.push((value, condition));
        }
        return Ok(Some(Body::Cases(cases)));
    }
    if may_have_rows && let Some(rows) = cases::system(tokens) {
        let equations = rows
            .into_iter()
            .map(|row| list(&row, place.deeper()))
            .collect::<Result<_, _>>()?;
        return Ok(Some(Body::List(equations)));
    }
    if may_have_rows && let Some(rows) = matrix::read(tokens, place.work) {
        return match rows {
            Ok(rows) => {
                let quantities = |row: Vec<Expression>| row.into_iter().map(Quantity::new).collect();
                Ok(Some(Body::Matrix(rows.into_iter().map(quantities).collect())))
            }
            Err(NoExpression::TooDeep) => Err(ParseError::TooLarge),
            Err(NoExpression::NotMathematics) => Ok(None),
        };
    }
    if let Some(sequence) = sequence(tokens, place)? {
        return Ok(Some(sequence));
    }
    if place.kinds.has(Kinds::WORD)
        && let Some(ratio) = clock::ratio_in_words(tokens)
    {
        return Ok(Some(Body::Ratio(ratio)));
    }
    if place.kinds.has(Kinds::COLON) && tokens.iter().any(|token| token.kind == Kind::Colon) {
        let parts = split_outside(tokens, |kind| *kind == Kind::Colon);
        let mut sides = Vec::with_capacity(parts.len());
        for (_, part) in &parts {
            match clock::time(part) {
                Some(time) => sides.push(time),
                None => sides.extend(quantity(part)?),
            }
        }
        if parts.len() > 1 && sides.len() == parts.len() {
            return Ok(Some(Body::Ratio(sides)));
        }
    }
    Ok(None)
}

/// Items in brackets that enclose all tokens.
fn sequence(tokens: &[Token<'_>], place: Place<'_>) -> Result<Option<Body>, ParseError> {
    // `(1, 2)^T` is the column that `(1, 2)` stands for, and so is `[1, 2]^T`.
    let whole = tokens;
    let tokens = match tokens {
        [entries @ .., caret, mark]
            if caret.kind == Kind::Caret && matches!(mark.source, "T" | "\\top" | "\\intercal") =>
        {
            entries
        }
        all => all,
    };
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
    // `[1; 2, 3]` is a continued fraction or a matrix, and no list.
    if *open == Bracket::Square
        && [Kind::Semicolon, Kind::Comma]
            .iter()
            .all(|kind| split_outside(inner, |other| other == kind).len() > 1)
    {
        return Ok(Some(text_body(tokens)));
    }
    if *open == Bracket::Brace {
        if inner.is_empty() {
            return Ok(Some(Body::Set(Vec::new())));
        }
        if let Some(condition) = sets::condition(inner)
            && let described = list(condition, place.deeper())?
            && matches!(described.body, Body::Chain(..) | Body::Union(_) | Body::Intersection(_))
        {
            return Ok(Some(Body::Intersection(vec![described])));
        }
        return Ok(items(inner, place.deeper())?.map(Body::Set));
    }
    let is_list = |kind: &Kind<'_>| matches!(kind, Kind::Comma | Kind::Semicolon);
    let has_comma = split_outside(inner, is_list).len() > 1;
    let is_bracket = matches!(open, Bracket::Round | Bracket::Square | Bracket::Angle);
    if let (Bracket::Round, false, [again, .., end]) = (*open, has_comma, inner)
        && again.kind == Kind::Open(Bracket::Round)
        && end.kind == Kind::Close(Bracket::Round)
        && place.depth < MAX_LIST_DEPTH
    {
        // `((1, 2))`
        return sequence(inner, place.deeper());
    }
    if !has_comma || !is_bracket || place.depth >= MAX_LIST_DEPTH {
        return Ok(None);
    }
    let (open, close) = if tokens.len() < whole.len() {
        (Bracket::Round, Bracket::Round)
    } else {
        (*open, *close)
    };
    Ok(items(inner, place.deeper())?.map(|items| Body::Sequence(open, close, items)))
}

fn real_line() -> Body {
    let infinity = Expression::Constant(Constant::Infinity);
    between(infinity.clone().negated(), infinity)
}

/// `\mathbb{R}^+` and `\mathbb{R}^-` by what stands behind the caret.
fn half_line(sign: &[Token<'_>]) -> Option<Body> {
    let sign = match sign {
        [open, sign, close] if (&open.kind, &close.kind) == (&Kind::GroupOpen, &Kind::GroupClose) => sign,
        // `\mathbb{R}_{>0}`
        [open, sign, zero, close]
            if (&open.kind, &close.kind) == (&Kind::GroupOpen, &Kind::GroupClose) && zero.source == "0" =>
        {
            sign
        }
        [sign] => sign,
        _ => return None,
    };
    let infinity = Expression::Constant(Constant::Infinity);
    match sign.kind {
        Kind::Plus | Kind::Relation(Relation::Greater) => Some(between(Expression::integer(0), infinity)),
        Kind::Minus | Kind::Relation(Relation::Less) => Some(between(infinity.negated(), Expression::integer(0))),
        _ => None,
    }
}

/// An interval without its ends.
fn between(from: Expression, to: Expression) -> Body {
    let end = |expression| unlabelled(Body::Quantity(Quantity::new(expression)));
    Body::Sequence(Bracket::Round, Bracket::Round, vec![end(from), end(to)])
}

fn text(tokens: &[Token<'_>]) -> Answer {
    unlabelled(text_body(tokens))
}

/// Words that say that there is nothing are the empty set.
fn text_body(tokens: &[Token<'_>]) -> Body {
    let spelled = spell_text(tokens);
    let phrase = spelled.to_lowercase();
    if words::is_all_reals(&phrase) {
        return real_line();
    }
    if words::is_nothing(&phrase) {
        return Body::Set(Vec::new());
    }
    match words::value(&phrase) {
        Some(value) => Body::Quantity(Quantity::new(Expression::Number(value))),
        None => Body::Text(spelled),
    }
}

fn unlabelled(body: Body) -> Answer {
    Answer { label: None, body }
}
