//! Budget Relative Policy Optimization (arXiv 2505.13438). From GRPO it differs in the reward, which is dense: a
//! thinking token earns the scores of all budgets at or after it, weighted by the prior (equation 6). It differs in the
//! baseline, which mixes the group mean V2 with V1, what the same trace scored at earlier budgets (equations 7 to 9).
//! The summary policy is trained on its own, each summary against the others of its node (equation 10). As in Dr.GRPO
//! nothing is divided by a standard deviation or by a length.

use anytime_proto::settings::{ObjectiveSettings, spell_out_prior};
use anytime_proto::v1;

use super::baselines::{mean_over_group, mean_over_others, previous_budgets_value, reward_to_go, share_of_previous};
use super::length::LengthPenalty;
use super::scores::ScoreTable;
use super::targets::{TraceTargets, lay_out};
use super::{Analysis, NotAnalysed, Objective};

/// BRPO with its ablations (which baseline, which summaries).
#[derive(Clone, Debug)]
pub(crate) struct Brpo {
    settings: ObjectiveSettings,
    own: v1::BrpoSpec,
    /// P'_1 … P'_S.
    summary_prior: Vec<f64>,
    length_penalty: LengthPenalty,
}

impl Brpo {
    /// BRPO over groups with the budgets of the settings.
    pub(crate) fn new(settings: &ObjectiveSettings, own: &v1::BrpoSpec) -> Self {
        Self {
            summary_prior: spell_out_prior(own.summary_prior(), &own.summary_prior_weights, &settings.budgets),
            length_penalty: LengthPenalty::new(own.length_penalty(), own.length_coefficient()),
            settings: settings.clone(),
            own: own.clone(),
        }
    }

    /// V at one segment of one trace, from its V1 and V2: equation 9, or what the ablation puts in its place.
    fn baseline(&self, budgets: &[u32], segment: usize, own_value: f64, group_value: f64) -> f64 {
        match self.own.variance_reduction() {
            v1::VarianceReduction::V1 => own_value,
            v1::VarianceReduction::V2 => group_value,
            v1::VarianceReduction::None => 0.0,
            v1::VarianceReduction::Brpo | v1::VarianceReduction::Unspecified => {
                let passed = share_of_previous(self.settings.mix, budgets, segment);
                passed * own_value + (1.0 - passed) * group_value
            }
        }
    }

    /// Advantages of summaries as `[trace][budget][summary]` (paper 2). The baseline is the mean of the node where a
    /// budget has several summaries, and the group at the same budget where it has one.
    fn summary_advantages(&self, table: &ScoreTable) -> Vec<Vec<Vec<f64>>> {
        let scores = table.scores();
        let last_budget = table.budgets().len() - 1;
        let last_summary = table.summaries_per_budget() - 1;
        let mut advantages = Vec::with_capacity(scores.len());
        for (columns, nodes) in scores.iter().zip(table.nodes()) {
            let mut of_trace = Vec::with_capacity(columns.len());
            for (budget, column) in columns.iter().enumerate() {
                let baseline = if column.len() > 1 {
                    node_mean(columns, nodes, nodes[budget])
                } else {
                    scores.iter().map(|row| row[budget][0]).sum::<f64>() / scores.len() as f64
                };
                let advantage = |(summary, score): (usize, &f64)| {
                    let is_last = budget == last_budget && summary == last_summary;
                    if self.own.summary_method() == v1::SummaryMethod::Grpo && !is_last {
                        return 0.0;
                    }
                    score - baseline
                };
                of_trace.push(column.iter().enumerate().map(advantage).collect());
            }
            advantages.push(of_trace);
        }
        advantages
    }

    /// The weight of a summary's tokens at a budget: `summary_weight` of the job, times S·P'_j as in the reference
    /// code, or times P'_j/A as in equation 10.
    fn summary_weight(&self, budget: usize, summaries_per_budget: usize) -> f64 {
        let prior = &self.summary_prior;
        let weight = match self.settings.summary_weighting {
            v1::SummaryWeighting::Equation10 => prior[budget] / summaries_per_budget as f64,
            v1::SummaryWeighting::Code | v1::SummaryWeighting::Unspecified => prior[budget] * prior.len() as f64,
        };
        self.settings.summary_weight * weight
    }

    /// R, the three values, and all advantages.
    pub(crate) fn values(&self, scores: ScoreTable) -> Analysis {
        let table = self.length_penalty.penalised(scores);
        let rewards = table.mean_per_budget();
        let prior = &self.settings.prior;
        let reward_to_go: Vec<Vec<f64>> = rewards.iter().map(|row| reward_to_go(row, prior)).collect();
        let own_values: Vec<Vec<f64>> = rewards
            .iter()
            .map(|row| previous_budgets_value(row, prior, self.settings.lambda))
            .collect();
        let group_values = if self.own.leave_one_out() {
            mean_over_others(&reward_to_go)
        } else {
            mean_over_group(&reward_to_go)
        };
        let mut baselines = Vec::with_capacity(rewards.len());
        for (own, of_group) in own_values.iter().zip(&group_values) {
            let pairs = own.iter().zip(of_group).enumerate();
            let of_trace =
                pairs.map(|(segment, (own, of_group))| self.baseline(table.budgets(), segment, *own, *of_group));
            baselines.push(of_trace.collect());
        }
        Analysis {
            advantages: difference(&reward_to_go, &baselines),
            reward_to_go,
            previous_budgets_value: own_values,
            group_value: group_values,
            baseline: baselines,
            summary_advantages: self.summary_advantages(&table),
        }
    }
}

/// The mean over all scores of a trace's node, those of every budget that it represents.
fn node_mean(columns: &[Vec<f64>], nodes: &[usize], node: usize) -> f64 {
    let of_node = columns.iter().zip(nodes).filter(|(_, id)| **id == node);
    let scores: Vec<f64> = of_node.flat_map(|(column, _)| column.iter().copied()).collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

impl Objective for Brpo {
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let table = ScoreTable::of_group(group);
        let summaries_per_budget = table.summaries_per_budget();
        let analysis = self.values(table);
        lay_out(
            group,
            |trace, segment| (analysis.advantages[trace][segment], 1.0),
            |trace, budget, summary| {
                let weight = self.summary_weight(budget, summaries_per_budget);
                (analysis.summary_advantages[trace][budget][summary], weight)
            },
        )
    }

    fn analyse(&self, scores: ScoreTable) -> Result<Analysis, NotAnalysed> {
        self.length_penalty.check(&scores)?;
        Ok(self.values(scores))
    }
}

/// A = R − V.
pub(crate) fn difference(reward_to_go: &[Vec<f64>], baseline: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let rows = reward_to_go.iter().zip(baseline);
    rows.map(|(to_go, value)| to_go.iter().zip(value).map(|(to_go, value)| to_go - value).collect())
        .collect()
}
