//! `anytime compose`: how many GPUs the host has, and whose they are.

use clap::Args;

use crate::compose::HostRole;

/// The arguments of `anytime compose`.
#[derive(Clone, Debug, Args)]
pub struct ComposeArgs {
    /// GPUs of the host, by the numbers of nvidia-smi: 0 to N - 1
    #[arg(long, value_name = "N")]
    pub gpus: u32,
    /// The first of them, on each of which the learner has a rank [default: 1; on a host of actors 0]
    #[arg(long, value_name = "N")]
    pub learner_gpus: Option<u32>,
    /// What runs on the host
    #[arg(long, value_enum, default_value = "all")]
    pub host_role: HostRole,
}
