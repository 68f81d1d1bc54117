//! Writes to standard output without a panic when its reader goes away, and writes files that appear whole or not at
//! all.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use anytime_service::exit::ExitError;
use serde::Serialize;

/// Writes one line to standard output. Unlike `println!` it does not panic when nobody reads any more.
///
/// # Errors
/// If standard output cannot be written; `main` forgives a broken pipe.
pub fn print_line(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()?;
    Ok(())
}

/// Writes a value as one JSON document to standard output.
///
/// # Errors
/// If standard output cannot be written.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_line(&serde_json::to_string_pretty(value)?)
}

/// Writes a file, so that a reader never sees half of it.
///
/// # Errors
/// If the file cannot be written, with its path.
pub fn write_whole(path: &Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    Ok(anytime_files::write_durably(path, content)?)
}

/// Locks a directory for one process through the file `name` in it; dropping the file unlocks it. `user` is what the
/// message calls whoever else holds the lock.
///
/// # Errors
/// [`ExitError`] with the configuration code if another process holds it, else what the file system refused.
pub(crate) fn lock_directory(directory: &Path, name: &str, user: &str) -> anyhow::Result<File> {
    let path = directory.join(name);
    let file = File::create(&path).with_context(|| format!("lock {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("--out {}: another {user} is using this directory", directory.display());
            Err(ExitError::configuration(message).into())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

/// Makes a directory and its parents.
///
/// # Errors
/// If that fails, with the path.
pub fn make_directory(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("make directory {}", path.display()))
}
