//! Filters and methods that look for texts in texts or make longer ones, as Jinja2 and Python have them. Each refuses to
//! make what is too long before it makes it.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, from_args};
use minijinja::{Environment, Error, FormatStyle, State, format_filter};

use super::bounds::{WIDEST, bytes_of, refuse, text_of_length, widths};
use super::{percent, python};

pub(super) fn adopt(environment: &mut Environment<'static>) {
    environment.add_filter("replace", |text: &Value, arguments: Rest<Value>| {
        replaced(&python::text_of(text), &arguments)
    });
    environment.add_filter("join", join);
    environment.add_filter("format", format);
    environment.add_filter("_indent", minijinja::filters::indent);
    environment.add_filter("indent", indent);
    environment.add_filter("_batch", minijinja::filters::batch);
    environment.add_filter("batch", |state: &State, arguments: Rest<Value>| {
        parts(state, "_batch", &arguments)
    });
    environment.add_filter("_slice_filter", minijinja::filters::slice);
    environment.add_filter("slice", |state: &State, arguments: Rest<Value>| {
        parts(state, "_slice_filter", &arguments)
    });
    environment.add_filter("_sum", minijinja::filters::sum);
    environment.add_filter("sum", sum);
}

/// The methods of a text that this file has.
pub(super) fn method(text: &str, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match name {
        "replace" => replaced(text, arguments)?,
        "join" => {
            let (items,): (&Value,) = from_args(arguments)?;
            joined(items, text)?
        }
        "format" => {
            let fields = text.matches('{').count();
            let mut bytes = text.len();
            for argument in arguments {
                bytes = bytes.saturating_add(bytes_of(argument)?.saturating_mul(fields));
            }
            text_of_length(bytes)?;
            widths(text)?;
            Value::from(format_filter(FormatStyle::StrFormat, text, arguments)?)
        }
        "startswith" | "endswith" => {
            let (wanted, start, end): (Value, Option<i64>, Option<i64>) = from_args(arguments)?;
            let Some(range) = within(text, start, end) else {
                return Ok(Some(Value::from(false)));
            };
            let text = &text[range];
            let is = |wanted: &Value| match wanted.as_str() {
                Some(wanted) if name == "startswith" => Ok(text.starts_with(wanted)),
                Some(wanted) => Ok(text.ends_with(wanted)),
                None => Err(refuse(format!("{name} looks for a text, and not for {wanted}"))),
            };
            if matches!(wanted.kind(), ValueKind::Seq | ValueKind::Iterable) {
                for wanted in wanted.try_iter()? {
                    if is(&wanted)? {
                        return Ok(Some(Value::from(true)));
                    }
                }
                return Ok(Some(Value::from(false)));
            }
            Value::from(is(&wanted)?)
        }
        "find" | "rfind" | "index" | "rindex" => {
            let (wanted, start, end): (String, Option<i64>, Option<i64>) = from_args(arguments)?;
            let found = within(text, start, end).and_then(|range| {
                let offset = if name.starts_with('r') {
                    text[range.clone()].rfind(&*wanted)
                } else {
                    text[range.clone()].find(&*wanted)
                };
                offset.map(|offset| range.start + offset)
            });
            match found {
                // Python counts letters, Rust bytes.
                Some(bytes) => Value::from(text[..bytes].chars().count()),
                None if name.ends_with("find") => Value::from(-1),
                None => return Err(refuse("the text does not hold it")),
            }
        }
        "count" => {
            let (wanted, start, end): (String, Option<i64>, Option<i64>) = from_args(arguments)?;
            // An empty text is found before every letter and at the end, as in Python.
            let count = within(text, start, end).map(|range| text[range].matches(&*wanted).count());
            Value::from(count.unwrap_or(0))
        }
        _ => return Ok(None),
    }))
}

/// The bytes between two places that count letters, from the end where they are negative. None where the first lies
/// behind the text or behind the second, where Python finds nothing, not even an empty text.
fn within(text: &str, start: Option<i64>, end: Option<i64>) -> Option<std::ops::Range<usize>> {
    if start.is_none() && end.is_none() {
        return Some(0..text.len());
    }
    let letters = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let place = |place: i64| if place < 0 { (place + letters).max(0) } else { place };
    let (start, end) = (start.map_or(0, place), end.map_or(letters, place).min(letters));
    if start > end {
        return None;
    }
    let byte = |letter: i64| {
        let letter = usize::try_from(letter).unwrap_or(0);
        text.char_indices().nth(letter).map_or(text.len(), |(byte, _)| byte)
    };
    Some(byte(start)..byte(end))
}

