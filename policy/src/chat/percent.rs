//! Python's `'%s and %d' % (a, b)`. minijinja's `%` knows numbers only and cannot be taught otherwise, so that a text in
//! quotes before it becomes the argument of a filter. Where anything else stands before it, minijinja refuses the
//! texts by name.

use std::ops::Range;

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, FormatStyle, format_filter};

use super::{bounds, python};

/// The filter for a tuple that is written out, whose items are its arguments.
const OF_TUPLE: &str = "_percent_of_tuple";
/// The filter for any other value.
const OF_ONE: &str = "_percent_of_one";

pub(super) fn adopt(environment: &mut Environment<'static>) {
    environment.add_filter(OF_TUPLE, |text: String, arguments: Rest<Value>| {
        formatted(&text, &arguments, false)
    });
    environment.add_filter(OF_ONE, |text: String, argument: Value| {
        // Python takes what has items for a mapping, none of which need be used.
        let has_items = matches!(
            argument.kind(),
            ValueKind::Map | ValueKind::Seq | ValueKind::Iterable | ValueKind::Undefined
        );
        formatted(&text, &[argument], has_items)
    });
}

/// The longest operand, in bytes: a template of nothing but unclosed brackets must not take the square of its length.
const LONGEST_OPERAND: usize = 1024;

/// The longest flags, width and precision, in bytes: a width makes as many blanks.
const LONGEST_FLAGS: usize = 7;

/// What the texts of a tag are to be replaced by, so that a text in quotes before `%` goes through a filter.
pub(super) fn edits(source: &str, tag: Range<usize>) -> Vec<(Range<usize>, String)> {
    let bytes = &source.as_bytes()[..tag.end];
    let mut edits = Vec::new();
    // The last letter before the place that is neither a blank nor in quotes.
    let mut before = b'(';
    // `{{-` cuts blanks off and subtracts nothing.
    let mut at = tag.start + usize::from(matches!(bytes.get(tag.start), Some(b'-' | b'+')));
    while let Some(&letter) = bytes.get(at) {
        if !matches!(letter, b'"' | b'\'') {
            before = if letter.is_ascii_whitespace() { before } else { letter };
            at += 1;
            continue;
        }
        let percent = after_blanks(bytes, end_of_text(bytes, at));
        // `2 * '%s' % x` formats the product; two texts in a row are one.
        let is_operand = matches!(before, b'*' | b'/' | b'%' | b'-' | b'"' | b'\'');
        before = letter;
        at = end_of_text(bytes, at);
        if is_operand || bytes.get(percent) != Some(&b'%') {
            continue;
        }
        let start = after_blanks(bytes, percent + 1);
        let bytes = &bytes[..bytes.len().min(start + LONGEST_OPERAND)];
        let is_whole = |(_, end): &(usize, usize)| *end < bytes.len() || bytes.len() == tag.end;
        let Some((first, end)) = operand(bytes, start).filter(is_whole) else {
            continue;
        };
        at = start;
        before = b'(';
        match tuple(bytes, start..first).filter(|_| first == end) {
            Some(comma) => {
                edits.push((percent..percent + 1, format!("| {OF_TUPLE}")));
                edits.extend(comma.map(|comma| (comma..comma + 1, String::new())));
                at += 1;
            }
            None => {
                edits.push((percent..percent + 1, format!("| {OF_ONE}(")));
                edits.push((end..end, ")".to_owned()));
            }
        }
    }
    edits.sort_by_key(|(range, _)| range.start);
    edits
}

fn after_blanks(bytes: &[u8], from: usize) -> usize {
    let blanks = bytes.get(from..).unwrap_or_default();
    from + blanks.iter().take_while(|letter| letter.is_ascii_whitespace()).count()
}

