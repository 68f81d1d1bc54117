//! What the check of a specification brings, before there is a job.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use serde::{Deserialize, Serialize};

use super::fork::Fork;

/// A specification that can work.
#[derive(Clone, Debug)]
pub struct CheckedJob {
    /// With all defaults.
    pub settings: JobSettings,
    /// What the files that it names hold.
    pub found: v1::JobCheck,
    /// The files themselves, as they were before they were read.
    pub files: Vec<FileStamp>,
    /// What it starts from, where that is of another job.
    pub fork: Option<Arc<Fork>>,
}

impl From<JobSettings> for CheckedJob {
    /// Only the settings were checked, and no files.
    fn from(settings: JobSettings) -> Self {
        Self {
            settings,
            found: v1::JobCheck::default(),
            files: Vec::new(),
            fork: None,
        }
    }
}

/// Shows whether a file has been written again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// The setting that names it or its directory.
    pub setting: String,
    /// The file.
    pub path: PathBuf,
    /// Its size; none where it cannot be asked.
    pub bytes: Option<u64>,
    /// When it was written last.
    pub written: Option<SystemTime>,
}

impl FileStamp {
    /// The stamp that the file has now.
    pub fn of(setting: &str, path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        Self {
            setting: setting.to_owned(),
            path: path.to_owned(),
            bytes: metadata.as_ref().map(std::fs::Metadata::len),
            written: metadata.and_then(|metadata| metadata.modified().ok()),
        }
    }
}
