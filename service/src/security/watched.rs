//! A value that is read from a file or several, and read again when one of them changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tracing::{error, info};

use super::pem_files::read;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Makes the value from the bytes of the files, in their order, or says in a sentence why it cannot. The sentence goes
/// into the log.
type Parse<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync>;

/// The current value of some files. Files that have become unreadable or wrong leave the value as it was, and the log
/// says so once. Clones share the value.
#[derive(Debug)]
pub(super) struct Watched<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Holds the value that was made of a file's `bytes`, and watches the file for as long as any clone lives. Needs a
    /// runtime.
    pub(super) fn start(path: &Path, bytes: Vec<u8>, value: T, parse: fn(&[u8]) -> Result<T, String>) -> Self {
        let parse = move |files: &[Vec<u8>]| parse(files.first().map_or(&[][..], Vec::as_slice));
        Self::start_several(vec![path.to_owned()], vec![bytes], value, parse)
    }

    /// The same for a value that is made of several files.
    pub(super) fn start_several(
        paths: Vec<PathBuf>,
        bytes: Vec<Vec<u8>>,
        value: T,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        let held = Arc::new(RwLock::new(Arc::new(value)));
        tokio::spawn(look(paths, bytes, Arc::downgrade(&held), Box::new(parse)));
        Self(held)
    }

    /// The value now.
    pub(super) fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn look<T: Send + Sync>(
    paths: Vec<PathBuf>,
    mut known: Vec<Vec<u8>>,
    held: Weak<RwLock<Arc<T>>>,
    parse: Parse<T>,
) {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let names = names.join(", ");
    // Of several files one is replaced after the other, so that they need not fit each other for a moment.
    let most_wrong = if paths.len() > 1 { 2 } else { 1 };
    let mut times_wrong = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        if held.strong_count() == 0 {
            return;
        }
        let read_from = paths.clone();
        // A file system that hangs blocks a thread that may block, and not the runtime.
        let Ok(outcome) = tokio::task::spawn_blocking(move || read_all(&read_from)).await else {
            return;
        };
        let parsed = match outcome {
            Ok(bytes) if bytes == known => {
                times_wrong = 0;
                continue;
            }
            Ok(bytes) => parse(&bytes).map(|value| (bytes, value)),
            Err(problem) => Err(problem),
        };
        match (parsed, held.upgrade()) {
            (_, None) => return,
            (Ok((bytes, value)), Some(held)) => {
                known = bytes;
                times_wrong = 0;
                *held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                info!(file = names, "read again");
            }
            (Err(problem), Some(_)) => {
                times_wrong += 1;
                if times_wrong == most_wrong {
                    error!(file = names, problem, "cannot be used; what it said before still holds");
                }
            }
        }
    }
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let of = |path: &PathBuf| read(path).map_err(|problem| format!("{}: {problem}", path.display()));
    paths.iter().map(of).collect()
}
