//! What a job leaves on disk: recovery checkpoints, and Hugging Face exports.

mod export;
mod recovery;

pub use export::{export, publishable};
pub use recovery::{Recovered, RecoveryState, load_newest, save};
