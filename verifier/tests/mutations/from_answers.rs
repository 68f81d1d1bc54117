//! Reads the answers of the data sets, each as far as its form is plain, and mutates them.
//!
//! These readers are not the grader's own, because no test could see what both misread in the same way.

use crate::collections::{matrix, set};
use crate::numbers::{decimal, decimal_value, in_base, integer, rational};
use crate::quantities::{degrees, money, percent, with_unit};
use crate::radicals::{complex, multiple_of_pi, square_root, sum_with_root};
use crate::rational::Rational;
use crate::sink::{Sink, Target};
use crate::structures::{End, Interval, tuple, union};
use crate::support::Random;
use crate::texts::{boxes, choice, letters, word};

/// Words that occur as answers of the data sets.
const WORDS: [&str; 9] = [
    "Thursday", "Sunday", "east", "Evelyn", "ellipse", "even", "odd", "neither", "orange",
];

/// All cases that can be made of one answer.
pub(crate) fn mutate(sink: &mut Sink, answer: &str, random: &mut Random) {
    let text = plain(answer);
    let before = sink.cases.len();
    recognised(sink, answer, &text);
    if sink.cases.len() == before {
        unrecognised(sink, answer);
    }
    if random.once_in(20) && !answer.contains('$') {
        boxes(sink, answer.trim(), random);
    }
}

/// The answer without what spelling leaves open: blanks, sizes of brackets and fractions, a full stop at the end.
fn plain(answer: &str) -> String {
    let text = answer
        .replace("\\left", "")
        .replace("\\right", "")
        .replace("\\dfrac", "\\frac")
        .replace("\\tfrac", "\\frac")
        .replace("\\!", "")
        .replace("{,}", ",")
        // `81, 256` is a list and `81,256` is not.
        .replace(", ", ";")
        .replace("\\mbox", "\\text")
        .replace("^{\\circ}", "^\\circ");
    let text = if text.contains("\\text") {
        text.trim().to_owned()
    } else {
        text.split_whitespace().collect()
    };
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn recognised(sink: &mut Sink, answer: &str, text: &str) {
    if let Some(value) = whole(text) {
        integer(&mut sink.about("int", answer), value);
    } else if decimal_value(text).is_some() {
        decimal(&mut sink.about("decimal", answer), text);
    } else if let Some(value) = number(text) {
        rational(&mut sink.about("rational", answer), value);
    } else if let Some(value) = text.strip_suffix("\\%").and_then(number) {
        percent(&mut sink.about("percent", answer), value);
    } else if let Some(value) = text.strip_prefix("\\$").and_then(number) {
        if 100 % value.denominator == 0 {
            money(
                &mut sink.about("money", answer),
                value.numerator * 100 / value.denominator,
            );
        }
    } else if let Some(value) = text.strip_suffix("^\\circ").and_then(number) {
        degrees(&mut sink.about("unit", answer), value);
    } else if let Some((value, unit)) = quantity(text) {
        with_unit(&mut sink.about("unit", answer), value, unit);
    } else if let Some((digits, base)) = based(text) {
        in_base(&mut sink.about("base_n", answer), digits, base);
    } else if let Some((factor, radicand)) = root(text) {
        square_root(&mut sink.about("radical", answer), factor, radicand);
    } else if let Some(factor) = text.strip_suffix("\\pi").and_then(factor) {
        multiple_of_pi(&mut sink.about("radical", answer), factor);
    } else if let Some((real, imaginary)) = complex_parts(text) {
        complex(&mut sink.about("complex", answer), real, imaginary);
    } else if let Some((whole, factor, radicand)) = root_sum(text) {
        sum_with_root(&mut sink.about("radical", answer), whole, factor, radicand);
    } else if let Some(pieces) = intervals(text) {
        union(&mut sink.about("interval", answer), &pieces);
    } else if let Some(entries) = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'))
        .and_then(numbers)
    {
        if entries.len() > 1 {
            tuple(&mut sink.about("tuple", answer), &entries);
        }
    } else if let Some(mut elements) = numbers(text) {
        let all = elements.clone();
        elements.sort();
        elements.dedup();
        if elements.len() == all.len() && all.len() > 1 {
            set(&mut sink.about("set", answer), &all);
        }
    } else if let Some(rows) = matrix_rows(text) {
        matrix(&mut sink.about("matrix", answer), &rows);
    } else {
        words(sink, answer, text);
    }
}

/// Mutates any answer as it stands: puts around it whatever may stand there, and changes one number in it.
fn unrecognised(sink: &mut Sink, answer: &str) {
    // Two values in one answer: which of them is changed matters.
    if answer.contains("\\approx") || answer.contains("= 56") {
        return;
    }
    let mut target = sink.about("expression", answer);
    target.same_wrapped();
    let trimmed = answer.trim();
    if trimmed.contains("\\frac") {
        target.same("\\frac written \\dfrac", trimmed.replace("\\frac", "\\dfrac"));
        target.same("\\frac written \\tfrac", trimmed.replace("\\frac", "\\tfrac"));
    }
    if trimmed.contains(" + ") {
        target.same("no spaces around +", trimmed.replace(" + ", "+"));
        target.same("thin spaces around +", trimmed.replace(" + ", "\\,+\\,"));
    }
    if trimmed.contains(" = ") {
        target.same("no spaces around =", trimmed.replace(" = ", "="));
    }
    if !trimmed.contains("\\text") && !trimmed.contains('$') {
        target.differs("equation of it", format!("q + 7 = {trimmed} r"));
        target.differs("plus an angle", format!("{trimmed}, 717"));
    }
    numbers_changed(&mut target, trimmed);
}

/// Every number in the text plus one, one at a time.
fn numbers_changed(target: &mut Target<'_>, text: &str) {
    let bytes = text.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        if !bytes[start].is_ascii_digit() {
            start += 1;
            continue;
        }
        let end = (start..bytes.len())
            .find(|index| !bytes[*index].is_ascii_digit())
            .unwrap_or(bytes.len());
        // In `\frac12` and `x^2y` a digit is a number of its own.
        let end = if text[..start].ends_with("frac") || text[..start].ends_with("frac ") || text[..start].ends_with('^')
        {
            start + 1
        } else {
            end
        };
        let digits = &text[start..end];
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        if let (false, Ok(value)) = (leading_zero, digits.parse::<u64>()) {
            let next = value + 1;
            // A longer number would be read otherwise after a bare `\frac` or `^`.
            if next.to_string().len() == digits.len() {
                target.differs("a number +1", format!("{}{next}{}", &text[..start], &text[end..]));
            }
        }
        start = end;
    }
}

