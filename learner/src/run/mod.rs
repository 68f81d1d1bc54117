//! What a job does on its thread: it prepares, then trains, fine-tunes or evaluates.
//!
//! `start` is where the check at submission and the run begin. `prepare` reads everything that the settings name. It
//! uses `model`, which opens the model's directory, `rendering`, which turns a problem into ids, and `prompts`, which
//! does so for whole files (`parallel`). `notices` says what happened to data on the way, and `written_since` which
//! files have changed since submission. `check` is the result of a check before a run, with the `memory` that the
//! processes will take.
//!
//! `plan` says how groups are generated. `job` is a job whose model is loaded
//! (`beginning`, `adapted`), with the work that all kinds of jobs have in common; `keeping` keeps what its evaluations generated and the groups that its
//! steps trained, and `replay` trains on these again, with `computation` to say what differs. `leases` are the
//! groups that a job would ask for. `train` and `sft` are the two kinds of training.
//! `order` is the order of their rows, `reference` measures the starting weights, `figures` sums up a step's groups,
//! `account` says which they were, `parts` when everything happened, `step_gauges` keeps their metrics from outliving the
//! job, and `reward_watch` notices when the reward collapses. `fingerprint` ties a recovery checkpoint to its data and
//! model, `gone` notices one that was removed, `export` writes one as a model, and `fork` makes the start of another job of
//! one.

mod account;
mod adapted;
mod beginning;
mod check;
mod computation;
mod export;
mod figures;
mod fingerprint;
mod fork;
#[cfg(test)]
mod fork_refusals;
mod gone;
mod job;
mod keeping;
mod leases;
mod memory;
mod model;
mod notices;
mod order;
mod parallel;
mod parts;
mod plan;
mod prepare;
#[cfg(test)]
mod prompt_tests;
mod prompts;
mod reference;
#[cfg(test)]
mod refusals;
mod rendering;
mod replay;
mod reward_watch;
mod sft;
mod start;
mod step_gauges;
mod train;
mod written_since;

pub use export::export_recovery;
pub use fork::{take_start, validate_here};
pub use leases::leases;
pub use memory::UpdatePlace;
pub use order::TrainingOrder;
pub use plan::{evaluation_plan, training_plan};
pub use prepare::{Prepared, prepare};
pub use prompts::{PromptAndCompletion, with_instruction};
pub use replay::{Change, NotThere, Replay, ReplayPlan, ReplayedStep, StepOutcome, is_refusal, replay};
pub use start::{run_job, run_job_with, validate, validate_all};
pub use step_gauges::begin_counters;