/// The place behind a text in quotes.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&letter) = bytes.get(at) {
        match letter {
            b'\\' => at += 2,
            _ if letter == bytes[start] => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The place behind the bracket that closes the one here.
fn end_of_brackets(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(&letter) = bytes.get(at) {
        match letter {
            b'"' | b'\'' => {
                at = end_of_text(bytes, at);
                continue;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn end_of_name(bytes: &[u8], start: usize) -> Option<usize> {
    let is_part = |letter: &&u8| letter.is_ascii_alphanumeric() || **letter == b'_' || !letter.is_ascii();
    let length = bytes.get(start..)?.iter().take_while(is_part).count();
    (length > 0).then_some(start + length)
}

/// The places behind the first part of the operand that starts here, and behind all of it: its attributes, items, calls
/// and filters. None where it goes on otherwise.
fn operand(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let unsigned = start + usize::from(bytes.get(start) == Some(&b'-'));
    let first = match bytes.get(unsigned)? {
        b'"' | b'\'' => end_of_text(bytes, unsigned),
        b'(' | b'[' | b'{' => end_of_brackets(bytes, unsigned)?,
        _ => end_of_name(bytes, unsigned)?,
    };
    let mut end = first;
    loop {
        let next = after_blanks(bytes, end);
        end = match bytes.get(next) {
            Some(b'.') => end_of_name(bytes, after_blanks(bytes, next + 1))?,
            Some(b'(' | b'[') => end_of_brackets(bytes, next)?,
            Some(b'|') => end_of_name(bytes, after_blanks(bytes, next + 1))?,
            Some(b'*') if bytes.get(next + 1) == Some(&b'*') => return None,
            Some(_) if end_of_name(bytes, next).is_some_and(|end| &bytes[next..end] == b"is") => return None,
            _ => return Some((first, end)),
        };
    }
}

/// For brackets that hold a tuple: the comma behind its last item, if there is one.
fn tuple(bytes: &[u8], range: Range<usize>) -> Option<Option<usize>> {
    if bytes.get(range.start) != Some(&b'(') {
        return None;
    }
    let inner = range.start + 1..range.end - 1;
    let mut comma = None;
    let mut at = after_blanks(bytes, inner.start);
    let is_empty = at == inner.end;
    while at < inner.end {
        at = match bytes[at] {
            b'"' | b'\'' => end_of_text(bytes, at),
            b'(' | b'[' | b'{' => end_of_brackets(bytes, at)?,
            b',' => {
                comma = Some(at);
                at + 1
            }
            _ => at + 1,
        };
    }
    let last = comma.filter(|comma| after_blanks(bytes, comma + 1) == inner.end);
    (is_empty || comma.is_some()).then_some(last)
}

/// `text % arguments`. `spares` is whether arguments may be left.
pub(super) fn formatted(text: &str, arguments: &[Value], spares: bool) -> Result<String, Error> {
    let mut written = String::new();
    let mut next = 0;
    let mut rest = text;
    while let Some((plain, field)) = rest.split_once('%') {
        written.push_str(plain);
        let (key, field) = match field.strip_prefix('(') {
            Some(keyed) => {
                let (key, field) = keyed
                    .split_once(')')
                    .ok_or_else(|| refuse("% format: a key does not end"))?;
                (Some(key), field)
            }
            None => (None, field),
        };
        let length = field
            .find(|letter: char| !matches!(letter, '#' | '0'..='9' | '-' | ' ' | '+' | '.' | 'h' | 'l' | 'L'))
            .ok_or_else(|| refuse("% format: the text ends within a field"))?;
        let (flags, field) = field.split_at(length);
        if length > LONGEST_FLAGS {
            return Err(refuse("% format: more than 7 letters of flags and width"));
        }
        bounds::widths(flags)?;
        let mut letters = field.chars();
        let conversion = letters.next().unwrap_or_default();
        rest = letters.as_str();
        if conversion == '%' {
            written.push('%');
            continue;
        }
        let value = match (key, arguments) {
            (Some(key), [mapping]) if mapping.kind() == ValueKind::Map => mapping
                .get_item(&Value::from(key))
                .ok()
                .filter(|value| !value.is_undefined())
                .ok_or_else(|| refuse(&format!("% format: there is no {key:?}")))?,
            (Some(_), _) => return Err(refuse("% format: fields with keys need one dictionary")),
            (None, _) => {
                next += 1;
                let value = arguments.get(next - 1).cloned();
                value.ok_or_else(|| refuse("% format: more fields than values"))?
            }
        };
        let (conversion, value) = converted(conversion, value)?;
        written.push_str(&format_filter(
            FormatStyle::Printf,
            &format!("%{flags}{conversion}"),
            &[value],
        )?);
        bounds::text_of_length(written.len())?;
    }
    written.push_str(rest);
    if next < arguments.len() && !spares {
        return Err(refuse("% format: more values than fields"));
    }
    Ok(written)
}

/// The value as minijinja is to format it, and the letter that says how.
fn converted(conversion: char, value: Value) -> Result<(char, Value), Error> {
    Ok(match conversion {
        's' => ('s', Value::from(python::text_of(&value))),
        'r' => ('s', Value::from(python::repr(&value))),
        'd' | 'i' | 'u' => match f64::try_from(value.clone()) {
            // Python cuts the fraction off.
            Ok(number) if value.kind() == ValueKind::Number && !value.is_integer() && number.abs() < 1e38 => {
                ('d', Value::from(number as i128))
            }
            _ => ('d', value),
        },
        'o' | 'x' | 'X' | 'c' => (conversion, value),
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => (conversion, value),
        other => return Err(refuse(&format!("% format: {other:?} is no conversion"))),
    })
}

fn refuse(message: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.to_owned())
}
