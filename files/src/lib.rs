//! Files and directories that appear whole or not at all, and that are on the disk when the call returns.
//!
//! Every process of this project keeps something that a crash must not leave half written: a job, a checkpoint, an
//! exported model, a port file. All of them follow the same four steps, which stand here once:
//!
//! 1. write beside the target, under the name `.NAME.part`;
//! 2. sync what was written;
//! 3. rename it onto the target, so that a reader sees the old content or the new one;
//! 4. sync the directory, so that the rename survives a loss of power.
//!
//! | to write | use |
//! |---|---|
//! | bytes that are in memory | [`write_durably`] |
//! | a file that is written piece by piece | [`write_durably_with`] |
//! | a directory with everything in it | [`replace_directory`] |
//! | a rename of one's own | [`sync_directory`] after it |
//!
//! A call that fails leaves the target as it was and removes what it wrote. A crash can leave one `.NAME.part` behind;
//! the next write of the same target overwrites it. That is why the name is fixed, and why the crates that pick a
//! random one (`tempfile`, `atomic-write-file`) are not used here: their leftovers are never found again, and those of
//! a model's export have gigabytes. The price is that a target may have only one writer at a time.
#![forbid(unsafe_code)]

mod directory;
mod file;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

pub use directory::{replace_directory, sync_directory};
pub use file::{write_durably, write_durably_with};

/// The end of the name of everything that is still being written. Whoever lists a directory may remove what ends so.
pub const PART_SUFFIX: &str = ".part";

/// The disk did not take a file or directory. The target is as it was.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    /// What was to be written.
    pub path: PathBuf,
    /// What the operating system says.
    pub source: io::Error,
}

impl WriteError {
    fn new(path: &Path, source: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            source,
        }
    }
}

/// `.NAME.part` beside the target, on the same file system, hidden from whoever lists complete files.
fn part_path(target: &Path) -> Result<PathBuf, WriteError> {
    let Some(name) = target.file_name() else {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "the path does not end with a name");
        return Err(WriteError::new(target, source));
    };
    let mut part = OsString::from(".");
    part.push(name);
    part.push(PART_SUFFIX);
    Ok(target.with_file_name(part))
}

/// The directory that a path's last name stands in.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
