//! Units within intervals, conditions and ratios: there the numbers are compared, so that what they measure must be the
//! same, and is brought to one unit before.

use std::borrow::Cow;

use dashu_ratio::RBig;

use super::counted::{are_of_other_things, same_dimensions};
use super::quantity::{angle, degree, hundredth};
use super::{Comparison, Rule};
use crate::expression::Expression;
use crate::options::Units;
use crate::parse::token::Bracket;
use crate::parse::{Answer, Body, Quantity, Unit};

/// What a body measures.
enum Measured<'b> {
    /// Numbers.
    Nothing,
    /// Everything of it the same, in units of these sizes, which are one unit or several.
    One(&'b [(&'static str, i32)], Vec<&'b Unit>),
    /// Different things.
    Several,
}

/// Both sides of a comparison in one unit.
pub(super) enum InOneUnit {
    /// They were already, or only one names units.
    AsTheyAre,
    /// Their numbers in one unit.
    Bodies(Body, Body),
    /// One is in percent or degrees and the other in numbers: they may be the same as they are, or brought to numbers.
    Perhaps(Body, Body),
    /// They measure different things.
    Contradicts,
}

/// What percents and degrees measure.
const PERCENT: &[(&str, i32)] = &[("percent", 1)];
const DEGREE: &[(&str, i32)] = &[("radian", 1)];

/// The dimensions of a unit of measurement; none for words.
fn dimensions(unit: &Unit) -> Option<&[(&'static str, i32)]> {
    match unit {
        Unit::Percent => Some(PERCENT),
        Unit::Degree => Some(DEGREE),
        Unit::Measure(dimensions, _) if dimensions.as_slice() == [("degree", 1)] => Some(DEGREE),
        Unit::Measure(dimensions, _) => Some(dimensions),
        Unit::Words(_) => None,
    }
}

fn factor(unit: &Unit) -> Expression {
    match unit {
        Unit::Percent => hundredth(),
        Unit::Degree => degree(),
        Unit::Measure(_, size) => angle(unit).unwrap_or_else(|| Expression::Number(size.clone())),
        Unit::Words(_) => Expression::Number(RBig::ONE),
    }
}

/// All quantities of a body, but for those of tables, which are compared one by one with their units.
fn quantities<'b>(body: &'b Body, found: &mut Vec<&'b Quantity>) {
    match body {
        Body::Quantity(quantity) => found.push(quantity),
        Body::Chain(sides, _) | Body::Ratio(sides) => found.extend(sides),
        Body::List(items)
        | Body::Set(items)
        | Body::Sequence(_, _, items)
        | Body::Union(items)
        | Body::Intersection(items) => {
            for item in items {
                quantities(&item.body, found);
            }
        }
        Body::Difference(whole, removed) => {
            quantities(&whole.body, found);
            quantities(&removed.body, found);
        }
        Body::Text(_) | Body::Matrix(_) | Body::Cases(_) => {}
    }
}

