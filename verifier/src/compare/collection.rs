//! Compares lists, sets, tuples, vectors, matrices and ratios.

use compact_str::CompactString;

use super::counted::{are_of_other_things, is_time_of_day};
use super::interval::is_mixed;
use super::words::are_outcomes;
use super::{Comparison, Rule};
use crate::expression::Expression;
use crate::options::Units;
use crate::parse::token::{Bracket, Relation};
use crate::parse::{Answer, Body, Label, Quantity, Unit};

impl Comparison<'_> {
    /// How two bodies with parts are the same, if they are.
    pub(super) fn collections(&mut self, answer: &Body, truth: &Body) -> Option<Rule> {
        match (answer, truth) {
            (Body::List(answer), Body::List(truth)) => {
                // `2, 1` says which is x as little as it says `x = 2, y = 1`.
                let is_named = are_of_different_names(answer) && truth.iter().all(|item| item.label.is_none())
                    || are_of_different_names(truth) && answer.iter().all(|item| item.label.is_none());
                let is_ordered = self.conventions.ordered_lists || holds_words(truth) || is_named;
                let was_in_set = self.in_set;
                self.in_set |= are_outcomes(truth);
                let is_same = self.items(answer, truth, is_ordered);
                self.in_set = was_in_set;
                (is_same || self.same_families(answer, truth)).then_some(Rule::Items)
            }
            (Body::Set(answer), Body::Set(truth)) => {
                // `\{\{1\}\}` is no `\{1\}`.
                let was_in_set = std::mem::replace(&mut self.in_set, true);
                let answer = self.distinct(answer);
                let truth = self.distinct(truth);
                let is_same = self.matched(&answer, &truth);
                self.in_set = was_in_set;
                is_same.then_some(Rule::Items)
            }
            (Body::Set(answer), Body::List(truth)) | (Body::List(answer), Body::Set(truth)) => {
                let was_in_set = std::mem::replace(&mut self.in_set, true);
                let is_same = self.items(answer, truth, false);
                self.in_set = was_in_set;
                is_same.then_some(Rule::Items)
            }
            (Body::Set(items), other) if !self.in_set => {
                self.only_item(items, |this, item| this.bodies(&item.body, other))
            }
            (other, Body::Set(items)) if !self.in_set => {
                self.only_item(items, |this, item| this.bodies(other, &item.body))
            }
            (Body::Sequence(open, close, answer), Body::Sequence(wanted_open, wanted_close, truth)) => {
                let same_brackets =
                    bracket(*open) == bracket(*wanted_open) && bracket(*close) == bracket(*wanted_close);
                (same_brackets && self.items(answer, truth, true)).then_some(Rule::Entries)
            }
            (Body::Sequence(open, close, entries), Body::Matrix(rows))
            | (Body::Matrix(rows), Body::Sequence(open, close, entries)) => {
                let is_lenient = is_tuple(*open, *close) && !self.conventions.exact_brackets;
                (is_lenient && self.vector(entries, rows)).then_some(Rule::Entries)
            }
            (union @ Body::Union(answer), wanted @ Body::Union(truth)) => {
                let is_mixed_truth = is_mixed(self.variable(wanted).as_ref());
                let is_mixed = is_mixed(self.variable(union).as_ref());
                // `(2)` is a number where `\{2\}` is a set.
                let values = |pieces: &[Answer]| {
                    let is_value = |piece: &&Answer| matches!(piece.body, Body::Quantity(_));
                    pieces.iter().filter(is_value).count()
                };
                let is_same_kind = values(answer) == values(truth) && is_mixed == is_mixed_truth;
                (is_same_kind && self.items(answer, truth, false)).then_some(Rule::Items)
            }
            (Body::Intersection(answer), Body::Intersection(truth)) => {
                self.items(answer, truth, false).then_some(Rule::Items)
            }
            (Body::Difference(whole, removed), Body::Difference(wanted_whole, wanted_removed)) => {
                self.answers(whole, wanted_whole)?;
                self.answers(removed, wanted_removed)
            }
            _ => None,
        }
    }

    /// Compares a list without brackets with a tuple, as `x = 1, y = 2` with `(1, 2)`.
    pub(super) fn listed(
        &mut self,
        list: &[Answer],
        label: Option<&Label>,
        (open, close): (Bracket, Bracket),
        entries: &[Answer],
    ) -> Option<Rule> {
        if !is_tuple(open, close) || self.conventions.exact_brackets || list.len() != entries.len() {
            return None;
        }
        let names: Vec<&str> = list.iter().filter_map(name_of).collect();
        let mut order: Vec<usize> = (0..list.len()).collect();
        if names.len() == list.len() {
            let mut sorted = names.clone();
            sorted.sort_unstable();
            if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
                return None;
            }
            let wanted = label.map(|label| label.names.as_slice()).unwrap_or_default();
            if !wanted.is_empty() {
                order = permutation(&names, wanted)?;
            } else if follow_each_other(&sorted) {
                order.sort_by_key(|index| names[*index]);
            }
        }
        let mut pairs = order.into_iter().zip(entries);
        let is_same = pairs.all(|(index, entry)| self.answers(&list[index], entry).is_some());
        is_same.then_some(Rule::Entries)
    }

    /// Compares tuples whose entries, or solutions whose unknowns, have names of their own: `(y = 2, x = 1)` is `(1, 2)`, and
    /// `(q, p) = (5, 2), (7, 2)` is not `(p, q) \in \{(5, 2), (7, 2)\}`. None where there are no such names.
    pub(super) fn by_their_names(&mut self, answer: &Answer, truth: &Answer) -> Option<Option<Rule>> {
        if let (
            (Body::Sequence(open, close, entries), label),
            (Body::Sequence(wanted_open, wanted_close, wanted), wanted_label),
        ) = (answer.only_tuple(), truth.only_tuple())
        {
            let are_named = |entries: &[Answer]| entries.iter().all(|entry| name_of(entry).is_some());
            return match (are_named(entries), are_named(wanted)) {
                (true, false) => Some(self.listed(entries, wanted_label, (*wanted_open, *wanted_close), wanted)),
                (false, true) => Some(self.listed(wanted, label, (*open, *close), entries)),
                _ => None,
            };
        }
        let ((names, tuples), (wanted_names, wanted)) = (named_tuples(answer)?, named_tuples(truth)?);
        if names == wanted_names {
            return None;
        }
        let names: Vec<&str> = names.iter().map(CompactString::as_str).collect();
        let Some(order) = permutation(&names, wanted_names) else {
            return Some(None);
        };
        let cost = tuples.len() * names.len();
        self.exceeded |= self.steps.spend(cost as u64).is_err();
        let in_order = |tuple: &Answer| match &tuple.body {
            Body::Sequence(open, close, entries) if entries.len() == order.len() => {
                let entries = order.iter().map(|index| entries[*index].clone()).collect();
                Some(Answer {
                    label: None,
                    body: Body::Sequence(*open, *close, entries),
                })
            }
            _ => None,
        };
        let Some(tuples) = tuples.iter().map(in_order).collect::<Option<Vec<Answer>>>() else {
            return Some(None);
        };
        let unnamed = |tuple: &Answer| Answer {
            label: None,
            body: tuple.body.clone(),
        };
        let wanted: Vec<Answer> = wanted.iter().map(unnamed).collect();
        Some((!self.exceeded && self.items(&tuples, &wanted, false)).then_some(Rule::Items))
    }

    /// Compares tuples whose names stand in another order, as `(y, x) = (2, 1)` with `(x, y) = (1, 2)`.
    pub(super) fn reordered(
        &mut self,
        answer: &Answer,
        truth: &Answer,
        names: &[CompactString],
        wanted: &[CompactString],
    ) -> Option<Rule> {
        let (Body::Sequence(open, close, entries), Body::Sequence(wanted_open, wanted_close, wanted_entries)) =
            (&answer.body, &truth.body)
        else {
            return None;
        };
        let same_brackets = bracket(*open) == bracket(*wanted_open) && bracket(*close) == bracket(*wanted_close);
        if !same_brackets || entries.len() != wanted_entries.len() || entries.len() != names.len() {
            return None;
        }
        let names: Vec<&str> = names.iter().map(CompactString::as_str).collect();
        let mut pairs = permutation(&names, wanted)?.into_iter().zip(wanted_entries);
        let is_same = pairs.all(|(index, entry)| self.answers(&entries[index], entry).is_some());
        is_same.then_some(Rule::Entries)
    }

    fn only_item(
        &mut self,
        items: &[Answer],
        compare: impl FnOnce(&mut Self, &Answer) -> Option<Rule>,
    ) -> Option<Rule> {
        match items {
            [item] => compare(self, item),
            _ => None,
        }
    }

    /// Whether two lists hold the same items, in the same order or in any.
    fn items(&mut self, answer: &[Answer], truth: &[Answer], is_ordered: bool) -> bool {
        if answer.len() != truth.len() {
            return false;
        }
        let in_order = |this: &mut Self| {
            let mut pairs = answer.iter().zip(truth);
            pairs.all(|(answer, truth)| this.answers(answer, truth).is_some())
        };
        if is_ordered {
            return in_order(self);
        }
        let answer: Vec<&Answer> = answer.iter().collect();
        let truth: Vec<&Answer> = truth.iter().collect();
        self.matched(&answer, &truth)
    }

    /// Whether every item has a partner of its own. Equality is transitive, so that taking the first partner that is
    /// left loses nothing.
    fn matched(&mut self, answer: &[&Answer], truth: &[&Answer]) -> bool {
        if answer.len() != truth.len() {
            return false;
        }
        let mut is_taken = vec![false; truth.len()];
        let by_name = have_the_same_names(answer, truth);
        answer.iter().all(|item| {
            let partner = (0..truth.len()).find(|index| {
                !is_taken[*index]
                    && (!by_name || spelled_name(item) == spelled_name(truth[*index]))
                    && self.answers(item, truth[*index]).is_some()
            });
            if let Some(index) = partner {
                is_taken[index] = true;
            }
            partner.is_some()
        })
    }

    /// The items of a set without repetitions.
    fn distinct<'i>(&mut self, items: &'i [Answer]) -> Vec<&'i Answer> {
        let mut distinct: Vec<&Answer> = Vec::with_capacity(items.len());
        for item in items {
            if !distinct.iter().any(|known| self.answers(item, known).is_some()) {
                distinct.push(item);
            }
        }
        distinct
    }

    /// Whether two functions have the same values under the same conditions, which may stand in any order.
    pub(super) fn cases(&mut self, answer: &[(Answer, Option<Answer>)], truth: &[(Answer, Option<Answer>)]) -> bool {
        // Of two rows that leave nothing out, either is the rest.
        let leaves_nothing = [self.leave_nothing(answer), self.leave_nothing(truth)];
        let same_condition = |this: &mut Self, left: &Option<Answer>, right: &Option<Answer>| match (left, right) {
            (Some(left), Some(right)) => this.answers(left, right).is_some(),
            (None, None) => true,
            (Some(_), None) => leaves_nothing[0],
            (None, Some(_)) => leaves_nothing[1],
        };
        let mut is_taken = vec![false; truth.len()];
        answer.len() == truth.len()
            && answer.iter().enumerate().all(|(index, (value, condition))| {
                let partner = (0..truth.len()).find(|other| {
                    !is_taken[*other]
                        && (*other == index || !self.conventions.ordered_lists)
                        && same_condition(self, condition, &truth[*other].1)
                        && self.answers(value, &truth[*other].0).is_some()
                });
                if let Some(partner) = partner {
                    is_taken[partner] = true;
                }
                partner.is_some()
            })
    }

    /// Whether there are two rows, and the condition of one is the contrary of the other's: `x \ge 0` and `x < 0`.
    fn leave_nothing(&mut self, rows: &[(Answer, Option<Answer>)]) -> bool {
        let [(_, Some(one)), (_, Some(other))] = rows else {
            return false;
        };
        match (&one.body, &other.body) {
            (Body::Chain(left, relations), Body::Chain(right, others)) => {
                let are_contrary = matches!(
                    (relations.as_slice(), others.as_slice()),
                    ([Relation::Less], [Relation::GreaterOrEqual])
                        | ([Relation::GreaterOrEqual], [Relation::Less])
                        | ([Relation::Greater], [Relation::LessOrEqual])
                        | ([Relation::LessOrEqual], [Relation::Greater])
                );
                are_contrary && left.iter().zip(right).all(|(left, right)| self.values(left, right))
            }
            _ => self.is_contrary_of_equation(one, other) || self.is_contrary_of_equation(other, one),
        }
    }

    /// Whether these are `x = 0` and `x \ne 0`.
    fn is_contrary_of_equation(&mut self, equation: &Answer, other: &Answer) -> bool {
        let (Some(label), Body::Quantity(value), Body::Chain(sides, relations)) =
            (&equation.label, &equation.body, &other.body)
        else {
            return false;
        };
        let ([name, wanted], [Relation::NotEqual]) = (sides.as_slice(), relations.as_slice()) else {
            return false;
        };
        label.expression.as_ref() == Some(&name.expression) && self.values(value, wanted)
    }

    /// Whether two matrices are equal, entry by entry.
    pub(super) fn matrices(&mut self, answer: &[Vec<Quantity>], truth: &[Vec<Quantity>]) -> bool {
        let same_shape =
            answer.len() == truth.len() && answer.iter().zip(truth).all(|(left, right)| left.len() == right.len());
        same_shape
            && answer
                .iter()
                .flatten()
                .zip(truth.iter().flatten())
                .all(|(answer, truth)| self.values(answer, truth))
    }

    /// Whether a matrix of one column or one row holds the entries of a tuple.
    fn vector(&mut self, entries: &[Answer], rows: &[Vec<Quantity>]) -> bool {
        let is_vector = rows.len() == 1 || rows.iter().all(|row| row.len() == 1);
        let cells: Vec<&Quantity> = rows.iter().flatten().collect();
        is_vector
            && cells.len() == entries.len()
            && cells.into_iter().zip(entries).all(|(cell, entry)| match &entry.body {
                Body::Quantity(entry) => self.values(entry, cell),
                _ => false,
            })
    }

    /// Whether two ratios are proportional.
    pub(super) fn ratios(&mut self, answer: &[Quantity], truth: &[Quantity]) -> bool {
        if answer.len() != truth.len() {
            return false;
        }
        // `8:34 p.m.` is not `8:34 a.m.`, nor half of `4:17`.
        let is_time = [answer, truth]
            .into_iter()
            .any(|parts| parts.last().is_some_and(is_time_of_day));
        let unit = |parts: &[Quantity]| parts.last().and_then(|part| part.unit.clone());
        if let (Some(unit), Some(wanted)) = (unit(answer), unit(truth))
            && unit != wanted
            && !matches!((&unit, &wanted), (Unit::Words(_), Unit::Words(_)))
        {
            return false;
        }
        // `3 boys : 5 children` is no `3 girls : 5 children`.
        let mut parts = answer.iter().zip(truth);
        if self.conventions.units != Units::Ignored && parts.any(|(answer, truth)| are_of_other_things(answer, truth)) {
            return false;
        }
        let mut pairs = answer.iter().zip(truth);
        if pairs.all(|(answer, truth)| self.values(answer, truth)) {
            return true;
        }
        if is_time {
            return false;
        }
        let (Some(first), Some(wanted)) = (answer.first(), truth.first()) else {
            return false;
        };
        let zero = Quantity::new(Expression::integer(0));
        if answer.iter().chain(truth).any(|part| self.values(part, &zero)) {
            return false;
        }
        let product = |left: &Quantity, right: &Quantity| {
            Expression::Product(vec![left.expression.clone(), right.expression.clone()])
        };
        answer
            .iter()
            .zip(truth)
            .skip(1)
            .all(|(answer, truth)| self.expressions(product(answer, wanted), product(truth, first)))
    }

    /// Whether a time of day says the full hour that the other time does: `10 \text{ a.m.}`, `10:00 \text{ a.m.}`.
    pub(super) fn is_full_hour(&mut self, hour: &Quantity, time: &[Quantity]) -> bool {
        let [wanted, parts @ ..] = time else {
            return false;
        };
        let zero = Quantity::new(Expression::integer(0));
        is_time_of_day(hour)
            && parts.last().is_some_and(|last| last.unit == hour.unit)
            && parts.iter().all(|part| self.values(part, &zero))
            && self.values(hour, wanted)
    }

    /// Whether a value is the quotient that a ratio of two stands for.
    pub(super) fn is_quotient(&mut self, quantity: &Quantity, ratio: &[Quantity]) -> bool {
        let [upper, lower] = ratio else {
            return false;
        };
        let quotient = Expression::Product(vec![upper.expression.clone(), lower.expression.clone().inverse()]);
        quantity.unit.is_none() && self.expressions(quantity.expression.clone(), quotient)
    }
}

