//! The scores of a group by trace, budget and summary, and what else an advantage depends on: nodes and lengths.

use anytime_proto::nodes::node_of_budget;
use anytime_proto::v1;
use thiserror::Error;

use super::NotAnalysed;
use super::statistics::mean;

/// Scores that do not make a group.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{place}: {problem}")]
pub struct InvalidScores {
    /// The entry at fault, such as `rewards[1][2]`.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The scores of a group of G traces at S budgets with A summaries each, together with the nodes that the summaries
/// belong to and the lengths of the thinkings: everything that an advantage may depend on, without tokens. Made of a
/// group by [`ScoreTable::of_group`], or of plain numbers by [`ScoreTable::try_new`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreTable {
    budgets: Vec<u32>,
    scores: Vec<Vec<Vec<f64>>>,
    nodes: Vec<Vec<usize>>,
    lengths: Vec<u32>,
    /// Whether the lengths are those of real thinkings, or assumed.
    has_lengths: bool,
    without_thinking: Vec<bool>,
}

impl ScoreTable {
    /// Reads a group that satisfies `check_group`. A node that represents several budgets fills one column after the
    /// other (paper 1.2: node ids 0,1,1,1 keep a score row of S·A entries).
    pub fn of_group(group: &v1::ScoredGroup) -> Self {
        let summaries_per_budget = group.summaries_per_budget as usize;
        let mut scores = Vec::with_capacity(group.traces.len());
        let mut nodes = Vec::with_capacity(group.traces.len());
        let mut lengths = Vec::with_capacity(group.traces.len());
        let mut without_thinking = Vec::with_capacity(group.traces.len());
        for trace in &group.traces {
            let mut columns = Vec::with_capacity(group.budgets.len());
            let mut node_of_column = Vec::with_capacity(group.budgets.len());
            for (index, node) in trace.nodes.iter().enumerate() {
                for column in node.summaries.chunks(summaries_per_budget) {
                    columns.push(column.iter().map(|summary| f64::from(summary.score)).collect());
                    node_of_column.push(index);
                }
            }
            scores.push(columns);
            nodes.push(node_of_column);
            let length = trace.thinking.as_ref().map_or(0, |thinking| thinking.ids.len() as u32);
            let finish = trace.thinking.as_ref().map(v1::Generated::finish);
            let at_its_marker = finish == Some(v1::FinishReason::EndMarker);
            without_thinking.push(at_its_marker && length <= group.end_marker_tokens);
            lengths.push(length);
        }
        Self {
            budgets: group.budgets.clone(),
            scores,
            nodes,
            lengths,
            has_lengths: true,
            without_thinking,
        }
    }

    /// A table of scores that nobody generated; all of its traces think. `scores` is `[trace][budget][summary]`.
    /// `lengths` are the thinking tokens of each trace. Without them every trace has used all its budgets. `nodes` is
    /// `[trace][budget]`: columns with the same id are summaries of the same thinking. Without it the lengths say
    /// which.
    ///
    /// # Errors
    /// The first place that does not fit the rest: named `budgets`, `rewards`, `lengths` or `nodes`.
    pub fn try_new(
        budgets: Vec<u32>,
        scores: Vec<Vec<Vec<f64>>>,
        lengths: Option<Vec<u32>>,
        nodes: Option<Vec<Vec<usize>>>,
    ) -> Result<Self, InvalidScores> {
        check_scores(&scores, budgets.len())?;
        if budgets.is_empty() || budgets[0] == 0 || !budgets.windows(2).all(|pair| pair[0] < pair[1]) {
            return fail(
                "budgets".to_owned(),
                format!("{budgets:?} are not ascending numbers above 0"),
            );
        }
        let largest = budgets[budgets.len() - 1];
        let has_lengths = lengths.is_some();
        let lengths = lengths.unwrap_or_else(|| vec![largest; scores.len()]);
        check_count("lengths", lengths.len(), scores.len(), "one per trace")?;
        for (trace, length) in lengths.iter().enumerate() {
            if *length == 0 || *length > largest {
                return fail(
                    format!("lengths[{trace}]"),
                    format!("is {length}, not 1 to {largest}, the largest budget"),
                );
            }
        }
        let nodes = match nodes {
            Some(nodes) => nodes,
            None => lengths
                .iter()
                .map(|length| node_of_budget(&budgets, *length as usize))
                .collect(),
        };
        check_count("nodes", nodes.len(), scores.len(), "one list per trace")?;
        for (trace, ids) in nodes.iter().enumerate() {
            let place = format!("nodes[{trace}]");
            check_count(&place, ids.len(), budgets.len(), "one per budget")?;
            check_nodes(&place, ids)?;
            let ended_early = lengths[trace] < largest;
            if ended_early && *ids != node_of_budget(&budgets, lengths[trace] as usize) {
                return fail(place, format!("do not fit a thinking of {} tokens", lengths[trace]));
            }
        }
        Ok(Self {
            without_thinking: vec![false; scores.len()],
            has_lengths,
            budgets,
            scores,
            nodes,
            lengths,
        })
    }

