//! Whether the units and words behind two values may name the same thing.

use crate::parse::{Quantity, Unit, is_same_dimension, measures};

/// Words that name no thing but numbers, so that they contradict no unit.
const FILLERS: [&str; 11] = [
    "value",
    "number",
    "integer",
    "total",
    "unit",
    "piece",
    "distinct",
    "different",
    "possible",
    "of",
    "each",
];

/// Words that count anything that can be counted, so that they contradict no other word, but percents, degrees and units of
/// measurement: 240 ways are no 240 km.
const COUNTS: [&str; 15] = [
    "way",
    "arrangement",
    "possibility",
    "possibilitie",
    "combination",
    "choice",
    "outcome",
    "permutation",
    "solution",
    "item",
    "pair",
    "triple",
    "time",
    "case",
    "element",
];

/// Whether a word says no kind of thing.
fn is_filler(word: &str) -> bool {
    word == "in" || FILLERS.contains(&singular(word))
}

/// Whether a word counts anything.
fn counts_anything(word: &str) -> bool {
    is_filler(word) || COUNTS.contains(&singular(word))
}

/// Words that say nothing of the kind of what is counted.
const JOINTS: [&str; 16] = [
    "who", "that", "which", "are", "is", "was", "were", "the", "a", "an", "with", "have", "has", "to", "more", "all",
];

/// Words that make another unit of the unit behind them.
const MAKES_ANOTHER_UNIT: [&str; 19] = [
    "quarter",
    "dog",
    "passenger",
    "light",
    "nautical",
    "fluid",
    "troy",
    "man",
    "person",
    "board",
    "metric",
    "sidereal",
    "leap",
    "arc",
    "canadian",
    "australian",
    "zealand",
    "singapore",
    "hong",
];

/// Whether both name kinds of the same thing, and different ones: red marbles are no blue marbles. Where one of them says
/// less, it may be the other. Halves of a day are two.
fn is_other_kind(words: &str, other: &str) -> bool {
    if is_half_of_day(words) && is_half_of_day(other) {
        return words != other;
    }
    let kinds = |words: &str| -> Vec<String> {
        let mut kinds: Vec<String> = words
            .split(' ')
            .map(|word| singular(word).to_lowercase())
            .filter(|word| !counts_anything(word) && !JOINTS.contains(&word.as_str()))
            .collect();
        kinds.pop();
        kinds
    };
    let (kinds, others) = (kinds(words), kinds(other));
    let holds_all = |all: &[String], some: &[String]| some.iter().all(|kind| all.contains(kind));
    !holds_all(&kinds, &others) && !holds_all(&others, &kinds)
}

/// Whether words say which half of a day a time is in.
fn is_half_of_day(words: &str) -> bool {
    matches!(words, "a m" | "p m")
}

/// Whether a value is a time, with the half of the day.
pub(super) fn is_time_of_day(quantity: &Quantity) -> bool {
    matches!(&quantity.unit, Some(Unit::Words(words)) if is_half_of_day(words))
}

/// Whether words may stand for the other unit: they count anything, or name the same thing.
pub(super) fn may_be_same(words: &str, other: &Unit) -> bool {
    let counts = |words: &str| words.split(' ').all(counts_anything);
    let says_nothing = |words: &str| words.split(' ').all(is_filler);
    match other {
        // `10 \text{ a.m.}` is no length.
        Unit::Measure(..) | Unit::Percent | Unit::Degree if is_half_of_day(words) => false,
        Unit::Words(other) => {
            // The last word says what is counted: `5 red marbles`, `5 marbles`. With `per` there are two.
            let counted = |words: &str| -> Vec<String> {
                let last = |words: &str| words.rsplit(' ').next().map(|word| singular(word).to_owned());
                words.split(" per ").filter_map(last).collect()
            };
            if is_other_kind(words, other) {
                return false;
            }
            let no_other_unit =
                measures(words).is_empty() || measures(other).is_empty() || measures(words) == measures(other);
            // 240 ways are no 240 ways per day.
            let is_rate = |words: &str| words.split(' ').any(|word| word == "per");
            let counts_other =
                |words: &str, other: &str| counts(words) && (says_nothing(words) || is_rate(words) == is_rate(other));
            no_other_unit
                && (counts_other(words, other) || counts_other(other, words) || counted(words) == counted(other))
        }
        Unit::Measure(dimensions, _) if is_generic(dimensions) => counts(words),
        // `5 kg of apples`
        Unit::Measure(dimensions, size) => match measures(words).as_slice() {
            [] => says_nothing(words),
            [(of_words, size_of_words)] => {
                // `light years` are no years.
                let is_other = words.split(' ').any(|word| MAKES_ANOTHER_UNIT.contains(&word));
                same_dimensions(dimensions, of_words) && size == size_of_words && !words.contains(" per ") && !is_other
            }
            _ => false,
        },
        Unit::Percent | Unit::Degree => says_nothing(words),
    }
}

/// Whether the words behind two values name different things.
pub(super) fn are_of_other_things(one: &Quantity, other: &Quantity) -> bool {
    match (&one.unit, &other.unit) {
        (Some(Unit::Words(words)), Some(unit)) | (Some(unit), Some(Unit::Words(words))) => !may_be_same(words, unit),
        _ => false,
    }
}

/// Whether two units are of the same dimensions.
pub(super) fn same_dimensions(dimensions: &[(&str, i32)], wanted: &[(&str, i32)]) -> bool {
    let is_among = |(dimension, exponent): &(&str, i32)| {
        let mut wanted = wanted.iter();
        wanted.any(|(other, power)| exponent == power && is_same_dimension(dimension, other))
    };
    dimensions == wanted || dimensions.len() == wanted.len() && dimensions.iter().all(is_among)
}

/// Whether a unit has no other name than `units`.
pub(super) fn is_generic(dimensions: &[(&'static str, i32)]) -> bool {
    matches!(dimensions, [("unit", _)])
}

fn singular(word: &str) -> &str {
    word.strip_suffix('s').unwrap_or(word)
}
