//! A directory with everything in it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::part::{WriteError, lock_directory, parent_of, part_path};

/// Makes renames within a directory durable.
///
/// # Errors
/// [`WriteError`] if the directory cannot be opened or synced.
pub fn sync_directory(path: &Path) -> Result<(), WriteError> {
    sync(path).map_err(|source| WriteError::new(path, source))
}

/// Replaces the directory at `path` by a new one, which `fill` is given empty and fills. Parents are made
/// where they are missing.
///
/// All files are synced before the directory takes its place. A directory that was there is swapped with it in one step
/// where the file system can do that (Linux); elsewhere it is moved aside for an instant.
///
/// # Errors
/// The error of `fill`, or [`WriteError`] if the disk refuses; what was at `path` is still there then.
pub fn replace_directory<E: From<WriteError>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let part = part_path(path)?;
    let refused = |source| WriteError::new(path, source);
    fs::create_dir_all(parent_of(path)).map_err(refused)?;
    let _lock = lock_directory(parent_of(path)).map_err(refused)?;
    // Left there by a crash.
    remove(&part).map_err(refused)?;
    let make = || -> Result<(), E> {
        fs::create_dir(&part).map_err(refused)?;
        fill(&part)?;
        sync_all(&part).map_err(refused)?;
        put_in_place(&part, path).map_err(refused)?;
        Ok(sync_directory(parent_of(path))?)
    };
    let made = make();
    // If the part is still there, it is the replaced directory or a failed attempt.
    let removed = remove(&part).map_err(refused);
    made?;
    Ok(removed?)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Syncs the files of a directory and of those in it, then the directory.
fn sync_all(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            sync(&entry.path())?;
        }
    }
    sync(directory)
}

/// Moves `part` to `path`. A directory that was at `path` is afterwards at `part`, or gone.
fn put_in_place(part: &Path, path: &Path) -> io::Result<()> {
    if !path.exists() {
        return fs::rename(part, path);
    }
    if exchange(part, path) {
        return Ok(());
    }
    let mut name = part.as_os_str().to_owned();
    name.push("-replaced");
    let replaced = Path::new(&name);
    remove(replaced)?;
    fs::rename(path, replaced)?;
    if let Err(error) = fs::rename(part, path) {
        // Back to how it was; where this fails too, the first error is still the one to report.
        let _ = fs::rename(replaced, path);
        return Err(error);
    }
    remove(replaced)
}

/// Exchanges two directories in one step; false where the system or the file system cannot.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> bool {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_one: &Path, _other: &Path) -> bool {
    false
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill_with(content: &str) -> impl FnOnce(&Path) -> Result<(), WriteError> {
        move |part| {
            fs::create_dir(part.join("inner")).unwrap();
            fs::write(part.join("inner/file"), content).unwrap();
            Ok(())
        }
    }

    fn content(path: &Path) -> String {
        fs::read_to_string(path.join("inner/file")).unwrap()
    }

    fn only_entry(parent: &Path) -> String {
        let names: Vec<_> = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(names.len(), 1);
        names[0].file_name().into_string().unwrap()
    }

    #[test]
    fn a_directory_is_made_and_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("models/tiny");
        replace_directory(&path, fill_with("old")).unwrap();
        assert_eq!(content(&path), "old");
        fs::write(path.join("only in the old one"), "").unwrap();
        replace_directory(&path, fill_with("new")).unwrap();
        assert_eq!(content(&path), "new");
        assert_eq!(only_entry(&path), "inner");
        assert_eq!(only_entry(&root.path().join("models")), "tiny");
    }

    #[test]
    fn an_attempt_that_fails_leaves_the_old_directory_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tiny");
        replace_directory(&path, fill_with("old")).unwrap();
        let failed = replace_directory(&path, |part| {
            fs::write(part.join("half"), "").unwrap();
            Err(WriteError::new(part, io::Error::other("the disk is full")))
        });
        assert!(failed.is_err());
        assert_eq!(content(&path), "old");
        assert_eq!(only_entry(root.path()), "tiny");
    }

    #[test]
    fn two_writers_of_one_directory_do_not_mix() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tiny");
        let write = |content: &'static str| {
            replace_directory(&path, |part| {
                for name in ["one", "two", "three"] {
                    fs::write(part.join(name), content).map_err(|source| WriteError::new(part, source))?;
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                Ok::<_, WriteError>(())
            })
        };
        std::thread::scope(|scope| {
            let writers = ["a", "b", "c"].map(|content| scope.spawn(move || write(content)));
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
        let content = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        assert_eq!(content("one"), content("two"));
        assert_eq!(content("one"), content("three"));
        assert_eq!(only_entry(root.path()), "tiny");
    }

    #[test]
    fn what_a_crash_left_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tiny");
        fs::create_dir(root.path().join(".tiny.part")).unwrap();
        fs::write(root.path().join(".tiny.part/rest"), "").unwrap();
        replace_directory(&path, fill_with("new")).unwrap();
        assert_eq!(only_entry(&path), "inner");
        assert_eq!(only_entry(root.path()), "tiny");
    }
}
