//! Group Relative Policy Optimization (arXiv 2402.03300) as Dr.GRPO corrects it (arXiv 2503.20783). Only the score at
//! the largest budget counts: every thinking token of a trace has the advantage "score of the trace − mean over the
//! group", and so has its summary at that budget, with that summary's own score. Nothing is divided by a standard
//! deviation or a length. Summaries at smaller budgets are measured, not trained.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::length::LengthPenalty;
use super::responses::{self, group_baselines, lay_out_responses};
use super::scores::ScoreTable;
use super::targets::TraceTargets;
use super::{Analysis, NotAnalysed, Objective};

/// GRPO over whole responses (thinking and final summary).
#[derive(Clone, Debug)]
pub(crate) struct Grpo {
    settings: ObjectiveSettings,
    own: v1::GrpoSpec,
    length_penalty: LengthPenalty,
}

impl Grpo {
    /// Reads the weight of summaries from the shared settings, everything else from its own.
    pub(crate) fn new(settings: &ObjectiveSettings, own: &v1::GrpoSpec) -> Self {
        Self {
            length_penalty: LengthPenalty::new(own.length_penalty(), own.length_coefficient()),
            settings: settings.clone(),
            own: *own,
        }
    }

    fn values(&self, scores: ScoreTable) -> Analysis {
        let table = self.length_penalty.penalised(scores);
        let rewards = responses::rewards(&table, |_, score| score);
        let baselines = group_baselines(&rewards, self.own.leave_one_out());
        responses::analyse(&self.settings, &table, &rewards, &baselines, 1.0)
    }
}

impl Objective for Grpo {
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let analysis = self.values(ScoreTable::of_group(group));
        lay_out_responses(&self.settings, group, &analysis)
    }

    fn analyse(&self, scores: ScoreTable) -> Result<Analysis, NotAnalysed> {
        self.length_penalty.check(&scores)?;
        Ok(self.values(scores))
    }
}
