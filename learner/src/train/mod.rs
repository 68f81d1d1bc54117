//! The trainer: rows → micro-batches → loss → optimiser. It sees advantages and weights per token, and knows neither
//! the algorithm that made them nor jobs and queues.
//!
//! `trainer` makes the two updates, `rows` are the traces it trains on, and `micro_batch` groups them by length. `loss`
//! is the clipped policy gradient, `gradient` one forward and backward pass, `optimiser` AdamW, and `schedule` its
//! learning rate.

mod gradient;
#[cfg(test)]
mod gradient_tests;
mod loss;
mod micro_batch;
mod optimiser;
mod rows;
mod schedule;
mod trainer;
#[cfg(test)]
mod trainer_tests;

pub use loss::{PolicyLoss, TokenTerms};
pub use micro_batch::micro_batches;
pub use optimiser::{AdamW, AdamWSettings};
pub use rows::{RowTokens, TrainingRow, supervised_row, training_rows};
pub use schedule::LearningRate;
pub(crate) use trainer::check_model;
pub use trainer::{StepFigures, Trainer};
