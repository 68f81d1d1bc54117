//! Numerals: `42`, `1,000`, `1{,}000`, `1\,000`, `3.50`, `.5`, `1.39e9`, `0.\overline{27}`, `0.(3)`.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use crate::limits::MAX_EXPONENT;

/// A numeral at the start of a text.
#[derive(Debug, PartialEq)]
pub(super) struct Numeral {
    pub(super) value: RBig,
    /// Digits after the decimal point, if there is one.
    pub(super) places: Option<u32>,
    /// Bytes that it takes.
    pub(super) length: usize,
    /// Whether a bare comma was taken for a separator of thousands.
    pub(super) joined_comma: bool,
}

/// Separators that can only be those of thousands.
const THIN_SEPARATORS: [&str; 16] = [
    "~",
    "\\thinspace ",
    "\\thinspace",
    "\\text{,}",
    "\\mathord{,}",
    "{\\,}",
    "{,}",
    ",\\!",
    ",\\! ",
    "\\,",
    "\\;",
    "\\ ",
    "\u{2009}",
    "\u{202f}",
    "\u{a0}",
    " ",
];

/// Reads the numeral at the start of the text, which is a digit, or a point and a digit. `joins_commas` says whether
/// `1,000` is one numeral; a plain numeral is a run of digits, as in a subscript.
pub(super) fn read(text: &str, joins_commas: bool, plain: bool) -> Numeral {
    let mut length = digit_run(text);
    let mut joined_comma = false;
    let grouped;
    let mut digits = &text[..length];
    if !plain && (1..=3).contains(&length) && !digits.starts_with('0') {
        let mut joined = String::new();
        while let Some((separator, group)) = next_group(&text[length..], joins_commas) {
            // What follows may be a fraction, `2 \frac…`, or a list; three digits after a space are no fraction.
            if joined.is_empty() {
                joined.push_str(digits);
            }
            joined.push_str(group);
            // `000` is no item of a list.
            joined_comma |= separator == "," && !group.starts_with('0');
            length += separator.len() + group.len();
        }
        if !joined.is_empty() {
            grouped = joined;
            digits = &grouped;
        }
    }
    let integer = parse_digits(digits);
    if plain {
        return Numeral {
            value: RBig::from(integer),
            places: None,
            length,
            joined_comma,
        };
    }
    let mut value = RBig::from(integer);
    let mut places = None;
    if let Some(fraction) = text[length..].strip_prefix('.') {
        let grouped_fraction;
        let (fraction, separators) = match grouped_places(fraction) {
            Some((digits, rest)) => {
                let separators = fraction.len() - rest.len() - digits.len();
                grouped_fraction = digits + rest;
                (grouped_fraction.as_str(), separators)
            }
            None => (fraction, 0),
        };
        let run = digit_run(fraction);
        let mut dotted = String::new();
        let repeating = match dotted_group(&fraction[run..], &mut dotted) {
            Some(taken) => Some((dotted.as_str(), taken)),
            None => repeating_group(&fraction[run..]),
        };
        if run > 0 || repeating.is_some() {
            length += 1 + run + separators;
            places = Some(u32::try_from(run).unwrap_or(u32::MAX));
            value += fraction_of(&fraction[..run], run);
            if let Some((period, taken)) = repeating {
                length += taken;
                places = None;
                value += repeating_part(period, run);
            }
        } else if !fraction.starts_with('.') && !continues_in_letters(fraction) {
            // `300.` at the end of a sentence.
            length += 1;
        }
    }
    if let Some((exponent, taken)) = exponent(&text[length..]) {
        length += taken;
        value *= power_of_ten(exponent);
        places = None;
    }
    Numeral {
        value,
        places,
        length,
        joined_comma,
    }
}

