//! Names on the left of an equals sign that are no expressions: where their letters differ, or their words name two
//! measures of one thing, they cannot be equated with the same value.

use compact_str::CompactString;

use crate::parse::Label;

/// Words for measures; those of one line are one.
const MEASURES: [&[&str]; 65] = [
    &["area"],
    &["perimeter"],
    &["circumference"],
    &["volume"],
    &["length"],
    &["width", "breadth"],
    &["height"],
    &["radius"],
    &["diameter"],
    &["mean", "average"],
    &["median"],
    &["mode"],
    &["range"],
    &["variance"],
    &["deviation"],
    &["max", "maximum", "greatest", "largest", "highest"],
    &["min", "minimum", "least", "smallest", "lowest"],
    &["sum"],
    &["difference"],
    &["quotient"],
    &["numerator"],
    &["denominator"],
    &["ph"],
    &["poh"],
    &["gcd", "gcf", "hcf"],
    &["lcm"],
    &["product"],
    &["profit"],
    &["loss"],
    &["cost"],
    &["revenue"],
    &["slope", "gradient", "grad"],
    &["intercept"],
    &["amplitude"],
    &["period"],
    &["frequency"],
    &["focus"],
    &["vertex"],
    &["directrix"],
    &["center", "centre"],
    &["domain", "dom"],
    &["codomain"],
    &["remainder"],
    &["upper"],
    &["lower"],
    &["first"],
    &["last"],
    &["left"],
    &["right"],
    &["ker", "kernel", "nul", "null"],
    &["im", "image", "ran"],
    &["coker", "cokernel"],
    &["rank"],
    &["nullity"],
    &["corank"],
    &["dim", "dimension"],
    &["codim", "codimension"],
    &["div", "divergence"],
    &["curl", "rot"],
    &["adj"],
    &["cof"],
    &["col"],
    &["row"],
    &["proj"],
    &["perp"],
];

/// Whether two names that are no expressions say different things.
pub(super) fn say_different_things(named: &Label, wanted: &Label) -> bool {
    let are_letters = !named.said.letters.is_empty() && !wanted.said.letters.is_empty();
    are_letters && letters_differ(&named.said.letters, &wanted.said.letters)
}

/// Whether the words of two names are two measures: an area is no perimeter. `sum of the areas` is no simple measure.
pub(super) fn measure_different_things(named: &Label, wanted: &Label) -> bool {
    let measures = |label: &Label| -> Vec<usize> {
        let of_word = |word: &CompactString| MEASURES.iter().position(|words| words.contains(&word.as_str()));
        label.said.words.iter().filter_map(of_word).collect()
    };
    matches!((measures(named).as_slice(), measures(wanted).as_slice()), ([one], [other]) if one != other)
        || are_opposed(&named.said.words, &wanted.said.words)
}

/// Pairs of words that say the opposite in a name.
const OPPOSITES: [[&str; 2]; 14] = [
    ["vertical", "horizontal"],
    ["even", "odd"],
    ["increasing", "decreasing"],
    ["boys", "girls"],
    ["men", "women"],
    ["mother", "father"],
    ["mother", "son"],
    ["mother", "daughter"],
    ["father", "son"],
    ["father", "daughter"],
    ["son", "daughter"],
    ["inside", "outside"],
    ["before", "after"],
    ["old", "new"],
];

/// Whether one name has a word and the other its opposite, `stable` and `unstable`.
fn are_opposed(named: &[CompactString], wanted: &[CompactString]) -> bool {
    let denies = |one: &str, other: &str| {
        ["un", "non", "dis", "in"]
            .iter()
            .any(|prefix| one.strip_prefix(prefix) == Some(other))
            && other.len() > 3
    };
    let is_pair = |one: &str, other: &str| {
        denies(one, other)
            || OPPOSITES
                .iter()
                .any(|[first, second]| (one, other) == (*first, *second))
    };
    let only_in = |word: &CompactString, others: &[CompactString]| !others.contains(word);
    named.iter().filter(|word| only_in(word, wanted)).any(|one| {
        wanted
            .iter()
            .filter(|word| only_in(word, named))
            .any(|other| is_pair(one, other) || is_pair(other, one))
    })
}

/// The functions of an angle, of which the angle itself is none.
const FUNCTIONS: [&str; 6] = ["sin", "cos", "tan", "cot", "sec", "csc"];

/// Whether the letters are others, and not only more of them: `\text{Variance of } X` may be `Var(X)`. A prime makes
/// another function.
fn letters_differ(named: &str, wanted: &str) -> bool {
    let primes = |letters: &str| letters.matches('\'').count();
    let function = |letters: &str| FUNCTIONS.iter().position(|function| letters.starts_with(function));
    if primes(named) != primes(wanted) || function(named) != function(wanted) {
        return true;
    }
    let sorted = |letters: &str| {
        let mut sorted: Vec<char> = letters.chars().collect();
        sorted.sort_unstable();
        sorted
    };
    // The points of a figure in another order.
    let are_points = |letters: &str| {
        letters
            .chars()
            .all(|letter| letter.is_uppercase() || !letter.is_alphanumeric())
    };
    if are_points(named) && are_points(wanted) && !named.contains(['|', '∠']) {
        return sorted(named) != sorted(wanted);
    }
    !named.contains(wanted) && !wanted.contains(named)
}
