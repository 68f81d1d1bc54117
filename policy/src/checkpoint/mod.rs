//! Model directories as Hugging Face lays them out: reading weights, exporting a whole directory.

mod adapter;
mod hints;
mod layout;
mod listing;
mod read;
mod shard;
mod tensor_file;
mod write;

pub use adapter::{ADAPTER_WEIGHTS, AdapterDirectory, write_adapters};
pub use layout::{asset_files, asset_names};
pub use listing::weight_files;
pub use read::{check_values, check_weights, read_weights};
pub use tensor_file::{TensorFile, TensorShape, write_tensors};
pub use write::{write_checkpoint, write_model};
