//! `anytime health`: which server is asked, and for how long.

use clap::Args;

use super::SecurityArgs;

/// The arguments of `anytime health`.
#[derive(Clone, Debug, Args)]
pub struct HealthArgs {
    /// Address of the server, as http://127.0.0.1:7102
    #[arg(value_name = "URL")]
    pub address: String,
    /// One of its services, as anytime.v1.RolloutService [default: the server as a whole]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub service: String,
    /// Longest wait for the answer
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub security: SecurityArgs,
}
