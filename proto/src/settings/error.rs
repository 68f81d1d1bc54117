//! Why a setting was refused, as a sentence.

use std::fmt;

/// What stands for the value of a setting that is not there.
const MISSING: &str = "missing";

/// A setting that cannot work. What it displays is a sentence with its reason: `objective.kimi.length_weight is -1.0;
/// it must be 0 or more`, or, where no value can be shown, `data.path: data.jsonl line 3: no field "answer"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// Its dotted name in the job file, such as `rollout.budgets`.
    pub field: String,
    /// Its value, where one can be shown.
    pub value: Option<String>,
    /// A clause that says why that cannot work.
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
            value: Some(MISSING.to_owned()),
            reason: reason.into(),
        }
    }

    /// Whether it is one that is not written. The text `"missing"` shows with its quotes.
    pub(super) fn is_missing(&self) -> bool {
        self.value.as_deref() == Some(MISSING)
    }

    /// A setting that names something at fault, such as a file; the reason says it all.
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
