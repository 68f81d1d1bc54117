//! Objectives: a scored group becomes per-token advantages and weights. No tensors and no I/O: the trainer is blind to
//! the algorithm, and a new one is one small file here.
//!
//! Notation (paper 1.2): G traces, S budgets, A summaries per budget; r[g][s] is the mean score of trace g's summaries
//! at budget s, P[s] the prior, R[g][s] the reward to go.

#![forbid(unsafe_code)]

mod baselines;
mod brpo;
mod grpo;
mod scores;

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

pub use baselines::{mean_over_group, previous_budgets_value, reward_to_go};
pub use brpo::Brpo;
pub use grpo::Grpo;
pub use scores::{ScoreTable, segment_of_token};

/// Turns a scored group into what the loss needs of each trained token.
pub trait Objective: Send {
    /// One entry per trace, in the order of the group. The group satisfies [`anytime_proto::check_group`].
    fn targets(&self, group: &v1::ScoredGroup) -> Vec<TraceTargets>;
}

/// The trained tokens of one trace in the order of its tree row: the thinking, then the generated tokens of every
/// summary, node by node. Both lists have one entry per token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceTargets {
    /// A, what the policy gradient of the token is multiplied with.
    pub advantages: Vec<f32>,
    /// How much the token counts beside others; 0 leaves it out.
    pub weights: Vec<f32>,
}

impl TraceTargets {
    fn push(&mut self, tokens: usize, advantage: f64, weight: f64) {
        let length = self.advantages.len() + tokens;
        self.advantages.resize(length, advantage as f32);
        self.weights.resize(length, weight as f32);
    }
}

/// The objective that the settings name; `JobSettings` admits no other name.
pub fn objective(settings: &ObjectiveSettings) -> Box<dyn Objective> {
    match settings.name.as_str() {
        "grpo" => Box::new(Grpo {
            summary_weight: settings.summary_weight,
        }),
        _ => Box::new(Brpo::new(settings)),
    }
}
