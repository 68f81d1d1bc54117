//! Where Python's values behave otherwise than minijinja's: how they are printed, what the tests call them, and methods
//! that minijinja's own collection lacks or has otherwise.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, Output, State, escape_formatter};

use super::bounds;

/// Makes an environment behave as Python's.
pub(super) fn adopt(environment: &mut Environment<'static>) {
    environment.set_formatter(print);
    environment.add_filter("string", text_of);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment.add_test("number", is_number);
    environment.add_test("callable", is_callable);
    environment.add_test("lower", |text: String| is_lower(&text));
    environment.add_test("upper", |text: String| is_upper(&text));
    environment.add_function("joiner", |state: &State, separator: Option<Value>| {
        let separator = separator.map(|separator| bounds::kept(state, separator));
        Ok::<Value, Error>(minijinja_contrib::globals::joiner(separator.transpose()?))
    });
    environment.add_function("cycler", |state: &State, items: Rest<Value>| {
        for item in items.iter() {
            bounds::kept(state, item.clone())?;
        }
        minijinja_contrib::globals::cycler(items.0)
    });
    environment.add_filter("length", length);
    environment.add_filter("count", length);
}

/// `len(value)`. What is undefined has the length 0 in Jinja2, so that templates need not ask whether it is there.
fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    value.len().ok_or_else(|| {
        let message = format!("a value that is {} has no length", value.kind());
        Error::new(ErrorKind::InvalidOperation, message)
    })
}

/// Whether `iter(value)` works. It does not on none, which minijinja treats as an empty list.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Whether the value has a length and items by index: texts, lists and, in Jinja2's eyes, dictionaries and what is
/// undefined.
fn is_sequence(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), String | Seq | Map | Iterable | Undefined)
}

/// Flags are numbers in Python.
fn is_number(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
}

fn is_callable(value: &Value) -> bool {
    value.kind() == ValueKind::Plain
}

/// `str.islower`: there are letters with case, and none of them is upper case.
fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)
}

fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)
}

/// `{{ value }}`: `str(value)`.
fn print(out: &mut Output, state: &State, value: &Value) -> Result<(), Error> {
    if needs_python(value) {
        let text = text_of(value);
        bounds::write(state, text.len())?;
        out.write_str(&text).map_err(Error::from)
    } else {
        // What is no text has few digits.
        bounds::write(state, value.as_str().map_or(8, str::len))?;
        escape_formatter(out, state, value)
    }
}

fn needs_python(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Number, Seq};
    match value.kind() {
        Number => !value.is_integer(),
        Seq | Iterable | Map => true,
        _ => false,
    }
}

/// `str(value)`.
pub(super) fn text_of(value: &Value) -> String {
    if needs_python(value) {
        let mut text = String::new();
        write_repr(&mut text, value);
        return text;
    }
    value.to_string()
}

/// `repr(value)`.
pub(super) fn repr(value: &Value) -> String {
    let mut text = String::new();
    write_repr(&mut text, value);
    text
}

/// The same, behind a text.
fn write_repr(text: &mut String, value: &Value) {
    match value.kind() {
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => text.push_str(&float(number)),
            Err(_) => text.push_str(&value.to_string()),
        },
        ValueKind::String => write_quoted(text, value.as_str().unwrap_or_default()),
        ValueKind::Undefined => text.push_str("Undefined"),
        ValueKind::Seq | ValueKind::Iterable => {
            text.push('[');
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                write_repr(text, &item);
            }
            text.push(']');
        }
        ValueKind::Map => {
            text.push('{');
            for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                write_repr(text, &key);
                text.push_str(": ");
                write_repr(text, &value.get_item(&key).unwrap_or_default());
            }
            text.push('}');
        }
        _ => text.push_str(&value.to_string()),
    }
}

