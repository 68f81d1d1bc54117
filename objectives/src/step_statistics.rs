//! What a training step reports about its baselines and its accuracy: the paper's Figure 3, live.
//!
//! All traces of a step that have thinking tokens in the segment are pooled, over all groups together, so that the
//! differences between problems are part of every correlation and variance, as in the paper. The baselines are the
//! paper's (V2 includes the trace itself) under the job's prior, λ and mix, whichever objective the job trains with;
//! scores are taken as they are, without a length penalty.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::brpo::Brpo;
use super::statistics::{correlation, variance_ratio};
use super::{Analysis, ScoreTable, segment_of_token};

/// Gathers the groups of one training step and computes its figures by budget and by segment.
#[derive(Clone, Debug)]
pub struct StepStatistics {
    /// The paper's baseline, under the job's prior, λ and mix.
    paper: Brpo,
    budgets: Vec<u32>,
    /// By segment.
    pools: Vec<Pool>,
    reward_sums: Vec<f64>,
    traces: u64,
}

/// R and the three baselines of one segment, one entry per trace.
#[derive(Clone, Debug, Default)]
struct Pool {
    reward_to_go: Vec<f64>,
    v1: Vec<f64>,
    v2: Vec<f64>,
    v: Vec<f64>,
}

impl StepStatistics {
    /// `budgets` are those of the groups to come.
    pub fn new(settings: &ObjectiveSettings, budgets: &[u32]) -> Self {
        // Default BRPO settings are the paper's: equation 9, the trace itself in V2, no length penalty.
        Self {
            paper: Brpo::new(settings, &v1::BrpoSpec::default()),
            budgets: budgets.to_vec(),
            pools: vec![Pool::default(); budgets.len()],
            reward_sums: vec![0.0; budgets.len()],
            traces: 0,
        }
    }

    /// Adds a group.
    pub fn add(&mut self, table: ScoreTable) {
        for rewards in table.mean_per_budget() {
            self.traces += 1;
            for (sum, reward) in self.reward_sums.iter_mut().zip(&rewards) {
                *sum += reward;
            }
        }
        let lengths = table.lengths().to_vec();
        let analysis = self.paper.values(table);
        for (trace, length) in lengths.iter().enumerate() {
            // Segments that hold tokens: up to that of the last one.
            let Some(last_token) = (*length as usize).checked_sub(1) else {
                continue;
            };
            let last_segment = segment_of_token(&self.budgets, last_token);
            for (segment, pool) in self.pools.iter_mut().enumerate().take(last_segment + 1) {
                pool.add(&analysis, trace, segment);
            }
        }
    }

    /// Mean score per budget over all traces; 0 where there were none.
    pub fn reward_per_budget(&self) -> Vec<f64> {
        let traces = self.traces.max(1) as f64;
        self.reward_sums.iter().map(|sum| sum / traces).collect()
    }

    /// Figure 3 of this step, by segment.
    pub fn segments(&self) -> Vec<v1::SegmentStatistics> {
        self.budgets
            .iter()
            .zip(&self.pools)
            .map(|(budget, pool)| v1::SegmentStatistics {
                budget: *budget,
                traces: pool.reward_to_go.len() as u64,
                correlation_v1: correlation(&pool.v1, &pool.reward_to_go),
                correlation_v2: correlation(&pool.v2, &pool.reward_to_go),
                correlation_v: correlation(&pool.v, &pool.reward_to_go),
                variance_v1: variance_ratio(&pool.v1, &pool.reward_to_go),
                variance_v2: variance_ratio(&pool.v2, &pool.reward_to_go),
                variance_v: variance_ratio(&pool.v, &pool.reward_to_go),
            })
            .collect()
    }
}

impl Pool {
    fn add(&mut self, analysis: &Analysis, trace: usize, segment: usize) {
        self.reward_to_go.push(analysis.reward_to_go[trace][segment]);
        self.v1.push(analysis.previous_budgets_value[trace][segment]);
        self.v2.push(analysis.group_value[trace][segment]);
        self.v.push(analysis.baseline[trace][segment]);
    }
}
