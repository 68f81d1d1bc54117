//! The name under which a target is written until it is complete, and the error of all writes.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The end of the name of everything that is still being written. Whoever lists a directory may remove what has this
/// ending.
pub const PART_SUFFIX: &str = ".part";

/// The disk did not take a file or directory. What was at the path before is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    /// What was to be written.
    pub path: PathBuf,
    /// What the operating system says.
    pub source: io::Error,
}

impl WriteError {
    pub(crate) fn new(path: &Path, source: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            source,
        }
    }
}

/// `.NAME.part` beside the target, on the same file system, hidden from whoever lists complete files.
pub(crate) fn part_path(target: &Path) -> Result<PathBuf, WriteError> {
    let Some(name) = target.file_name() else {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "the path does not end with a name");
        return Err(WriteError::new(target, source));
    };
    let mut part = OsString::from(".");
    part.push(name);
    part.push(PART_SUFFIX);
    Ok(target.with_file_name(part))
}

/// The directory that holds a path's last name.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Waits until no other thread or process writes in this directory, and keeps them out as long as the result lives. Two
/// writers of one target would mix their bytes in one part. A file system without locks (NFS) has none to give: there a
/// target may have one writer only.
pub(crate) fn lock_directory(directory: &Path) -> io::Result<File> {
    let opened = File::open(directory)?;
    let _ = opened.lock();
    Ok(opened)
}
