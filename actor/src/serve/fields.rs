//! The fields of a request's JSON, read one by one. Each wrong one is refused in a sentence with its name, its value and
//! what it must be; what nobody has read is unknown.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::error::ApiError;

/// Longest value that a refusal shows, in characters.
const LONGEST_SHOWN: usize = 80;

/// An object of a request, with the names of its fields that were read.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// What stands before the names in refusals: empty, or `anytime.`.
    place: &'static str,
    read: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(object: &'a Map<String, Value>, place: &'static str) -> Self {
        Self {
            object,
            place,
            read: BTreeSet::new(),
        }
    }

    /// The full name of a field.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    /// A field's value; None where it is missing or null.
    pub(crate) fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.read.insert(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// The refusal of a field that is there.
    pub(crate) fn wrong(&self, name: &str, reason: impl std::fmt::Display) -> ApiError {
        let value = self.object.get(name).map(shown).unwrap_or_default();
        ApiError::field(&self.name(name), value, reason)
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<&'a str>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "it must be a text")),
        }
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(name, "it must be true or false")),
        }
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn whole(&mut self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match whole_of(value).filter(|whole| (least..=most).contains(whole)) {
            Some(whole) => Ok(Some(whole)),
            None => Err(self.wrong(name, format!("it must be a whole number from {least} to {most}"))),
        }
    }

    /// A number from `least` to `most`.
    pub(crate) fn number(&mut self, name: &'static str, least: f64, most: f64) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.as_f64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, format!("it must be a number from {least} to {most}"))),
        }
    }

    pub(crate) fn object(&mut self, name: &'static str) -> Result<Option<&'a Map<String, Value>>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(self.wrong(name, "it must be an object")),
        }
    }

    /// Reads a field over that cannot change the answer.
    pub(crate) fn pass_over(&mut self, names: &[&'static str]) {
        self.read.extend(names);
    }

    /// Refuses a field unless it has a value that changes nothing.
    pub(crate) fn only(
        &mut self,
        name: &'static str,
        changes_nothing: impl Fn(&Value) -> bool,
        reason: &str,
    ) -> Result<(), ApiError> {
        match self.get(name) {
            Some(value) if !changes_nothing(value) => Err(ApiError::unsupported(&self.name(name), reason)),
            _ => Ok(()),
        }
    }

    /// Refuses the first field that nobody has read.
    pub(crate) fn nothing_else(&self) -> Result<(), ApiError> {
        let unknown = self.object.keys().find(|name| !self.read.contains(name.as_str()));
        match unknown {
            Some(name) => Err(ApiError::unsupported(
                &self.name(name),
                "no field of this name is known here",
            )),
            None => Ok(()),
        }
    }
}

/// A whole number, also where it is written as 3.0.
pub(crate) fn whole_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        let is_whole = number >= 0.0 && number.fract() == 0.0 && number < 9e15;
        is_whole.then_some(number as u64)
    })
}

/// A value as a refusal shows it.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
