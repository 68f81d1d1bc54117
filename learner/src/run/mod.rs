//! What a job does on its thread: it prepares, then trains, fine-tunes or evaluates.
//!
//! `start` is where both begin: the check at submission and the run. `prepare` reads everything that the settings name,
//! `plan` says how groups are generated, and `job` is a job whose model is loaded, with what all kinds of jobs do.
//! `train` and `sft` are the two kinds of training; `order` is the order of their rows, `reference` measures the
//! starting weights and `figures` sums up a step's groups.

mod figures;
mod job;
mod order;
mod plan;
mod prepare;
mod reference;
#[cfg(test)]
mod refusals;
mod sft;
mod start;
mod train;

pub use order::TrainingOrder;
pub use plan::{evaluation_plan, training_plan};
pub use prepare::{Prepared, PromptAndCompletion, prepare};
pub use start::{run_job, validate};
