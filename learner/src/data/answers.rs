//! Ground truths as data sets write them: texts, numbers and lists of them, and texts that hold more than the answer.
//!
//! * Skywork-OR1 writes a list as a text: `["7"]`, and other sets Python's form of it, `['70']`. Every item is a ground
//!   truth, and any of them is right. `[1, 2]` stays what it is, an interval or a vector; `[7]` is 7.
//! * GSM8K writes the whole solution, with the answer behind its last `####`.
//! * A field `solution` has the answer in its last `\boxed{…}`; MATH also writes `\boxed 72` and `\fbox{7}`. A short line without a box is the answer itself.

use anytime_proto::v1::Extraction;
use anytime_verifier::extract;

use super::row::Value;

/// Goes before the answer in GSM8K's solutions.
const GSM8K: &str = "####";

/// Goes before the answer in MATH's solutions.
const BOXED: &str = "\\boxed";

/// Longest text of a field `solution` that is an answer by itself, in characters.
const LONGEST_BARE_SOLUTION: usize = 100;

/// The deepest nesting of lists.
const MAX_DEPTH: usize = 8;

/// The ground truths of a field, at least one. `name` is the field's name.
///
/// # Errors
/// What is wrong with the value, to be read after the field's name.
pub(super) fn ground_truths(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let mut truths = Vec::new();
    collect(is_solution(name), value, MAX_DEPTH, &mut truths)?;
    if truths.is_empty() {
        return Err("is an empty list; it must hold an answer or more".to_owned());
    }
    Ok(truths)
}

fn is_solution(name: &str) -> bool {
    name.rsplit('.')
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case("solution"))
}

fn collect(is_solution: bool, value: &Value, depth: usize, truths: &mut Vec<String>) -> Result<(), String> {
    if depth == 0 {
        return Err(format!("has lists that are nested more than {MAX_DEPTH} deep"));
    }
    match value {
        Value::Number(digits) => truths.push(digits.clone()),
        Value::Text(text) if !text.trim().is_empty() => match list_in_text(text) {
            Some(items) => {
                let list = Value::List(items);
                collect(is_solution, &list, depth - 1, truths)?;
            }
            None => truths.push(answer_in(is_solution, text)?),
        },
        // One empty entry makes the whole list doubtful: better refused than half used.
        Value::List(items) => {
            for item in items {
                collect(is_solution, item, depth - 1, truths)?;
            }
        }
        other => {
            return Err(format!(
                "is or holds {}; it must be a string, a number or a list of them",
                other.kind()
            ));
        }
    }
    Ok(())
}

/// The answer within a text that holds more.
fn answer_in(is_solution: bool, text: &str) -> Result<String, String> {
    if let Some((_, behind)) = text.rsplit_once(GSM8K) {
        let answer = behind.lines().map(str::trim).find(|line| !line.is_empty());
        return answer
            .map(str::to_owned)
            .ok_or_else(|| format!("ends in {GSM8K} with no answer behind it"));
    }
    if !is_solution {
        return Ok(text.to_owned());
    }
    if let Some(bare) = bare_box(text) {
        return Ok(bare.to_owned());
    }
    if let Some(boxed) = framed_box(text) {
        return Ok(boxed);
    }
    if let Some(boxed) = extract(text, Extraction::Boxed).filter(|boxed| !boxed.trim().is_empty()) {
        return Ok(boxed.to_owned());
    }
    let bare = text.trim();
    let is_short = bare.chars().count() <= LONGEST_BARE_SOLUTION && !bare.contains('\n');
    if is_short && !bare.contains("\\boxed") {
        return Ok(bare.to_owned());
    }
    Err("has no \\boxed{…} that holds the answer, and is no short answer by itself".to_owned())
}

