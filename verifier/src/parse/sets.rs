//! Finds sets that are made of others: unions, intersections, differences, and sets by a condition. Their parts are
//! tokens still; `structure` reads them.

use super::token::{Bracket, Kind, Token, split_outside};

/// A set made of others.
pub(super) enum Combined<'t, 'a> {
    Union(Vec<&'t [Token<'a>]>),
    Intersection(Vec<&'t [Token<'a>]>),
    /// The first without the second.
    Difference(&'t [Token<'a>], &'t [Token<'a>]),
    /// `\mathbb{R} - \{0\}`
    RealsWithout(&'t [Token<'a>]),
}

/// Splits sets with signs between them; none if there are no such signs.
pub(super) fn combined<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<Combined<'t, 'a>> {
    if let [whole, minus, removed @ ..] = tokens
        && (&whole.kind, &minus.kind) == (&Kind::Reals, &Kind::Minus)
        && removed
            .first()
            .is_some_and(|open| open.kind == Kind::Open(Bracket::Brace))
    {
        return Some(Combined::RealsWithout(removed));
    }
    // Most answers are no sets.
    if !tokens.iter().any(|token| joins(&token.kind)) {
        return None;
    }
    let is_cup = |kind: &Kind<'_>| *kind == Kind::Cup;
    let (united, common) = (parts(tokens, is_cup), parts(tokens, is_cap));
    // `|A \cup B|` is a number.
    let is_cut = |part: &&[Token<'_>]| parts(part, |kind| *kind == Kind::Bar).len() % 2 == 0;
    if united.iter().chain(&common).any(is_cut) {
        return None;
    }
    match (united.len(), common.len()) {
        (1, 1) => {}
        (_, 1) => return Some(Combined::Union(united)),
        (1, _) => return Some(Combined::Intersection(common)),
        // `A \cup B \cap C` without brackets says two things.
        _ => return None,
    }
    match parts(tokens, |kind| *kind == Kind::SetMinus).as_slice() {
        [whole, removed] => Some(Combined::Difference(whole, removed)),
        _ => None,
    }
}

fn parts<'t, 'a>(tokens: &'t [Token<'a>], is_split: impl Fn(&Kind<'_>) -> bool) -> Vec<&'t [Token<'a>]> {
    split_outside(tokens, is_split)
        .into_iter()
        .map(|(_, part)| part)
        .collect()
}

fn is_cap(kind: &Kind<'_>) -> bool {
    matches!(kind, Kind::Other("\\cap"))
}

/// Whether a sign joins sets.
fn joins(kind: &Kind<'_>) -> bool {
    matches!(kind, Kind::Cup | Kind::SetMinus) || is_cap(kind)
}

/// One of the sets without the brackets that hold it together: `((0, 1) \cup (2, 3))`. Other brackets are its own.
pub(super) fn without_brackets<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let separates = |kind: &Kind<'_>| joins(kind) || *kind == Kind::Comma || *kind == Kind::Semicolon;
    if let [open, inner @ .., close] = tokens
        && open.kind == Kind::Open(Bracket::Round)
        && close.kind == Kind::Close(Bracket::Round)
        && split_outside(inner, separates).len() > 1
        && split_outside(inner, separates).len() == split_outside(inner, joins).len()
        && split_outside(tokens, joins).len() == 1
    {
        return inner;
    }
    tokens
}

/// The condition in `\{x \mid x \le 3\}`, what is inside of the braces.
pub(super) fn condition<'t, 'a>(inner: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let position = inner
        .iter()
        .position(|token| matches!(token.kind, Kind::Bar | Kind::Colon))?;
    let (variable, condition) = (&inner[..position], &inner[position + 1..]);
    let is_variable = match variable {
        [only] => matches!(only.kind, Kind::Symbol(_)),
        [only, member, reals] => {
            matches!(only.kind, Kind::Symbol(_)) && member.kind == Kind::In && reals.kind == Kind::Reals
        }
        _ => false,
    };
    // `\{x \mid y > 2\}` says nothing of x.
    let is_of_others = || {
        let is_related = condition.iter().any(|token| matches!(token.kind, Kind::Relation(_)));
        is_related && !condition.iter().any(|token| token.kind == variable[0].kind)
    };
    (is_variable && !condition.is_empty() && !is_of_others()).then_some(condition)
}
