//! `anytime ask` and `anytime chat`: who answers, and how long it may think.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::SecurityArgs;

/// The arguments of `anytime ask`.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// The question [default: standard input, to its end]
    #[arg(value_name = "TEXT")]
    pub text: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub asking: AskingArgs,
}

/// The arguments of `anytime chat`.
#[derive(Clone, Debug, Args)]
pub struct ChatArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub asking: AskingArgs,
}

/// Who is asked, and how.
#[derive(Clone, Debug, Args)]
pub struct AskingArgs {
    /// Directory of the checkpoint that answers, by a server that is started for this command and ends with it
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "server",
        conflicts_with = "server"
    )]
    pub model: Option<PathBuf>,
    /// Address of a server that answers, as http://127.0.0.1:7103
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The largest thinking budget in tokens; before it there is an answer at each of the model's smaller ones
    #[arg(long, value_name = "N", conflicts_with = "budgets")]
    pub budget: Option<u32>,
    /// Ascending thinking budgets in tokens, with an answer at each [default: the model's]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    pub budgets: Vec<u32>,
    /// Summaries that vote on the answer at each budget
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub summaries: u32,
    /// End the thinking early where this share of the summaries agrees, above 0 and at most 1
    #[arg(long, value_name = "SHARE")]
    pub agreement: Option<f64>,
    /// At so many budgets in a row, on the same answer [default: 1]
    #[arg(long, value_name = "N", requires = "agreement")]
    pub rounds: Option<u32>,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
    /// Sampling temperature; 0 takes the likeliest token [default: the model's]
    #[arg(long, value_name = "X")]
    pub temperature: Option<f64>,
    /// Sampling top-p [default: the model's]
    #[arg(long, value_name = "X")]
    pub top_p: Option<f64>,
    /// Sampling top-k; 0 is off [default: the model's]
    #[arg(long, value_name = "N")]
    pub top_k: Option<u32>,
    /// Seed of the sampling: with it the same question has the same answer
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Longest wait for an answer (30s, 10m)
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Where --model generates: auto, cpu, cuda, cuda:1, …
    #[arg(long, default_value = "auto", conflicts_with = "server")]
    pub device: String,
    /// Threads of tensor operations of --model
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "server",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub security: SecurityArgs,
    /// Further options of `anytime-actor serve` for --model, behind `--`
    #[arg(last = true, value_name = "OPTION", conflicts_with = "server")]
    pub further: Vec<OsString>,
}