/// The digits behind a point in groups of three, `141\,592`, and what follows them. None if they are not grouped.
fn grouped_places(text: &str) -> Option<(String, &str)> {
    if digit_run(text) != 3 {
        return None;
    }
    let (first, mut rest) = text.split_at(3);
    let mut digits = first.to_owned();
    for _ in 0..MOST_GROUPS {
        let Some(after) = ["\\,", "\u{2009}", "\u{202f}"]
            .iter()
            .find_map(|thin| rest.strip_prefix(thin))
        else {
            break;
        };
        let run = digit_run(after);
        if !(1..=3).contains(&run) {
            break;
        }
        digits.push_str(&after[..run]);
        rest = &after[run..];
        if run < 3 {
            break;
        }
    }
    (digits.len() > 3).then_some((digits, rest))
}

/// Most groups of digits behind a point.
const MOST_GROUPS: usize = 32;

/// Whether a numeral begins with this point: `.5`, `.\overline3`.
pub(super) fn begins_with_point(text: &str) -> bool {
    let behind = &text[1..];
    behind.starts_with(|next: char| next.is_ascii_digit())
        || behind.starts_with('\\')
            && (dotted_digit(behind, &mut String::new()).is_some() || repeating_group(behind).is_some())
}

/// Whether letters stand for the digits behind a point: `0.\overline{ab}`, `0.abc`.
pub(super) fn continues_in_letters(text: &str) -> bool {
    let accents = [
        "\\overline",
        "\\bar",
        "\\dot",
        "\\underline",
        "\\mathrm",
        "\\mathit",
        "\\underbrace",
    ];
    text.starts_with(|next: char| next.is_ascii_alphabetic()) || accents.iter().any(|accent| text.starts_with(accent))
}

fn digit_run(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Whether three digits follow a separator of thousands, and no fourth.
fn next_group(text: &str, joins_commas: bool) -> Option<(&str, &str)> {
    let comma = text.starts_with(',') && joins_commas;
    let candidates = THIN_SEPARATORS.iter().copied().chain(comma.then_some(","));
    for separator in candidates {
        if let Some(after) = text.strip_prefix(separator)
            && digit_run(after) == 3
        {
            return Some((&text[..separator.len()], &after[..3]));
        }
    }
    None
}

fn parse_digits(digits: &str) -> UBig {
    if digits.len() <= 18 {
        return UBig::from(digits.parse::<u64>().unwrap_or(0));
    }
    digits.parse().unwrap_or(UBig::ZERO)
}

fn fraction_of(digits: &str, places: usize) -> RBig {
    RBig::from_parts(IBig::from(parse_digits(digits)), ten_to(places))
}

/// The digits that repeat, in one of the spellings, and the bytes that they take.
fn repeating_group(text: &str) -> Option<(&str, usize)> {
    for (open, close) in [("\\overline{", "}"), ("\\bar{", "}"), ("\\dot{", "}"), ("(", ")")] {
        if let Some(after) = text.strip_prefix(open) {
            let run = digit_run(after);
            if run > 0 && after[run..].starts_with(close) {
                return Some((&after[..run], open.len() + run + close.len()));
            }
        }
    }
    let after = ["\\overline", "\\bar", "\\dot"]
        .iter()
        .find_map(|command| text.strip_prefix(command))?;
    let trimmed = after.trim_start();
    let is_digit = trimmed.starts_with(|next: char| next.is_ascii_digit());
    is_digit.then(|| (&trimmed[..1], text.len() - trimmed.len() + 1))
}

/// The digits from one with a dot to the next with a dot, `\dot{1}4285\dot{7}`, which repeat, and the bytes that they
/// take.
fn dotted_group(text: &str, period: &mut String) -> Option<usize> {
    let mut rest = dotted_digit(text, period)?;
    loop {
        let trimmed = rest.trim_start();
        let run = digit_run(trimmed);
        period.push_str(&trimmed[..run]);
        rest = trimmed[run..].trim_start();
        if rest.starts_with("\\dot") {
            return dotted_digit(rest, period).map(|rest| text.len() - rest.len());
        }
        if run == 0 {
            return None;
        }
    }
}

/// What follows a digit with a dot, which is added to the period.
fn dotted_digit<'t>(text: &'t str, period: &mut String) -> Option<&'t str> {
    let after = text.strip_prefix("\\dot")?.trim_start();
    let is_grouped = after.starts_with('{');
    let digit = after.strip_prefix('{').unwrap_or(after).trim_start();
    if !digit.starts_with(|next: char| next.is_ascii_digit()) {
        return None;
    }
    period.push_str(&digit[..1]);
    let rest = &digit[1..];
    if is_grouped {
        rest.trim_start().strip_prefix('}')
    } else {
        Some(rest)
    }
}

