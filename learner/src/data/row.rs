//! One row, whatever file it is from: its values by name. Numbers are kept as they are written, digit by digit, because
//! ground truths are compared exactly.

use std::fmt;
use std::rc::Rc;

use parquet::record::{Field, Row as ParquetRow};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The deepest nesting of a value that is read.
const MAX_DEPTH: usize = 16;

/// Largest exponent of a number, up or down, that is written out.
const MAX_EXPONENT: i64 = 400;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Null, or what no answer can be: a date, bytes.
    Null,
    Flag,
    /// Its digits.
    Number(String),
    Text(String),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
}

/// A row: the fields that may be needed, and the names of all others.
#[derive(Clone, Debug)]
pub(super) struct Row {
    fields: Vec<(String, Value)>,
    others: Rc<[String]>,
}

impl Value {
    /// The value under a key, where there is one.
    fn get(&self, key: &str) -> Option<&Value> {
        match self {
            // Of a key that is written twice, the last value counts.
            Self::Table(entries) => entries
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The messages of a chat that a text holds as JSON, as tables have them that know no lists. None for other texts.
    pub(super) fn messages_in_text(text: &str) -> Option<Vec<Self>> {
        if !text.trim_start().starts_with('[') {
            return None;
        }
        match Self::of_json(text, 0) {
            Ok(Self::List(items)) if !items.is_empty() && items.iter().all(|item| item.get("role").is_some()) => {
                Some(items)
            }
            _ => None,
        }
    }

    /// A value as a message calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag => "true or false",
            Self::Number(_) => "a number",
            Self::Text(text) if text.trim().is_empty() => "an empty string",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Table(_) => "an object",
        }
    }

    /// The value of JSON text.
    ///
    /// # Errors
    /// Nesting beyond what any data set has, and a number that cannot be written out.
    fn of_json(text: &str, depth: usize) -> Result<Self, String> {
        let broken = |error: serde_json::Error| error.to_string();
        let text = text.trim();
        if depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        Ok(match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Flag,
            Some(b'"') => Self::Text(serde_json::from_str(text).map_err(broken)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(broken)?;
                let items: Result<_, String> = items.iter().map(|item| Self::of_json(item.get(), depth + 1)).collect();
                Self::List(items?)
            }
            Some(b'{') => {
                let mut entries = Vec::new();
                for (key, raw) in raw_entries(text).map_err(broken)? {
                    entries.push((key, Self::of_json(raw.get(), depth + 1)?));
                }
                Self::Table(entries)
            }
            _ => Self::Number(written_out(text)?),
        })
    }

    fn of_parquet(field: Field) -> Self {
        match field {
            Field::Null
            | Field::Bytes(_)
            | Field::Date(_)
            | Field::TimeMillis(_)
            | Field::TimeMicros(_)
            | Field::TimestampMillis(_)
            | Field::TimestampMicros(_)
            | Field::MapInternal(_) => Self::Null,
            Field::Bool(_) => Self::Flag,
            Field::Str(text) => Self::Text(text),
            Field::Float16(number) => float(f32::from(number)),
            Field::Float(number) => float(number),
            Field::Double(number) => float(number),
            Field::Byte(_)
            | Field::Short(_)
            | Field::Int(_)
            | Field::Long(_)
            | Field::UByte(_)
            | Field::UShort(_)
            | Field::UInt(_)
            | Field::ULong(_)
            | Field::Decimal(_) => Self::Number(field.to_string()),
            Field::Group(row) => Self::Table(
                row.into_columns()
                    .into_iter()
                    .map(|(name, field)| (name, Self::of_parquet(field)))
                    .collect(),
            ),
            Field::ListInternal(list) => Self::List(list.elements().iter().cloned().map(Self::of_parquet).collect()),
        }
    }
}

