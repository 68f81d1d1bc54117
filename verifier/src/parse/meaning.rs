//! Words that change the meaning of a number, so that they are no unit behind it.

use super::{names, scale};

/// Words that take an answer back, hedge it, compare it or calculate with it.
const WORDS: [&str; 85] = [
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
    "reciprocal",
    "inverse",
    "negated",
    "repeating",
    "recurring",
    "itself",
    "excluded",
    "extraneous",
    "discarded",
    "omitted",
    "spurious",
    "etc",
    "others",
    "upwards",
    "approx",
    "roughly",
    "rejected",
    "eliminated",
    "fails",
    "impossible",
    "cannot",
    "squared",
    "cubed",
    "th",
    "st",
    "nd",
    "rd",
    "mod",
    "modulo",
    "base",
    "binary",
    "ternary",
    "octal",
    "hex",
    "hexadecimal",
    "freedom",
    "power",
];

/// Words that multiply a number, or might, beside the numerals: a reader could only guess by what.
const MULTIPLIERS: [&str; 54] = [
    "gross",
    "mil",
    "bil",
    "tril",
    "thou",
    "mrd",
    "trn",
    "tn",
    "hecto",
    "deca",
    "mega",
    "giga",
    "tera",
    "deci",
    "centi",
    "milli",
    "micro",
    "nano",
    "pico",
    "femto",
    "peta",
    "exa",
    "zetta",
    "yotta",
    "mille",
    "permille",
    "permil",
    "permyriad",
    "ppm",
    "ppb",
    "doubled",
    "double",
    "tripled",
    "triple",
    "twice",
    "thrice",
    "treble",
    "quadruple",
    "quadrupled",
    "quintuple",
    "quintupled",
    "sextuple",
    "septuple",
    "octuple",
    "centuple",
    "halved",
    "twenties",
    "thirties",
    "forties",
    "fifties",
    "sixties",
    "seventies",
    "eighties",
    "nineties",
];

/// Whether a word that is no unit makes a number mean something else.
pub(super) fn changes_meaning(word: &str) -> bool {
    if word.len() == 1 {
        return true;
    }
    let lower = word.to_lowercase();
    // Millions, or shouted millimetres.
    if word == "MM" {
        return true;
    }
    WORDS.contains(&lower.as_str()) || multiplies(&lower) || names::function(&lower).is_some()
}

/// Whether a word in lower case multiplies a number that it stands behind, or might.
pub(super) fn multiplies(word: &str) -> bool {
    MULTIPLIERS.contains(&word) || scale::is_numeral(word)
}

/// Whether a word takes back what stands before it, or hedges it.
pub(super) fn takes_back(word: &str) -> bool {
    matches!(
        word.to_lowercase().as_str(),
        "wrong" | "incorrect" | "untrue" | "false" | "maybe" | "perhaps" | "possibly" | "probably" | "isn"
    )
}

/// Whether a word behind an amount compares it with another: `\$5 \text{ more}`.
pub(super) fn is_comparative(word: &str) -> bool {
    matches!(word, "more" | "higher" | "greater" | "larger" | "bigger")
}
