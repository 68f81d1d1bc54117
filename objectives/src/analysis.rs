//! The numbers behind an objective's advantages, for whoever checks them by hand.

use serde::Serialize;
use thiserror::Error;

/// Why scores alone do not decide an objective's advantages.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NotAnalysed {
    /// They depend on tokens, on other groups or on measurements.
    #[error("its advantages do not follow from scores alone")]
    MoreThanScores,
    /// They depend on the thinking tokens of each trace, which the table was not given.
    #[error("it needs the thinking tokens of each trace")]
    Lengths,
}

/// How a group's scores become advantages. All but the last are `[trace][segment]`. The serialised names are the
/// paper's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analysis {
    /// R, the reward to go (equation 6).
    #[serde(rename = "R")]
    pub reward_to_go: Vec<Vec<f64>>,
    /// V1, from the same trace at earlier budgets (equation 7).
    #[serde(rename = "V1")]
    pub previous_budgets_value: Vec<Vec<f64>>,
    /// V2, from the group (equation 8).
    #[serde(rename = "V2")]
    pub group_value: Vec<Vec<f64>>,
    /// V, the baseline that the objective takes (equation 9, or an ablation's).
    #[serde(rename = "V")]
    pub baseline: Vec<Vec<f64>>,
    /// A = R − V, which some objectives scale within the group.
    #[serde(rename = "A")]
    pub advantages: Vec<Vec<f64>>,
    /// The advantages of the summaries, `[trace][budget][summary]`.
    #[serde(rename = "summary")]
    pub summary_advantages: Vec<Vec<Vec<f64>>>,
}
