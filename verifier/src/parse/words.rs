//! Words that are values: small numbers, the empty set, the real line.

use compact_str::CompactString;
use dashu_ratio::RBig;

use super::scale;

/// Whether a phrase in lower case stands for all real numbers.
pub(super) fn is_all_reals(phrase: &str) -> bool {
    matches!(
        phrase,
        "all real numbers"
            | "all reals"
            | "all real"
            | "all real values"
            | "all the real numbers"
            | "any real number"
            | "every real number"
            | "the reals"
            | "the real numbers"
            | "real numbers"
            | "set of real numbers"
            | "the set of real numbers"
            | "set of all real numbers"
            | "the set of all real numbers"
    )
}

/// Whether a phrase in lower case says that there is nothing.
pub(super) fn is_nothing(phrase: &str) -> bool {
    matches!(
        phrase,
        "no solution"
            | "no solutions"
            | "no real solution"
            | "no real solutions"
            | "no solution exists"
            | "no solutions exist"
            | "there is no solution"
            | "there are no solutions"
            | "there is no real solution"
            | "there are no real solutions"
            | "the equation has no solution"
            | "the equation has no solutions"
            | "the equation has no real solution"
            | "the equation has no real solutions"
            | "the system has no solution"
            | "the system has no solutions"
            | "empty set"
            | "the empty set"
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

/// A number in words, or such a number of fractions: `two thirds`, `five million`, `five hundred thousand`, `one half`.
pub(super) fn value(phrase: &str) -> Option<RBig> {
    if let Some(number) = number(phrase) {
        return Some(RBig::from(number));
    }
    let (count, last) = phrase.trim().rsplit_once([' ', '-'])?;
    let Some(count) = number(count) else {
        return number_of_powers(phrase);
    };
    let factor = scale::factor(last)?;
    // `twenty third` and `five hundredth` are places in an order.
    let is_place = factor < RBig::ONE && (count > 19 || count > 1 && !last.ends_with('s') || factor < least_fraction());
    let is_half = matches!(last, "half" | "halves");
    (!is_place || is_half && count < 20).then(|| RBig::from(count) * factor)
}

/// `five hundred thousand`, `twenty thousand million`, `a million`.
fn number_of_powers(phrase: &str) -> Option<RBig> {
    let words: Vec<&str> = phrase.split([' ', '-']).filter(|word| !word.is_empty()).collect();
    let first = words
        .iter()
        .take_while(|word| scale::product(std::iter::once(**word)).is_none())
        .count();
    let (count, powers) = words.split_at(first);
    let count = match count {
        ["a"] => 1,
        [_] | [_, _] => number(&count.join(" "))?,
        _ => return None,
    };
    Some(RBig::from(count) * scale::product(powers.iter().copied())?)
}

/// Whether a word is made of pairs of one letter, as genotypes are: `Aa`, `AaBb`. Their case counts. `II` is a number.
pub(super) fn is_genotype(word: &str) -> bool {
    let pairs = word.as_bytes().chunks(2);
    let is_pair = |pair: &[u8]| {
        matches!(pair, [first, second] if first.is_ascii_alphabetic() && first.eq_ignore_ascii_case(second))
            && !pair[0].eq_ignore_ascii_case(&b'i')
    };
    !word.is_empty() && word.len() <= 8 && pairs.into_iter().all(is_pair)
}

/// A word in lower case, unless its case counts.
pub(super) fn folded(word: &str) -> CompactString {
    if is_genotype(word) {
        CompactString::from(word)
    } else {
        word.to_lowercase().into()
    }
}

/// Words of three letters at most that answers are.
const SHORT: [&str; 32] = [
    "yes", "no", "odd", "one", "two", "six", "ten", "all", "red", "mon", "tue", "wed", "thu", "fri", "sat", "sun",
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "dog", "cat", "tie", "dne",
];

/// Whether two spellings are one word.
pub fn is_same_word(left: &str, right: &str) -> bool {
    // A letter alone names a choice. Letters that stand side by side are variables as often as a word: `mgh` is no `MGH`.
    let is_word = left.len() > 3 || left.len() == 1 || SHORT.contains(&left.to_lowercase().as_str());
    left == right || is_word && folded(left) == folded(right)
}

/// Phrases that say one thing, in lower case.
const SAYINGS: [&[&str]; 7] = [
    &[
        "dne",
        "does not exist",
        "d.n.e.",
        "it does not exist",
        "the limit does not exist",
        "limit does not exist",
        "doesn ' t exist",
        "it doesn ' t exist",
        "the limit doesn ' t exist",
    ],
    &["positive infinity", "plus infinity"],
    &[
        "converges",
        "convergent",
        "it converges",
        "the series converges",
        "the series is convergent",
    ],
    &[
        "diverges",
        "divergent",
        "it diverges",
        "the series diverges",
        "the series is divergent",
    ],
    &["undefined", "not defined", "is undefined", "it is undefined"],
    &[
        "infinitely many",
        "infinitely many solutions",
        "infinite solutions",
        "there are infinitely many solutions",
        "there are infinitely many",
        "an infinite number",
        "an infinite number of solutions",
    ],
    &["neither", "neither of them", "neither of the two"],
];

/// Whether two phrases in lower case say one thing.
pub fn say_the_same(phrase: &str, other: &str) -> bool {
    let holds = |saying: &&[&str]| saying.contains(&phrase) && saying.contains(&other);
    without_article(phrase) == without_article(other) || SAYINGS.iter().any(holds)
}

/// `an ellipse` without its article.
fn without_article(phrase: &str) -> &str {
    let articles = ["a ", "an ", "the "];
    let bare = articles.iter().find_map(|article| phrase.strip_prefix(article));
    bare.unwrap_or(phrase)
}

/// Whether a run of capitals is a number in Roman digits below forty, of two at least.
pub fn is_roman(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|digit| matches!(digit, b'I' | b'V' | b'X'))
}

/// Smaller fractions are rather written in digits.
fn least_fraction() -> RBig {
    RBig::ONE / RBig::from(99)
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
