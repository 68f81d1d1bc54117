//! The model on disk: recovery checkpoints, from which a restarted job goes on, and Hugging Face exports.
//!
//! `recovery` holds what a restart needs, with its `checksums`, [`export()`] writes model directories with a card each
//! (`card`, which passes on what the `front_matter` of the base's says), and `keep` removes
//! those that are not wanted any more. `start` makes a model of a checkpoint for another job to start from. [`Assets`] are the files beside the weights, read once for each job.

mod assets;
mod base;
mod card;
mod checksums;
mod export;
mod front_matter;
mod keep;
mod recovery;
mod start;
mod tensors;

pub use assets::{ASKING_FILE, Assets};
pub use base::{FrozenBase, KeptAdapters, base_directory, read_base};
pub use card::{Card, Described, asking};
pub use export::{Export, Exported, Model, Published, export, publishable, version_checksum};
pub use keep::{best_exports, prune_best, prune_exports, prune_recovery};
pub use recovery::{
    Compute, Fingerprint, Recovered, RecoveryState, Saved, load_newest, load_step, save, steps as recovery_steps,
};
pub use start::{Lasting, NoStart, Start, check_start, lay_out_start};
