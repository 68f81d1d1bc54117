//! The part of LaTeX's spelling that carries no meaning: spaces, sizes, fonts, delimiters, wrappers.

use crate::limits::MAX_NESTING;
use crate::unit::{braced_content, split_label, split_unit};

/// Commands that set text in a font.
const TYPOGRAPHIC_COMMANDS: [&str; 7] = [
    "\\text{",
    "\\textbf{",
    "\\textit{",
    "\\textrm{",
    "\\mathrm{",
    "\\mathbf{",
    "\\mbox{",
];

/// An answer or a ground truth, without what only dresses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spelled {
    /// What is left of it.
    pub(crate) body: String,
    /// What it was equated with, such as `x`.
    pub(crate) label: Option<String>,
    /// What it was measured in.
    pub(crate) unit: Option<String>,
}

/// Takes the dress off.
pub(crate) fn clean(raw: &str) -> Spelled {
    let (text, is_money) = rewrite_commands(raw);
    let unwrapped = unwrap_all(&text);
    let (label, value) = split_label(unwrapped);
    let sentence = unwrap_all(value);
    let value = sentence
        .strip_suffix('.')
        .filter(|rest| !rest.ends_with('.'))
        .unwrap_or(sentence);
    let (value, mut unit) = split_unit(value);
    if is_money {
        unit = unit
            .filter(|unit| unit != "$" && unit != "%")
            .or_else(|| Some("$".to_owned()));
    }
    Spelled {
        body: unwrap_all(value).to_owned(),
        label: label.map(str::to_owned),
        unit,
    }
}

/// Strips spaces, braces and fonts that enclose the whole text.
fn unwrap_all(text: &str) -> &str {
    let mut inner = text.trim();
    for _ in 0..MAX_NESTING {
        let Some(content) = braced_content(inner).or_else(|| typographic_content(inner)) else {
            break;
        };
        inner = content.trim();
    }
    inner
}

/// The content of a `\text{…}` or its like that encloses the whole text.
pub(crate) fn typographic_content(text: &str) -> Option<&str> {
    let command = TYPOGRAPHIC_COMMANDS
        .iter()
        .find(|command| text.starts_with(**command))?;
    braced_content(&text[command.len() - 1..])
}

/// Where the group that was opened just before this text closes.
pub(crate) fn group_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut is_escaped = false;
    for (position, next) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        match next {
            '\\' => is_escaped = true,
            '{' => depth += 1,
            '}' if depth == 0 => return Some(position),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Gives every command that only moves or sizes things its plainest spelling, and says whether there was a `\$`.
fn rewrite_commands(raw: &str) -> (String, bool) {
    let text = raw
        .replace("^{\\circ}", "°")
        .replace("^\\circ", "°")
        .replace("^{\\degree}", "°")
        .replace("{,}", ",");
    let mut rewritten = String::with_capacity(text.len());
    let mut is_money = false;
    let mut rest = text.as_str();
    while let Some(next) = rest.chars().next() {
        if next != '\\' {
            match next {
                '$' => {}
                '~' => rewritten.push(' '),
                '\u{2212}' => rewritten.push('-'),
                _ if next.is_whitespace() => rewritten.push(' '),
                _ => rewritten.push(next),
            }
            rest = &rest[next.len_utf8()..];
            continue;
        }
        let (command, after) = split_command(rest);
        rest = after;
        match command {
            "\\left" | "\\right" => rest = rest.trim_start().strip_prefix('.').unwrap_or(rest),
            "\\!" | "\\(" | "\\)" | "\\[" | "\\]" | "\\displaystyle" | "\\textstyle" => {}
            "\\," | "\\;" | "\\:" | "\\ " | "\\quad" | "\\qquad" => rewritten.push(' '),
            "\\%" => rewritten.push('%'),
            "\\$" => is_money = true,
            "\\degree" => rewritten.push('°'),
            "\\dfrac" | "\\tfrac" | "\\cfrac" => rewritten.push_str("\\frac"),
            _ => rewritten.push_str(command),
        }
    }
    (rewritten, is_money)
}

/// Splits a text that starts with a backslash after its command: letters, or one other character.
pub(crate) fn split_command(text: &str) -> (&str, &str) {
    let name = &text[1..];
    let letters = name
        .find(|next: char| !next.is_ascii_alphabetic())
        .unwrap_or(name.len());
    let name_length = if letters > 0 {
        letters
    } else {
        name.chars().next().map_or(0, char::len_utf8)
    };
    text.split_at(1 + name_length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(raw: &str) -> String {
        clean(raw).body
    }

    #[test]
    fn takes_the_dress_off() {
        for (raw, expected) in [
            (" 7\n", "7"),
            ("$7$", "7"),
            ("\\(7\\)", "7"),
            ("{{7}}", "7"),
            ("7.", "7"),
            ("\\text{Evelyn}", "Evelyn"),
            ("\\text{\\textbf{Evelyn}}.", "Evelyn"),
            ("\\displaystyle\\frac{1}{2}", "\\frac{1}{2}"),
            ("\\dfrac{1}{2}", "\\frac{1}{2}"),
            ("\\left(1, 2\\right)", "(1, 2)"),
            ("\\left. 5 \\right|", "5 |"),
            ("a \\leftarrow b", "a \\leftarrow b"),
            ("1,\\!000", "1,000"),
            ("1{,}000", "1,000"),
            ("1\\,000", "1 000"),
            ("\u{2212}5", "-5"),
            ("1\\\\2", "1\\\\2"),
            ("{1}{2}", "{1}{2}"),
            ("1...", "1..."),
            ("\\", "\\"),
            ("", ""),
        ] {
            assert_eq!(body(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn sets_labels_and_units_aside() {
        let spelled = |body: &str, label: Option<&str>, unit: Option<&str>| Spelled {
            body: body.to_owned(),
            label: label.map(str::to_owned),
            unit: unit.map(str::to_owned),
        };
        assert_eq!(clean("x = 75\\%"), spelled("75", Some("x"), Some("%")));
        assert_eq!(clean("$x=\\frac12$"), spelled("\\frac12", Some("x"), None));
        assert_eq!(clean("29^{\\circ}"), spelled("29", None, Some("°")));
        assert_eq!(clean("\\$ 1500"), spelled("1500", None, Some("$")));
        assert_eq!(clean("1500\\text{ dollars}"), spelled("1500", None, Some("$")));
        assert_eq!(clean("\\text{\\$}1500"), spelled("\\text{}1500", None, Some("$")));
        assert_eq!(clean("4\\,\\%"), spelled("4", None, Some("%")));
        assert_eq!(clean("\\text{5 cm}"), spelled("5 cm", None, None));
    }

    #[test]
    fn deep_nesting_takes_no_time() {
        let deep = format!("{}1{}", "{".repeat(2000), "}".repeat(2000));
        assert!(body(&deep).starts_with('{'));
    }
}
