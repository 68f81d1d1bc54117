//! A request to write a recovery checkpoint as a model, and how it is refused.

use std::path::PathBuf;
use std::sync::Arc;

use anytime_proto::settings::InvalidSetting;
use anytime_proto::v1;

/// What is to be exported where.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// The job.
    pub job: v1::Job,
    /// Its directory.
    pub directory: PathBuf,
    /// The step of the recovery checkpoint. None means the newest that can be read.
    pub step: Option<u64>,
    /// The directory to write. None means one in the job's directory.
    pub output: Option<String>,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no such checkpoint.
    #[error("job {job}: {reason}")]
    NotFound {
        /// The job.
        job: String,
        /// What there is.
        reason: String,
    },
    /// It must not be written there.
    #[error(transparent)]
    Refused(#[from] InvalidSetting),
    /// A file cannot be read or written.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Writes a recovery checkpoint as a model, and gives its step and the directory.
pub type ExportJob = Arc<dyn Fn(&ExportRequest) -> Result<(u64, PathBuf), ExportError> + Send + Sync>;
