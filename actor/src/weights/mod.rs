//! The weights: follow the announcements, fetch what is announced, verify every byte, hand over complete sets only.

mod assembly;
mod fetch;
mod follow;
mod model;

pub use assembly::{Assembly, Entries, TornWeights, manifest_checksum};
pub use follow::follow;
pub use model::{Assets, load_assets, load_model};
