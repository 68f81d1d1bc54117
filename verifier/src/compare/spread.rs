//! Several names of one value: `x = y = 1` says what `x = 1, y = 1` does.

use super::{Comparison, Rule};
use crate::expression::Expression;
use crate::parse::{Answer, Body, Label};

/// Most names of one value.
const MAX_NAMES: usize = 8;

impl Comparison<'_> {
    /// Compares an answer that gives several names one value, alone or in a list, with one that names each by itself.
    pub(super) fn named_one_by_one(&mut self, answer: &Answer, truth: &Answer) -> Option<Rule> {
        let (named, wanted) = (spread(answer), spread(truth));
        match (&named, &wanted) {
            (None, None) => None,
            (Some(named), _) if wanted.is_some() || are_named(truth) => {
                self.answers(named, wanted.as_ref().unwrap_or(truth))
            }
            (None, Some(wanted)) if are_named(answer) => self.answers(answer, wanted),
            _ => None,
        }
    }
}

/// Whether an answer is a list or a tuple, whose values have names or places.
fn are_named(answer: &Answer) -> bool {
    match &answer.body {
        Body::List(items) | Body::Set(items) => items
            .iter()
            .all(|item| item.label.is_some() || matches!(item.body, Body::Sequence(..))),
        Body::Sequence(..) => true,
        _ => false,
    }
}

/// The answer with a value for each name; none where no value has several.
fn spread(answer: &Answer) -> Option<Answer> {
    let items = match &answer.body {
        Body::Chain(..) => names_of_one(answer)?,
        Body::List(items) => {
            let each: Vec<Option<Vec<Answer>>> = items.iter().map(names_of_one).collect();
            if each.iter().all(Option::is_none) {
                return None;
            }
            let pairs = each.into_iter().zip(items);
            pairs
                .flat_map(|(names, item)| names.unwrap_or_else(|| vec![item.clone()]))
                .collect()
        }
        _ => return None,
    };
    answer.label.is_none().then_some(Answer {
        label: None,
        body: Body::List(items),
    })
}

/// The names of `x = y = 1`, each with the value.
fn names_of_one(answer: &Answer) -> Option<Vec<Answer>> {
    let Body::Chain(sides, relations) = &answer.body else {
        return None;
    };
    let [names @ .., value] = sides.as_slice() else {
        return None;
    };
    let are_equal = relations
        .iter()
        .all(|relation| *relation == crate::parse::token::Relation::Equal);
    if !are_equal || names.len() < 2 || names.len() > MAX_NAMES || !value.expression.is_constant() {
        return None;
    }
    names
        .iter()
        .map(|name| match &name.expression {
            Expression::Symbol(letter) if name.unit.is_none() => Some(Answer {
                label: Some(Label::of_letter(letter)),
                body: Body::Quantity(value.clone()),
            }),
            _ => None,
        })
        .collect()
}
