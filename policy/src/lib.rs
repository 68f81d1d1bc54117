//! The language model that actor and learner share, so that both compute the same log-probabilities.
//!
//! A Hugging Face model directory comes in through [`ModelConfig`], [`read_weights`] and [`Tokenizer`]; [`Decoder`]
//! runs it, either over a [`KvCache`] (generation) or over a [`TreeBatch`] (training: one row per trace, every summary
//! a branch of the row); [`write_checkpoint`] writes a directory that other tools load again.
//!
//! Shapes in the documentation name their axes; `n` counts trained tokens, `tokens` counts packed tokens.

// FFI is needed in two places: `device`, which loads CUDA's half of libtorch at run time, and `operators`.
#![deny(unsafe_code)]
#![deny(clippy::disallowed_methods)]

pub mod actor_memory;
mod adapter_config;
mod attention;
mod cache;
mod chat;
mod checkpoint;
mod config;
mod decoder;
pub mod device;
mod error;
mod extension;
mod grouping;
mod head;
mod lora;
pub mod memory;
mod model_files;
pub mod operators;
mod projection;
mod recordings;
mod rope;
mod row_independence;
mod score;
mod sequences;
mod shapes;
mod steps;
mod tokenizer;
mod tree;
mod tree_sequences;
pub mod waiting;
mod weights;

pub use adapter_config::{ADAPTER_CONFIG, Lora, TARGETS, adapter_config, lora_of_json};
pub use cache::{KvCache, Slots, Without};
pub use chat::{Chat, ChatMessage, TemplateArguments};
pub use checkpoint::{
    ADAPTER_WEIGHTS, AdapterDirectory, TensorFile, TensorShape, asset_files, asset_names, check_values, check_weights,
    read_weights, weight_files, write_adapters, write_checkpoint, write_model, write_tensors,
};
pub use config::{ModelConfig, ModelType, RopeScaling};
pub use decoder::{Decoder, TreePass};
pub use error::{Origin, PolicyError};
pub use extension::{Extension, Prefix};
pub use lora::{Adapters, is_of_adapter};
pub use row_independence::check_row_independence;
pub use score::{HeadPass, Scores};
pub use tokenizer::{Tokenizer, without_eos};
pub use tree::{Branch, TreeBatch, TreeRow};
pub use weights::{Weights, expected_tensors, initialise_weights};