/// `repr` of a float: the shortest digits that give it back, with an exponent below 10⁻⁴ and from 10¹⁶ on.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `repr` of a text: in double quotes only where it holds single ones and no double ones.
fn write_quoted(text: &mut String, written: &str) {
    let quote = if written.contains('\'') && !written.contains('"') {
        '"'
    } else {
        '\''
    };
    text.push(quote);
    for letter in written.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            _ if letter == quote => text.extend(['\\', letter]),
            _ if is_printable(letter) => text.push(letter),
            _ => match u32::from(letter) {
                code @ ..=0xff => text.push_str(&format!("\\x{code:02x}")),
                code @ ..=0xffff => text.push_str(&format!("\\u{code:04x}")),
                code => text.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    text.push(quote);
}

/// `str.isprintable` of one letter, except for code points that nobody has assigned.
fn is_printable(letter: char) -> bool {
    let is_format = matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}');
    letter == ' ' || !(letter.is_control() || letter.is_whitespace() || is_format)
}

/// The methods of a list that minijinja's collection lacks or has otherwise.
pub(super) fn list_method(list: &Value, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    Ok(match name {
        "copy" => Some(list.clone()),
        "count" => {
            let (wanted,): (Value,) = from_args(arguments)?;
            Some(Value::from(list.try_iter()?.filter(|item| *item == wanted).count()))
        }
        "index" => {
            let (wanted,): (Value,) = from_args(arguments)?;
            let place = list.try_iter()?.position(|item| item == wanted);
            Some(Value::from(place.ok_or_else(|| refuse("the list does not hold it"))?))
        }
        _ => None,
    })
}

