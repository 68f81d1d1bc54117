//! What an answer says: a number where it is one, otherwise its text in one spelling.
//!
//! This is the seam for a grader that understands expressions: a new variant of [`Value`], read in [`parse`] and
//! compared in [`crate::compare`].

use num_rational::BigRational;

use crate::limits::MAX_NESTING;
use crate::notation::{Spelled, clean, group_end, split_command};
use crate::number::{NumberTooLarge, parse_number};

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A number, exactly.
    Number(BigRational),
    /// Anything else, in one spelling.
    Text(String),
}

/// A value with what stood beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) value: Value,
    pub(crate) label: Option<String>,
    pub(crate) unit: Option<String>,
}

/// Why nothing can be made of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// It is blank or punctuation.
    #[error("nothing to compare")]
    Incomparable,
    /// It asks for a number beyond the limits.
    #[error(transparent)]
    TooLarge(#[from] NumberTooLarge),
}

/// Reads an answer or a ground truth.
pub(crate) fn parse(raw: &str) -> Result<Parsed, ParseError> {
    let Spelled { body, label, unit } = clean(raw);
    if let Some(number) = parse_number(&body)? {
        return Ok(Parsed {
            value: Value::Number(number),
            label,
            unit,
        });
    }
    if !is_comparable(&body) {
        return Err(ParseError::Incomparable);
    }
    Ok(Parsed {
        value: Value::Text(normalise(&body)),
        label,
        unit,
    })
}

/// Whether a text holds more than spaces, brackets and punctuation.
fn is_comparable(text: &str) -> bool {
    let says_nothing = |next: char| next.is_whitespace() || next.is_control() || ".,;:!?'\"`\\{}()[]$~".contains(next);
    !text.chars().all(says_nothing)
}

/// One spelling for texts that differ in spaces and braces only: `\sqrt3` is `\sqrt{3}`, `x ^ 2` is `x^{2}`.
fn normalise(text: &str) -> String {
    let mut normalised = String::with_capacity(text.len() + 8);
    write_normalised(text, MAX_NESTING, &mut normalised);
    normalised
}

fn write_normalised(text: &str, depth: usize, out: &mut String) {
    if depth == 0 {
        out.push_str(text);
        return;
    }
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let after = &rest[next.len_utf8()..];
        match next {
            ' ' => {
                // `1 2` is not `12`; every other space is for the eye.
                rest = after.trim_start_matches(' ');
                if ends_in_digit(out) && starts_with_digit(rest) {
                    out.push(' ');
                }
            }
            '.' if !ends_in_digit(out) && starts_with_digit(after) => {
                out.push_str("0.");
                rest = after;
            }
            '^' | '_' => {
                out.push(next);
                rest = write_argument(after, depth, out);
            }
            '\\' => {
                let (command, after_command) = split_command(rest);
                out.push_str(command);
                rest = match command {
                    "\\frac" => write_argument(write_argument(after_command, depth, out), depth, out),
                    "\\sqrt" => write_root(after_command, depth, out),
                    _ => after_command,
                };
            }
            _ => {
                out.push(next);
                rest = after;
            }
        }
    }
}

/// Writes the next argument in braces, which LaTeX lets one leave out around a single token, and returns what follows.
fn write_argument<'a>(text: &'a str, depth: usize, out: &mut String) -> &'a str {
    let text = text.trim_start_matches(' ');
    let Some(first) = text.chars().next() else {
        return text;
    };
    let (content, rest) = match first {
        '{' => {
            let inner = &text[1..];
            let Some(end) = group_end(inner) else {
                // Unbalanced: nothing to wrap, and the brace itself is copied with what follows.
                out.push('{');
                return inner;
            };
            (&inner[..end], &inner[end + 1..])
        }
        '\\' => split_command(text),
        _ => text.split_at(first.len_utf8()),
    };
    out.push('{');
    if first == '{' {
        write_normalised(content, depth - 1, out);
    } else {
        out.push_str(content);
    }
    out.push('}');
    rest
}

/// The degree of a root, if it has one, then what it is of.
fn write_root<'a>(text: &'a str, depth: usize, out: &mut String) -> &'a str {
    let text = text.trim_start_matches(' ');
    let degree = text.strip_prefix('[').and_then(|inner| inner.split_once(']'));
    let Some((degree, rest)) = degree else {
        return write_argument(text, depth, out);
    };
    out.push('[');
    write_normalised(degree, depth - 1, out);
    out.push(']');
    write_argument(rest, depth, out)
}

fn ends_in_digit(text: &str) -> bool {
    text.ends_with(|last: char| last.is_ascii_digit())
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_text_one_spelling() {
        for (text, expected) in [
            ("( 1 , 2 )", "(1,2)"),
            ("x + 1", "x+1"),
            ("1 2", "1 2"),
            ("\\sqrt3", "\\sqrt{3}"),
            ("\\sqrt 3", "\\sqrt{3}"),
            ("\\sqrt{3}", "\\sqrt{3}"),
            ("\\sqrt[3]2", "\\sqrt[3]{2}"),
            ("\\sqrt\\pi", "\\sqrt{\\pi}"),
            ("\\frac12x", "\\frac{1}{2}x"),
            ("\\frac{a}b", "\\frac{a}{b}"),
            ("\\frac{\\sqrt2}{2}", "\\frac{\\sqrt{2}}{2}"),
            ("x^2 + x ^ {3}", "x^{2}+x^{3}"),
            ("a_1", "a_{1}"),
            ("(.5, x)", "(0.5,x)"),
            ("\\frac", "\\frac"),
            ("x^", "x^"),
        ] {
            assert_eq!(normalise(text), expected, "{text:?}");
        }
    }

    #[test]
    fn tells_numbers_texts_and_nothing_apart() {
        assert!(matches!(parse("$1,000$").unwrap().value, Value::Number(_)));
        assert!(matches!(parse("x+1").unwrap().value, Value::Text(_)));
        assert!(matches!(parse("<").unwrap().value, Value::Text(_)));
        for nothing in [
            "", " ", ",", ",,,,", "{}", "$$", "()", "...", "\\,", "\\", "\\text{}", "\\$",
        ] {
            assert_eq!(parse(nothing), Err(ParseError::Incomparable), "{nothing:?}");
        }
        assert!(matches!(parse("10 \\times 10^{9999}"), Err(ParseError::TooLarge(_))));
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let deep = format!("{}x{}", "\\sqrt{".repeat(5000), "}".repeat(5000));
        assert!(parse(&deep).is_ok());
    }
}
