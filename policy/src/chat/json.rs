//! `tojson` as transformers has it: Python's `json.dumps` without its escapes for HTML.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::bounds;
use super::python::float;

/// How a value is written; the arguments of the filter.
struct Style {
    ensure_ascii: bool,
    /// What one level is indented by; without it everything is in one line.
    indent: Option<String>,
    between_items: String,
    behind_key: String,
    sort_keys: bool,
}

/// `value|tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let argument = |index: usize, name: &str| -> Result<Option<Value>, Error> {
        let given = match positional.get(index) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        };
        Ok(given.filter(|value| !value.is_none()))
    };
    let ensure_ascii = argument(0, "ensure_ascii")?.is_some_and(|value| value.is_true());
    let indent = match argument(1, "indent")? {
        None => None,
        Some(text) if text.as_str().is_some() => text.as_str().map(str::to_owned),
        Some(count) => {
            let count = i64::try_from(count).map_err(|_| refuse("tojson: indent is neither a number nor a text"))?;
            Some(" ".repeat(count.clamp(0, 64) as usize))
        }
    };
    let (mut between_items, mut behind_key) = (", ".to_owned(), ": ".to_owned());
    if indent.is_some() {
        between_items = ",".to_owned();
    }
    if let Some(separators) = argument(2, "separators")? {
        let pair: Vec<Value> = separators.try_iter()?.collect();
        let [items, key] = pair.as_slice() else {
            return Err(refuse("tojson: separators are two texts"));
        };
        (between_items, behind_key) = (items.to_string(), key.to_string());
    }
    let sort_keys = argument(3, "sort_keys")?.is_some_and(|value| value.is_true());
    named.assert_all_used()?;
    let style = Style {
        ensure_ascii,
        indent,
        between_items,
        behind_key,
        sort_keys,
    };
    let mut text = String::new();
    style.write(&mut text, value, 0)?;
    Ok(Value::from(text))
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

impl Style {
    fn write(&self, text: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => text.push_str(&number(value)),
            ValueKind::String => self.write_text(text, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.write_items(text, '[', ']', &items, depth, |text, item| {
                    self.write(text, item, depth + 1)
                })?;
            }
            ValueKind::Map => {
                let mut entries = Vec::new();
                for key in value.try_iter()? {
                    entries.push((key_of(&key)?, value.get_item(&key)?));
                }
                if self.sort_keys {
                    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                }
                self.write_items(text, '{', '}', &entries, depth, |text, (key, item)| {
                    self.write_text(text, key);
                    text.push_str(&self.behind_key);
                    self.write(text, item, depth + 1)
                })?;
            }
            other => return Err(refuse(format!("tojson: a value that is {other} has no JSON"))),
        }
        Ok(())
    }

    fn write_items<T>(
        &self,
        text: &mut String,
        open: char,
        close: char,
        items: &[T],
        depth: usize,
        write: impl Fn(&mut String, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        text.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                text.push_str(&self.between_items);
            }
            self.break_line(text, depth + 1);
            write(text, item)?;
            bounds::text_of_length(text.len())?;
        }
        if !items.is_empty() {
            self.break_line(text, depth);
        }
        text.push(close);
        Ok(())
    }

    fn break_line(&self, text: &mut String, depth: usize) {
        if let Some(indent) = &self.indent {
            text.push('\n');
            text.push_str(&indent.repeat(depth));
        }
    }

    fn write_text(&self, text: &mut String, written: &str) {
        text.push('"');
        for letter in written.chars() {
            match letter {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                _ if letter < ' ' || (self.ensure_ascii && !(' '..='~').contains(&letter)) => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => text.push(letter),
            }
        }
        text.push('"');
    }
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(number) if number.is_nan() => "NaN".to_owned(),
        Ok(number) if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Ok(number) => float(number),
        Err(_) => value.to_string(),
    }
}

/// A key of a JSON object: numbers, flags and none become texts.
fn key_of(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(number(key)),
        other => Err(refuse(format!("tojson: a key that is {other} has no JSON"))),
    }
}
