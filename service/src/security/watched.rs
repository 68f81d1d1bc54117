//! A value that is read from a file or several, and read again when one of them changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::{error, info};

use super::pem_files::read;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How long a caller waits for a look at the files. A file system that hangs must not hold up calls that can do without.
const LONGEST_LOOK: Duration = Duration::from_secs(3);

/// Makes the value from the bytes of the files, in their order, or says in a sentence why it cannot. The sentence goes
/// into the log.
type Parse<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync>;

/// The current value of some files. Files that have become unreadable or wrong leave the value as it was, and the log
/// says so once. Clones share the value.
pub struct Watched<T>(Arc<Files<T>>);

struct Files<T> {
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    value: RwLock<Arc<T>>,
    looked: Arc<Mutex<Looked>>,
}

/// What the looks at the files have come to.
struct Looked {
    /// What the value was made of.
    bytes: Vec<Vec<u8>>,
    /// How many of the regular looks in a row found something that cannot be used.
    times_wrong: u32,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Watched").field(&self.0.paths).finish()
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Holds the value that was made of a file's `bytes`, and watches the file for as long as any clone lives. Needs a
    /// runtime.
    pub(super) fn start(path: &Path, bytes: Vec<u8>, value: T, parse: fn(&[u8]) -> Result<T, String>) -> Self {
        let parse = move |files: &[Vec<u8>]| parse(files.first().map_or(&[][..], Vec::as_slice));
        Self::start_several(vec![path.to_owned()], vec![bytes], value, parse)
    }

    /// The same for a value that is made of several files: `parse` makes it of their bytes, in the order of the paths, or
    /// says in a sentence why it cannot.
    pub fn start_several(
        paths: Vec<PathBuf>,
        bytes: Vec<Vec<u8>>,
        value: T,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        let files = Arc::new(Files {
            paths,
            parse: Box::new(parse),
            value: RwLock::new(Arc::new(value)),
            looked: Arc::new(Mutex::new(Looked { bytes, times_wrong: 0 })),
        });
        let held = Arc::downgrade(&files);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let Some(files) = held.upgrade() else {
                    return;
                };
                files.look(true).await;
            }
        });
        Self(files)
    }

    /// The value now.
    pub fn get(&self) -> Arc<T> {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The value that the files have at this moment, and not up to a second ago.
    pub async fn fresh(&self) -> Arc<T> {
        // Where the look takes too long it goes on by itself, and the value of the last one has to do.
        let _ = tokio::time::timeout(LONGEST_LOOK, self.0.clone().look(false)).await;
        self.get()
    }
}

impl<T: Send + Sync + 'static> Files<T> {
    /// Looks at the files. What is wrong with them is said only by the regular looks: others come whenever somebody
    /// calls, also while one file of several has been replaced and the next has not.
    async fn look(self: Arc<Self>, is_regular: bool) {
        // One at a time, so that a file system that hangs takes one thread and not all.
        let looked = self.looked.clone().lock_owned().await;
        // It blocks a thread that may block, and not the runtime. A runtime that ends takes no more work.
        let _ = tokio::task::spawn_blocking(move || self.compare(looked, is_regular)).await;
    }

    fn compare(&self, mut looked: OwnedMutexGuard<Looked>, is_regular: bool) {
        let parsed = match read_all(&self.paths) {
            Ok(bytes) if bytes == looked.bytes => {
                looked.times_wrong = 0;
                return;
            }
            Ok(bytes) => (self.parse)(&bytes).map(|value| (bytes, value)),
            Err(problem) => Err(problem),
        };
        match parsed {
            Ok((bytes, value)) => {
                *looked = Looked { bytes, times_wrong: 0 };
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                info!(file = self.names(), "read again");
            }
            Err(problem) if is_regular => {
                looked.times_wrong = looked.times_wrong.saturating_add(1);
                // Of several files one is replaced after the other, so that they need not fit each other for a moment.
                let said_at = if self.paths.len() > 1 { 2 } else { 1 };
                if looked.times_wrong == said_at {
                    error!(
                        file = self.names(),
                        problem, "cannot be used; what it said before still holds"
                    );
                }
            }
            Err(_) => {}
        }
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        names.join(", ")
    }
}

/// The bytes of some small files, in their order.
///
/// # Errors
/// A sentence that names the file that cannot be read.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let of = |path: &PathBuf| read(path).map_err(|problem| format!("{}: {problem}", path.display()));
    paths.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_for_it_gets_what_the_file_says_at_this_moment() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let parse = |bytes: &[u8]| match bytes {
            b"bad" => Err("it is bad".to_owned()),
            other => Ok(other.to_vec()),
        };
        let watched = Watched::start(&path, b"one".to_vec(), b"one".to_vec(), parse);
        for (written, expected) in [("two", "two"), ("bad", "two"), ("three", "three")] {
            std::fs::write(&path, written).expect("written");
            assert_eq!(watched.fresh().await.as_slice(), expected.as_bytes());
        }
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(watched.fresh().await.as_slice(), b"three");
        assert_eq!(watched.get().as_slice(), b"three");
    }

    #[tokio::test]
    async fn nobody_watches_once_nobody_holds_the_value() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "one").expect("written");
        let watched = Watched::start(&path, b"one".to_vec(), (), |_| Ok(()));
        let files = Arc::downgrade(&watched.0);
        drop(watched);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while files.strong_count() > 0 {
            assert!(tokio::time::Instant::now() < deadline, "somebody still holds it");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
