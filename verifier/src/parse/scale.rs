//! Words behind a number that multiply or divide it: `5 \text{ million}`, `3 \text{ dozens}`, `2 \text{ sevenths}`.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

/// Words that multiply, with the power of ten that they stand for.
const POWERS: [(&str, usize); 31] = [
    ("ten", 1),
    ("hundred", 2),
    ("thousand", 3),
    ("myriad", 4),
    ("lakh", 5),
    ("lac", 5),
    ("million", 6),
    ("crore", 7),
    ("billion", 9),
    ("milliard", 9),
    ("kharab", 11),
    ("trillion", 12),
    ("quadrillion", 15),
    ("quintillion", 18),
    ("sextillion", 21),
    ("septillion", 24),
    ("octillion", 27),
    ("nonillion", 30),
    ("decillion", 33),
    ("undecillion", 36),
    ("duodecillion", 39),
    ("tredecillion", 42),
    ("quattuordecillion", 45),
    ("quindecillion", 48),
    ("sexdecillion", 51),
    ("septendecillion", 54),
    ("octodecillion", 57),
    ("novemdecillion", 60),
    ("vigintillion", 63),
    ("centillion", 303),
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
    if matches!(word.as_str(), "half" | "halves" | "halfs") {
        return Some(one_over(UBig::from(2u8)));
    }
    if let Some((.., value)) = NUMERALS.iter().find(|(_, ordinal, _)| *ordinal == singular) {
        return Some(one_over(UBig::from(*value)));
    }
    let power = singular.strip_suffix("th").and_then(power_of_ten)?;
    Some(one_over(UBig::from(10u8).pow(power)))
}

/// How many things a word in lower case is that counts them: a score of people are twenty. Not among words, where a score
/// is a number of points, and gross is what nothing was taken from.
pub(super) fn collective(word: &str) -> Option<RBig> {
    match word {
        "score" => Some(RBig::from(20)),
        "gross" => Some(RBig::from(144)),
        _ => None,
    }
}

/// The factor of parts in lower case that are smaller than percents: basis points are hundredths of those.
pub(super) fn part(words: &[&str]) -> Option<RBig> {
    match words {
        ["basis", "point" | "points"] => Some(one_over(UBig::from(10_000_u16))),
        ["permille" | "permil"] | ["per", "mille" | "mil"] => Some(one_over(UBig::from(1_000_u16))),
        _ => None,
    }
}

fn power_of_ten(word: &str) -> Option<usize> {
    POWERS.iter().find(|(name, _)| *name == word).map(|(_, power)| *power)
}

/// The factor of several words in lower case that multiply one after the other: `hundred thousand`, `thousand million`.
/// They grow. `hundred thousandths` may be hundreds of them or hundred-thousandths.
pub(super) fn product<'w>(words: impl Iterator<Item = &'w str>) -> Option<RBig> {
    let (mut total, mut last) = (0, 2);
    for word in words {
        let power = power_of_ten(word.strip_suffix('s').unwrap_or(word)).filter(|power| *power >= last)?;
        last = power;
        total += power;
    }
    (total > 0).then(|| RBig::from(UBig::from(10u8).pow(total)))
}

fn one_over(value: UBig) -> RBig {
    RBig::from_parts(IBig::ONE, value)
}

/// Words that end as the names of large numbers do, and are none.
const NO_NUMBERS: [&str; 5] = ["pillion", "cotillion", "postillion", "vermillion", "carillion"];

/// Whether a word in lower case is a numeral of any kind, known in size or not, so that it changes a number that it
/// stands beside: `seven`, `millionths`, `gazillion`, `tenfold`.
pub(super) fn is_numeral(word: &str) -> bool {
    let singular = word.strip_suffix('s').unwrap_or(word);
    let whole = singular.strip_suffix("th").unwrap_or(singular);
    is_known(word)
        || whole.ends_with("illiard")
        || whole.ends_with("illion") && !NO_NUMBERS.contains(&whole)
        || whole.contains("googol")
        || matches!(whole, "umpteen" | "eleventy" | "threescore" | "fourscore" | "manyfold" | "multifold")
        || singular.strip_suffix("fold").is_some_and(is_numeral)
        // `hundredthousand`
        || singular.len() > LONGEST_PREFIX && is_made_of_numerals(singular)
}

/// `thousand` and two letters: a word that is not longer is made of one numeral.
const LONGEST_PREFIX: usize = 8;

/// Whether a word is one numeral, or one directly behind another.
fn is_made_of_numerals(word: &str) -> bool {
    let names = POWERS
        .iter()
        .map(|(name, _)| *name)
        .chain(NUMERALS.iter().map(|(name, ..)| *name));
    is_known(word)
        || names
            .into_iter()
            .any(|name| word.strip_prefix(name).is_some_and(is_known))
}

fn is_known(word: &str) -> bool {
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
        for word in [
            "one",
            "elevenths",
            "gazillions",
            "zillionth",
            "billiard",
            "tenfold",
            "twofold",
            "hundredthousand",
        ] {
            assert!(is_numeral(word), "{word}");
        }
        for word in [
            "seconds",
            "pillion",
            "manifold",
            "scaffold",
            "fold",
            "tenants",
            "oneness",
            "attention",
        ] {
            assert!(!is_numeral(word), "{word}");
        }
        let product = |words: &str| product(words.split(' '));
        assert_eq!(product("hundred thousand"), factor("lakh"));
        assert_eq!(product("thousand million"), factor("billion"));
        for words in [
            "thousand hundred",
            "hundred thousandths",
            "ten thousand",
            "hundred people",
        ] {
            assert_eq!(product(words), None, "{words}");
        }
    }
}
