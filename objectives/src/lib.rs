//! Objectives: a scored group becomes per-token advantages and weights. No tensors and no I/O: the trainer is blind to
//! the algorithm, and a new one is one small file here.
//!
//! Notation (paper 1.2): G traces, S budgets, A summaries per budget; r[g][s] is the mean score of trace g's summaries
//! at budget s, P[s] the prior, R[g][s] the reward to go. A thinking token belongs to segment s where budget s is the
//! first one at or after it.
//!
//! [`ScoreTable`] is what of a group advantages are made from, `length` what becomes of its scores before, [`baselines`]
//! the formulas, [`Brpo`] and [`Grpo`] the paper's objectives, [`Elastic`], [`AdaptThink`], [`DeGrpo`], [`ShortRl`] and
//! [`Kimi`] those of the related work, `responses` what all but the first have in common, [`lay_out`] the way from advantages to tokens, and [`statistics`]
//! what a training step shows of its baselines.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

mod adaptthink;
pub mod baselines;
mod brpo;
mod degrpo;
mod elastic;
mod grpo;
mod kimi;
mod length;
mod responses;
mod scores;
mod short_rl;
mod state;
pub mod statistics;
mod targets;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;

use anytime_proto::settings::{Method, ObjectiveSettings};
use anytime_proto::v1;
use serde::Serialize;
use serde_json::Value;

pub use adaptthink::AdaptThink;
pub use brpo::Brpo;
pub use degrpo::DeGrpo;
pub use elastic::Elastic;
pub use grpo::Grpo;
pub use kimi::Kimi;
pub use scores::{InvalidScores, ScoreTable, segment_of_token};
pub use short_rl::ShortRl;
pub use state::InvalidState;
pub use targets::{TraceTargets, lay_out, lay_out_tokens};

/// Turns a scored group into what the loss needs of each trained token.
pub trait Objective: Send {
    /// Sees all groups of a step before the first of them is asked for.
    fn begin_step(&mut self, _groups: &[&v1::ScoredGroup]) {}

    /// One entry per trace, in the order of the group. The group satisfies [`anytime_proto::check_group`]; its
    /// `problem_id` tells an objective that remembers problems which one it is. Called once per trained group, in the
    /// order of training.
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets>;

    /// What becomes of these scores, by segment. None where scores alone do not decide it.
    fn analyse(&self, _scores: ScoreTable) -> Option<Analysis> {
        None
    }

    /// How many traces of a training group of `traces` must end their thinking at once, the others being kept from it;
    /// 0 leaves all of them free.
    fn no_thinking_traces(&self, _traces: u32) -> u32 {
        0
    }

    /// Whether the ratio of the policy to the distribution that a response was drawn from is taken as its geometric mean
    /// over the response, the same for all of its tokens.
    fn sequence_ratio(&self) -> bool {
        false
    }

    /// How often each training problem is sampled with the starting weights, before the first step, for
    /// [`Objective::add_references`]. None where the objective does not ask.
    fn reference_samples(&self) -> Option<u32> {
        None
    }

    /// Whether the reference accuracy of this problem is still to be measured.
    fn needs_reference(&self, _problem_id: &str) -> bool {
        false
    }

    /// Accuracies of the starting weights at the largest budget, by problem id.
    fn add_references(&mut self, _accuracies: BTreeMap<String, f64>) {}

    /// What the objective has learnt so far and needs again after a restart, with its own name in it; it goes into the
    /// recovery checkpoint. None where it remembers nothing.
    fn state(&self) -> Option<Value> {
        None
    }

    /// Takes over what [`Objective::state`] gave.
    ///
    /// # Errors
    /// If that is not a state of this objective.
    fn restore(&mut self, state: Value) -> Result<(), InvalidState> {
        let problem = format!("is that of {}, and the job's objective keeps none", state["name"]);
        Err(InvalidState(problem))
    }
}

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
    /// A = R − V, or in `elastic` that over the standard deviation of the group.
    #[serde(rename = "A")]
    pub advantages: Vec<Vec<f64>>,
    /// Of the summaries, [trace][budget][summary].
    #[serde(rename = "summary")]
    pub summary_advantages: Vec<Vec<Vec<f64>>>,
}

/// The objective that the settings name.
pub fn objective(settings: &ObjectiveSettings) -> Box<dyn Objective> {
    match settings.method {
        Method::Brpo => Box::new(Brpo::new(settings)),
        Method::Grpo => Box::new(Grpo::new(settings)),
        Method::Elastic { divide_by_deviation } => Box::new(Elastic::new(settings, divide_by_deviation)),
        Method::AdaptThink {
            no_thinking_bonus,
            reference_samples,
            sequence_ratio,
        } => Box::new(AdaptThink::new(
            settings,
            no_thinking_bonus,
            reference_samples,
            sequence_ratio,
        )),
        Method::DeGrpo {
            control_weight,
            thinking_cost,
        } => Box::new(DeGrpo::new(settings, control_weight, thinking_cost)),
        Method::ShortRl {
            length_tolerance,
            accuracy_tolerance,
            length_weight,
        } => Box::new(ShortRl::new(
            settings,
            length_tolerance,
            accuracy_tolerance,
            length_weight,
        )),
        Method::Kimi { length_weight } => Box::new(Kimi::new(settings, length_weight)),
    }
}
