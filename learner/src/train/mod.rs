//! The trainer: rows → micro-batches → loss → optimiser. It sees advantages and weights per token, and knows neither
//! the algorithm that made them nor jobs and queues.
//!
//! `trainer` makes the two updates, `rows` are the traces it trains on, and `micro_batch` groups them by length. `loss`
//! is the clipped policy gradient, `gradient` one forward and backward pass, `token_sums` what it finds out about its
//! tokens on the way, `optimiser` AdamW, `clip` the bound that its gradients' own history sets, and `schedule` its learning
//! rate.

mod clip;
mod figures;
mod gradient;
#[cfg(test)]
mod gradient_tests;
mod loss;
mod memory;
#[cfg(test)]
mod memory_tests;
mod micro_batch;
mod optimiser;
#[cfg(test)]
mod optimiser_tests;
mod policy_batch;
mod rows;
mod schedule;
#[cfg(test)]
mod step_tests;
mod token_sums;
mod trainer;
#[cfg(test)]
mod trainer_tests;

pub use figures::StepFigures;
pub use loss::{LossSums, PolicyLoss, TokenTerms};
pub use memory::{UpdateMemory, UpdatePlan, UpdateShape, UpdateTooLarge};
pub use micro_batch::micro_batches;
pub use optimiser::{AdamW, AdamWSettings, Update, UpdateFigures};
pub use rows::{RowTokens, TrainingRow, supervised_row, training_rows};
pub use schedule::LearningRate;
pub(crate) use trainer::check_model;
pub use trainer::{Trainer, compute_kind};
