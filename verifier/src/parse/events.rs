//! One spelling for events and sets in the brackets of a function: `P(B \cap A)` is `P(A \cap B)`, and `P(2 \le X)` is
//! `P(X \ge 2)`. What stands on either side of `\mid` or `\setminus` keeps its place.

use compact_str::CompactString;

use super::grammar::{Parsed, Parser};
use super::operation::call;
use super::spell::{group, spell_argument};
use super::token::{Bracket, Conjunction, Kind, Relation, Token, closing, split_outside};
use crate::expression::{Expression, Function};

/// The signs whose sides change places, from the weakest.
const JOINTS: [Kind<'static>; 6] = [
    Kind::Conjunction(Conjunction::Or),
    Kind::Operator("∨"),
    Kind::Conjunction(Conjunction::And),
    Kind::Operator("∧"),
    Kind::Cup,
    Kind::Other("\\cap"),
];

/// Spells the tokens of an event or a set without the group that encloses them.
pub(super) fn spell_event(tokens: &[Token<'_>], out: &mut CompactString) {
    out.push_str(&event(tokens));
}

fn leaf(tokens: &[Token<'_>]) -> CompactString {
    let mut spelled = CompactString::default();
    spell_argument(tokens, &mut spelled);
    spelled
}

/// The spellings of the parts in ascending order, with a sign between them.
fn sorted(parts: Vec<(usize, &[Token<'_>])>, sign: &str) -> CompactString {
    let mut parts: Vec<CompactString> = parts.into_iter().map(|(_, part)| event(part)).collect();
    parts.sort_unstable();
    CompactString::from(parts.join(sign))
}

fn event(tokens: &[Token<'_>]) -> CompactString {
    let tokens = match group(tokens) {
        Some((inner, [])) => inner,
        _ => tokens,
    };
    let split = |kind: &Kind<'_>| split_outside(tokens, |other| other == kind);
    match split(&Kind::Bar).as_slice() {
        [_] => {}
        // `P(A \mid B)`
        [(_, one), (_, condition)] => {
            let mut spelled = event(one);
            spelled.push('|');
            spelled.push_str(&event(condition));
            return spelled;
        }
        // `|X| \ge 2`
        _ => return related(tokens).unwrap_or_else(|| leaf(tokens)),
    }
    let parts = split(&Kind::Comma);
    let is_condition = |part: &[Token<'_>]| part.iter().any(|token| matches!(token.kind, Kind::Relation(_)));
    if parts.len() > 1 {
        return if parts.iter().all(|(_, part)| is_condition(part)) {
            sorted(parts, ",")
        } else {
            leaf(tokens)
        };
    }
    // `A \cup B \cap C` without brackets says two things.
    let is_of_both = split(&Kind::Cup).len() > 1 && split(&Kind::Other("\\cap")).len() > 1;
    for joint in JOINTS.iter().filter(|_| !is_of_both) {
        let parts = split(joint);
        if parts.len() > 1 {
            return sorted(parts, sign_of(joint));
        }
    }
    if let [open, inner @ .., _] = tokens
        && open.kind == Kind::Open(Bracket::Round)
        && closing(tokens, 0) == Some(tokens.len() - 1)
    {
        let mut spelled = CompactString::const_new("(");
        spelled.push_str(&event(inner));
        spelled.push(')');
        return spelled;
    }
    related(tokens).unwrap_or_else(|| leaf(tokens))
}

fn sign_of(joint: &Kind<'_>) -> &'static str {
    match joint {
        Kind::Conjunction(Conjunction::Or) => " or ",
        Kind::Conjunction(Conjunction::And) => " and ",
        Kind::Operator("∨") => "∨",
        Kind::Operator(_) => "∧",
        Kind::Cup => "∪",
        _ => "\\cap",
    }
}

/// The spelling of sides with relations between them; none if there are no such.
fn related(tokens: &[Token<'_>]) -> Option<CompactString> {
    let parts = split_outside(tokens, |kind| matches!(kind, Kind::Relation(_)));
    let bars = |tokens: &[Token<'_>]| tokens.iter().filter(|token| token.kind == Kind::Bar).count();
    if parts.len() < 2 || parts.iter().any(|(_, part)| bars(part) % 2 == 1) {
        return None;
    }
    let relations = parts.iter().filter_map(|(end, _)| match tokens.get(*end)?.kind {
        Kind::Relation(relation) => Some(relation),
        _ => None,
    });
    let mut relations: Vec<Relation> = relations.collect();
    let mut sides: Vec<CompactString> = parts.iter().map(|(_, part)| leaf(part)).collect();
    let all = |some: &[Relation]| relations.iter().all(|relation| some.contains(relation));
    if all(&[Relation::Equal]) || all(&[Relation::NotEqual]) && relations.len() == 1 {
        sides.sort_unstable();
    } else if all(&[Relation::Greater, Relation::GreaterOrEqual]) {
        sides.reverse();
        relations = relations.iter().rev().map(|relation| relation.reversed()).collect();
    }
    let mut sides = sides.into_iter();
    let mut spelled = sides.next()?;
    for (relation, side) in relations.into_iter().zip(sides) {
        spelled.push_str(relation.sign());
        spelled.push_str(&side);
    }
    Some(spelled)
}

impl Parser<'_, '_> {
    /// What stands between bars, the first of which was just passed: a size or an absolute value.
    pub(super) fn between_bars(&mut self) -> Parsed {
        if let Some(size) = self.size_of_set() {
            return Ok(size);
        }
        self.open_bars += 1;
        let inner = self.sum()?;
        self.open_bars -= 1;
        self.expect(&Kind::Bar)?;
        Ok(Expression::Call(Function::Abs, vec![inner]))
    }

    /// The number of elements of a set made of others, `|A \cup B|`, whose first bar was just passed. None for anything else
    /// between bars.
    fn size_of_set(&mut self) -> Option<Expression> {
        let rest = &self.tokens[self.position..];
        let joins = |token: &Token<'_>| matches!(token.kind, Kind::Cup | Kind::SetMinus | Kind::Other("\\cap"));
        let end = rest.iter().position(|token| token.kind == Kind::Bar)?;
        let content = &rest[..end];
        let is_set = |token: &Token<'_>| {
            joins(token)
                || token.is_point()
                || token.is_mark()
                || matches!(
                    token.kind,
                    Kind::Open(Bracket::Round)
                        | Kind::Close(Bracket::Round)
                        | Kind::GroupOpen
                        | Kind::GroupClose
                        | Kind::Number(..)
                )
        };
        if !content.iter().any(joins) || !content.iter().all(is_set) {
            return None;
        }
        self.position += end + 1;
        Some(call("#", vec![Expression::Symbol(event(content))]))
    }
}
