//! `anytime generate`: whose groups, and by which model.

use std::path::PathBuf;

use clap::Args;

use crate::overrides::OverrideArgs;

/// The arguments of `anytime generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// The job file (TOML) of a train or evaluate job; relative paths in it start at the current directory
    #[arg(required_unless_present = "preset")]
    pub job_file: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub overrides: OverrideArgs,
    /// File to write the groups to
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Checkpoint directory that generates [default: the job's model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<String>,
    /// The place of the first group, counted from 0: in the order of training, or among an evaluation's problems
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub first: u64,
    /// How many groups [default: a step's, or all that an evaluation has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub groups: Option<u64>,
    /// Address of a verifier, which grades the answers [default: none, and no answer has a verdict]
    #[arg(long, value_name = "URL")]
    pub verifier: Option<String>,
    /// Where to generate: auto, cpu, cuda, cuda:1, …
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of tensor operations
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
}
