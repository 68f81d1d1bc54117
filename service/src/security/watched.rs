//! A value that is read from a file, and read again when the file changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tracing::{error, info};

use super::pem_files::read;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Makes the value from a file's bytes, or says in a sentence why it cannot. The sentence goes into the log.
pub(super) type Parse<T> = fn(&[u8]) -> Result<T, String>;

/// The current value of a file. A file that has become unreadable or wrong leaves the value as it was, and the log says
/// so once. Clones share the value.
#[derive(Debug)]
pub(super) struct Watched<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Holds the value that was made of `bytes`, and watches the file for as long as any clone lives. Needs a runtime.
    pub(super) fn start(path: &Path, bytes: Vec<u8>, value: T, parse: Parse<T>) -> Self {
        let held = Arc::new(RwLock::new(Arc::new(value)));
        tokio::spawn(look(path.to_owned(), bytes, Arc::downgrade(&held), parse));
        Self(held)
    }

    /// The value now.
    pub(super) fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn look<T: Send + Sync>(path: PathBuf, mut known: Vec<u8>, held: Weak<RwLock<Arc<T>>>, parse: Parse<T>) {
    let mut is_wrong = false;
    loop {
        tokio::time::sleep(EVERY).await;
        if held.strong_count() == 0 {
            return;
        }
        let read_from = path.clone();
        // A file system that hangs blocks a thread that may block, and not the runtime.
        let Ok(outcome) = tokio::task::spawn_blocking(move || read(&read_from)).await else {
            return;
        };
        let parsed = match outcome {
            Ok(bytes) if bytes == known => {
                is_wrong = false;
                continue;
            }
            Ok(bytes) => parse(&bytes).map(|value| (bytes, value)),
            Err(problem) => Err(problem.to_string()),
        };
        match (parsed, held.upgrade()) {
            (_, None) => return,
            (Ok((bytes, value)), Some(held)) => {
                known = bytes;
                is_wrong = false;
                *held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                info!(file = %path.display(), "read again");
            }
            (Err(problem), Some(_)) if !is_wrong => {
                is_wrong = true;
                error!(file = %path.display(), problem, "cannot be used; what it said before still holds");
            }
            (Err(_), Some(_)) => {}
        }
    }
}
