//! A directory that may become a job's.

use std::path::{Path, PathBuf};

/// A directory that may become that of a job. It is removed where it does not, in the end by the next start.
#[derive(Debug)]
pub struct Staged(PathBuf);

impl Staged {
    /// The directory at this path, which need not exist yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Once it has become a job's, there is nothing of this name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
