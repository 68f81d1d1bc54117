//! Objectives: a scored group becomes per-token advantages and weights. No tensors and no I/O: the trainer is blind to
//! the algorithm, and a new one is one small file here.
//!
//! Notation (paper 1.2): G traces, S budgets, A summaries per budget; r[g][s] is the mean score of trace g's summaries
//! at budget s, P[s] the prior, R[g][s] the reward to go. A thinking token belongs to segment s where budget s is the
//! first one at or after it.
//!
//! [`ScoreTable`] holds the scores of a group and what else of it an objective may read; `length` changes scores before an
//! objective sees them; [`baselines`] has the paper's formulas; `brpo` and `grpo` are the paper's objectives, and the files
//! beside them those of the related work; `responses` holds what all but the first have in common; [`lay_out`] turns the
//! advantages of segments into those of tokens; [`StepStatistics`] computes what a training step reports about its
//! baselines.
//!
//! A new objective is a file here, a message and a line in `oneof settings` of objective.proto, a line in [`objective`], and
//! its rows in the table of settings (proto/src/settings/table.rs).
#![forbid(unsafe_code)]

mod adaptthink;
pub mod baselines;
mod brpo;
mod degrpo;
mod elastic;
mod gfpo;
mod grpo;
mod kimi;
mod length;
mod responses;
mod scores;
mod short_rl;
mod state;
pub mod statistics;
mod step_statistics;
mod targets;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;
use anytime_proto::v1::objective_spec::Settings;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

pub use scores::{InvalidScores, ScoreTable, segment_of_token};
pub use state::InvalidState;
pub use step_statistics::StepStatistics;
pub use targets::{TraceTargets, lay_out, lay_out_tokens};

/// Turns scored groups into what the loss needs of each trained token: the one thing that differs between training
/// algorithms. The trainer calls [`Objective::begin_step`] once per step and then [`Objective::targets`] once per group,
/// in the order of training; actors and the learner's preparation go by [`Objective::needs`].
pub trait Objective: Send {
    /// What this objective asks of the rollouts of a job with `traces` traces per problem. It does not change over the life
    /// of the objective.
    fn needs(&self, _traces: u32) -> RolloutNeeds {
        RolloutNeeds::default()
    }

    /// Shows all groups of a step before the targets of the first are asked for.
    fn begin_step(&mut self, _step: &StepContext<'_>) {}

    /// One entry per trace, in the order of the group, which satisfies [`anytime_proto::check_group`] and belongs to the
    /// step that began last.
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets>;

    /// R, the baselines and the advantages behind [`Objective::targets`], where scores alone decide them. It belongs to the
    /// trait because it is the objective's own equations without tokens: `anytime advantages` shows it to whoever checks
    /// them by hand, and the golden vectors of the papers are compared with it.
    ///
    /// # Errors
    /// [`NotAnalysed`] says what else is needed.
    fn analyse(&self, _scores: ScoreTable) -> Result<Analysis, NotAnalysed> {
        Err(NotAnalysed::MoreThanScores)
    }

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

/// What an objective asks of those who generate groups and train on them. The default asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolloutNeeds {
    /// How many traces of every training group must end their thinking at once, the others being kept from it; 0 leaves
    /// all of them free. Where it is not 0 every budget must hold the end marker.
    pub no_thinking_traces: u32,
    /// How often each training problem is sampled with the starting weights before the first step, for
    /// [`StepContext::references`]. The problems must then have different ids.
    pub reference_samples: Option<u32>,
    /// Whether the ratio of the policy to the distribution that a response was drawn from is taken as its geometric mean
    /// over the response, the same for all of its tokens.
    pub sequence_ratio: bool,
}

/// The groups of a training step, and what is known of their problems.
#[derive(Clone, Copy, Debug)]
pub struct StepContext<'a> {
    /// All groups, in the order of training.
    pub groups: &'a [&'a v1::ScoredGroup],
    /// Accuracies of the starting weights at the largest budget, by problem id; empty unless
    /// [`RolloutNeeds::reference_samples`] asks for them.
    pub references: &'a BTreeMap<String, f64>,
}

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
    /// A = R − V, which some objectives scale within the group.
    #[serde(rename = "A")]
    pub advantages: Vec<Vec<f64>>,
    /// The advantages of the summaries, [trace][budget][summary].
    #[serde(rename = "summary")]
    pub summary_advantages: Vec<Vec<Vec<f64>>>,
}

/// The objective that the settings name: one line per objective.
pub fn objective(settings: &ObjectiveSettings) -> Box<dyn Objective> {
    match &settings.own {
        Settings::Brpo(own) => Box::new(brpo::Brpo::new(settings, own)),
        Settings::Grpo(own) => Box::new(grpo::Grpo::new(settings, own)),
        Settings::Elastic(own) => Box::new(elastic::Elastic::new(settings, own)),
        Settings::Adaptthink(own) => Box::new(adaptthink::AdaptThink::new(settings, own)),
        Settings::Degrpo(own) => Box::new(degrpo::DeGrpo::new(settings, own)),
        Settings::ShortRl(own) => Box::new(short_rl::ShortRl::new(settings, own)),
        Settings::Kimi(own) => Box::new(kimi::Kimi::new(settings, own)),
        Settings::Gfpo(own) => Box::new(gfpo::Gfpo::new(settings, own)),
    }
}
