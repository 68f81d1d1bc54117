//! `anytime replay`: which steps of which job, and how.

use std::path::PathBuf;

use clap::Args;

/// The arguments of `anytime replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Id of the job, or its directory
    pub job: String,
    /// The first step to look at; training begins with the newest recovery checkpoint before it
    #[arg(long, value_name = "STEP", value_parser = clap::value_parser!(u64).range(1..))]
    pub from: u64,
    /// How many steps, from that one on [default: all that are kept without a gap]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// Where jobs are kept [default: runs, or ANYTIME_RUNS_DIR]
    #[arg(long, value_name = "DIR")]
    pub runs_dir: Option<PathBuf>,
    /// Where the model's path starts, which a replay from the first step reads [default: the current directory, or
    /// ANYTIME_ROOT]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// auto, cpu, cuda, cuda:1, … [default: that of the run]
    #[arg(long)]
    pub device: Option<String>,
    /// Threads of tensor operations [default: as many as the run had]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Changes a setting of the updates, such as `training.gradient_clip=0`: differences are then shown, and are no
    /// failure; repeatable
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,
    /// Directory to write the weights after the last step to, as a Hugging Face model [default: none is written]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