/// `1234`, `-1,234`, `1,\!234`.
fn whole(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let groups: Vec<&str> = digits.split(',').collect();
    let well_grouped = groups.len() == 1 || (groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3));
    let all: String = groups.concat();
    if !well_grouped || all.is_empty() || all.len() > 18 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i128 = all.parse().ok()?;
    Some(if text.starts_with('-') { -value } else { value })
}

/// An integer, a decimal or a fraction of integers.
fn number(text: &str) -> Option<Rational> {
    if let Some(value) = whole(text) {
        return Some(Rational::integer(value));
    }
    if let Some(value) = decimal_value(text) {
        return Some(value);
    }
    if let Some(rest) = text.strip_prefix('-') {
        return if rest.starts_with('-') {
            None
        } else {
            number(rest).map(Rational::negated)
        };
    }
    if let Some((top, bottom)) = text.split_once('/') {
        return quotient(whole(top)?, whole(bottom)?);
    }
    let rest = text.strip_prefix("\\frac")?;
    let (top, rest) = argument(rest)?;
    let (bottom, rest) = argument(rest)?;
    if rest.is_empty() {
        quotient(whole(top)?, whole(bottom)?)
    } else {
        None
    }
}

fn quotient(top: i128, bottom: i128) -> Option<Rational> {
    (bottom != 0).then(|| Rational::new(top, bottom))
}

/// What stands in braces, or the first character; and what follows.
fn argument(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('{') {
        Some(rest) => rest.split_once('}'),
        None => text.chars().next().map(|first| text.split_at(first.len_utf8())),
    }
}

fn numbers(text: &str) -> Option<Vec<Rational>> {
    text.split([',', ';']).map(number).collect()
}

/// A factor that may be left out.
fn factor(text: &str) -> Option<Rational> {
    match text {
        "" => Some(Rational::integer(1)),
        "-" => Some(Rational::integer(-1)),
        _ => number(text),
    }
}

/// `a\sqrt{b}`, `\frac{a\sqrt{b}}{c}`.
fn root(text: &str) -> Option<(Rational, i128)> {
    if let Some(rest) = text.strip_prefix("\\frac{") {
        let (inner, bottom) = rest
            .split_once("}}{")
            .map(|(inner, bottom)| (format!("{inner}}}"), bottom))?;
        let (factor, radicand) = root(&inner)?;
        let bottom = whole(bottom.strip_suffix('}')?)?;
        return Some((factor.times(quotient(1, bottom)?), radicand));
    }
    let (front, radicand) = text.split_once("\\sqrt")?;
    let radicand = radicand
        .strip_prefix('{')
        .map_or(Some(radicand), |rest| rest.strip_suffix('}'))?;
    let radicand = whole(radicand)?;
    let square_free = radicand > 1 && (2..100).all(|divisor| radicand % (divisor * divisor) != 0);
    square_free.then_some((factor(front)?, radicand))
}

