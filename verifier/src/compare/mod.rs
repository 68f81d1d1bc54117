//! Decides whether an answer says the same as a ground truth. Values are compared exactly; the [`Conventions`] of the
//! request decide about all that stands beside them, such as a label, a unit or brackets.

mod antiderivative;
mod at_integers;
mod closed;
mod collection;
mod counted;
mod families;
mod inequality;
mod interval;
mod kinks;
mod late;
mod measured;
mod names;
mod operators;
mod places;
mod polynomial;
mod powers;
mod quantity;
mod reach;
mod relation;
mod series;
mod spread;
mod term;
mod words;

use crate::expression::Expression;
use crate::options::Conventions;
use crate::parse::token::Relation;
use crate::parse::{Answer, Body, Label, Literal, Parsed, Quantity, is_roman, is_same_word, say_the_same};
use crate::steps::Steps;

pub(crate) use quantity::normal_form;

/// How an answer was found to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Both have the same value.
    Value,
    /// Both have the same spelling.
    Text,
    /// Both name the same choice.
    Choice,
    /// Both hold the same items.
    Items,
    /// Both are the same tuple, vector or matrix.
    Entries,
    /// Both are the same set of real numbers.
    Interval,
    /// Both are the same equation or inequality.
    Relation,
    /// Both are the same ratio.
    Ratio,
    /// Both are the same function by cases.
    Cases,
}

impl Rule {
    /// The rule in words, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Value => "equal in value",
            Self::Text => "equal as text",
            Self::Choice => "the same choice",
            Self::Items => "the same items",
            Self::Entries => "equal entry by entry",
            Self::Interval => "the same set of numbers",
            Self::Relation => "the same relation",
            Self::Ratio => "the same ratio",
            Self::Cases => "the same cases",
        }
    }
}

/// A comparison under way: its conventions and its budget.
pub struct Comparison<'a> {
    /// The conventions of the request.
    pub conventions: &'a Conventions,
    /// The rest of the step budget.
    pub steps: &'a mut Steps,
    /// Whether something exceeded the limits, so that it counts as different.
    pub exceeded: bool,
    /// Whether items of a set are compared, in which braces count.
    pub in_set: bool,
}