    /// The same scores, nodes and lengths under as many other budgets.
    pub fn with_budgets(&self, budgets: &[u32]) -> Self {
        Self {
            budgets: budgets.to_vec(),
            ..self.clone()
        }
    }

    /// b_1 … b_S, ascending.
    pub fn budgets(&self) -> &[u32] {
        &self.budgets
    }

    /// The scores, `[trace][budget][summary]`.
    pub fn scores(&self) -> &[Vec<Vec<f64>>] {
        &self.scores
    }

    /// Which node each column is a summary of, `[trace][budget]`: not descending; equal numbers are one node.
    pub fn nodes(&self) -> &[Vec<usize>] {
        &self.nodes
    }

    /// Thinking tokens of each trace.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Called by objectives that look at lengths.
    ///
    /// # Errors
    /// If nobody has said how long the thinkings are.
    pub(crate) fn check_lengths(&self) -> Result<(), NotAnalysed> {
        if self.has_lengths {
            Ok(())
        } else {
            Err(NotAnalysed::Lengths)
        }
    }

    /// Whether the thinking of a trace is the end marker and nothing else.
    pub fn is_without_thinking(&self, trace: usize) -> bool {
        self.without_thinking[trace]
    }

    /// A.
    pub fn summaries_per_budget(&self) -> usize {
        self.scores[0][0].len()
    }

    /// |z_≤b|: the thinking tokens that a trace's summaries at a budget see.
    pub fn cut(&self, trace: usize, budget: usize) -> u32 {
        self.lengths[trace].min(self.budgets[budget])
    }

    /// `r[g][s]`: the mean of the A scores.
    pub fn mean_per_budget(&self) -> Vec<Vec<f64>> {
        self.scores
            .iter()
            .map(|columns| columns.iter().map(mean).collect())
            .collect()
    }

    /// The same group with every score replaced by `score(trace, budget, score)`.
    pub(crate) fn map(&self, score: impl Fn(usize, usize, f64) -> f64) -> Self {
        let mut mapped = self.clone();
        for (trace, columns) in mapped.scores.iter_mut().enumerate() {
            for (budget, column) in columns.iter_mut().enumerate() {
                for value in column {
                    *value = score(trace, budget, *value);
                }
            }
        }
        mapped
    }
}

/// The segment of the thinking token with index `token` (from 0): s = j_t − 1 with j_t = argmin_j {b_j ≥ t}, t = token
/// + 1 (equation 6).
pub fn segment_of_token(budgets: &[u32], token: usize) -> usize {
    budgets.partition_point(|budget| (*budget as usize) < token + 1)
}

fn fail<T>(place: String, problem: impl Into<String>) -> Result<T, InvalidScores> {
    Err(InvalidScores {
        place,
        problem: problem.into(),
    })
}

fn check_count(place: &str, actual: usize, expected: usize, which: &str) -> Result<(), InvalidScores> {
    if actual == expected {
        return Ok(());
    }
    fail(
        place.to_owned(),
        format!("has {actual} entries instead of {expected} ({which})"),
    )
}