/// `text.replace(old, new, count=-1)`, and the filter.
fn replaced(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (old, new, count, named): (Value, Value, Option<i64>, Kwargs) = from_args(arguments)?;
    let count = match count {
        Some(count) => Some(count),
        None => named.get::<Option<i64>>("count")?,
    };
    named.assert_all_used()?;
    let (old, new) = (python::text_of(&old), python::text_of(&new));
    let most = count
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(usize::MAX);
    let found = text.matches(&*old).take(most).count();
    text_of_length(text.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(Value::from(text.replacen(&*old, &new, most)))
}

/// `value|join(d="", attribute=None)`.
fn join(value: &Value, separator: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let separator = match separator {
        Some(separator) => Some(separator),
        None => named.get::<Option<Value>>("d")?,
    };
    let attribute = named.get::<Option<String>>("attribute")?;
    named.assert_all_used()?;
    let separator = separator.filter(|separator| !separator.is_none()).unwrap_or_default();
    let separator = python::text_of(&separator);
    match attribute {
        Some(attribute) => {
            let items = value.try_iter()?.map(|item| item.get_attr(&attribute));
            joined(&Value::from(items.collect::<Result<Vec<Value>, Error>>()?), &separator)
        }
        None => joined(value, &separator),
    }
}

fn joined(items: &Value, separator: &str) -> Result<Value, Error> {
    let mut text = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        if index > 0 {
            text.push_str(separator);
        }
        match item.as_str() {
            Some(item) => text.push_str(item),
            None => text.push_str(&python::text_of(&item)),
        }
        text_of_length(text.len())?;
    }
    Ok(Value::from(text))
}

/// `text|format(…)`: Python's `%`.
fn format(text: &Value, arguments: Rest<Value>) -> Result<Value, Error> {
    let text = text
        .as_str()
        .ok_or_else(|| refuse(format!("format: {} is no text", text.kind())))?;
    let is_named = arguments.len() == 1 && arguments[0].is_kwargs();
    percent::formatted(text, &arguments, is_named).map(Value::from)
}

/// The argument of a filter by its place or its name.
fn argument(arguments: &[Value], place: usize, name: &str) -> Option<Value> {
    let positional = arguments.get(place).filter(|value| !value.is_kwargs());
    let named = || {
        let named = arguments.last().filter(|value| value.is_kwargs())?;
        named.get_item(&Value::from(name)).ok()
    };
    positional.cloned().or_else(named).filter(|value| !value.is_undefined())
}

fn indent(state: &State, arguments: Rest<Value>) -> Result<Value, Error> {
    let width = argument(&arguments, 1, "width")
        .and_then(|width| width.as_usize())
        .unwrap_or(4);
    if width > WIDEST {
        return Err(refuse(format!("a text is made wider than {WIDEST}")));
    }
    if let Some(text) = arguments.first().and_then(Value::as_str) {
        let lines = text.matches('\n').count() + 1;
        text_of_length(text.len().saturating_add(lines.saturating_mul(width)))?;
    }
    state.apply_filter("_indent", &arguments)
}

/// `batch` and `slice`, which fill up the last part.
fn parts(state: &State, filter: &str, arguments: &[Value]) -> Result<Value, Error> {
    let count = ["linecount", "slices", "count"]
        .into_iter()
        .find_map(|name| argument(arguments, 1, name))
        .and_then(|count| count.as_usize());
    if count.is_some_and(|count| count > WIDEST) {
        return Err(refuse(format!("a list is made longer than {WIDEST}")));
    }
    state.apply_filter(filter, arguments)
}

/// Adds texts up as well, each time anew.
fn sum(state: &State, arguments: Rest<Value>) -> Result<Value, Error> {
    let is_text = |item: Value| !matches!(item.kind(), ValueKind::Number | ValueKind::Bool | ValueKind::Map);
    if let Some(items) = arguments.first().and_then(|items| items.try_iter().ok())
        && items.into_iter().any(is_text)
    {
        return Err(refuse("sum: an item is no number"));
    }
    state.apply_filter("_sum", &arguments)
}