fn refuse(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

pub(super) fn text_method(text: &str, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let whole = |text: String| Ok(Some(Value::from(text)));
    match name {
        "split" | "rsplit" => split(text, name == "rsplit", arguments).map(Some),
        "partition" | "rpartition" => {
            let (separator,): (String,) = from_args(arguments)?;
            if separator.is_empty() {
                return Err(refuse("an empty separator"));
            }
            let parts = if name == "partition" {
                text.split_once(&*separator)
                    .map(|(head, tail)| [head, &separator, tail])
            } else {
                text.rsplit_once(&*separator)
                    .map(|(head, tail)| [head, &separator, tail])
            };
            let without = if name == "partition" {
                [text, "", ""]
            } else {
                ["", "", text]
            };
            Ok(Some(parts.unwrap_or(without).into_iter().map(Value::from).collect()))
        }
        "removeprefix" => {
            let (prefix,): (String,) = from_args(arguments)?;
            whole(text.strip_prefix(&*prefix).unwrap_or(text).to_owned())
        }
        "removesuffix" => {
            let (suffix,): (String,) = from_args(arguments)?;
            whole(text.strip_suffix(&*suffix).unwrap_or(text).to_owned())
        }
        "ljust" | "rjust" | "center" | "zfill" => padded(text, name, arguments).map(Some),
        "title" => whole(title(text)),
        "swapcase" => {
            let swap = |letter: char| -> String {
                if letter.is_uppercase() {
                    letter.to_lowercase().collect()
                } else {
                    letter.to_uppercase().collect()
                }
            };
            whole(text.chars().map(swap).collect())
        }
        "casefold" => whole(text.to_lowercase()),
        "splitlines" => {
            let (keep_ends,): (Option<bool>,) = from_args(arguments)?;
            Ok(Some(
                lines(text, keep_ends.unwrap_or(false))
                    .into_iter()
                    .map(Value::from)
                    .collect(),
            ))
        }
        "islower" => Ok(Some(Value::from(is_lower(text)))),
        "isupper" => Ok(Some(Value::from(is_upper(text)))),
        "isspace" => Ok(Some(all(text, char::is_whitespace))),
        "isdigit" | "isnumeric" | "isdecimal" => Ok(Some(all(text, char::is_numeric))),
        "isalpha" => Ok(Some(all(text, char::is_alphabetic))),
        "isalnum" => Ok(Some(all(text, char::is_alphanumeric))),
        _ => Ok(None),
    }
}

/// Whether all letters are of one kind; an empty text has none, which Python calls false.
fn all(text: &str, is: impl Fn(char) -> bool) -> Value {
    Value::from(!text.is_empty() && text.chars().all(is))
}

/// `str.split(sep=None, maxsplit=-1)` and `str.rsplit`.
fn split(text: &str, from_the_right: bool, arguments: &[Value]) -> Result<Value, Error> {
    let (positional, named): (Rest<Value>, Kwargs) = from_args(arguments)?;
    let separator = match positional.first() {
        Some(separator) => Some(separator.clone()),
        None => named.get::<Option<Value>>("sep")?,
    };
    let most = match positional.get(1) {
        Some(most) => Some(i64::try_from(most.clone())?),
        None => named.get::<Option<i64>>("maxsplit")?,
    };
    named.assert_all_used()?;
    let most = usize::try_from(most.unwrap_or(-1)).unwrap_or(usize::MAX);
    let mut parts: Vec<&str> = match separator.filter(|separator| !separator.is_none()) {
        Some(separator) => {
            let separator = separator.as_str().ok_or_else(|| refuse("split needs a text"))?;
            if separator.is_empty() {
                return Err(refuse("an empty separator"));
            }
            if from_the_right {
                text.rsplitn(most.saturating_add(1), separator).collect()
            } else {
                text.splitn(most.saturating_add(1), separator).collect()
            }
        }
        None => split_at_blanks(text, most, from_the_right),
    };
    if from_the_right {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Splits at runs of blanks, from the right where asked for, in which case the last part comes first.
fn split_at_blanks(text: &str, most: usize, from_the_right: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = if from_the_right {
        text.trim_end()
    } else {
        text.trim_start()
    };
    while !rest.is_empty() {
        if parts.len() == most {
            parts.push(rest);
            break;
        }
        if from_the_right {
            let start = rest.rfind(char::is_whitespace).map_or(0, |blank| {
                blank + rest[blank..].chars().next().map_or(0, char::len_utf8)
            });
            parts.push(&rest[start..]);
            rest = rest[..start].trim_end();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            parts.push(&rest[..end]);
            rest = rest[end..].trim_start();
        }
    }
    parts
}

/// Lines at `\n`, `\r` and `\r\n`, which are all that templates meet.
fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let behind = match &rest[end..] {
            tail if tail.starts_with("\r\n") => end + 2,
            "" => end,
            _ => end + 1,
        };
        lines.push(&rest[..if keep_ends { behind } else { end }]);
        rest = &rest[behind..];
    }
    lines
}

/// `str.title`: a letter is upper case where no letter stands before it.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut inside = false;
    for letter in text.chars() {
        if inside {
            titled.extend(letter.to_lowercase());
        } else {
            titled.extend(letter.to_uppercase());
        }
        inside = letter.is_alphabetic();
    }
    titled
}

fn padded(text: &str, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    /// A wider padding is a mistake, and would only take memory.
    const WIDEST: usize = 100_000;
    let (width, fill): (usize, Option<char>) = from_args(arguments)?;
    if width > WIDEST {
        return Err(refuse("a text is made wider than 100000"));
    }
    let missing = width.saturating_sub(text.chars().count());
    let fill = fill.unwrap_or(if name == "zfill" { '0' } else { ' ' });
    let pad = |count: usize| fill.to_string().repeat(count);
    let (before, text) = match text.strip_prefix(['+', '-']) {
        Some(digits) if name == "zfill" => (&text[..text.len() - digits.len()], digits),
        _ => ("", text),
    };
    Ok(Value::from(match name {
        "ljust" => format!("{text}{}", pad(missing)),
        "center" => {
            let left = missing / 2 + (missing & width & 1);
            format!("{}{text}{}", pad(left), pad(missing - left))
        }
        _ => format!("{before}{}{text}", pad(missing)),
    }))
}
