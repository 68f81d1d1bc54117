//! The scores of a group laid out by trace, budget and summary.

use anytime_proto::v1;

/// Scores as [trace][budget][summary]: a node that stands for several budgets fills one column after the other
/// (paper 1.2: node ids 0,1,1,1 keep a score row of S·A entries).
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreTable(pub Vec<Vec<Vec<f64>>>);

impl ScoreTable {
    /// Reads the scores of a group that satisfies `check_group`.
    pub fn of_group(group: &v1::ScoredGroup) -> Self {
        let summaries_per_budget = group.summaries_per_budget as usize;
        let mut table = Vec::with_capacity(group.traces.len());
        for trace in &group.traces {
            let mut columns = Vec::with_capacity(group.budgets.len());
            for node in &trace.nodes {
                for column in node.summaries.chunks(summaries_per_budget) {
                    columns.push(column.iter().map(|summary| f64::from(summary.score)).collect());
                }
            }
            table.push(columns);
        }
        Self(table)
    }

    /// r[g][s]: the mean of the A scores.
    pub fn mean_per_budget(&self) -> Vec<Vec<f64>> {
        let mean = |scores: &Vec<f64>| scores.iter().sum::<f64>() / scores.len() as f64;
        self.0
            .iter()
            .map(|columns| columns.iter().map(mean).collect())
            .collect()
    }
}

/// The segment of the thinking token with index `token` (from 0): s = j_t − 1 with j_t = argmin_j {b_j ≥ t}, t = token + 1
/// (equation 6).
pub fn segment_of_token(budgets: &[u32], token: usize) -> usize {
    budgets.partition_point(|budget| (*budget as usize) < token + 1)
}
