//! One file.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use crate::directory::sync_directory;
use crate::part::{WriteError, lock_directory, parent_of, part_path};

/// Writes bytes to a file, which has the old content or all of the new one at every moment, and syncs it.
///
/// # Errors
/// [`WriteError`] if the disk refuses; the old file is still there then.
pub fn write_durably(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), WriteError> {
    write_durably_with(path, |writer| {
        writer
            .write_all(bytes.as_ref())
            .map_err(|source| WriteError::new(path, source))
    })
}

/// As [`write_durably`], for content that `write` produces piece by piece. The writer is buffered and is flushed after
/// `write` has returned.
///
/// # Errors
/// The error of `write`, or [`WriteError`] if the disk refuses; the old file is still there then.
pub fn write_durably_with<E: From<WriteError>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    let part = part_path(path)?;
    let refused = |source| WriteError::new(path, source);
    let _lock = lock_directory(parent_of(path)).map_err(refused)?;
    let write_part = || -> Result<(), E> {
        let mut writer = BufWriter::new(File::create(&part).map_err(refused)?);
        write(&mut writer)?;
        let file = writer.into_inner().map_err(|error| refused(error.into_error()))?;
        file.sync_all().map_err(refused)?;
        fs::rename(&part, path).map_err(refused)?;
        Ok(())
    };
    let written = write_part();
    if written.is_err() {
        // Where this fails too, the first error is the one to report, and the next write overwrites the part.
        let _ = fs::remove_file(&part);
    }
    written?;
    Ok(sync_directory(parent_of(path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        write_durably(&path, "old").unwrap();
        write_durably(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["state.json"]);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        write_durably(&path, "old").unwrap();
        let error = write_durably_with(&path, |writer| {
            writer.write_all(b"half of the new").unwrap();
            Err(WriteError::new(
                Path::new("source"),
                std::io::Error::other("the source broke off"),
            ))
        });
        assert_eq!(error.unwrap_err().path, Path::new("source"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(directory.path()), ["state.json"]);
    }

    #[test]
    fn a_rename_that_fails_leaves_nothing_either() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = write_durably(&path, "new").unwrap_err();
        assert_eq!(error.path, path);
        assert!(path.is_dir());
        assert_eq!(names(directory.path()), ["taken"]);
    }

    #[test]
    fn two_writers_of_one_file_do_not_mix() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let write = |byte: u8| {
            write_durably_with(&path, |writer| {
                for _ in 0..20 {
                    writer
                        .write_all(&[byte; 1000])
                        .and_then(|()| writer.flush())
                        .map_err(|source| WriteError::new(&path, source))?;
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Ok::<_, WriteError>(())
            })
        };
        std::thread::scope(|scope| {
            let writers = [b'a', b'b', b'c'].map(|byte| scope.spawn(move || write(byte)));
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
        let content = fs::read(&path).unwrap();
        assert_eq!(content, vec![content[0]; 20_000]);
        assert_eq!(names(directory.path()), ["state.json"]);
    }

    #[test]
    fn what_a_crash_left_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        fs::write(
            directory.path().join(".state.json.part"),
            "a long rest of an earlier process",
        )
        .unwrap();
        write_durably(&path, "new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["state.json"]);
    }

    #[test]
    fn an_error_names_the_target() {
        let error = write_durably(Path::new("/nowhere/at/all"), "").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nowhere/at/all");
        assert!(write_durably(Path::new("/"), "").is_err());
    }
}
