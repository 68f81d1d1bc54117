//! Takes off what encloses a whole answer and says nothing: spaces, dollar signs, braces, boxes, fonts, a full stop.

use crate::limits::MAX_NESTING;

/// Commands that stand for their one argument.
const WRAPPERS: [&str; 13] = [
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
    "displaystyle",
    "boldsymbol",
    "ensuremath",
];

/// The rest of an answer, and whether it was set as text.
pub(super) fn undress(raw: &str) -> (&str, bool) {
    let mut text = raw;
    let mut is_text = false;
    for _ in 0..MAX_NESTING {
        let before = text;
        text = without_trailing_space_command(text.trim());
        if !text.ends_with("\\,") && !text.ends_with("\\;") {
            text = text.trim_end_matches([',', ';']).trim_end();
        }
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
        if let Some(inner) = enclosed(text) {
            text = inner;
        }
        if let Some((wrapper, inner)) = wrapped(text) {
            is_text |= wrapper.starts_with("text") || wrapper == "mbox" || wrapper == "mathrm";
            text = inner;
        }
        if text.len() == before.len() {
            break;
        }
    }
    (text, is_text)
}

/// The content of braces that enclose the whole text.
fn enclosed(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('{')?;
    let end = group_end(inner)?;
    (end + 1 == inner.len()).then(|| &inner[..end])
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
            ("\\", "\\"),
            ("", ""),
        ] {
            assert_eq!(undress(raw).0, expected, "{raw:?}");
        }
        assert!(undress("\\text{A}").1);
        assert!(!undress("A").1);
    }
}