impl Comparison<'_> {
    /// How the two are the same, if they are.
    pub fn compare(&mut self, answer: &Parsed, truth: &Parsed) -> Option<Rule> {
        if let (Some(named), Some(wanted)) = (&answer.choice, &truth.choice)
            && (wanted.is_alone || named.is_alone)
            && (wanted.is_marked || named.is_alone || named.is_text)
            && (named.letter == wanted.letter
                || (wanted.is_marked || named.is_marked) && named.letter.eq_ignore_ascii_case(&wanted.letter))
        {
            return Some(Rule::Choice);
        }
        if self.is_not_reduced(answer, truth) || words::leave_open(answer, truth) {
            return None;
        }
        let has_operators = answer.has_operators || truth.has_operators;
        // Sums that look different may only be worked out to be the same: that takes the other half of the budget.
        let reserved = if has_operators { self.steps.left() / 2 } else { 0 };
        if let Some(rule) = self.within_all_but(reserved, |this| this.answers(&answer.answer, &truth.answer)) {
            return Some(rule);
        }
        // `14` for `(C) 14`
        if let Some(value) = &truth.beside_choice
            && answer.choice.is_none()
            && let Some(rule) = self.answers(&answer.answer, value)
        {
            return Some(rule);
        }
        let is_text = |parsed: &Parsed| matches!(parsed.answer.body, Body::Text(_)) && parsed.answer.label.is_none();
        let same = (is_text(answer) || is_text(truth)) && answer.spelled() == truth.spelled();
        if same {
            return Some(Rule::Text);
        }
        if has_operators {
            return self.worked_out(answer, truth);
        }
        None
    }

    /// Whether a fraction within the answer could be reduced though that is asked for. One alone is compared by
    /// [`Self::quantities`], with the fraction that the ground truth is.
    fn is_not_reduced(&self, answer: &Parsed, truth: &Parsed) -> bool {
        let is_alone = matches!(&answer.answer.body, Body::Quantity(quantity) if quantity.literal != Literal::Other);
        self.conventions.reduced_fractions && !is_alone && answer.has_unreduced() && !truth.has_unreduced()
    }

    /// Does some work with all but some of the steps that are left, and gives these back afterwards.
    fn within_all_but<T>(&mut self, reserved: u64, work: impl FnOnce(&mut Self) -> T) -> T {
        let given = self.steps.left().saturating_sub(reserved);
        let all = std::mem::replace(self.steps, Steps::new(given));
        let result = work(self);
        let spent = given.saturating_sub(self.steps.left());
        *self.steps = Steps::new(all.left().saturating_sub(spent));
        result
    }

    /// The same for parts of answers.
    fn answers(&mut self, answer: &Answer, truth: &Answer) -> Option<Rule> {
        // Items of long lists meet each other many times.
        if self.steps.spend(3).is_err() {
            self.exceeded = true;
            return None;
        }
        if let (Some(named), Some(wanted)) = (&answer.label, &truth.label) {
            if !named.names.is_empty() && !wanted.names.is_empty() && named.names != wanted.names {
                return self.reordered(answer, truth, &named.names, &wanted.names);
            }
            if self.contradict(named, wanted) {
                return self.differently_labelled(answer, truth, named, wanted);
            }
        }
        if let Some(compared) = self.by_their_names(answer, truth) {
            return compared;
        }
        if self.repeats_the_question(answer, truth) || Self::says_nothing(answer, truth) {
            return None;
        }
        if let Some(rule) = self.equations(answer, truth) {
            return Some(rule);
        }
        // `m + n = 8` is no answer to `K = 8`.
        if let (
            Body::Chain(sides, _),
            Some(Label {
                expression: Some(wanted),
                ..
            }),
        ) = (&answer.body, &truth.label)
            && let (Some(first), Body::Quantity(_)) = (sides.first(), &truth.body)
            && (self.says_something_else(sides, wanted) || !self.expressions(first.expression.clone(), wanted.clone()))
        {
            return None;
        }
        // `y = 5` is no answer to `x = 2 + 3 = 5`.
        if let (
            Some(Label {
                expression: Some(named),
                ..
            }),
            Body::Chain(sides, _),
        ) = (&answer.label, &truth.body)
            && let [first, _, _, ..] = sides.as_slice()
            && Self::names_a_value(&first.expression)
            && !self.expressions(named.clone(), first.expression.clone())
        {
            return None;
        }
        match (answer.only_tuple(), truth.only_tuple()) {
            ((Body::List(list), _), (Body::Sequence(open, close, entries), label))
            | ((Body::Sequence(open, close, entries), label), (Body::List(list), _)) => {
                self.listed(list, label, (*open, *close), entries)
            }
            _ => None,
        }
        .or_else(|| self.bodies(&answer.body, &truth.body))
        .or_else(|| self.named_one_by_one(answer, truth))
    }

    fn bodies(&mut self, answer: &Body, truth: &Body) -> Option<Rule> {
        match (answer.described(), truth.described()) {
            (None, None) => {}
            (Some(condition), None) => return self.bodies(condition, truth),
            (None, Some(condition)) => return self.bodies(answer, condition),
            // `\{x \mid x > 2\}` is `\{t \mid t > 2\}`.
            (Some(condition), Some(wanted)) => {
                return self
                    .bodies(condition, wanted)
                    .or_else(|| self.same_numbers(condition, wanted));
            }
        }
        match (answer, truth) {
            // `IV` is no `VI`, though letters commute.
            (
                Body::Quantity(Quantity {
                    spelled: Some(number), ..
                }),
                Body::Quantity(Quantity {
                    spelled: Some(wanted), ..
                }),
            ) if is_roman(number) && is_roman(wanted) => (number == wanted).then_some(Rule::Text),
            // `HT` is no `TH` in a sample space.
            (
                Body::Quantity(Quantity {
                    spelled: Some(word), ..
                }),
                Body::Quantity(Quantity {
                    spelled: Some(wanted), ..
                }),
            ) if self.in_set && words::is_outcome(word) && words::is_outcome(wanted) => {
                (word == wanted).then_some(Rule::Text)
            }
            // `SAS` is no `SSA`.
            (Body::Quantity(answer), Body::Quantity(truth))
                if let Some(is_same) = words::same_criterion(answer, truth) =>
            {
                is_same.then_some(Rule::Text)
            }
            (Body::Quantity(answer), Body::Quantity(truth)) => self.quantities(answer, truth).then_some(Rule::Value),
            (Body::Text(answer), Body::Text(truth)) => {
                // A letter alone names a choice.
                let is_letter = answer.len() == 1 && answer.eq_ignore_ascii_case(truth);
                (is_letter || say_the_same(answer, truth)).then_some(Rule::Text)
            }
            (
                Body::Text(text),
                Body::Quantity(Quantity {
                    spelled: Some(spelled), ..
                }),
            )
            | (
                Body::Quantity(Quantity {
                    spelled: Some(spelled), ..
                }),
                Body::Text(text),
            ) => (is_same_word(spelled, text) || say_the_same(&spelled.to_lowercase(), text)).then_some(Rule::Text),
            (Body::Ratio(answer), Body::Ratio(truth)) => self.measured_ratios(answer, truth).then_some(Rule::Ratio),
            (Body::Ratio(ratio), Body::Quantity(quantity)) | (Body::Quantity(quantity), Body::Ratio(ratio)) => {
                let is_same = self.is_full_hour(quantity, ratio) || self.is_measured_quotient(quantity, ratio);
                is_same.then_some(Rule::Ratio)
            }
            (Body::Matrix(answer), Body::Matrix(truth)) => self.matrices(answer, truth).then_some(Rule::Entries),
            (Body::Cases(answer), Body::Cases(truth)) => self.cases(answer, truth).then_some(Rule::Cases),
            // The same value twice is one answer.
            (Body::List(items), Body::Quantity(_)) => {
                let all_same = items
                    .iter()
                    .all(|item| self.bodies(&item.body, truth) == Some(Rule::Value));
                all_same.then_some(Rule::Value)
            }
            (Body::Chain(sides, relations), Body::Quantity(truth)) => {
                self.chain_ends_in(sides, relations, truth).then_some(Rule::Value)
            }
            (Body::Quantity(answer), Body::Chain(sides, relations)) => {
                let is_rounded = relations.contains(&Relation::Approximate);
                let all_equal = relations.iter().all(|relation| relation.is_equality());
                let is_one_value = all_equal
                    && if is_rounded {
                        sides.iter().any(|side| self.quantities(answer, side))
                    } else {
                        // `x = 2/4 = 1/2`
                        let named = match sides.as_slice() {
                            [first, rest @ ..] if rest.len() > 1 && Self::names_a_value(&first.expression) => rest,
                            all => all,
                        };
                        named.iter().all(|side| self.quantities(answer, side))
                    };
                is_one_value.then_some(Rule::Value)
            }
            (Body::Chain(..), Body::Chain(..)) => self.conditions_in_one_unit(answer, truth),
            _ if self.is_interval_in_other_units(answer, truth)? => self.number_sets(answer, truth),
            _ => self
                .collections(answer, truth)
                .or_else(|| self.number_sets(answer, truth)),
        }
    }

    /// The same for two relations in one unit.
    fn conditions(&mut self, answer: &Body, truth: &Body) -> Option<Rule> {
        let (Body::Chain(left, left_relations), Body::Chain(right, right_relations)) = (answer, truth) else {
            return None;
        };
        self.chains((left, left_relations), (right, right_relations))
            .then_some(Rule::Relation)
            .or_else(|| self.plain_number_sets(answer, truth))
    }

    /// Whether two names cannot stand for the same thing. Words only describe, so that they contradict nothing.
    fn contradict(&mut self, named: &Label, wanted: &Label) -> bool {
        if let Some(is_same) = named.same_angle(wanted) {
            return !is_same;
        }
        if named.spelled == wanted.spelled && named.said.words == wanted.said.words {
            return false;
        }
        if names::measure_different_things(named, wanted) {
            return true;
        }
        match (&named.expression, &wanted.expression) {
            (Some(Expression::Symbol(named)), Some(Expression::Symbol(wanted))) => named != wanted,
            // `AB` and `BA` are one length.
            (Some(named), Some(wanted)) => {
                self.written_apart(named, wanted) || !self.expressions(named.clone(), wanted.clone())
            }
            _ => names::say_different_things(named, wanted),
        }
    }
}
