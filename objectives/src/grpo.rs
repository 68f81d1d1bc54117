//! Group Relative Policy Optimization (arXiv 2402.03300) as Dr.GRPO corrects it (arXiv 2503.20783). Only the score at
//! the largest budget counts: every thinking token of a trace has the advantage "score of the trace − mean over the
//! group", and so has its summary at that budget, with that summary's own score. Nothing is divided by a standard
//! deviation or a length. Summaries at smaller budgets are measured, not trained.

use anytime_proto::v1;

use super::scores::ScoreTable;
use super::{Objective, TraceTargets};

/// GRPO over whole responses (thinking and final summary).
#[derive(Clone, Debug)]
pub struct Grpo {
    /// Weight of a summary token beside a thinking token.
    pub summary_weight: f64,
}

impl Objective for Grpo {
    fn targets(&self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let scores = ScoreTable::of_group(group);
        let rewards = scores.mean_per_budget();
        let last_budget = group.budgets.len() - 1;
        let group_mean = rewards.iter().map(|row| row[last_budget]).sum::<f64>() / rewards.len() as f64;
        let first_trained_column = last_budget * group.summaries_per_budget as usize;

        let mut all = Vec::with_capacity(group.traces.len());
        for (trace_index, trace) in group.traces.iter().enumerate() {
            let mut targets = TraceTargets::default();
            let length = trace.thinking.as_ref().map_or(0, |thinking| thinking.ids.len());
            targets.push(length, rewards[trace_index][last_budget] - group_mean, 1.0);
            let summaries = trace.nodes.iter().flat_map(|node| &node.summaries);
            for (column, summary) in summaries.enumerate() {
                let length = summary.generated.as_ref().map_or(0, |generated| generated.ids.len());
                if column < first_trained_column {
                    targets.push(length, 0.0, 0.0);
                } else {
                    targets.push(length, f64::from(summary.score) - group_mean, self.summary_weight);
                }
            }
            all.push(targets);
        }
        all
    }
}