/// The shortest digits that are this number and no other of its type; a whole number keeps its `.0`.
fn float(number: impl Into<f64> + Copy + fmt::Display) -> Value {
    let wide: f64 = number.into();
    if !wide.is_finite() {
        return Value::Null;
    }
    let text = number.to_string();
    Value::Number(if text.contains('.') || wide.abs() >= 1e16 {
        text
    } else {
        format!("{text}.0")
    })
}

/// A JSON number without its exponent: `1.5e3` is 1500.
fn written_out(text: &str) -> Result<String, String> {
    let Some(place) = text.find(['e', 'E']) else {
        return Ok(text.to_owned());
    };
    let (digits, exponent) = (&text[..place], &text[place + 1..]);
    let exponent: i64 = exponent.trim_start_matches('+').parse().unwrap_or(i64::MAX);
    if exponent.abs() > MAX_EXPONENT {
        return Err(format!("the number {text} is too large or too small to be written out"));
    }
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let point = whole.len() as i64 + exponent;
    let text = if point <= 0 {
        format!("0.{}{all}", "0".repeat(point.unsigned_abs() as usize))
    } else if point as usize >= all.len() {
        format!("{all}{}", "0".repeat(point as usize - all.len()))
    } else {
        format!("{}.{}", &all[..point as usize], &all[point as usize..])
    };
    let trimmed = text.trim_start_matches('0');
    let head = if trimmed.is_empty() || trimmed.starts_with('.') {
        "0"
    } else {
        ""
    };
    Ok(format!("{sign}{head}{trimmed}"))
}

/// What a line is that is no JSON.
fn not_json(text: &str, error: &serde_json::Error) -> String {
    // Python writes and reads these, but JSON does not have them.
    let rest = text.get(error.column().saturating_sub(1)..).unwrap_or_default();
    if let Some(word) = ["NaN", "Infinity"].iter().find(|word| rest.starts_with(**word)) {
        return format!("it is no JSON, which has no {word}; write null for it, or leave the row out");
    }
    let is_cut = error.is_eof() && text.starts_with('{') && !error.to_string().contains("a string");
    if is_cut {
        return "an object begins and does not end; a row is one line, or an item of one array".to_owned();
    }
    if text.starts_with('{')
        && rest.starts_with(['{', '[', ','])
        && error.to_string().starts_with("trailing characters")
    {
        let column = error.column();
        return format!(
            "something follows the row's object in column {column}; a row is one line, or an item of one array"
        );
    }
    if !text.contains(['{', '[', '<']) && text.contains([',', ';', '\t']) {
        return "it is no JSON but looks like CSV, which is not read; write the rows as JSONL or Parquet".to_owned();
    }
    // A row is one line, and the message already begins with its number.
    format!(
        "it is no JSON ({})",
        error.to_string().replace(" line 1 column", " column")
    )
}

/// The entries of a JSON object, not yet read.
fn raw_entries(text: &str) -> Result<Vec<(String, &RawValue)>, serde_json::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let entries = deserializer.deserialize_map(Entries)?;
    deserializer.end()?;
    Ok(entries)
}

impl Row {
    /// A row of JSON text. `is_needed` says which of its fields are looked at.
    ///
    /// # Errors
    /// Text that is no JSON, a value that is no object, and what [`Value`] cannot hold.
    pub(super) fn of_json(text: &str, is_needed: impl Fn(&str) -> bool) -> Result<Self, String> {
        let entries = match raw_entries(text) {
            Ok(entries) => entries,
            Err(error) => {
                return Err(match serde_json::from_str::<&RawValue>(text) {
                    Ok(_) => {
                        let kind = Value::of_json(text, 0).map_or("something else", |value| value.kind());
                        format!("it is {kind}; a row must be an object with fields, {{\"problem\": …, \"answer\": …}}")
                    }
                    Err(_) => not_json(text, &error),
                });
            }
        };
        let mut fields = Vec::new();
        let mut others = Vec::new();
        for (key, raw) in entries {
            if is_needed(&key) {
                let value = Value::of_json(raw.get(), 0).map_err(|what| format!("field {key:?}: {what}"))?;
                fields.push((key, value));
            } else {
                others.push(key);
            }
        }
        Ok(Self {
            fields,
            others: others.into(),
        })
    }

