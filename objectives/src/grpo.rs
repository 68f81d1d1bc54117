//! Group Relative Policy Optimization (arXiv 2402.03300) as Dr.GRPO corrects it (arXiv 2503.20783). Only the score at
//! the largest budget counts: every thinking token of a trace has the advantage "score of the trace − mean over the
//! group", and so has its summary at that budget, with that summary's own score. Nothing is divided by a standard
//! deviation or a length. Summaries at smaller budgets are measured, not trained.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::length::penalised;
use super::responses::{self, group_baselines, lay_out_responses};
use super::scores::ScoreTable;
use super::targets::TraceTargets;
use super::{Analysis, Objective};

/// GRPO over whole responses (thinking and final summary).
#[derive(Clone, Debug)]
pub struct Grpo {
    settings: ObjectiveSettings,
}

impl Grpo {
    /// Of the settings it takes the summary's weight, `leave_one_out` and the length penalty.
    pub fn new(settings: &ObjectiveSettings) -> Self {
        Self {
            settings: settings.clone(),
        }
    }

    fn values(&self, scores: ScoreTable) -> Analysis {
        let table = penalised(&self.settings, scores);
        let rewards = responses::rewards(&table, |_, score| score);
        let baselines = group_baselines(&rewards, self.settings.leave_one_out);
        responses::analyse(&self.settings, &table, &rewards, &baselines, 1.0)
    }
}

impl Objective for Grpo {
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let analysis = self.values(ScoreTable::of_group(group));
        lay_out_responses(&self.settings, group, &analysis)
    }

    fn analyse(&self, scores: ScoreTable) -> Option<Analysis> {
        Some(self.values(scores))
    }
}
