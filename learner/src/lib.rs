//! The training process.
#![forbid(unsafe_code)]

pub mod args;
pub mod checkpoint;
pub mod data;
pub mod evaluation;
pub mod jobs;
mod lock;
pub mod queue;
pub mod rollouts;
mod rpc;
pub mod run;
pub mod server;
pub mod server_state;
pub mod train;
pub mod weights;

use std::path::Path;
use std::sync::Arc;

use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;

use crate::jobs::context::JobContext;

/// Checks a specification against the files that it names, and fills its defaults in.
pub type Validate = Arc<dyn Fn(&v1::JobSpec, &Path) -> Result<JobSettings, InvalidSetting> + Send + Sync>;

/// Runs one job from its start, or from where a restart found it, to its end.
pub type RunJob = Arc<dyn Fn(&JobContext) -> anyhow::Result<()> + Send + Sync>;
