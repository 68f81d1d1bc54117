//! Model directories as Hugging Face lays them out: reading weights, exporting a whole directory.

mod hints;
mod layout;
mod listing;
mod read;
mod write;

pub use layout::{asset_files, asset_names};
pub use read::{check_values, check_weights, read_weights};
pub use write::{write_checkpoint, write_model};
