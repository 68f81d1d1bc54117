//! Objectives: a scored group becomes per-token advantages and weights. No tensors and no I/O: the trainer is blind to
//! the algorithm, and a new one is one small file here.
//!
//! Notation (paper 1.2): G traces, S budgets, A summaries per budget; r[g][s] is the mean score of trace g's summaries
//! at budget s, P[s] the prior, R[g][s] the reward to go. A thinking token belongs to segment s where budget s is the
//! first one at or after it.
//!
//! [`ScoreTable`] is what of a group advantages are made from, `length` what becomes of its scores before, [`baselines`]
//! the formulas, [`Brpo`] and [`Grpo`] the objectives, [`lay_out`] the way from advantages to tokens, and [`statistics`]
//! what a training step shows of its baselines.
#![forbid(unsafe_code)]

pub mod baselines;
mod brpo;
mod grpo;
mod length;
mod scores;
pub mod statistics;
mod targets;

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;
use serde::Serialize;
use thiserror::Error;

pub use brpo::Brpo;
pub use grpo::Grpo;
pub use scores::{InvalidScores, ScoreTable, segment_of_token};
pub use targets::{TraceTargets, lay_out};

/// Turns a scored group into what the loss needs of each trained token.
pub trait Objective: Send {
    /// One entry per trace, in the order of the group. The group satisfies [`anytime_proto::check_group`]; its
    /// `problem_id` tells an objective that remembers problems which one it is. Called once per trained group, in the
    /// order of training.
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets>;

    /// What becomes of these scores, by segment. None where scores alone do not decide it.
    fn analyse(&self, _scores: ScoreTable) -> Option<Analysis> {
        None
    }

    /// What the objective has learnt from the groups so far and needs again after a restart; it goes into the recovery
    /// checkpoint. None where it remembers nothing.
    fn state(&self) -> Option<serde_json::Value> {
        None
    }

    /// Takes over what [`Objective::state`] gave.
    ///
    /// # Errors
    /// If that is not a state of this objective.
    fn restore(&mut self, _state: serde_json::Value) -> Result<(), InvalidState> {
        Err(InvalidState("this objective keeps none".to_owned()))
    }
}

/// A state that is not one of the objective that is to take it over.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("state of the objective: {0}")]
pub struct InvalidState(pub String);

/// How a group's scores become advantages: all but the last are [trace][segment]. The serialised names are the paper's.
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
    /// A = R − V.
    #[serde(rename = "A")]
    pub advantages: Vec<Vec<f64>>,
    /// Of the summaries, [trace][budget][summary].
    #[serde(rename = "summary")]
    pub summary_advantages: Vec<Vec<Vec<f64>>>,
}

/// The objective that the settings name; [`ObjectiveSettings::try_new`] admits no other name.
pub fn objective(settings: &ObjectiveSettings) -> Box<dyn Objective> {
    match settings.name.as_str() {
        "grpo" => Box::new(Grpo::new(settings)),
        _ => Box::new(Brpo::new(settings)),
    }
}