/// The value of digits that repeat without end, `places` places after the point.
fn repeating_part(period: &str, places: usize) -> RBig {
    let nines = ten_to(period.len()) - UBig::ONE;
    RBig::from_parts(IBig::from(parse_digits(period)), nines * ten_to(places))
}

/// `e9`, `E-5`, `e+10` directly after the digits, not followed by more letters.
fn exponent(text: &str) -> Option<(i32, usize)> {
    let after = text.strip_prefix(['e', 'E'])?;
    let digits = after.strip_prefix(['+', '-']).unwrap_or(after);
    let run = digit_run(digits);
    let ends = !digits[run..].starts_with(|next: char| next.is_ascii_alphabetic() || next == '^' || next == '.');
    if run == 0 || run > 5 || !ends {
        return None;
    }
    let magnitude: i32 = digits[..run].parse().ok()?;
    let exponent = if after.starts_with('-') { -magnitude } else { magnitude };
    let is_bounded = exponent.unsigned_abs() <= MAX_EXPONENT;
    is_bounded.then(|| (exponent, text.len() - digits.len() + run))
}

fn power_of_ten(exponent: i32) -> RBig {
    let power = ten_to(exponent.unsigned_abs() as usize);
    if exponent < 0 {
        RBig::from_parts(IBig::ONE, power)
    } else {
        RBig::from(power)
    }
}

fn ten_to(places: usize) -> UBig {
    UBig::from(10u8).pow(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> (String, usize) {
        let read = read(text, true, false);
        (read.value.to_string(), read.length)
    }

    #[test]
    fn reads_every_spelling() {
        for (text, expected, length) in [
            ("42", "42", 2),
            ("42x", "42", 2),
            ("007", "7", 3),
            ("1,000", "1000", 5),
            ("1,000,000.5", "2000001/2", 11),
            ("1{,}000", "1000", 7),
            ("1,\\!000", "1000", 7),
            ("11,\\! 111", "11111", 9),
            ("1\\,000", "1000", 6),
            ("1 000", "1000", 5),
            ("1,00", "1", 1),
            ("1,0000", "1", 1),
            ("1234,567", "1234", 4),
            ("0,123", "0", 1),
            ("3.50", "7/2", 4),
            (".5", "1/2", 2),
            ("300.", "300", 4),
            ("3...", "3", 1),
            ("1.39e9", "1390000000", 6),
            ("1.45E-5", "29/2000000", 7),
            ("2e", "2", 1),
            ("2e^3", "2", 1),
            ("2ex", "2", 1),
            ("0.\\overline{27}", "3/11", 15),
            ("0.3\\overline{6}", "11/30", 15),
            ("0.\\dot{1}4285\\dot{7}", "1/7", 20),
            ("0.\\dot1 4285 \\dot 7", "1/7", 19),
            ("0.1\\dot{3}\\dot{6}", "3/22", 17),
            ("0.\\dot{3}", "1/3", 9),
            ("0.\\dot3", "1/3", 7),
            ("0.1\\dot 6", "1/6", 9),
            ("0.(3)", "1/3", 5),
            (".\\overline3", "1/3", 11),
            (".1\\overline{6}", "1/6", 14),
            ("9007199254740993", "9007199254740993", 16),
        ] {
            assert_eq!(value(text), (expected.to_owned(), length), "{text:?}");
        }
    }

    #[test]
    fn says_when_a_comma_might_separate() {
        assert!(read("1,234", true, false).joined_comma);
        assert!(!read("1,000", true, false).joined_comma);
        assert!(!read("1{,}000", true, false).joined_comma);
        assert_eq!(read("1,000", false, false).length, 1);
    }
}