/// What stands behind a last `\boxed` without braces, up to the end of its formula, as MATH's own function reads it:
/// `\boxed 72$` is 72 there, though TeX puts a box around the 7 alone. Only for ground truths; no response is read so.
fn bare_box(text: &str) -> Option<&str> {
    let (_, behind) = text.rsplit_once(BOXED)?;
    if behind.trim_start().starts_with('{') || behind.starts_with(char::is_alphabetic) {
        return None;
    }
    let end = ["$", "\\]", "\\)", "\n"]
        .iter()
        .filter_map(|end| behind.find(end))
        .min();
    let answer = behind[..end.unwrap_or(behind.len())].trim();
    let is_answer = !answer.is_empty() && answer.chars().count() <= LONGEST_BARE_SOLUTION;
    is_answer.then_some(answer)
}

/// What stands in a last `\fbox{…}` where there is no `\boxed`, as in some of MATH's solutions.
fn framed_box(text: &str) -> Option<String> {
    if text.contains(BOXED) {
        return None;
    }
    let (_, behind) = text.rsplit_once("\\fbox")?;
    let boxed = format!("{BOXED}{behind}");
    let answer = extract(&boxed, Extraction::Boxed)?.trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}

/// The items of a list that is written as text, in JSON or as Python prints it. None where the text is no such list, and
/// where it may be an interval or a vector: numbers without quotes, unless there is only one.
fn list_in_text(text: &str) -> Option<Vec<Value>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut items = Vec::new();
    let mut has_quotes = false;
    let mut rest = inner.trim();
    if rest.is_empty() {
        return Some(items);
    }
    loop {
        let item;
        (item, rest) = if rest.starts_with(['"', '\'']) {
            has_quotes = true;
            let (text, rest) = quoted(rest)?;
            (Value::Text(text), rest)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (number, rest) = rest.split_at(end);
            (Value::Number(plain_number(number.trim())?), rest)
        };
        items.push(item);
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
    (has_quotes || items.len() == 1).then_some(items)
}

/// A number as JSON and Python write it, without an exponent.
fn plain_number(text: &str) -> Option<String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    is_number.then(|| text.to_owned())
}

/// The text in quotes that begins here, with its escapes resolved, and what is behind it. JSON and Python escape alike as
/// far as answers go; a backslash before any other letter is one of LaTeX, as Python reads it too.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut letters = text.char_indices();
    let (_, quote) = letters.next()?;
    let mut content = String::new();
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            return Some((content, &text[at + letter.len_utf8()..]));
        }
        if letter != '\\' {
            content.push(letter);
            continue;
        }
        let form = letters.next()?.1;
        if let Some((escaped, length)) = by_number(form, letters.as_str()) {
            content.push(escaped);
            letters.nth(length - 1);
            continue;
        }
        match form {
            escaped @ ('\\' | '"' | '\'' | '/') => content.push(escaped),
            'n' if quote == '"' => content.push('\n'),
            't' if quote == '"' => content.push('\t'),
            'u' if quote == '"' => return None,
            other => {
                content.push('\\');
                content.push(other);
            }
        }
    }
    None
}

