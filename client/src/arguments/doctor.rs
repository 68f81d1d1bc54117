//! `anytime doctor` and `anytime top`: which learner, which job, how often.

use clap::Args;

use super::LearnerArgs;

const DOCTOR_CODES: &str = "\
Exit codes: 0 nothing is wrong, 1 something is (the verdict says what), 64 an argument is wrong or the learner refuses, 69 \
the learner cannot be reached";

/// The arguments of `anytime doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DOCTOR_CODES)]
pub struct DoctorArgs {
    /// Id of the job [default: all that run, are paused or are queued; else the one that ended last]
    pub job: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub learner: LearnerArgs,
}

/// The arguments of `anytime top`.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// Id of the job [default: all that run, are paused or are queued; else the one that ended last]
    pub job: Option<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// End after so many looks [default: go on until ^C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub times: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub learner: LearnerArgs,
}