/// The name of `x = 1`, if it is a variable.
fn name_of(item: &Answer) -> Option<&str> {
    match item.label.as_ref()?.expression.as_ref()? {
        Expression::Symbol(name) => Some(name),
        _ => None,
    }
}

/// The solutions that are written as several tuples, with the names of their entries.
fn named_tuples(answer: &Answer) -> Option<(&[CompactString], &[Answer])> {
    let (Body::List(tuples) | Body::Set(tuples)) = &answer.body else {
        return None;
    };
    let first = tuples.first().and_then(|first| first.label.as_ref());
    let names = answer.label.as_ref().or(first)?.names.as_slice();
    (!names.is_empty()).then_some((names, tuples))
}

/// The position of each of the wanted names, if the names are the same.
fn permutation(names: &[&str], wanted: &[CompactString]) -> Option<Vec<usize>> {
    if names.len() != wanted.len() {
        return None;
    }
    let position = |wanted: &CompactString| names.iter().position(|name| *name == wanted.as_str());
    wanted.iter().map(position).collect()
}

/// Whether the letters follow each other in the alphabet, as x, y and z do, which gives them an order of their own.
fn follow_each_other(sorted: &[&str]) -> bool {
    sorted.iter().all(|name| name.len() == 1)
        && sorted
            .windows(2)
            .all(|pair| pair[0].as_bytes()[0] + 1 == pair[1].as_bytes()[0])
}

