//! A job that is over is removed with its directory, but not with a model that nobody asked to remove.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use anytime_files::sync_directory;
use anytime_proto::{JobId, ShortName as _};
use tracing::warn;

use super::entry::JobEntry;
use super::files::REMOVED_PREFIX;
use super::states::has_ended;
use crate::outputs::{EXPORTS_DIRECTORY, MARKER_FILE};

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
    /// It was removed before.
    #[error("job `{0}` does not exist")]
    IsGone(JobId),
    /// A request works on it.
    #[error("job {0} is being exported or cancelled, so it cannot be deleted now; try again when that is done")]
    IsInUse(JobId),
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

impl JobEntry {
    /// Whether it was removed.
    pub fn is_removed(&self) -> bool {
        self.live.seen().is_removed
    }

    /// As [`is_removed`](Self::is_removed), also where it is being removed right now. May wait for the disk.
    pub fn was_removed(&self) -> bool {
        self.live.change().is_removed
    }

    /// Keeps the job from being removed until the guard is dropped; none where it was removed. May wait for the disk.
    pub fn in_use(self: &Arc<Self>) -> Option<InUse> {
        let live = self.live.change();
        if live.is_removed {
            return None;
        }
        self.users.fetch_add(1, Ordering::SeqCst);
        Some(InUse(self.clone()))
    }

    /// Removes the job: `remove` takes its directory away. Nothing else is written there meanwhile, nor afterwards.
    ///
    /// # Errors
    /// If it was removed before, is not over, or is used by a request; or those of `remove`.
    pub(super) fn remove<T>(&self, remove: impl FnOnce() -> Result<T, RemoveError>) -> Result<T, RemoveError> {
        let mut live = self.live.change();
        let id = || self.id.clone();
        if live.is_removed {
            return Err(RemoveError::IsGone(id()));
        }
        if !has_ended(live.job.state()) || live.is_held {
            let state = live.job.state().short_name();
            return Err(RemoveError::IsNotOver { id: id(), state });
        }
        if self.users.load(Ordering::SeqCst) > 0 {
            return Err(RemoveError::IsInUse(id()));
        }
        let removed = remove()?;
        live.is_removed = true;
        Ok(removed)
    }
}

/// A job that a request works on.
pub struct InUse(Arc<JobEntry>);

impl Drop for InUse {
    fn drop(&mut self) {
        // Waits for nobody, wherever it is dropped.
        self.0.users.fetch_sub(1, Ordering::SeqCst);
    }
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
    /// Its directory, under the name of what is being removed; none where somebody else had taken it away.
    aside: Option<PathBuf>,
}

impl RemovedJob {
    pub(super) fn new(models: Vec<String>, aside: Option<PathBuf>) -> Self {
        Self { models, aside }
    }

    /// Deletes the files, hundreds of gigabytes perhaps. What a crash leaves is deleted at the next start.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn delete_files(&self) -> anyhow::Result<()> {
        let Some(aside) = &self.aside else {
            return Ok(());
        };
        fs::remove_dir_all(aside).with_context(|| format!("delete {}", aside.display()))
    }
}

/// Gives the directory of a job another name, under which it is no job any more. That takes no time, however large it is,
/// and no room on the disk. None where there is no such directory.
pub(super) fn set_aside(directory: &Path) -> anyhow::Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        anyhow::bail!("{} is no directory of a job", directory.display());
    };
    let aside: PathBuf = parent.join(format!(
        "{REMOVED_PREFIX}{}-{}",
        name.to_string_lossy(),
        uuid::Uuid::new_v4()
    ));
    match fs::rename(directory, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("remove {}", directory.display())),
    }
    // It has its other name already. A loss of power may give it the old one back, and the job with it.
    if let Err(error) = sync_directory(parent) {
        warn!(directory = %parent.display(), %error, "cannot sync the removal of a job");
    }
    Ok(Some(aside))
}
