//! The two length penalties that Figure 5 of the paper compares with. They change the scores before the objective turns
//! them into rewards.
//!
//! The length of a summary's response is that of the thinking that it sees, so that a score at a budget depends on
//! nothing after it, and V1 stays a function of what came before.

use anytime_proto::v1;

use super::{NotAnalysed, ScoreTable};

/// A length penalty with its coefficient c.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LengthPenalty {
    kind: v1::LengthPenalty,
    coefficient: f64,
}

impl LengthPenalty {
    pub(crate) fn new(kind: v1::LengthPenalty, coefficient: f64) -> Self {
        Self { kind, coefficient }
    }

    /// The scores that the objective is to see.
    pub(crate) fn penalised(&self, scores: ScoreTable) -> ScoreTable {
        match self.kind {
            v1::LengthPenalty::None | v1::LengthPenalty::Unspecified => scores,
            v1::LengthPenalty::Linear => linear(&scores, self.coefficient),
            v1::LengthPenalty::Sigmoid => sigmoid(&scores, self.coefficient),
        }
    }

    /// Refuses scores whose lengths are unknown, because a penalty needs them.
    pub(crate) fn check(&self, scores: &ScoreTable) -> Result<(), NotAnalysed> {
        match self.kind {
            v1::LengthPenalty::None | v1::LengthPenalty::Unspecified => Ok(()),
            v1::LengthPenalty::Linear | v1::LengthPenalty::Sigmoid => scores.check_lengths(),
        }
    }
}

/// r·(1 − c·|z|/b_m).
fn linear(scores: &ScoreTable, coefficient: f64) -> ScoreTable {
    let largest = f64::from(scores.budgets()[scores.budgets().len() - 1]);
    scores.map(|trace, budget, score| {
        let share = f64::from(scores.cut(trace, budget)) / largest;
        score * (1.0 - coefficient * share)
    })
}

/// r·(1 − c·σ((|z| − mean)/deviation)) (arXiv 2502.04463): lengths are measured against those of the group's correct
/// summaries at the same budget. Where these have one length the penalty is half the coefficient.
fn sigmoid(scores: &ScoreTable, coefficient: f64) -> ScoreTable {
    let moments: Vec<Option<(f64, f64)>> = (0..scores.budgets().len())
        .map(|budget| correct_lengths(scores, budget))
        .collect();
    scores.map(|trace, budget, score| {
        let Some((mean, deviation)) = moments[budget] else {
            return score;
        };
        let distance = f64::from(scores.cut(trace, budget)) - mean;
        let relative = if deviation > 0.0 { distance / deviation } else { 0.0 };
        score * (1.0 - coefficient / (1.0 + (-relative).exp()))
    })
}

/// Mean and standard deviation (over the population) of the lengths of correct summaries at a budget; a summary counts
/// as much as its score. None where none is correct.
fn correct_lengths(scores: &ScoreTable, budget: usize) -> Option<(f64, f64)> {
    let mut weighted = Vec::new();
    for (trace, columns) in scores.scores().iter().enumerate() {
        let correct: f64 = columns[budget].iter().sum();
        weighted.push((correct, f64::from(scores.cut(trace, budget))));
    }
    let total: f64 = weighted.iter().map(|(weight, _)| weight).sum();
    if total <= 0.0 {
        return None;
    }
    let mean = weighted.iter().map(|(weight, length)| weight * length).sum::<f64>() / total;
    let square = |length: f64| (length - mean) * (length - mean);
    let variance = weighted
        .iter()
        .map(|(weight, length)| weight * square(*length))
        .sum::<f64>()
        / total;
    Some((mean, variance.max(0.0).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn penalised(kind: v1::LengthPenalty, scores: ScoreTable) -> ScoreTable {
        LengthPenalty::new(kind, 0.2).penalised(scores)
    }

    /// Three traces of 8, 6 and 3 tokens over the budgets 4 and 8.
    fn table() -> ScoreTable {
        let scores = vec![
            vec![vec![0.0, 1.0], vec![1.0, 1.0]],
            vec![vec![0.0, 0.0], vec![1.0, 1.0]],
            vec![vec![1.0, 1.0], vec![0.0, 0.0]],
        ];
        ScoreTable::try_new(vec![4, 8], scores, Some(vec![8, 6, 3]), None).expect("valid")
    }

    #[test]
    fn linear_takes_a_share_of_what_was_thought() {
        let penalised = penalised(v1::LengthPenalty::Linear, table());
        // Factors: 1 − 0.2·4/8 and 1 − 0.2·8/8; 1 − 0.2·6/8; 1 − 0.2·3/8.
        let expected = [
            [[0.0, 0.9], [0.8, 0.8]],
            [[0.0, 0.0], [0.85, 0.85]],
            [[0.925, 0.925], [0.0, 0.0]],
        ];
        assert_scores(&penalised, &expected);
    }

    #[test]
    fn sigmoid_compares_with_the_correct_ones_of_the_group() {
        let penalised = penalised(v1::LengthPenalty::Sigmoid, table());
        let factor = |relative: f64| 1.0 - 0.2 / (1.0 + (-relative).exp());
        // At 4: correct lengths 4, 3, 3, mean 10/3, variance 2/9. At 8: correct lengths 8, 8, 6, 6, mean 7, deviation
        // 1.
        let deviation = (2.0_f64 / 9.0).sqrt();
        let (long, short) = (factor(2.0 / 3.0 / deviation), factor(-1.0 / 3.0 / deviation));
        let expected = [
            [[0.0, long], [factor(1.0); 2]],
            [[0.0, 0.0], [factor(-1.0); 2]],
            [[short; 2], [0.0, 0.0]],
        ];
        assert_scores(&penalised, &expected);
    }

    #[test]
    fn one_length_costs_half_the_coefficient_and_nobody_right_nothing() {
        let scores = vec![vec![vec![1.0], vec![0.0]], vec![vec![1.0], vec![0.0]]];
        let table = ScoreTable::try_new(vec![4, 8], scores, None, None).expect("valid");
        let penalised = penalised(v1::LengthPenalty::Sigmoid, table);
        assert_scores(&penalised, &[[[0.9], [0.0]], [[0.9], [0.0]]]);
    }

    fn assert_scores<const A: usize>(actual: &ScoreTable, expected: &[[[f64; A]; 2]]) {
        assert_eq!(actual.scores().len(), expected.len());
        for (actual, expected) in actual.scores().iter().flatten().zip(expected.iter().flatten()) {
            for (actual, expected) in actual.iter().zip(expected) {
                assert!((actual - expected).abs() < 1e-12, "{actual} instead of {expected}");
            }
        }
    }
}
