//! The fields of one file, read one by one with errors that name them.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::error::PolicyError;

pub(super) struct Fields {
    path: PathBuf,
    pub(super) json: Map<String, Value>,
}

impl Fields {
    pub(super) fn parse(path: PathBuf, text: &str) -> Result<Self, PolicyError> {
        match serde_json::from_str(text) {
            Ok(json) => Ok(Fields { path, json }),
            Err(source) => Err(PolicyError::json(&path, source)),
        }
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, PolicyError> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(self.refuse(name, "an object or null")),
        }
    }

    /// A whole number from 1 to `most`; null counts as absent, as it does for transformers.
    pub(super) fn count(&self, name: &str, otherwise: Option<i64>, most: i64) -> Result<i64, PolicyError> {
        match (self.json.get(name), otherwise) {
            (None | Some(Value::Null), Some(value)) => Ok(value),
            (Some(value), _) => match value.as_i64() {
                Some(number) if (1..=most).contains(&number) => Ok(number),
                _ => Err(self.refuse(name, &format!("a whole number from 1 to {most}"))),
            },
            (None, None) => Err(self.refuse(name, &format!("a whole number from 1 to {most}"))),
        }
    }

    /// A finite number above 0 of `object`, whose name in messages is `prefix`, with a dot at its end. Absent or null
    /// gives `otherwise`.
    pub(super) fn positive(
        &self,
        object: &Map<String, Value>,
        prefix: &str,
        name: &str,
        otherwise: Option<f64>,
    ) -> Result<f64, PolicyError> {
        match (object.get(name), otherwise) {
            (None | Some(Value::Null), Some(value)) => Ok(value),
            (Some(value), _) if value.as_f64().is_some_and(|number| number > 0.0 && number.is_finite()) => {
                Ok(value.as_f64().expect("the guard has just read a number"))
            }
            (Some(value), _) => Err(self.refuse_value(&format!("{prefix}{name}"), value, "a number above 0")),
            (None, None) => Err(self.refuse_value(&format!("{prefix}{name}"), "missing", "a number above 0")),
        }
    }

    pub(super) fn flag(&self, name: &str, otherwise: bool) -> Result<bool, PolicyError> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(otherwise),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.refuse(name, "true or false")),
        }
    }

    pub(super) fn refuse(&self, field: &str, allowed: &str) -> PolicyError {
        match self.json.get(field) {
            Some(value) => self.refuse_value(field, value, allowed),
            None => self.refuse_value(field, "missing", allowed),
        }
    }

    pub(super) fn refuse_value(&self, field: &str, value: impl std::fmt::Display, allowed: &str) -> PolicyError {
        PolicyError::ConfigField {
            path: self.path.clone(),
            field: field.to_owned(),
            value: value.to_string(),
            allowed: allowed.to_owned(),
        }
    }
}
