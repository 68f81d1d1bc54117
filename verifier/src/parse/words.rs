//! Words that are values: small numbers, the empty set, the real line.

/// Whether a phrase in lower case stands for all real numbers.
pub(super) fn is_all_reals(phrase: &str) -> bool {
    matches!(
        phrase,
        "all real numbers" | "all reals" | "all real" | "the real numbers" | "real numbers" | "the set of real numbers"
    )
}

/// Whether a phrase in lower case says that there is nothing.
pub(super) fn is_nothing(phrase: &str) -> bool {
    matches!(
        phrase,
        "no solution" | "no solutions" | "no real solution" | "no real solutions" | "empty set" | "the empty set"
    )
}

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

const TENS: [&str; 8] = [
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

/// A number below a hundred in words, in lower case: `seven`, `twenty-one`.
pub(super) fn number(phrase: &str) -> Option<i64> {
    let mut words = phrase.split([' ', '-']).filter(|word| !word.is_empty());
    let (first, second, rest) = (words.next()?, words.next(), words.next());
    let small = |word: &str| SMALL.iter().position(|known| *known == word);
    let value = match (small(first), second) {
        (Some(value), None) => value,
        (None, _) => {
            let tens = 10 * (2 + TENS.iter().position(|known| *known == first)?);
            match second {
                Some(second) => tens + small(second).filter(|value| (1..10).contains(value))?,
                None => tens,
            }
        }
        _ => return None,
    };
    rest.is_none().then(|| i64::try_from(value).ok())?
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn reads_numbers_in_words() {
        for (phrase, value) in [
            ("zero", Some(0)),
            ("twelve", Some(12)),
            ("twenty", Some(20)),
            ("twenty one", Some(21)),
            ("ninety-nine", Some(99)),
            ("forty - two", Some(42)),
            ("twenty eleven", None),
            ("two one", None),
            ("twenty one two", None),
            ("", None),
        ] {
            assert_eq!(number(phrase), value, "{phrase:?}");
        }
    }
}