fn measured<'b>(found: &[&'b Quantity]) -> Measured<'b> {
    let mut units: Vec<&Unit> = Vec::new();
    let mut known: Option<&[(&'static str, i32)]> = None;
    for unit in found.iter().filter_map(|quantity| quantity.unit.as_ref()) {
        let Some(dimensions) = dimensions(unit) else {
            continue;
        };
        match known {
            Some(known) if !same_dimensions(known, dimensions) => return Measured::Several,
            _ => known = Some(dimensions),
        }
        if !units.contains(&unit) {
            units.push(unit);
        }
    }
    known.map_or(Measured::Nothing, |known| Measured::One(known, units))
}

fn quantity_in_base_unit(quantity: &Quantity, common: Option<&Unit>) -> Quantity {
    let unit = match &quantity.unit {
        Some(unit) => Some(unit),
        None => common.filter(|_| quantity.expression.is_constant()),
    };
    match unit.filter(|unit| dimensions(unit).is_some()) {
        Some(unit) => Quantity::new(Expression::Product(vec![quantity.expression.clone(), factor(unit)])),
        None => quantity.clone(),
    }
}

/// A body with its numbers in the base unit. A bound without a unit has that of the others.
fn in_base_unit(body: &Body, common: Option<&Unit>) -> Body {
    let quantity = |quantity: &Quantity| quantity_in_base_unit(quantity, common);
    let answer = |answer: &Answer| Answer {
        label: answer.label.clone(),
        body: in_base_unit(&answer.body, common),
    };
    let answers = |items: &[Answer]| items.iter().map(answer).collect();
    match body {
        Body::Quantity(one) => Body::Quantity(quantity(one)),
        Body::Chain(sides, relations) => Body::Chain(sides.iter().map(quantity).collect(), relations.clone()),
        Body::Ratio(parts) => Body::Ratio(parts.iter().map(quantity).collect()),
        Body::List(items) => Body::List(answers(items)),
        Body::Set(items) => Body::Set(answers(items)),
        Body::Sequence(open, close, items) => Body::Sequence(*open, *close, answers(items)),
        Body::Union(items) => Body::Union(answers(items)),
        Body::Intersection(items) => Body::Intersection(answers(items)),
        Body::Difference(whole, removed) => Body::Difference(Box::new(answer(whole)), Box::new(answer(removed))),
        Body::Text(_) | Body::Matrix(_) | Body::Cases(_) => body.clone(),
    }
}

impl Comparison<'_> {
    /// Whether the answer is a half open interval whose ends are in other units than those of the ground truth, so that
    /// they cannot be compared as they are.
    pub(super) fn is_interval_in_other_units(&mut self, answer: &Body, truth: &Body) -> Option<bool> {
        if !is_half_open(answer) {
            return Some(false);
        }
        let units = self.in_one_unit(answer, truth)?;
        Some(matches!(units, InOneUnit::Bodies(..) | InOneUnit::Contradicts))
    }

    /// Two relations in one unit.
    pub(super) fn conditions_in_one_unit(&mut self, answer: &Body, truth: &Body) -> Option<Rule> {
        match self.in_one_unit(answer, truth)? {
            InOneUnit::AsTheyAre => self.conditions(answer, truth),
            InOneUnit::Bodies(answer, truth) => self.conditions(&answer, &truth),
            InOneUnit::Perhaps(answer_numbers, truth_numbers) => self
                .conditions(answer, truth)
                .or_else(|| self.conditions(&answer_numbers, &truth_numbers)),
            InOneUnit::Contradicts => None,
        }
    }

    /// Two ratios, those of measures in one unit.
    pub(super) fn measured_ratios(&mut self, answer: &[Quantity], truth: &[Quantity]) -> bool {
        if self.conventions.units == Units::Ignored {
            return self.ratios(answer, truth);
        }
        // `2 kg : 3 lb` is no 2 : 3.
        let are_bare = |parts: &[Quantity]| parts.iter().all(|part| part.unit.is_none());
        if are_bare(answer) && are_of_one_quantity(truth) || are_bare(truth) && are_of_one_quantity(answer) {
            return false;
        }
        let (answer, truth) = ratios_of_numbers(answer, truth);
        self.ratios(&answer, &truth)
    }

    /// Whether a value is the quotient of a ratio, which may be one of measures.
    pub(super) fn is_measured_quotient(&mut self, quantity: &Quantity, ratio: &[Quantity]) -> bool {
        !are_of_one_quantity(ratio) && self.is_quotient(quantity, &ratio_of_numbers(ratio))
    }

    /// Two sets, or two relations, in one unit. None if the budget is spent.
    pub(super) fn in_one_unit(&mut self, answer: &Body, truth: &Body) -> Option<InOneUnit> {
        if self.conventions.units == Units::Ignored {
            return Some(InOneUnit::AsTheyAre);
        }
        let (mut found, mut wanted_quantities) = (Vec::new(), Vec::new());
        quantities(answer, &mut found);
        quantities(truth, &mut wanted_quantities);
        self.take_steps((found.len() + wanted_quantities.len()) as u64)?;
        let only = |units: &[&Unit]| match units {
            [only] => Some((*only).clone()),
            _ => None,
        };
        let (dimensions, units, wanted, wanted_units) = match (measured(&found), measured(&wanted_quantities)) {
            (Measured::One(dimensions, units), Measured::One(wanted, wanted_units)) => {
                (dimensions, units, wanted, wanted_units)
            }
            // `x < 5^\circ` is no `x < 5` points.
            _ if units_contradict(&found, &wanted_quantities) => return Some(InOneUnit::Contradicts),
            (Measured::One(_, units), Measured::Nothing) | (Measured::Nothing, Measured::One(_, units))
                if matches!(units.as_slice(), [Unit::Percent | Unit::Degree]) =>
            {
                let common = only(&units);
                let of = |body: &Body, found: &[&Quantity]| {
                    let has_unit = found.iter().any(|quantity| quantity.unit.is_some());
                    in_base_unit(body, common.as_ref().filter(|_| has_unit))
                };
                let (answer, truth) = (of(answer, &found), of(truth, &wanted_quantities));
                let is_exact = self.conventions.exact_percents && common == Some(Unit::Percent);
                return Some(if is_exact {
                    InOneUnit::Bodies(answer, truth)
                } else {
                    InOneUnit::Perhaps(answer, truth)
                });
            }
            _ => return Some(InOneUnit::AsTheyAre),
        };
        if !same_dimensions(dimensions, wanted) {
            return Some(InOneUnit::Contradicts);
        }
        if units == wanted_units && units.len() == 1 {
            return Some(InOneUnit::AsTheyAre);
        }
        Some(InOneUnit::Bodies(
            in_base_unit(answer, only(&units).as_ref()),
            in_base_unit(truth, only(&wanted_units).as_ref()),
        ))
    }
}