fn check_scores(scores: &[Vec<Vec<f64>>], budgets: usize) -> Result<(), InvalidScores> {
    let Some(summaries) = scores.first().and_then(|trace| trace.first()).map(Vec::len) else {
        return fail(
            "rewards".to_owned(),
            "holds no score; expected [[[score, …] per budget] per trace]",
        );
    };
    for (trace, columns) in scores.iter().enumerate() {
        check_count(&format!("rewards[{trace}]"), columns.len(), budgets, "one per budget")?;
        for (budget, column) in columns.iter().enumerate() {
            let place = format!("rewards[{trace}][{budget}]");
            if column.is_empty() {
                return fail(place, "holds no score");
            }
            check_count(&place, column.len(), summaries, "as many scores as rewards[0][0]")?;
            if let Some(value) = column.iter().find(|value| !value.is_finite()) {
                return fail(place, format!("holds {value}, which is no number"));
            }
        }
    }
    Ok(())
}

/// Only the last node may represent several budgets: after it the trace has ended.
fn check_nodes(place: &str, ids: &[usize]) -> Result<(), InvalidScores> {
    let last = ids.last().copied().unwrap_or(0);
    for (budget, id) in ids.iter().enumerate() {
        if *id != budget.min(last) {
            return fail(
                format!("{place}[{budget}]"),
                format!(
                    "is {id} instead of {}: nodes count up from 0, and the last one repeats",
                    budget.min(last)
                ),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_belong_to_the_next_budget_at_or_after_them() {
        let budgets = [2, 4];
        let segments: Vec<usize> = (0..4).map(|token| segment_of_token(&budgets, token)).collect();
        assert_eq!(segments, [0, 0, 1, 1]);
    }

    #[test]
    fn lengths_say_which_budgets_share_a_node() {
        let scores = vec![vec![vec![1.0]; 4]; 4];
        let table = ScoreTable::try_new(vec![2, 4, 6, 8], scores, Some(vec![8, 3, 4, 1]), None).expect("valid");
        assert_eq!(table.nodes(), [[0, 1, 2, 3], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]);
        assert_eq!((table.cut(1, 0), table.cut(1, 1), table.cut(1, 3)), (2, 3, 3));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let good = || vec![vec![vec![1.0, 0.0]; 2]; 3];
        let mut short_trace = good();
        short_trace[1].pop();
        let mut short_budget = good();
        short_budget[2][1].pop();
        let mut no_number = good();
        no_number[0][1][1] = f64::NAN;
        let nodes = |ids: &[usize]| Some(vec![vec![0, 1], vec![0, 1], ids.to_vec()]);
        let cases = [
            (vec![2, 2], good(), None, None, "budgets"),
            (vec![2, 4], Vec::new(), None, None, "rewards"),
            (vec![2, 4], short_trace, None, None, "rewards[1]"),
            (vec![2, 4], short_budget, None, None, "rewards[2][1]"),
            (vec![2, 4], no_number, None, None, "rewards[0][1]"),
            (vec![2, 4], good(), Some(vec![1]), None, "lengths"),
            (vec![2, 4], good(), Some(vec![1, 4, 5]), None, "lengths[2]"),
            (vec![2, 4], good(), Some(vec![4, 4, 1]), nodes(&[0, 1]), "nodes[2]"),
            (vec![2, 4], good(), None, Some(vec![vec![0, 1]]), "nodes"),
            (vec![2, 4], good(), None, nodes(&[0]), "nodes[2]"),
            (vec![2, 4], good(), None, nodes(&[1, 1]), "nodes[2][0]"),
            (vec![2, 4], good(), None, nodes(&[0, 2]), "nodes[2][1]"),
        ];
        for (budgets, scores, lengths, nodes, place) in cases {
            let error = ScoreTable::try_new(budgets, scores, lengths, nodes).expect_err(place);
            assert_eq!(error.place, place);
        }
    }
}
