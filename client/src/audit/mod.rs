//! `anytime audit`: proves from what a job left behind that nothing was lost and nothing trained twice.
//!
//! [`evidence`] collects it: the events, the recovery checkpoints, and the learner's account of its queue where it runs.
//! [`ledger`] is the one history that counts, without the steps that a restart undid. [`checks`] holds one against the
//! other.

pub mod checks;
pub mod evidence;
pub mod ledger;

pub use checks::{Finding, Findings, check};
pub use evidence::Evidence;
