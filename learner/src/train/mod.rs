//! The trainer: rows → micro-batches → loss → optimiser. It sees advantages and weights per token, and knows neither
//! the algorithm that made them nor jobs and queues.
//!
//! `trainer` makes the two updates, `rows` are the traces it trains on, and `micro_batch` groups them by length. `loss`
//! is the clipped policy gradient, `gradient` one forward and backward pass, `token_sums` what it finds out about its
//! tokens on the way, `optimiser` AdamW, `clip` the bound that its gradients' own history sets, and `schedule` its learning
//! rate. Where several processes compute the updates, `dealing` says who computes which rows, `work` what they are told and
//! find out, `rank_group` sums their gradients, and
//! `sharding` says which part each of them holds, `divided` are weights of which each has its part, and `stages` how those come and go
//! in a pass; `together` is the trainer among them.

mod clip;
mod dealing;
mod divided;
mod figures;
mod gradient;
#[cfg(test)]
mod gradient_tests;
mod gradients;
#[cfg(test)]
mod lora_tests;
mod loss;
mod memory;
#[cfg(test)]
mod memory_tests;
mod micro_batch;
mod model;
mod optimiser;
#[cfg(test)]
mod optimiser_tests;
mod parameters;
mod passes;
mod policy_batch;
mod rank_group;
#[cfg(test)]
mod ranks_tests;
mod rows;
mod schedule;
mod sharding;
mod stages;
#[cfg(test)]
mod step_tests;
mod together;
mod token_sums;
mod trainer;
#[cfg(test)]
mod trainer_tests;
mod work;

pub use divided::{Divided, divides_weights};
pub use figures::StepFigures;
pub use loss::{LossSums, PolicyLoss, TokenTerms};
pub use memory::{UpdateMemory, UpdatePlan, UpdateShape, UpdateTooLarge};
pub use micro_batch::micro_batches;
pub(crate) use model::check_model;
pub use model::compute_kind;
pub use optimiser::{AdamW, AdamWSettings, StateSource, Update, UpdateFigures};
pub use parameters::{Parameters, lora_of};
pub(crate) use rank_group::as_bytes;
pub use rank_group::{RankGroup, RanksError, RunOver};
pub use rows::{RowTokens, TrainingRow, supervised_row, training_rows};
pub use schedule::LearningRate;
pub use sharding::Shard;
pub use trainer::Trainer;
