//! The training process.
#![forbid(unsafe_code)]

pub mod args;
pub mod bootstrap;
pub mod checkpoint;
pub mod data;
pub mod desk;
pub mod evaluate;
pub mod generations;
pub mod hall;
pub mod jobs;
pub mod replay;
mod reply_stream;
pub mod server;
mod statuses;
pub mod tally;
pub mod train;
pub mod weights;
pub mod work;

use std::path::Path;
use std::sync::Arc;

use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;

use crate::desk::JobContext;

/// Checks a specification against the files that it names, and fills its defaults in.
pub type Validate = Arc<dyn Fn(&v1::JobSpec, &Path) -> Result<JobSettings, InvalidSetting> + Send + Sync>;

/// Runs one job from its start, or from where a restart found it, to its end.
pub type RunJob = Arc<dyn Fn(&JobContext) -> anyhow::Result<()> + Send + Sync>;
