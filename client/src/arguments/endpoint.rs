//! A server of answers that `anytime evaluate` measures instead of a checkpoint.

use std::path::PathBuf;

use clap::Args;

/// Which server, and how it is asked.
#[derive(Clone, Debug, Default, Args)]
pub struct EndpointArgs {
    /// URL of a server that OpenAI's clients can ask (http://127.0.0.1:7103); it is measured instead of a checkpoint, without
    /// a learner, on a file of problems that this machine has
    #[arg(long, value_name = "URL", requires = "problems", conflicts_with_all = ["model", "preset"])]
    pub endpoint: Option<String>,
    /// Which of its models [default: its only one]
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub endpoint_model: Option<String>,
    /// Problems that are asked at the same time [default: 16]
    #[arg(long, value_name = "N", requires = "endpoint")]
    pub concurrency: Option<u32>,
    /// The field of a request that holds the budget, with dots where it lies deeper [default: thinking_token_budget, as vLLM
    /// has it]; not read for servers of this project
    #[arg(long, value_name = "FIELD", requires = "endpoint")]
    pub budget_field: Option<String>,
    /// File with the key that the server asks for
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub key_file: Option<PathBuf>,
    /// Seconds that one answer may take [default: 600]
    #[arg(long, value_name = "SECONDS", requires = "endpoint")]
    pub answer_timeout: Option<u64>,
}
