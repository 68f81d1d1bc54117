//! The weights: `follow` listens to announcements, `fetch` asks for a version or for what changed since the one that is
//! held, `loader` has it verified and built on a thread of its own (`assembly`, `patch`, `checksum`, `model`), and the
//! engine is handed complete sets only.
//!
//! All of it happens beside the engine. The engine goes on with the weights that it has, and changes over between two
//! decoding steps.

mod assembly;
mod checksum;
mod fetch;
mod follow;
mod loader;
mod model;
mod patch;

pub use assembly::{Assembly, Entries, TornWeights};
pub use follow::{Follower, WeightsError, follow, listen};
pub use loader::Loader;
pub use model::{Assets, load_assets, load_model};
pub use patch::{BadDelta, Patch};