/// Treats angle brackets as round ones, because both write a vector.
fn bracket(bracket: Bracket) -> Bracket {
    if bracket == Bracket::Angle {
        Bracket::Round
    } else {
        bracket
    }
}

/// The name of an item as it is spelled, in lower case.
fn spelled_name(item: &Answer) -> Option<String> {
    item.label.as_ref().map(|label| label.spelled.as_str().to_lowercase())
}

/// Whether all items have names, and both lists the same ones, each once: then these say which value is compared with
/// which. `\text{Alice} = 3, \text{Bob} = 5` is not the other way round.
fn have_the_same_names(answer: &[&Answer], truth: &[&Answer]) -> bool {
    let names = |items: &[&Answer]| -> Option<Vec<String>> {
        let mut names: Vec<String> = items.iter().map(|item| spelled_name(item)).collect::<Option<_>>()?;
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1]).then_some(names)
    };
    answer.len() > 1 && names(answer).is_some_and(|found| names(truth) == Some(found))
}

/// Whether each item of a list is the value of another letter; `x_1` and `x_2` are solutions for one.
fn are_of_different_names(items: &[Answer]) -> bool {
    let letter = |name: &'_ str| name.split('_').next().map(str::to_owned);
    let mut names: Vec<String> = items.iter().filter_map(|item| name_of(item).and_then(letter)).collect();
    names.sort_unstable();
    names.dedup();
    names.len() == items.len() && items.len() > 1
}

fn is_tuple(open: Bracket, close: Bracket) -> bool {
    bracket(open) == Bracket::Round && bracket(close) == Bracket::Round
}

/// Whether a list holds words. It may be a ranking, so that its order counts; single letters are choices and do not.
fn holds_words(items: &[Answer]) -> bool {
    items
        .iter()
        .any(|item| matches!(&item.body, Body::Text(text) if text.chars().count() > 1))
}
