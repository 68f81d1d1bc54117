//! Words that change the meaning of a number, so that they are no unit behind it.

use super::{names, scale};

/// Words that take an answer back, hedge it, compare it or calculate with it.
const WORDS: [&str; 79] = [
    "gross",
    "zillion",
    "mega",
    "giga",
    "tera",
    "deci",
    "centi",
    "milli",
    "micro",
    "nano",
    "mille",
    "permille",
    "ppm",
    "ppb",
    "not",
    "no",
    "never",
    "neither",
    "nor",
    "none",
    "isn",
    "wrong",
    "incorrect",
    "false",
    "untrue",
    "invalid",
    "or",
    "maybe",
    "perhaps",
    "possibly",
    "probably",
    "either",
    "instead",
    "but",
    "except",
    "unless",
    "if",
    "otherwise",
    "less",
    "lesser",
    "more",
    "fewer",
    "greater",
    "larger",
    "smaller",
    "bigger",
    "higher",
    "lower",
    "than",
    "least",
    "most",
    "above",
    "below",
    "under",
    "exceeding",
    "between",
    "plus",
    "minus",
    "divided",
    "multiplied",
    "choose",
    "factorial",
    "squared",
    "cubed",
    "doubled",
    "double",
    "tripled",
    "triple",
    "twice",
    "thrice",
    "halved",
    "th",
    "st",
    "nd",
    "rd",
    "mod",
    "modulo",
    "base",
    "power",
];

/// Letters that stand for units which are not among the known ones.
const UNIT_LETTERS: [&str; 6] = ["A", "B", "C", "F", "H", "T"];

/// Whether a word that is no unit makes a number mean something else.
pub(super) fn changes_meaning(word: &str) -> bool {
    if word.len() == 1 {
        return !UNIT_LETTERS.contains(&word);
    }
    let lower = word.to_lowercase();
    WORDS.contains(&lower.as_str()) || scale::is_numeral(&lower) || names::function(&lower).is_some()
}

/// Whether a word takes back what stands before it, or hedges it.
pub(super) fn takes_back(word: &str) -> bool {
    matches!(
        word.to_lowercase().as_str(),
        "wrong" | "incorrect" | "untrue" | "false" | "maybe" | "perhaps" | "possibly" | "probably" | "isn"
    )
}
