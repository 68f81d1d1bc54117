//! The names of what the store keeps in a job's directory.

use std::path::{Path, PathBuf};

/// The job, as one record with a checksum.
pub(super) const JOB_FILE: &str = "job.pb";
/// Its specification, for people and for a damaged job file.
pub(super) const SPECIFICATION_FILE: &str = "job.toml";
/// Its events.
pub(super) const EVENTS_FILE: &str = "events.log";
/// The event log of earlier versions.
pub(super) const OLD_EVENTS_FILE: &str = "events.pb";
/// Its figures as lines of JSON, for other tools.
pub(super) const METRICS_FILE: &str = "metrics.jsonl";
/// Its figures as TensorBoard reads them.
pub(super) const TENSORBOARD_DIRECTORY: &str = "tensorboard";
/// The request that submitted it.
pub(super) const REQUEST_FILE: &str = "request_id";
/// The files that its check read.
pub(super) const CHECKED_FILES_FILE: &str = "checked_files.json";
/// There once a user has cancelled it.
pub(super) const CANCELLED_FILE: &str = "cancelled";
/// Directories of jobs that are being removed begin so; a crash leaves them behind, and the next start goes on.
pub(super) const REMOVED_PREFIX: &str = ".removed-";

/// Where the events of the job in this directory are.
pub(super) fn events_path(directory: &Path) -> PathBuf {
    directory.join(EVENTS_FILE)
}

/// The id of the job in this directory.
pub(super) fn id_of(directory: &Path) -> &str {
    directory.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