/// Whether something of one side is in a unit, or counts a thing, that nothing of the other side may be in: `x < 60` mph is
/// no `x < 60` knots.
fn units_contradict(answer: &[&Quantity], truth: &[&Quantity]) -> bool {
    let is_of_other = |one: &Quantity, others: &[&Quantity]| {
        let mut units = others.iter().filter(|other| other.unit.is_some()).peekable();
        one.unit.is_some() && units.peek().is_some() && units.all(|other| are_of_other_things(one, other))
    };
    answer.iter().any(|one| is_of_other(one, truth)) || truth.iter().any(|one| is_of_other(one, answer))
}

/// A ratio of measures of one kind as one of numbers: `2 cm : 5 km` is 1 : 250000. Any other stays as it is.
fn ratio_of_numbers(parts: &[Quantity]) -> Cow<'_, [Quantity]> {
    let all: Vec<&Quantity> = parts.iter().collect();
    let is_of_one_kind = matches!(measured(&all), Measured::One(..)) && parts.iter().all(is_measure);
    // `2\% : 3`
    let has_percent = parts.iter().any(|part| part.unit == Some(Unit::Percent));
    if is_of_one_kind || has_percent {
        Cow::Owned(in_base_units(parts))
    } else {
        Cow::Borrowed(parts)
    }
}

/// Two ratios as they are compared. Where parts of several kinds stand over each other, each is brought to one unit:
/// `3 km : 4 h` is no `3 m : 4 h`.
fn ratios_of_numbers<'q>(answer: &'q [Quantity], truth: &'q [Quantity]) -> (Cow<'q, [Quantity]>, Cow<'q, [Quantity]>) {
    let are_measured = answer.iter().chain(truth).all(is_measure);
    let kinds = |parts: &'q [Quantity]| parts.iter().map(|part| part.unit.as_ref().and_then(dimensions));
    if are_measured && kinds(answer).eq(kinds(truth)) {
        return (Cow::Owned(in_base_units(answer)), Cow::Owned(in_base_units(truth)));
    }
    (ratio_of_numbers(answer), ratio_of_numbers(truth))
}

/// Dimensions of one quantity whose units are not converted into each other here.
const OF_ONE_QUANTITY: [&[&str]; 6] = [
    &["mass", "weight", "tons"],
    &["time", "month"],
    &["dollar", "euro", "sterling", "yen", "rupee"],
    &["celsius", "fahrenheit", "kelvin"],
    &["joule", "calorie", "electronvolt"],
    &["byte", "bit"],
];

/// Units of measurement and money that are not converted here, in the singular.
const OTHER_UNITS: [&str; 16] = [
    "stone", "furlong", "fathom", "league", "barrel", "bushel", "peck", "carat", "grain", "dram", "peso", "franc",
    "dime", "nickel", "quarter", "knot",
];

/// Whether a part of a ratio is in one of these.
fn is_in_other_unit(part: &Quantity) -> bool {
    let last = |words: &str| {
        words
            .rsplit(' ')
            .next()
            .map(|word| word.trim_end_matches('s').to_owned())
    };
    match &part.unit {
        Some(Unit::Words(words)) => last(words).is_some_and(|word| OTHER_UNITS.contains(&word.as_str())),
        _ => false,
    }
}

/// Whether the parts of a ratio are of one quantity, as kilograms and pounds are, but in units that are not converted here, so
/// that their numbers are not the ratio.
fn are_of_one_quantity(parts: &[Quantity]) -> bool {
    if parts.iter().any(is_measure) && parts.iter().any(is_in_other_unit) {
        return true;
    }
    let dimension = |part: &Quantity| match part.unit.as_ref().and_then(dimensions) {
        Some([(dimension, 1)]) => Some(*dimension),
        _ => None,
    };
    let Some(found) = parts.iter().map(dimension).collect::<Option<Vec<&str>>>() else {
        return false;
    };
    let differ = found.windows(2).any(|pair| pair[0] != pair[1]);
    let is_of = |kind: &&[&str]| found.iter().filter(|dimension| kind.contains(*dimension)).count() > 1;
    differ && OF_ONE_QUANTITY.iter().any(is_of)
}

fn is_measure(part: &Quantity) -> bool {
    part.unit.as_ref().and_then(dimensions).is_some()
}

fn in_base_units(parts: &[Quantity]) -> Vec<Quantity> {
    parts.iter().map(|part| quantity_in_base_unit(part, None)).collect()
}

/// Whether it is half open, as `(a, b]`, so that it can be no tuple.
pub(super) fn is_half_open(body: &Body) -> bool {
    matches!(body, Body::Sequence(open, close, _) if (*open == Bracket::Square) != (*close == Bracket::Square))
}