/// The last `+` or `-` that does not stand at the start, with the term behind it.
fn last_term(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_i32;
    let mut split = None;
    for (index, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            '+' | '-' if depth == 0 && index > 0 => split = Some(index),
            _ => {}
        }
    }
    split.map(|index| {
        (
            &text[..index],
            text[index..].strip_prefix('+').unwrap_or(&text[index..]),
        )
    })
}

fn complex_parts(text: &str) -> Option<(Rational, Rational)> {
    let (real, imaginary) = last_term(text)?;
    let (real, imaginary) = (number(real)?, factor(imaginary.strip_suffix('i')?)?);
    (real.numerator != 0 && imaginary.numerator != 0).then_some((real, imaginary))
}

fn root_sum(text: &str) -> Option<(i128, i128, i128)> {
    let (front, term) = last_term(text)?;
    let (factor, radicand) = root(term)?;
    let front = whole(front)?;
    (front != 0 && factor.is_integer()).then_some((front, factor.numerator, radicand))
}

/// A number with a unit in `\text`, of at least one letter.
fn quantity(text: &str) -> Option<(Rational, &str)> {
    let (front, unit) = text.split_once("\\text{")?;
    let unit = unit.strip_suffix('}')?.trim().trim_end_matches('.');
    let named = unit.len() > 1 && unit.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b' ');
    let value = number(&front.split_whitespace().collect::<String>())?;
    (named && unit != "degrees" && value.numerator > 0).then_some((value, unit))
}

fn based(text: &str) -> Option<(&str, u32)> {
    let (digits, base) = text.split_once('_')?;
    let base: u32 = base.trim_matches(['{', '}']).parse().ok()?;
    let valid = digits.chars().all(|digit| digit.is_digit(base.clamp(2, 10))) && (2..=16).contains(&base);
    (valid && !digits.starts_with('0') && !digits.is_empty()).then_some((digits, base))
}

fn intervals(text: &str) -> Option<Vec<Interval>> {
    let pieces: Vec<&str> = text.split("\\cup").collect();
    let single_open = pieces.len() == 1 && text.starts_with('(') && text.ends_with(')') && !text.contains("\\infty");
    if single_open {
        return None;
    }
    pieces.into_iter().map(interval).collect()
}

fn interval(text: &str) -> Option<Interval> {
    let closed_low = text.starts_with('[');
    let closed_high = text.ends_with(']');
    let inner = text.strip_prefix(['[', '('])?.strip_suffix([']', ')'])?;
    let (low, high) = inner.split_once([',', ';'])?;
    let end = |text: &str, closed: bool, infinite: &str| {
        if text == infinite {
            Some(End {
                value: None,
                closed: false,
            })
        } else {
            number(text).map(|value| End {
                value: Some(value),
                closed,
            })
        }
    };
    let interval = Interval {
        low: end(low, closed_low, "-\\infty")?,
        high: end(high, closed_high, "\\infty")?,
    };
    let whole_line = interval.low.value.is_none() && interval.high.value.is_none();
    (!whole_line).then_some(interval)
}

fn matrix_rows(text: &str) -> Option<Vec<Vec<Rational>>> {
    let inner = text.strip_prefix("\\begin{pmatrix}")?.strip_suffix("\\end{pmatrix}")?;
    let rows: Option<Vec<Vec<Rational>>> = inner
        .split("\\\\")
        .map(|row| row.split('&').map(number).collect())
        .collect();
    rows.filter(|rows| rows.len() > 1)
}

fn words(sink: &mut Sink, answer: &str, text: &str) {
    let inner = text
        .strip_prefix("\\text{")
        .and_then(|text| text.strip_suffix('}'))
        .unwrap_or(text);
    let bare: String = inner
        .chars()
        .filter(|character| !matches!(character, '(' | ')' | ' '))
        .collect();
    let parts: Vec<&str> = bare.split([',', ';']).collect();
    if parts
        .iter()
        .all(|part| part.len() == 1 && part.starts_with(|first: char| first.is_ascii_uppercase()))
    {
        let all: Vec<char> = bare.chars().filter(char::is_ascii_uppercase).collect();
        if all.len() == 1 {
            choice(&mut sink.about("text", answer), all[0]);
        } else {
            letters(&mut sink.about("text", answer), &all);
        }
    } else if text.starts_with("\\text{")
        && inner.len() > 2
        && inner.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b' ')
    {
        word(&mut sink.about("text", answer), inner, &WORDS);
    }
}
