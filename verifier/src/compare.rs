//! Decides whether two values are the same.

use crate::value::{Parsed, Value};

/// How an answer was found to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// Both are the same number.
    Number,
    /// Both have the same spelling.
    Text,
}

impl Match {
    /// For people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Number => "equal as numbers",
            Self::Text => "equal as text",
        }
    }
}

/// How the two are the same, if they are. What stands beside a value may be left out, but not be another.
pub(crate) fn compare(answer: &Parsed, ground_truth: &Parsed) -> Option<Match> {
    if contradicts(&answer.label, &ground_truth.label) || contradicts(&answer.unit, &ground_truth.unit) {
        return None;
    }
    match (&answer.value, &ground_truth.value) {
        (Value::Number(left), Value::Number(right)) if left == right => Some(Match::Number),
        (Value::Text(left), Value::Text(right)) if left == right => Some(Match::Text),
        _ => None,
    }
}

fn contradicts(left: &Option<String>, right: &Option<String>) -> bool {
    matches!((left, right), (Some(left), Some(right)) if left != right)
}
