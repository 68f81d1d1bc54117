//! Words behind a number that multiply or divide it: `5 \text{ million}`, `3 \text{ dozens}`, `2 \text{ sevenths}`.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

/// Words that multiply, with the power of ten that they stand for.
const POWERS: [(&str, usize); 17] = [
    ("ten", 1),
    ("hundred", 2),
    ("thousand", 3),
    ("myriad", 4),
    ("lakh", 5),
    ("million", 6),
    ("crore", 7),
    ("billion", 9),
    ("trillion", 12),
    ("quadrillion", 15),
    ("quintillion", 18),
    ("sextillion", 21),
    ("septillion", 24),
    ("octillion", 27),
    ("nonillion", 30),
    ("decillion", 33),
    ("googol", 100),
];

/// Numerals, with what they end in as ordinals: `5 \text{ twelfths}`.
const NUMERALS: [(&str, &str, u32); 25] = [
    ("three", "third", 3),
    ("four", "fourth", 4),
    ("five", "fifth", 5),
    ("six", "sixth", 6),
    ("seven", "seventh", 7),
    ("eight", "eighth", 8),
    ("nine", "ninth", 9),
    ("ten", "tenth", 10),
    ("eleven", "eleventh", 11),
    ("twelve", "twelfth", 12),
    ("thirteen", "thirteenth", 13),
    ("fourteen", "fourteenth", 14),
    ("fifteen", "fifteenth", 15),
    ("sixteen", "sixteenth", 16),
    ("seventeen", "seventeenth", 17),
    ("eighteen", "eighteenth", 18),
    ("nineteen", "nineteenth", 19),
    ("twenty", "twentieth", 20),
    ("thirty", "thirtieth", 30),
    ("forty", "fortieth", 40),
    ("fifty", "fiftieth", 50),
    ("sixty", "sixtieth", 60),
    ("seventy", "seventieth", 70),
    ("eighty", "eightieth", 80),
    ("ninety", "ninetieth", 90),
];

/// The factor that a word is behind a number; none if it is no such word. A pair and a couple count, as units do: five
/// pairs are five.
pub(super) fn factor(word: &str) -> Option<RBig> {
    // Not in capitals: MN is a unit of force.
    match word {
        "grand" => return Some(RBig::from(1_000)),
        "mn" | "mln" | "mio" => return Some(RBig::from(1_000_000)),
        "bn" | "bln" => return Some(RBig::from(1_000_000_000)),
        _ => {}
    }
    let word = word.to_lowercase();
    let singular = word.strip_suffix('s').unwrap_or(&word);
    if singular == "dozen" {
        return Some(RBig::from(12));
    }
    if let Some(power) = power_of_ten(singular) {
        return Some(RBig::from(UBig::from(10u8).pow(power)));
    }
    if matches!(word.as_str(), "half" | "halves") {
        return Some(one_over(UBig::from(2u8)));
    }
    if let Some((.., value)) = NUMERALS.iter().find(|(_, ordinal, _)| *ordinal == singular) {
        return Some(one_over(UBig::from(*value)));
    }
    let power = singular.strip_suffix("th").and_then(power_of_ten)?;
    Some(one_over(UBig::from(10u8).pow(power)))
}

fn power_of_ten(word: &str) -> Option<usize> {
    POWERS.iter().find(|(name, _)| *name == word).map(|(_, power)| *power)
}

fn one_over(value: UBig) -> RBig {
    RBig::from_parts(IBig::ONE, value)
}

/// Whether a word in lower case is a numeral of any kind, so that it changes a number that it stands beside.
pub(super) fn is_numeral(word: &str) -> bool {
    let singular = word.strip_suffix('s').unwrap_or(word);
    matches!(word, "zero" | "one" | "two")
        || NUMERALS.iter().any(|(name, ..)| *name == singular)
        || factor(word).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_multiply_and_divide() {
        let ratio = |upper: i64, lower: u64| RBig::from_parts(IBig::from(upper), UBig::from(lower));
        for (word, expected) in [
            ("hundreds", ratio(100, 1)),
            ("bn", ratio(1_000_000_000, 1)),
            ("grand", ratio(1_000, 1)),
            ("Million", ratio(1_000_000, 1)),
            ("tens", ratio(10, 1)),
            ("dozen", ratio(12, 1)),
            ("halves", ratio(1, 2)),
            ("half", ratio(1, 2)),
            ("thirds", ratio(1, 3)),
            ("twelfths", ratio(1, 12)),
            ("twentieths", ratio(1, 20)),
            ("thousandth", ratio(1, 1_000)),
        ] {
            assert_eq!(factor(word), Some(expected), "{word}");
        }
        for word in [
            "", "s", "th", "ths", "seconds", "pairs", "one", "apples", "months", "MN", "Bn",
        ] {
            assert_eq!(factor(word), None, "{word}");
        }
        assert!(is_numeral("one") && is_numeral("elevenths") && !is_numeral("seconds"));
    }
}