/// The character whose number stands behind `\x`, `\u` or `\U`, and the length of that. JSON writes those beyond four digits
/// as two surrogates.
fn by_number(form: char, text: &str) -> Option<(char, usize)> {
    let number = |start: usize, length: usize| {
        let digits = text.get(start..start + length)?;
        let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_number.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    };
    let length = match form {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let first = number(0, length)?;
    if let Some(letter) = char::from_u32(first) {
        return Some((letter, length));
    }
    let second = number(6, 4).filter(|_| length == 4 && text.get(4..6) == Some("\\u"))?;
    let pair = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    let letter = char::decode_utf16(pair).next()?.ok()?;
    Some((letter, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn truths(name: &str, value: &str) -> Vec<String> {
        ground_truths(name, &text(value)).expect(value)
    }

    #[test]
    fn lists_in_texts_are_unwrapped() {
        for (written, items) in [
            (r#"["7"]"#, &["7"][..]),
            (r#" [ "7" , "8" ] "#, &["7", "8"]),
            ("['70']", &["70"]),
            (r#"['a', "b"]"#, &["a", "b"]),
            ("[7]", &["7"]),
            ("[-3.5]", &["-3.5"]),
            (r#"["7", 8]"#, &["7", "8"]),
            (r#"["\\frac{1}{2}"]"#, &["\\frac{1}{2}"]),
            (r#"["\\text{yes}"]"#, &["\\text{yes}"]),
            (r"['\\frac{1}{2}']", &["\\frac{1}{2}"]),
            (r#"["x = \"y\""]"#, &["x = \"y\""]),
            (r#"["\u03c0"]"#, &["\u{3c0}"]),
            (r#"["\ud835\udd4f"]"#, &["\u{1d54f}"]),
            (r"['\u200b7']", &["\u{200b}7"]),
            (r"['7\xa0cm', 'b']", &["7\u{a0}cm", "b"]),
            (r"['\U0001d54f']", &["\u{1d54f}"]),
            // Commands of LaTeX that begin like an escape.
            (r"['\xi', '\upsilon', '\Upsilon']", &["\\xi", "\\upsilon", "\\Upsilon"]),
            (r#"["[\"7\"]"]"#, &["7"]),
            ("[\"#### 7\"]", &["7"]),
            (r#"["1,2"]"#, &["1,2"]),
        ] {
            assert_eq!(truths("answer", written), items, "{written}");
        }
    }

    #[test]
    fn what_may_be_an_interval_or_a_vector_stays_as_it_is() {
        for written in [
            "[1, 2]",
            "[0,1]",
            "[1, 2)",
            "[x]",
            "[-2, 7]",
            "[a, b]",
            "(1, 2)",
            "[1, 2, 3]",
            "[\"7\"] or 8",
        ] {
            assert_eq!(truths("answer", written), [written], "{written}");
        }
    }

    #[test]
    fn empty_lists_and_items_are_refused() {
        for written in ["[]", r#"[""]"#, r#"["7", " "]"#] {
            assert!(ground_truths("answer", &text(written)).is_err(), "{written}");
        }
        assert!(ground_truths("answer", &Value::List(vec![])).is_err());
        assert!(ground_truths("answer", &Value::List(vec![text("1"), Value::Null])).is_err());
        assert!(ground_truths("answer", &Value::Flag).is_err());
    }

    #[test]
    fn what_follows_the_last_hashes_is_the_answer() {
        for (written, answer) in [
            ("3+4 = <<3+4=7>>7\n#### 7", "7"),
            ("#### 72", "72"),
            ("####72", "72"),
            ("first #### 1\nthen #### 1,000\n", "1,000"),
            ("#### -5\n\n", "-5"),
            ("####\n42", "42"),
        ] {
            assert_eq!(truths("answer", written), [answer], "{written}");
            assert_eq!(truths("solution", written), [answer], "{written}");
        }
        assert!(ground_truths("answer", &text("7 ####")).is_err());
    }

    #[test]
    fn solutions_have_their_answer_in_the_last_box() {
        for (written, answer) in [
            ("We see $x = \\boxed{3}$, so $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
            ("\\boxed {7}", "7"),
            ("so $\\boxed 7$.", "7"),
            ("so $x = \\boxed 72$ and $y$.", "72"),
            ("so $\\boxed\\frac12$.", "\\frac12"),
            ("so \\[\\boxed 72\\] holds", "72"),
            ("first \\boxed{1}, then\n$\\boxed 2$\nalone", "2"),
            ("long\nso $\\fbox{7}$.", "7"),
            ("so \\fbox{\\frac{1}{2}}", "\\frac{1}{2}"),
            ("34", "34"),
            ("$\\frac{2}{3}$", "$\\frac{2}{3}$"),
        ] {
            assert_eq!(truths("solution", written), [answer], "{written}");
        }
        for written in [
            "Think.\nThe answer is 7.",
            "\\boxed{7",
            &"word ".repeat(40),
            "\\boxed{}",
        ] {
            assert!(ground_truths("extra.solution", &text(written)).is_err(), "{written}");
        }
        // In any other field the box is part of the answer's own writing, which the grader reads.
        assert_eq!(truths("answer", "\\boxed{7}"), ["\\boxed{7}"]);
    }
}
