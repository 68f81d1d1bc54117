//! Why a setting was refused, as a sentence.

use std::fmt;

/// A setting that cannot work. What it displays is a sentence with its reason: `objective.kimi.length_weight is -1.0; it
/// must be 0 or more`, or, where no value can be shown, `data.path: data.jsonl line 3: no field "answer"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// Its dotted name in the job file, such as `rollout.budgets`.
    pub field: String,
    /// What it is, where one value can be shown.
    pub value: Option<String>,
    /// Why that cannot work: a clause.
    pub reason: String,
}

impl InvalidSetting {
    /// The setting with this dotted name has a value that cannot work.
    pub fn new(field: &str, value: impl fmt::Debug, reason: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            value: Some(format!("{value:?}")),
            reason: reason.into(),
        }
    }

    /// A required setting is missing.
    pub fn missing(field: &str, reason: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            value: Some("missing".to_owned()),
            reason: reason.into(),
        }
    }

    /// What the setting names or stands for cannot work; the reason says it all.
    pub fn because(field: &str, reason: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            value: None,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, reason } = self;
        match value {
            Some(value) => write!(formatter, "{field} is {value}; {reason}"),
            None => write!(formatter, "{field}: {reason}"),
        }
    }
}

impl std::error::Error for InvalidSetting {}