    /// A row of Parquet; `others` are the columns that were not read.
    pub(super) fn of_parquet(row: ParquetRow, others: Rc<[String]>) -> Self {
        let columns = row.into_columns().into_iter();
        Self {
            fields: columns.map(|(name, field)| (name, Value::of_parquet(field))).collect(),
            others,
        }
    }

    /// Reads the texts of these fields as the objects that they hold in JSON, as tables have them that know no objects:
    /// `reward_model` is `{"ground_truth": "7"}` as a text there. Other texts stay what they are.
    pub(super) fn open_texts(&mut self, leads_into: impl Fn(&str) -> bool) {
        for (name, value) in &mut self.fields {
            if let Value::Text(text) = value
                && text.trim_start().starts_with('{')
                && leads_into(name)
                && let Ok(table @ Value::Table(_)) = Value::of_json(text, 0)
            {
                *value = table;
            }
        }
    }

    /// The value under a name with dots, which lead into nested fields unless a field has the whole name. Null is as good
    /// as nothing.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.find(name).filter(|value| **value != Value::Null)
    }

    /// Whether there is a field of this name, null or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&Value> {
        let top = |key: &str| {
            self.fields
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value)
        };
        if let Some(value) = top(name) {
            return Some(value);
        }
        let (first, rest) = name.split_once('.')?;
        let mut value = top(first)?;
        for part in rest.split('.') {
            value = value.get(part)?;
        }
        Some(value)
    }

    /// What the row has, for a message that says what is missing: `the row has answer, question and source`. For a
    /// nested name, the keys at the first level that lacks the next part of the name.
    pub(super) fn what_it_has(&self, name: &str) -> String {
        let mut at = "the row".to_owned();
        let mut keys: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        keys.extend(self.others.iter().map(String::as_str));
        let parts: Vec<&str> = name.split('.').collect();
        for end in 1..parts.len() {
            let path = parts[..end].join(".");
            let Some(Value::Table(entries)) = self.find(&path) else {
                break;
            };
            keys = entries.iter().map(|(name, _)| name.as_str()).collect();
            at = format!("its {path}");
        }
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return format!("{at} has no fields");
        }
        let shown: Vec<&str> = keys.iter().take(MOST_KEYS).copied().collect();
        let more = match keys.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{at} has {}{more}", shown.join(", "))
    }
}

/// Most keys that a message lists.
const MOST_KEYS: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_written_out() {
        for (text, digits) in [
            ("1e3", "1000"),
            ("1.5e3", "1500"),
            ("-1.25E+1", "-12.5"),
            ("12e-3", "0.012"),
            ("-0.5e1", "-5"),
            ("1.50e0", "1.50"),
            ("0e5", "0"),
            ("100e-2", "1.00"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("3.0", "3.0"),
        ] {
            assert_eq!(written_out(text).as_deref(), Ok(digits), "{text}");
        }
        assert!(written_out("1e999").is_err());
        assert!(written_out("1e-99999999999999999999").is_err());
    }

    #[test]
    fn deep_nesting_is_refused_and_does_no_harm() {
        let deep = format!("{{\"answer\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Row::of_json(&deep, |_| true).is_err());
        assert!(Row::of_json(&deep, |_| false).is_ok(), "it is not looked at");
    }

    #[test]
    fn floats_have_the_digits_of_their_type() {
        assert_eq!(float(0.1_f32), Value::Number("0.1".to_owned()));
        assert_eq!(float(34.0_f64), Value::Number("34.0".to_owned()));
        assert_eq!(float(1e21_f64), Value::Number("1000000000000000000000".to_owned()));
        assert_eq!(float(f64::NAN), Value::Null);
    }
}
