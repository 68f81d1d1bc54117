//! Group Relative Policy Optimization (arXiv 2402.03300) as Dr.GRPO corrects it (arXiv 2503.20783). Only the score at
//! the largest budget counts: every thinking token of a trace has the advantage "score of the trace − mean over the
//! group", and so has its summary at that budget, with that summary's own score. Nothing is divided by a standard
//! deviation or a length. Summaries at smaller budgets are measured, not trained.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::baselines::previous_budgets_value;
use super::brpo::difference;
use super::length::penalised;
use super::scores::ScoreTable;
use super::targets::{TraceTargets, lay_out};
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

    /// What each response is compared with: the mean over the group, or over the others. A response that is alone is
    /// compared with itself: there is nothing to learn from it.
    fn baselines(&self, rewards: &[f64]) -> Vec<f64> {
        let count = rewards.len() as f64;
        let sum: f64 = rewards.iter().sum();
        let without_itself = self.settings.leave_one_out && rewards.len() > 1;
        rewards
            .iter()
            .map(|reward| {
                if without_itself {
                    (sum - reward) / (count - 1.0)
                } else {
                    sum / count
                }
            })
            .collect()
    }

    /// A summary token beside a thinking token: of equation 10's P' all is on the largest budget.
    fn summary_weight(&self, summaries_per_budget: usize) -> f64 {
        match self.settings.summary_weighting {
            v1::SummaryWeighting::Equation10 => self.settings.summary_weight / summaries_per_budget as f64,
            v1::SummaryWeighting::Code | v1::SummaryWeighting::Unspecified => self.settings.summary_weight,
        }
    }

    /// R and V are the same at every segment.
    fn values(&self, scores: ScoreTable) -> Analysis {
        let table = penalised(&self.settings, scores);
        let segments = table.budgets().len();
        let last_budget = segments - 1;
        let rewards = table.mean_per_budget();
        let final_rewards: Vec<f64> = rewards.iter().map(|row| row[last_budget]).collect();
        let baselines = self.baselines(&final_rewards);
        let along_trace =
            |values: &[f64]| -> Vec<Vec<f64>> { values.iter().map(|value| vec![*value; segments]).collect() };
        let (reward_to_go, baseline) = (along_trace(&final_rewards), along_trace(&baselines));

        let mut summary_advantages = Vec::with_capacity(rewards.len());
        for (columns, baseline) in table.scores().iter().zip(&baselines) {
            let mut of_trace: Vec<Vec<f64>> = columns.iter().map(|column| vec![0.0; column.len()]).collect();
            of_trace[last_budget] = columns[last_budget].iter().map(|score| score - baseline).collect();
            summary_advantages.push(of_trace);
        }
        let mut base_prior = vec![0.0; segments];
        base_prior[last_budget] = 1.0;
        Analysis {
            advantages: difference(&reward_to_go, &baseline),
            reward_to_go,
            previous_budgets_value: rewards
                .iter()
                .map(|row| previous_budgets_value(row, &base_prior, self.settings.lambda))
                .collect(),
            group_value: baseline.clone(),
            baseline,
            summary_advantages,
        }
    }
}

impl Objective for Grpo {
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let table = ScoreTable::of_group(group);
        let summary_weight = self.summary_weight(table.summaries_per_budget());
        let last_budget = table.budgets().len() - 1;
        let analysis = self.values(table);
        lay_out(
            group,
            |trace, segment| (analysis.advantages[trace][segment], 1.0),
            |trace, budget, summary| {
                let weight = if budget == last_budget { summary_weight } else { 0.0 };
                (analysis.summary_advantages[trace][budget][summary], weight)
            },
        )
    }

    fn analyse(&self, scores: ScoreTable) -> Option<Analysis> {
        Some(self.values(scores))
    }
}
