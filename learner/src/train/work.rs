//! What the ranks are told of a step, and what they find out about it together.

use serde::{Deserialize, Serialize};

use super::dealing::deal;
use super::figures::StepFigures;
use super::gradient::PassFigures;
use super::rank_group::{RankGroup, RanksError};
use super::rows::TrainingRow;

/// The rows of one update of the policy gradient that one rank computes.
#[derive(Serialize, Deserialize)]
pub(super) struct Minibatch {
    /// Traces of the whole minibatch, those without a row and those of other ranks included.
    pub(super) traces: usize,
    pub(super) rows: Vec<TrainingRow>,
}

/// The rows of one supervised update that one rank computes.
#[derive(Serialize, Deserialize)]
pub(super) struct SupervisedPart {
    pub(super) rows: Vec<TrainingRow>,
    /// Completion tokens of the whole update, those of other ranks included.
    pub(super) tokens: usize,
    /// The same of the whole step.
    pub(super) all_tokens: usize,
}

impl SupervisedPart {
    /// The rows of a step in as many parts as it makes updates, of one size but for the last.
    pub(super) fn split(mut rows: Vec<TrainingRow>, minibatches: usize) -> Vec<Self> {
        let completion_tokens =
            |rows: &[TrainingRow]| -> usize { rows.iter().map(|row| row.tokens.weights.len()).sum() };
        let per_update = rows.len().div_ceil(minibatches).max(1);
        let all_tokens = completion_tokens(&rows);
        let mut parts = Vec::with_capacity(minibatches);
        while !rows.is_empty() {
            let later = rows.split_off(per_update.min(rows.len()));
            parts.push(Self {
                tokens: completion_tokens(&rows),
                all_tokens,
                rows,
            });
            rows = later;
        }
        parts
    }
}

/// A step as one rank computes it: as many updates as every other rank makes, each with its own part of the rows.
#[derive(Serialize, Deserialize)]
pub(super) enum RankWork {
    Policy {
        /// Of the weights before the step.
        version: u64,
        minibatches: Vec<Minibatch>,
    },
    Supervised {
        parts: Vec<SupervisedPart>,
    },
}

/// What rank 0 tells the others between the beginning of a run and its end.
#[derive(Serialize, Deserialize)]
pub(super) enum Told {
    /// A step, by rank.
    Step(Vec<RankWork>),
    /// Each is to give its part of this tensor of the optimiser's state.
    State(TensorOfState),
    /// Each is to give its part of this master.
    Master(TensorOfState),
    /// The same in the kind that passes compute in.
    Weight(TensorOfState),
}

/// A tensor of which each rank has a part.
#[derive(Serialize, Deserialize)]
pub(super) struct TensorOfState {
    pub(super) name: String,
    pub(super) size: Vec<i64>,
}

impl RankWork {
    /// Deals the rows of every update among so many ranks.
    pub(super) fn deal(self, world: usize, hidden: i64) -> Vec<Self> {
        let mut parts: Vec<Self> = (0..world).map(|_| self.without_rows()).collect();
        match self {
            Self::Policy { minibatches, .. } => {
                for minibatch in minibatches {
                    for (part, rows) in parts.iter_mut().zip(deal(minibatch.rows, world, hidden)) {
                        let traces = minibatch.traces;
                        if let Self::Policy { minibatches, .. } = part {
                            minibatches.push(Minibatch { traces, rows });
                        }
                    }
                }
            }
            Self::Supervised { parts: updates } => {
                for SupervisedPart {
                    rows,
                    tokens,
                    all_tokens,
                } in updates
                {
                    for (part, rows) in parts.iter_mut().zip(deal(rows, world, hidden)) {
                        if let Self::Supervised { parts } = part {
                            parts.push(SupervisedPart {
                                rows,
                                tokens,
                                all_tokens,
                            });
                        }
                    }
                }
            }
        }
        parts
    }

    fn without_rows(&self) -> Self {
        match self {
            Self::Policy { version, .. } => Self::Policy {
                version: *version,
                minibatches: Vec::new(),
            },
            Self::Supervised { .. } => Self::Supervised { parts: Vec::new() },
        }
    }
}

/// The figures of an update's passes over the rows of all ranks.
pub(super) fn of_all_ranks(pass: &PassFigures, ranks: &RankGroup) -> Result<PassFigures, RanksError> {
    let mut sums = [pass.tokens as f64, pass.loss, pass.token_gradients];
    ranks.sum(&mut sums)?;
    let mut largest = [pass.largest_token_gradient];
    ranks.largest(&mut largest)?;
    let [tokens, loss, token_gradients] = sums;
    let [largest_token_gradient] = largest;
    Ok(PassFigures {
        tokens: tokens as usize,
        loss,
        token_gradients,
        largest_token_gradient,
    })
}

/// Puts the figures of all ranks' tokens together. Those of updates are the same on each.
pub(super) fn sum_figures(figures: &mut StepFigures, ranks: &RankGroup) -> Result<(), RanksError> {
    let mut sums = vec![
        figures.loss,
        figures.trained_tokens as f64,
        figures.clipped_tokens,
        figures.ratio,
        figures.fresh_gap,
        figures.fresh_tokens as f64,
        figures.staleness,
    ];
    sums.extend(figures.fresh_gaps.iter().map(|&count| count as f64));
    ranks.sum(&mut sums)?;
    figures.loss = sums[0];
    figures.trained_tokens = sums[1] as u64;
    figures.clipped_tokens = sums[2];
    figures.ratio = sums[3];
    figures.fresh_gap = sums[4];
    figures.fresh_tokens = sums[5] as u64;
    figures.staleness = sums[6];
    for (count, sum) in figures.fresh_gaps.iter_mut().zip(&sums[7..]) {
        *count = *sum as u64;
    }
    let mut largest = [figures.largest_ratio, figures.largest_fresh_gap];
    ranks.largest(&mut largest)?;
    [figures.largest_ratio, figures.largest_fresh_gap] = largest;
    Ok(())
}
