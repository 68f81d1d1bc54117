//! `anytime show`: what is read, and which part of it.

use std::path::PathBuf;

use clap::Args;

use super::LearnerArgs;

/// The arguments of `anytime show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// A job's directory, a file of groups, the --out directory of `anytime local` or `anytime demo`, or else a job id at
    /// the learner
    pub run: String,
    /// Id of a problem, or its row number in the data; without it all problems are listed, worst first
    #[arg(long, value_name = "K")]
    pub problem: Option<String>,
    /// Which of the problem's traces, from 0 [default: 0]
    #[arg(long, value_name = "N", requires = "problem")]
    pub trace: Option<usize>,
    /// The evaluation after this training step [default: the newest]
    #[arg(long, value_name = "S")]
    pub step: Option<u64>,
    /// Which job of a directory that holds several [default: the one evaluated last]
    #[arg(long, value_name = "ID")]
    pub job: Option<String>,
    /// Directory of the model that a file of groups is of [default: what its job has kept, else its job's model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub learner: LearnerArgs,
}
