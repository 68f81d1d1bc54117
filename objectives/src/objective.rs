//! What an objective is: the trait that every algorithm implements, and what it is told and asks for.

use std::collections::BTreeMap;

use anytime_proto::v1;
use serde_json::Value;

use super::analysis::{Analysis, NotAnalysed};
use super::scores::ScoreTable;
use super::state::InvalidState;
use super::targets::TraceTargets;

/// Turns scored groups into what the loss needs of each trained token: the one thing that differs between training
/// algorithms. The trainer calls [`Objective::begin_step`] once per step and then [`Objective::targets`] once per
/// group, in the order of training. The learner takes from [`Objective::needs`] how groups are generated and what it
/// measures before the first step.
pub trait Objective: Send {
    /// What this objective asks of the rollouts of a job with `traces` traces per problem. It does not change over the
    /// life of the objective.
    fn needs(&self, _traces: u32) -> RolloutNeeds {
        RolloutNeeds::default()
    }

    /// Shows all groups of a step before the targets of the first are asked for.
    fn begin_step(&mut self, _step: &StepContext<'_>) {}

    /// One entry per trace, in the order of the group, which satisfies [`anytime_proto::check_group`] and belongs to
    /// the step that began last.
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets>;

    /// R, the baselines and the advantages behind [`Objective::targets`], where scores alone decide them. It belongs to
    /// the trait because it is the objective's own equations without tokens: `anytime advantages` shows it to whoever
    /// checks them by hand, and the golden vectors of the papers are compared with it.
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

/// What an objective needs of the rollouts and of the loss. The default needs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolloutNeeds {
    /// How many traces of every training group must end their thinking at once, the others being kept from it; 0 leaves
    /// all of them free. Where it is not 0 every budget must hold the end marker.
    pub no_thinking_traces: u32,
    /// How often each training problem is sampled with the starting weights before the first step, for
    /// [`StepContext::references`]. The problems must then have different ids.
    pub reference_samples: Option<u32>,
    /// Whether the ratio of the policy to the distribution that a response was drawn from is taken as its geometric
    /// mean over the response, the same for all of its tokens.
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
