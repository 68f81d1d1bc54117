//! Objectives: a scored group becomes per-token advantages and weights. No tensors and no I/O: the trainer is blind to
//! the algorithm, and a new one is one small file here.
//!
//! Notation (paper 1.2): G traces, S budgets, A summaries per budget; `r[g][s]` is the mean score of trace g's
//! summaries at budget s, `P[s]` the prior, `R[g][s]` the reward to go. A thinking token belongs to segment s where
//! budget s is the first one at or after it.
//!
//! [`ScoreTable`] holds the scores of a group and everything else that an objective may read; `length` changes scores
//! before an objective sees them; [`baselines`] has the paper's formulas; `brpo` and `grpo` are the paper's objectives,
//! and the files beside them those of the related work; `responses` holds what all but the first have in common;
//! [`lay_out`] turns the advantages of segments into those of tokens; [`StepStatistics`] computes what a training step
//! reports about its baselines.
//!
//! A new objective is a file here, a message and a line in `oneof settings` of objective.proto, a line in `registry`,
//! and its rows in the table of settings (proto/src/settings/table.rs).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

mod adaptthink;
mod analysis;
pub mod baselines;
mod brpo;
mod degrpo;
mod elastic;
mod gfpo;
mod grpo;
mod kimi;
mod length;
mod objective;
mod registry;
mod responses;
mod scores;
mod short_rl;
mod state;
pub mod statistics;
mod step_statistics;
mod targets;
#[cfg(test)]
mod testing;

pub use analysis::{Analysis, NotAnalysed};
pub use objective::{Objective, RolloutNeeds, StepContext};
pub use registry::objective;
pub use scores::{InvalidScores, ScoreTable, segment_of_token};
pub use state::InvalidState;
pub use step_statistics::StepStatistics;
pub use targets::{TraceTargets, lay_out, lay_out_tokens};
