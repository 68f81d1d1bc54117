//! Finds the answer inside a response.

use anytime_proto::v1::Extraction;
use memchr::memchr3;

/// The start of the block that holds the answer.
const FINAL_ANSWER: &str = "**Final Answer**\n";
/// The start of the answer, which ends at the brace that closes this one.
const BOX: &str = "\\boxed{";

/// The answer as it stands in the response, or nothing if there is none in the form asked for.
///
/// `anytime`: blank lines (`\n\n`) divide the response into blocks. Only the first block that starts with `**Final
/// Answer**` and a line break counts, and in it only the last `\boxed{…}` whose braces balance. An answer after a
/// further blank line does not count, and neither does `\boxed 8` or `\fbox{8}`. `boxed`: the last such box of the
/// whole response. `last_number`: the last numeral of the response with its sign, or the last fraction of numerals.
pub fn extract(response: &str, extraction: Extraction) -> Option<&str> {
    match extraction {
        Extraction::Unspecified | Extraction::Anytime => {
            let block = response.split("\n\n").find(|block| block.starts_with(FINAL_ANSWER))?;
            last_box(block)
        }
        Extraction::Boxed => last_spaced_box(response),
        Extraction::LastNumber => last_number(response),
    }
}

/// The last numeral with its sign, `-1,000` or `3.5`, or the last fraction of two, `3/4` or `\frac{3}{4}`.
fn last_number(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let end = bytes.iter().rposition(u8::is_ascii_digit)? + 1;
    if bytes.get(end) == Some(&b'}')
        && let Some(start) = text[..end].rfind("\\frac{")
        && is_fraction(&text[start + "\\frac{".len()..end])
    {
        return Some(&text[with_sign(bytes, start)..=end]);
    }
    let mut start = numeral_start(bytes, end);
    if start > 0 && bytes[start - 1] == b'/' && start > 1 && bytes[start - 2].is_ascii_digit() {
        start = numeral_start(bytes, start - 1);
    }
    Some(&text[with_sign(bytes, start)..end])
}

/// Where the numeral that ends here starts.
fn numeral_start(bytes: &[u8], end: usize) -> usize {
    let mut start = end;
    while start > 0 {
        let previous = bytes[start - 1];
        let joins = matches!(previous, b'.' | b',') && start > 1 && start < end && bytes[start - 2].is_ascii_digit();
        let leads = previous == b'.' && start < end && (start == 1 || !bytes[start - 2].is_ascii_alphanumeric());
        // `3,4` is two numerals, `3,400` is one.
        let is_list = previous == b','
            && bytes[start..end]
                .iter()
                .take_while(|next| next.is_ascii_digit())
                .count()
                != 3;
        if !(previous.is_ascii_digit() || joins || leads) || is_list {
            break;
        }
        start -= 1;
    }
    start
}

/// The position of a minus sign directly before, unless it subtracts.
fn with_sign(bytes: &[u8], start: usize) -> usize {
    let Some(before) = ["-", "\u{2212}"]
        .iter()
        .find_map(|minus| bytes[..start].strip_suffix(minus.as_bytes()))
    else {
        return start;
    };
    let subtracts = before
        .last()
        .is_some_and(|last| last.is_ascii_alphanumeric() || matches!(last, b')' | b'}'));
    if subtracts { start } else { before.len() }
}

/// `3}{4`: the inside of `\frac{3}{4}`.
fn is_fraction(inside: &str) -> bool {
    let is_integer =
        |part: &str| !part.is_empty() && part.trim_start_matches('-').bytes().all(|next| next.is_ascii_digit());
    inside
        .split_once("}{")
        .is_some_and(|(upper, lower)| is_integer(upper) && is_integer(lower))
}

/// The content of the last `\boxed{…}` with balanced braces, found in one pass however many boxes never close.
pub(crate) fn last_box(text: &str) -> Option<&str> {
    last_opened_by(text, |rest| rest.starts_with(BOX).then_some(BOX.len()))
}

/// The same where spaces may stand before the brace: `\boxed {5}`.
fn last_spaced_box(text: &str) -> Option<&str> {
    last_opened_by(text, |rest| {
        let inner = rest
            .strip_prefix("\\boxed")?
            .trim_start_matches(' ')
            .strip_prefix('{')?;
        Some(rest.len() - inner.len())
    })
}

