//! What a local run is asked to do.

use std::path::PathBuf;

use anytime_proto::v1;

use crate::arguments::ProcessArgs;

/// The jobs to run, and where and how to run them.
#[derive(Clone, Debug)]
pub struct LocalRun {
    /// Checked specifications, in order.
    pub specs: Vec<v1::JobSpec>,
    /// Directory of jobs, logs and the report.
    pub out: PathBuf,
    /// Whether to go on where an earlier run in the same directory was interrupted.
    pub resume: bool,
    /// Which processes are started.
    pub processes: ProcessArgs,
}
