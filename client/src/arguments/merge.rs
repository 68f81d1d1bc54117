//! `anytime merge`: which adapters, and where the model is written.

use std::path::PathBuf;

use clap::Args;

/// The arguments of `anytime merge`.
#[derive(Clone, Debug, Args)]
pub struct MergeArgs {
    /// Directory of the adapters, as a job or PEFT writes it; its adapter_config.json names the base
    pub adapters: PathBuf,
    /// Directory to write the model to, which must not exist or be empty
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// auto, f32, bf16 or f16 [default: auto, which is what the base says its weights are in]
    #[arg(long)]
    pub dtype: Option<String>,
}
