//! Splits what stands beside a value off it: a label on its left (`x = 5`), a unit on its right (`5 \text{ cm}`).
//!
//! Both are set aside rather than dropped. An answer without a unit equals a ground truth with one, but `5 cm` is not
//! `5 m` and `x = 5` is not `y = 5`.

use crate::notation::{group_end, typographic_content};
use crate::number::parse_number;

/// Longest label that is set aside, in characters.
const MAX_LABEL_CHARS: usize = 2;

/// Words that carry meaning of their own: a text that holds one is no unit.
const MEANINGFUL_WORDS: [&str; 41] = [
    "or", "and", "to", "not", "no", "none", "if", "when", "only", "unless", "for", "mod", "modulo", "in", "is", "than",
    "plus", "minus", "times", "over", "divided", "base", "root", "pi", "e", "i", "half", "halves", "third", "thirds",
    "quarter", "quarters", "hundred", "thousand", "million", "billion", "trillion", "dozen", "less", "more", "from",
];

/// Spellings of one unit.
const UNIT_SPELLINGS: [(&str, &str); 28] = [
    ("percent", "%"),
    ("degree", "°"),
    ("dollar", "$"),
    ("cent", "¢"),
    ("meter", "m"),
    ("metre", "m"),
    ("centimeter", "cm"),
    ("centimetre", "cm"),
    ("millimeter", "mm"),
    ("millimetre", "mm"),
    ("kilometer", "km"),
    ("kilometre", "km"),
    ("inche", "in"),
    ("inch", "in"),
    ("feet", "ft"),
    ("foot", "ft"),
    ("yard", "yd"),
    ("mile", "mi"),
    ("second", "s"),
    ("sec", "s"),
    ("minute", "min"),
    ("hour", "h"),
    ("hr", "h"),
    ("gram", "g"),
    ("kilogram", "kg"),
    ("liter", "l"),
    ("litre", "l"),
    ("sq", "square"),
];

/// Splits `x = 5` into its label and the rest, where the label is short and names something.
pub(crate) fn split_label(text: &str) -> (Option<&str>, &str) {
    let Some((left, right)) = text.split_once('=') else {
        return (None, text);
    };
    let label = left.trim();
    let names_something = label.starts_with(char::is_alphabetic) && label.chars().all(char::is_alphanumeric);
    if right.contains('=') || !names_something || label.chars().count() > MAX_LABEL_CHARS {
        return (None, text);
    }
    (Some(label), right.trim())
}

/// Splits a unit off the end of a text.
pub(crate) fn split_unit(text: &str) -> (&str, Option<String>) {
    for sign in ["%", "°"] {
        if let Some(value) = text.strip_suffix(sign) {
            return (value.trim_end(), Some(sign.to_owned()));
        }
    }
    split_unit_in_words(text).map_or((text, None), |(value, unit)| (value, Some(unit)))
}

/// Splits `5 \text{ cm}^2` into `5` and `cm^2`.
fn split_unit_in_words(text: &str) -> Option<(&str, String)> {
    let (without_exponent, exponent) = split_exponent(text);
    let start = without_exponent.rfind('\\')?;
    let (value, wrapped) = without_exponent.split_at(start);
    let content = typographic_content(wrapped)?;
    let value = value.trim_end_matches([' ', '~']);
    // Beside anything but a number, only what is set apart by a space is read as a unit.
    let set_apart = content.starts_with([' ', '~']) || value.len() < start;
    let holds_digit = value.contains(|next: char| next.is_ascii_digit());
    if !holds_digit || (!set_apart && !matches!(parse_number(value), Ok(Some(_)))) {
        return None;
    }
    let words = unit_words(content)?;
    Some((value, format!("{words}{exponent}")))
}

/// Splits `^2`, `^{2}` off the end.
fn split_exponent(text: &str) -> (&str, &'static str) {
    for (suffix, exponent) in [("^2", "^2"), ("^{2}", "^2"), ("^3", "^3"), ("^{3}", "^3")] {
        if let Some(rest) = text.strip_suffix(suffix) {
            return (rest, exponent);
        }
    }
    (text, "")
}

/// The words of a unit in one spelling, or nothing if they are none.
fn unit_words(content: &str) -> Option<String> {
    let is_word_text = |next: char| next.is_alphabetic() || matches!(next, ' ' | '~' | '/' | '.' | '-');
    if !content.chars().all(is_word_text) {
        return None;
    }
    let mut words = Vec::new();
    for word in content.split([' ', '~', '-', '.']).filter(|word| !word.is_empty()) {
        let lower = word.to_lowercase();
        if MEANINGFUL_WORDS.contains(&lower.as_str()) {
            return None;
        }
        let singular = if lower.len() > 2 {
            lower.strip_suffix('s').unwrap_or(&lower)
        } else {
            &lower
        };
        let spelling = UNIT_SPELLINGS.iter().find(|(name, _)| *name == singular);
        words.push(spelling.map_or(singular, |(_, symbol)| symbol).to_owned());
    }
    if words.is_empty() { None } else { Some(words.join(" ")) }
}

/// The text inside `{…}` if the braces enclose all of it.
pub(crate) fn braced_content(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('{')?;
    let end = group_end(inner)?;
    if end + 1 == inner.len() {
        Some(&inner[..end])
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_short_labels_aside() {
        assert_eq!(split_label("x = 5"), (Some("x"), "5"));
        assert_eq!(split_label("AB=5"), (Some("AB"), "5"));
        for whole in ["5", "x<=5", "abc=5", "0=5", "x=y=5", "=5", "f(x)=5", "x'=5", "-x=5"] {
            assert_eq!(split_label(whole), (None, whole));
        }
    }

    #[test]
    fn sets_units_aside() {
        for (text, value, unit) in [
            ("50%", "50", "%"),
            ("29°", "29", "°"),
            ("5 \\text{ cm}", "5", "cm"),
            ("5\\text{ cm}", "5", "cm"),
            ("5\\text{cm}", "5", "cm"),
            ("5~\\mathrm{cm}^2", "5", "cm^2"),
            ("5 \\text{ centimeters}^{3}", "5", "cm^3"),
            ("5 \\text{ square feet}", "5", "square ft"),
            ("240\\text{ ways.}", "240", "way"),
            ("4\\text{ percent}", "4", "%"),
            ("6\\sqrt{3} \\text{ inches}", "6\\sqrt{3}", "in"),
            ("30 \\text{ km/h}", "30", "km/h"),
        ] {
            assert_eq!(split_unit(text), (value, Some(unit.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn leaves_what_carries_meaning() {
        for text in [
            "5",
            "\\text{cm}",
            "5 \\text{ or 6}",
            "5 \\text{ or }",
            "5 \\text{ million}",
            "5 \\text{ if positive}",
            "x\\text{th}",
            "5\\sqrt{2}",
            "5x^2",
            "\\text{no} \\text{ cm}",
            "5\\text{}",
            "A\\text{B}",
            "2\\text{i}",
            "5 \\text{ and } 6",
            "x 2\\text{ab}",
        ] {
            assert_eq!(split_unit(text), (text, None), "{text:?}");
        }
        // A second guess is no part of a unit: what is left is no number.
        assert_eq!(split_unit("1 \\text{ or } \\text{ two}").0, "1 \\text{ or }");
    }
}
