//! A job that is over is removed with its directory, but not with a model that nobody asked to remove.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_files::sync_directory;
use anytime_proto::JobId;

use crate::outputs::{EXPORTS_DIRECTORY, MARKER_FILE};

/// Directories of jobs that are being removed; a crash leaves them behind, and the next start goes on.
pub(super) const REMOVED_PREFIX: &str = ".removed-";

/// Why a job is not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It is not over.
    #[error("job {id} is {state}, so it cannot be deleted; `anytime cancel {id}` ends it")]
    IsNotOver {
        /// Its id.
        id: JobId,
        /// Queued, running or paused.
        state: String,
    },
    /// Models would go with it.
    #[error(
        "the directory of job {id} holds models ({}), so it is not deleted; move them away, or delete them with it \
         (--with-models)", .models.join(", ")
    )]
    HasModels {
        /// Its id.
        id: JobId,
        /// Their names in the job's directory.
        models: Vec<String>,
    },
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] anyhow::Error),
}

/// The models that a job exported into its own directory, by their names there.
pub(super) fn models_of(directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut models = Vec::new();
    for folder in ["", EXPORTS_DIRECTORY] {
        let folder = directory.join(folder);
        if !folder.is_dir() {
            continue;
        }
        let listing = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
        for entry in listing {
            let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
            if path.join(MARKER_FILE).is_file() {
                let name = path.strip_prefix(directory).unwrap_or(&path);
                models.push(name.display().to_string());
            }
        }
    }
    models.sort();
    Ok(models)
}

/// What is left of a job that was removed.
#[derive(Debug)]
pub struct RemovedJob {
    /// The models that go with it, by their names in its directory.
    pub models: Vec<String>,
    /// Its directory, under the name of what is being removed.
    aside: PathBuf,
}

impl RemovedJob {
    pub(super) fn new(models: Vec<String>, aside: PathBuf) -> Self {
        Self { models, aside }
    }

    /// Deletes the files, hundreds of gigabytes perhaps. What a crash leaves is deleted at the next start.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn delete_files(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.aside).with_context(|| format!("delete {}", self.aside.display()))
    }
}

/// Gives the directory of a job another name, under which it is no job any more. That takes no time, however large it is.
pub(super) fn set_aside(directory: &Path) -> anyhow::Result<PathBuf> {
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        anyhow::bail!("{} is no directory of a job", directory.display());
    };
    let aside: PathBuf = parent.join(format!(
        "{REMOVED_PREFIX}{}-{}",
        name.to_string_lossy(),
        uuid::Uuid::new_v4()
    ));
    fs::rename(directory, &aside).with_context(|| format!("remove {}", directory.display()))?;
    sync_directory(parent)?;
    Ok(aside)
}
