//! The model on disk: recovery checkpoints, from which a restarted job goes on, and Hugging Face exports.

mod export;
mod recovery;

pub use export::{export, publishable};
pub use recovery::{Recovered, RecoveryState, load_newest, save};
