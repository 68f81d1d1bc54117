//! `anytime serve`: which model answers, where, and how.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::LearnerArgs;

/// The arguments of `anytime serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Directory of the checkpoint that answers
    #[arg(value_name = "DIR", required_unless_present = "follow", conflicts_with = "follow")]
    pub model: Option<PathBuf>,
    /// Id of a job of --learner whose newest weights answer, while it trains
    #[arg(long, value_name = "JOB")]
    pub follow: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub learner: LearnerArgs,
    /// Where requests are taken, over HTTP
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7103")]
    pub listen: String,
    /// File that the address is written to once it listens
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// What the model is called in requests and answers [default: the name of its directory, or the job's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Ascending thinking budgets in tokens of a request that names none [default: those that it was trained with]
    #[arg(long, value_name = "N,N,…")]
    pub budgets: Option<String>,
    /// The largest budget that a request may ask for [default: twice the largest of --budgets]
    #[arg(long, value_name = "N")]
    pub max_thinking: Option<u32>,
    /// Sequences generated at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    pub slots: u32,
    /// Where to generate: auto, cpu, cuda, cuda:1, …
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of tensor operations
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Further options of `anytime-actor serve`, behind `--`
    #[arg(last = true, value_name = "OPTION")]
    pub further: Vec<OsString>,
}
