//! The weights: follow the announcements, fetch what is announced or what changed since what is held, verify every byte,
//! hand over complete sets only.
//!
//! All of it happens beside the engine, which goes on with the weights that it has until it is handed the next ones, and
//! changes over between two decoding steps.

mod assembly;
mod checksum;
mod fetch;
mod follow;
mod loader;
mod model;
mod patch;

pub use assembly::{Assembly, Entries, TornWeights};
pub use follow::follow;
pub use loader::Loader;
pub use model::{Assets, load_assets, load_model};
pub use patch::{BadDelta, Patch};