/// The content of the last group with balanced braces that is opened by what `opening` measures.
fn last_opened_by(text: &str, opening: impl Fn(&str) -> Option<usize>) -> Option<&str> {
    let bytes = text.as_bytes();
    // One entry for every open brace; if it is the brace of a box, the entry says where the content starts.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut last: Option<(usize, usize)> = None;
    let mut position = 0;
    while let Some(next) = memchr3(b'\\', b'{', b'}', bytes.get(position..).unwrap_or_default()) {
        position += next;
        match bytes[position] {
            b'\\' => match opening(&text[position..]) {
                Some(length) => {
                    position += length;
                    open.push(Some(position));
                }
                // An escaped character opens and closes nothing, unless it is the backslash of a box.
                None => position += if opening(&text[position + 1..]).is_some() { 1 } else { 2 },
            },
            b'{' => {
                open.push(None);
                position += 1;
            }
            _ => {
                if let Some(Some(start)) = open.pop()
                    && last.is_none_or(|(last_start, _)| start > last_start)
                {
                    last = Some((start, position));
                }
                position += 1;
            }
        }
    }
    last.map(|(start, end)| &text[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anytime(response: &str) -> Option<&str> {
        extract(response, Extraction::Anytime)
    }

    #[test]
    fn finds_the_answer_of_a_finished_and_of_a_cut_trace() {
        assert_eq!(anytime("\n\n**Final Answer**\n\\boxed{7}"), Some("7"));
        assert_eq!(
            anytime("**Final Answer**\nThe answer is $\\boxed{\\frac{1}{2}}$."),
            Some("\\frac{1}{2}")
        );
        let cut = "\n\nI have to answer now.\n\n</think>\n\n**Final Answer**\nSo it is\n\\[ \\boxed{12} \\]";
        assert_eq!(anytime(cut), Some("12"));
    }

    #[test]
    fn reads_the_first_block_only() {
        assert_eq!(
            anytime("**Final Answer**\n\\boxed{1}\n\n**Final Answer**\n\\boxed{2}"),
            Some("1")
        );
        assert_eq!(anytime("**Final Answer**\nIt is\n\n\\boxed{2}"), None);
        assert_eq!(anytime("**Final Answer**\n\n\\boxed{2}"), None);
        assert_eq!(anytime("**Final Answer**\nnone\n\n**Final Answer**\n\\boxed{2}"), None);
        assert_eq!(anytime("\\boxed{3}\n\n**Final Answer**\n\\boxed{4}"), Some("4"));
    }

    #[test]
    fn takes_nothing_that_only_resembles_an_answer() {
        for response in [
            "",
            "\\boxed{2}",
            "Final Answer\n\\boxed{2}",
            "**Final Answer** \\boxed{2}",
            "so **Final Answer**\n\\boxed{2}",
            "**Final Answer**\n\\boxed 8",
            "**Final Answer**\n\\fbox{8}",
            "**Final Answer**\n\\boxed{8",
            "**Final Answer**\n\\boxed{\\frac{1}{2}",
            "**Final Answer**\n\\boxed{8\\}",
        ] {
            assert_eq!(anytime(response), None, "{response:?}");
        }
    }

    #[test]
    fn takes_the_last_balanced_box() {
        assert_eq!(last_box("\\boxed{1} or \\boxed{2}"), Some("2"));
        assert_eq!(last_box("\\boxed{1} or \\boxed{2"), Some("1"));
        assert_eq!(last_box("\\boxed{\\boxed{3}}"), Some("3"));
        assert_eq!(last_box("} \\boxed{4}"), Some("4"));
        assert_eq!(last_box("{ \\boxed{5}"), Some("5"));
        assert_eq!(last_box("\\boxed{}"), Some(""));
    }

    #[test]
    fn a_space_before_the_brace_is_for_boxed_only() {
        let response = "**Final Answer**\n\\boxed {8}";
        assert_eq!(extract(response, Extraction::Boxed), Some("8"));
        assert_eq!(extract(response, Extraction::Anytime), None);
        assert_eq!(extract("\\boxed 8", Extraction::Boxed), None);
    }

    #[test]
    fn finds_the_last_number() {
        for (response, expected) in [
            ("The answer is 42.", Some("42")),
            ("so x = -7", Some("-7")),
            ("the answer is \u{2212}5.", Some("\u{2212}5")),
            ("5\u{2212}3", Some("3")),
            ("5 - 3", Some("3")),
            ("5-3", Some("3")),
            ("it is 1,234,567!", Some("1,234,567")),
            ("either 3,4", Some("4")),
            ("3.50 dollars", Some("3.50")),
            (".5", Some(".5")),
            ("3/4 of it", Some("3/4")),
            ("\\(-\\frac{3}{4}\\)", Some("-\\frac{3}{4}")),
            ("\\frac{x}{4}", Some("4")),
            ("none", None),
            ("", None),
        ] {
            assert_eq!(extract(response, Extraction::LastNumber), expected, "{response:?}");
        }
    }

    #[test]
    fn escaped_braces_do_not_count() {
        assert_eq!(last_box("\\boxed{\\{1, 2\\}}"), Some("\\{1, 2\\}"));
        assert_eq!(last_box("\\boxed{[0, \\infty\\}}"), Some("[0, \\infty\\}"));
        assert_eq!(last_box("x \\\\ \\boxed{1 \\\\{2}}"), Some("1 \\\\{2}"));
        assert_eq!(last_box("x \\\\boxed{6}"), Some("6"));
        assert_eq!(last_box("x \\\\\\boxed{6}"), Some("6"));
        assert_eq!(last_box("\\boxed{6} \\"), Some("6"));
    }

    #[test]
    fn many_boxes_that_never_close_take_no_time() {
        let response = format!("**Final Answer**\n{}", BOX.repeat(140_000));
        assert_eq!(anytime(&response), None);
        let nested = format!("{}1{}", BOX.repeat(100_000), "}".repeat(100_000));
        assert_eq!(last_box(&nested), Some("1"));
    }
}
