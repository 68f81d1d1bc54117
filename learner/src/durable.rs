//! Files that survive a crash and a power failure.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

/// Replaces the file with these bytes: they are written beside it, synced and renamed, so that a reader finds the old
/// contents or the new ones and nothing in between.
///
/// # Errors
/// If the disk refuses; the old contents are then still there.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let aside = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    };
    write().with_context(|| format!("write {}", path.display()))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes renames in a directory durable.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn sync_directory(directory: &Path) -> anyhow::Result<()> {
    let sync = || File::open(directory)?.sync_all();
    sync().with_context(|| format!("sync {}", directory.display()))
}
