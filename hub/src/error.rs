//! Why something could not be fetched, in one sentence for whoever named it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A variable of the environment that cannot work.
    #[error("{name} {reason}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it must be. It has no value of a token.
        reason: String,
    },
    /// The hub does not answer, or not any more.
    #[error("{host} cannot be reached ({reason}){hint}")]
    Unreachable {
        /// Scheme, name and port.
        host: String,
        /// What happened.
        reason: String,
        /// What else can be done.
        hint: &'static str,
    },
    /// `HF_HUB_OFFLINE` is set, and the cache does not have it.
    #[error("HF_HUB_OFFLINE is set, and the cache {} has not {what}", cache.display())]
    Offline {
        /// The cache.
        cache: PathBuf,
        /// What is missing.
        what: String,
    },
    /// The hub has no such repository, revision or file, or none that the caller may see.
    #[error("{host} has not {what}{hint}")]
    NotFound {
        /// Scheme, name and port.
        host: String,
        /// What is missing.
        what: String,
        /// Whether a token might help.
        hint: &'static str,
    },
    /// The hub keeps it from this caller.
    #[error("{host} does not give {what} to {caller}: {advice}")]
    Refused {
        /// Scheme, name and port.
        host: String,
        /// What is asked for.
        what: String,
        /// `a caller without a token`, or with one.
        caller: &'static str,
        /// What to do about it.
        advice: String,
    },
    /// Too many requests, for longer than is worth waiting.
    #[error("{host} takes no more requests for now (429){}", wait(*.pause))]
    TooMany {
        /// Scheme, name and port.
        host: String,
        /// For how long, where it says so.
        pause: Option<Duration>,
    },
    /// An answer that nobody expects of a hub.
    #[error("{host} answers what a hub does not: {reason}")]
    Strange {
        /// Scheme, name and port.
        host: String,
        /// What is strange.
        reason: String,
    },
    /// A file that is not what the listing says, also when it is fetched a second time.
    #[error("{path} is not what {host} lists: {reason}")]
    Checksum {
        /// Scheme, name and port.
        host: String,
        /// The file.
        path: String,
        /// Both checksums, or both sizes.
        reason: String,
    },
    /// There is not enough room for what is to be fetched.
    #[error(
        "{} has {available} free and {needed} are to be fetched: No space left on device",
        directory.display()
    )]
    NoRoom {
        /// The cache.
        directory: PathBuf,
        /// What there is, for people.
        available: String,
        /// What it takes, for people.
        needed: String,
    },
    /// The disk refuses.
    #[error("cannot write {} ({source})", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has been fetching the same file for too long.
    #[error("another process has fetched {} for {} s, as its lock says", path.display(), waited.as_secs())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The caller's own reason why the files do not serve.
    #[error("{0}")]
    Unfit(String),
    /// The caller has said that it is to stop.
    #[error("stopped")]
    Stopped,
}

impl HubError {
    pub(crate) fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { path, source }
    }

    /// Whether the same may succeed later, without anybody doing anything about it.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TooMany { .. }
                | Self::NoRoom { .. }
                | Self::Disk { .. }
                | Self::Locked { .. }
        )
    }
}

fn wait(pause: Option<Duration>) -> String {
    match pause {
        Some(pause) => format!("; it asks to wait {} s", pause.as_secs()),
        None => String::new(),
    }
}
