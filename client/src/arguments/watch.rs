//! The arguments for following a job.

use std::time::Duration;

use super::JobArgs;

/// The arguments of `anytime watch`.
#[derive(Clone, Debug, clap::Args)]
pub struct WatchArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub follow: FollowArgs,
}

/// For how long a job is followed that cannot be seen.
#[derive(Clone, Debug, clap::Args)]
pub struct FollowArgs {
    /// Follow the job no further, with exit code 69, where the learner is away or its events fail for this long (30s, 10m,
    /// 2h; 0s: at the first failure). What no waiting heals, such as a token that is refused, ends it at once
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    pub give_up_after: Duration,
}
