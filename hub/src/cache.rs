//! The cache in the layout of `huggingface_hub`:
//!
//! ```text
//! models--OWNER--NAME/blobs/CHECKSUM               the content; CHECKSUM.incomplete while it is fetched
//! models--OWNER--NAME/snapshots/COMMIT/PATH        a link to its blob
//! models--OWNER--NAME/refs/REVISION                the commit that a branch or tag was last
//! .locks/models--OWNER--NAME/CHECKSUM.lock         held by whoever fetches it
//! ```

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anytime_files::write_durably;
use nix::sys::statvfs::statvfs;

use crate::error::HubError;
use crate::listing::HubFile;
use crate::repository::{Repository, is_commit, is_hexadecimal};

/// Levels of directories that are looked into below a snapshot.
const DEEPEST: usize = 16;

/// How often a lock that another process holds is tried.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// The part of the cache that is one repository's.
pub(crate) struct Cached {
    cache: PathBuf,
    directory: PathBuf,
    locks: PathBuf,
}

impl Cached {
    pub(crate) fn new(cache: &Path, repository: &Repository) -> Self {
        let name = repository.directory();
        Self {
            cache: cache.to_owned(),
            directory: cache.join(&name),
            locks: cache.join(".locks").join(name),
        }
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.directory.join("snapshots").join(commit)
    }

    pub(crate) fn blob(&self, file: &HubFile) -> PathBuf {
        self.directory.join("blobs").join(&file.checksum)
    }

    /// The commit that a revision is, as far as the cache knows.
    pub(crate) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.directory.join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes which commit a branch or tag is.
    pub(crate) fn note(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.directory.join("refs").join(revision);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(HubError::disk(parent))?;
        }
        write_durably(&path, commit).map_err(|error| {
            let error = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            HubError::disk(&path)(std::io::Error::other(error))
        })
    }

    /// The files of a commit that the cache has, by their paths.
    pub(crate) fn files(&self, commit: &str) -> Vec<HubFile> {
        let root = self.snapshot(commit);
        let mut files = Vec::new();
        let mut directories = vec![(root.clone(), 0)];
        while let Some((directory, depth)) = directories.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                // Links are followed: a snapshot is made of them. One to nothing is no file.
                let Ok(metadata) = fs::metadata(&path) else {
                    continue;
                };
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    if depth < DEEPEST {
                        directories.push((path, depth + 1));
                    }
                    continue;
                }
                let inside = path.strip_prefix(&root).ok().and_then(Path::to_str);
                if let Some(inside) = inside.filter(|_| metadata.is_file()) {
                    files.push(HubFile {
                        path: inside.to_owned(),
                        bytes: metadata.len(),
                        checksum: checksum_of_link(&path).unwrap_or_default(),
                    });
                }
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files
    }

    /// Whether the commit's file is there, whole.
    pub(crate) fn has(&self, commit: &str, file: &HubFile) -> bool {
        let path = self.snapshot(commit).join(&file.path);
        let is_whole = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.bytes);
        // A snapshot that was copied without its links has no checksums; its sizes are right.
        is_whole && checksum_of_link(&path).is_none_or(|checksum| checksum == file.checksum)
    }

    /// Whether the content is there, whole.
    pub(crate) fn has_blob(&self, file: &HubFile) -> bool {
        let metadata = fs::metadata(self.blob(file));
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.bytes)
    }

    /// Bytes that an earlier try has left of a file.
    pub(crate) fn begun(&self, file: &HubFile) -> u64 {
        fs::metadata(self.incomplete(file)).map_or(0, |metadata| metadata.len().min(file.bytes))
    }

    pub(crate) fn incomplete(&self, file: &HubFile) -> PathBuf {
        self.directory
            .join("blobs")
            .join(format!("{}.incomplete", file.checksum))
    }

    /// Makes the directory of contents.
    pub(crate) fn prepare(&self) -> Result<(), HubError> {
        let blobs = self.directory.join("blobs");
        fs::create_dir_all(&blobs).map_err(HubError::disk(&blobs))
    }

    /// Bytes that are free where files are kept; none where the system does not say.
    pub(crate) fn free(&self) -> Option<u64> {
        let statistics = statvfs(&self.directory).ok()?;
        Some(statistics.blocks_available().saturating_mul(statistics.fragment_size()))
    }

    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Lets the commit's path lead to the content, whatever it led to before.
    pub(crate) fn link(&self, commit: &str, file: &HubFile) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(&file.path);
        let parent = path.parent().unwrap_or(&path);
        fs::create_dir_all(parent).map_err(HubError::disk(parent))?;
        let ups = "../".repeat(file.path.matches('/').count() + 2);
        let target = format!("{ups}blobs/{}", file.checksum);
        if fs::read_link(&path).is_ok_and(|there| there == Path::new(&target)) {
            return Ok(());
        }
        // Made aside and renamed, so that a reader finds the one or the other.
        let aside = parent.join(format!(".{}.{}.link", file.checksum, std::process::id()));
        let _ = fs::remove_file(&aside);
        symlink(&target, &aside).map_err(HubError::disk(&aside))?;
        fs::rename(&aside, &path).map_err(|source| {
            let _ = fs::remove_file(&aside);
            HubError::disk(&path)(source)
        })
    }

    /// The right to fetch a file, once nobody else has it. It goes with the returned file, and with the process.
    pub(crate) async fn lock(&self, file: &HubFile, most: Duration) -> Result<File, HubError> {
        fs::create_dir_all(&self.locks).map_err(HubError::disk(&self.locks))?;
        let path = self.locks.join(format!("{}.lock", file.checksum));
        let since = Instant::now();
        loop {
            // Opened anew each time: whoever had it may have removed it. Its group may write, as with Python, because a cache
            // may belong to several users.
            let lock = File::options().create(true).append(true).mode(0o664).open(&path);
            let lock = lock.map_err(HubError::disk(&path))?;
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if since.elapsed() < most => tokio::time::sleep(TRY_EVERY).await,
                Err(TryLockError::WouldBlock) => {
                    let waited = since.elapsed();
                    return Err(HubError::Locked { path, waited });
                }
                Err(TryLockError::Error(source)) => return Err(HubError::disk(&path)(source)),
            }
        }
    }
}

/// The name of the blob that a link leads to.
fn checksum_of_link(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    let name = target.file_name()?.to_str()?;
    (matches!(name.len(), 40 | 64) && is_hexadecimal(name)).then(|| name.to_owned())
}
