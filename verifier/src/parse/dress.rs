//! Takes off what encloses a whole answer and says nothing: spaces, dollar signs, braces, boxes, fonts, a full stop.

use crate::limits::MAX_NESTING;

/// Commands that stand for their one argument.
const WRAPPERS: [&str; 15] = [
    "boxed",
    "fbox",
    "text",
    "textbf",
    "textit",
    "textrm",
    "textnormal",
    "mathrm",
    "mathbf",
    "mbox",
    "hbox",
    "displaystyle",
    "boldsymbol",
    "bm",
    "ensuremath",
];

/// The rest of an answer, whether it was set as text, and whether in the bold of mathematics.
pub(super) fn undress(raw: &str) -> (&str, bool, bool) {
    let mut text = raw;
    let mut is_text = false;
    let mut is_bold = false;
    for _ in 0..MAX_NESTING {
        let before = text;
        text = without_trailing_space_command(without_last_backslash(text.trim()));
        if !text.ends_with("\\,") && !text.ends_with("\\;") {
            text = text.trim_end_matches([',', ';']).trim_end();
        }
        text = text.trim_end_matches('。').trim_end();
        if text.ends_with('.') && !text.ends_with("..") && !text.ends_with("right.") {
            text = text[..text.len() - 1].trim_end();
        }
        for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
            let inner = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
            if let Some(inner) = inner
                && !inner.contains('$')
                && !inner.ends_with('\\')
            {
                text = inner;
                break;
            }
        }
        if let Some(inner) = enclosed(text).or_else(|| quoted(text)).or_else(|| aligned(text)) {
            text = inner;
        }
        if let Some((wrapper, inner)) = wrapped(text) {
            is_text |= wrapper.starts_with("text") || matches!(wrapper, "mbox" | "hbox" | "mathrm");
            is_bold |= matches!(wrapper, "mathbf" | "boldsymbol" | "bm");
            text = inner;
        }
        if text.len() == before.len() {
            break;
        }
    }
    (text, is_text, is_bold)
}

/// Whether the content of `\text{…}` is words, so that its short ones are no products: `5 men`, `The answer is C`.
pub(super) fn is_prose(text: &str) -> bool {
    // `not $0$`: what stands between dollar signs is no word.
    if text.contains('$') && text.matches('$').count().is_multiple_of(2) {
        let is_word = |word: &str| word.len() > 1;
        let outside = text.split('$').step_by(2);
        return outside
            .flat_map(|part| part.split(|letter: char| !letter.is_alphabetic()))
            .any(is_word);
    }
    let numeral = text.trim_start_matches('-');
    let behind = numeral.trim_start_matches(|next: char| next.is_ascii_digit() || matches!(next, '.' | ','));
    let is_measure = behind.len() < numeral.len()
        && behind.starts_with([' ', '~'])
        && behind[1..].starts_with(|next: char| next.is_ascii_alphabetic());
    if is_measure {
        return true;
    }
    let is_mathematics = text.contains(['=', '<', '>', '+', '*', '/', '^', '_', '\\', '$', '|', '!']);
    let has_word = text
        .split(|letter: char| !letter.is_alphabetic())
        .any(|word| word.len() > 3);
    let is_spaced = text.trim().contains([' ', '~']);
    let has_digit = text.contains(|letter: char| letter.is_ascii_digit());
    // `two-thirds`, but `3-x`
    let is_joined = text.contains('-') && has_word;
    !is_mathematics && !text.contains(" - ") && (is_spaced && (has_word || has_digit) || is_joined)
}

/// The content of braces that enclose the whole text.
fn enclosed(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('{')?;
    let end = group_end(inner)?;
    (end + 1 == inner.len()).then(|| &inner[..end])
}

/// The content of quotation marks that enclose the whole text.
fn quoted(text: &str) -> Option<&str> {
    [
        ("\"", "\""),
        ("'", "'"),
        ("`", "`"),
        ("“", "”"),
        ("‘", "’"),
        ("``", "''"),
    ]
    .into_iter()
    .find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close))
    .filter(|inner| !inner.is_empty() && !inner.contains(['"', '\'', '`', '“', '”', '‘', '’']))
}

/// The content of an environment that aligns rows, where there is one row and nothing to align.
fn aligned(text: &str) -> Option<&str> {
    let (environment, rest) = text.strip_prefix("\\begin{")?.split_once('}')?;
    let is_known = matches!(
        environment,
        "aligned" | "align" | "align*" | "split" | "gathered" | "gather" | "gather*" | "equation" | "equation*"
    );
    let inner = rest
        .strip_suffix('}')?
        .strip_suffix(environment)?
        .strip_suffix("\\end{")?;
    // The last row may end in a break; what aligns the row is dropped with the tokens.
    let inner = inner.trim();
    let inner = inner.strip_suffix("\\\\").unwrap_or(inner);
    (is_known && !inner.contains("\\\\")).then_some(inner)
}

/// The content of a wrapper that encloses the whole text, and its name.
fn wrapped(text: &str) -> Option<(&str, &str)> {
    let after = text.strip_prefix('\\')?;
    let length = after.find(|next: char| !next.is_ascii_alphabetic())?;
    let (name, argument) = after.split_at(length);
    if name == "displaystyle" {
        return Some((name, argument));
    }
    if !WRAPPERS.contains(&name) {
        return None;
    }
    enclosed(argument.trim_start()).map(|inner| (name, inner))
}

fn without_trailing_space_command(text: &str) -> &str {
    for command in ["\\,", "\\;", "\\:", "\\!", "\\ "] {
        if let Some(rest) = text.strip_suffix(command)
            && !rest.ends_with('\\')
        {
            return rest;
        }
    }
    text
}

/// `185\ ` whose space was trimmed away, or the last row break of `185\\`: neither says anything.
fn without_last_backslash(text: &str) -> &str {
    let rest = text.trim_end_matches('\\');
    if rest.trim_end().is_empty() {
        text
    } else {
        rest.trim_end()
    }
}

/// The content of a group that begins with `\rm`, `{\rm m}`, and what follows.
pub(super) fn roman_group(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{')?.trim_start().strip_prefix("\\rm")?;
    if inner.starts_with(|next: char| next.is_ascii_alphabetic()) {
        return None;
    }
    let end = group_end(inner)?;
    Some((inner[..end].trim_start(), &inner[end + 1..]))
}

/// Where the group that was opened just before this text closes.
pub(super) fn group_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut is_escaped = false;
    for (position, next) in text.bytes().enumerate() {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        match next {
            b'\\' => is_escaped = true,
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(position),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_dress_off() {
        for (raw, expected) in [
            (" 7\n", "7"),
            ("$7$", "7"),
            ("$$7$$", "7"),
            ("\\(7\\)", "7"),
            ("{{7}}", "7"),
            ("7.", "7"),
            ("7,", "7"),
            ("\\text{Evelyn}", "Evelyn"),
            ("\\text{\\textbf{Evelyn}}.", "Evelyn"),
            ("\\displaystyle 7", "7"),
            ("\\boxed{{7}}", "7"),
            ("$2, 16$", "2, 16"),
            ("$1$, $2$", "$1$, $2$"),
            ("{1}{2}", "{1}{2}"),
            ("\\{1, 2\\}", "\\{1, 2\\}"),
            ("1...", "1..."),
            ("185\\ ", "185"),
            ("185\\\\", "185"),
            ("\\hbox{42}", "42"),
            ("\\", "\\"),
            ("", ""),
        ] {
            assert_eq!(undress(raw).0, expected, "{raw:?}");
        }
        assert!(undress("\\text{A}").1);
        assert!(!undress("A").1);
    }
}
