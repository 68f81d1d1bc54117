//! Solutions that are written out: `p = 5, q = 2; p = 7, q = 2` is `(p, q) = (5, 2), (7, 2)`.

use compact_str::{CompactString, format_compact};

use super::answer::{Answer, Body};
use super::label::Label;
use super::token::Bracket;
use crate::expression::Expression;

/// Joins named values to tuples where the same names come again and again. Otherwise it would not count which value of
/// one name goes with which of another.
pub(super) fn joined(items: Vec<Answer>) -> Vec<Answer> {
    let names: Option<Vec<CompactString>> = items.iter().map(name_of).collect();
    let Some(names) = names else {
        return items;
    };
    let mut distinct: Vec<CompactString> = Vec::new();
    for name in &names {
        if distinct.contains(name) {
            break;
        }
        distinct.push(name.clone());
    }
    let width = distinct.len();
    let repeats = |block: &[CompactString]| block.len() == width && distinct.iter().all(|name| block.contains(name));
    if width < 2 || names.len() <= width || !names.chunks(width).all(repeats) {
        return items;
    }
    let label = Label {
        spelled: format_compact!("({})", distinct.join(",")),
        expression: None,
        said: Box::default(),
        names: distinct.clone(),
        points: None,
        is_angle: false,
    };
    let mut tuples = Vec::with_capacity(names.len() / width);
    let mut items = items.into_iter();
    for block in names.chunks(width) {
        let mut entries: Vec<(Option<usize>, Answer)> = block
            .iter()
            .zip(items.by_ref())
            .map(|(name, item)| {
                let value = Answer {
                    label: None,
                    body: item.body,
                };
                (distinct.iter().position(|known| known == name), value)
            })
            .collect();
        entries.sort_by_key(|(position, _)| *position);
        let entries = entries.into_iter().map(|(_, value)| value).collect();
        tuples.push(Answer {
            label: Some(label.clone()),
            body: Body::Sequence(Bracket::Round, Bracket::Round, entries),
        });
    }
    tuples
}

/// Whether the items are values of different things, so that `or` between them leaves open which one it is. `x_1 = 2` and
/// `x_2 = 3` are solutions for one unknown.
pub(super) fn name_different_things(items: &[Answer]) -> bool {
    let thing = |item: &Answer| {
        let label = item.label.as_ref()?;
        Some(match &label.expression {
            Some(Expression::Symbol(name)) => CompactString::from(name.split('_').next().unwrap_or(name)),
            _ => label.spelled.clone(),
        })
    };
    let first = items.first().and_then(thing);
    items.iter().any(|item| thing(item) != first)
}

fn name_of(item: &Answer) -> Option<CompactString> {
    match (item.label.as_ref()?.expression.as_ref()?, &item.body) {
        (Expression::Symbol(name), Body::Quantity(_)) => Some(name.clone()),
        _ => None,
    }
}
