//! How far a download is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Files that are there.
    pub files: u64,
    /// All files.
    pub all_files: u64,
    /// Bytes that are there.
    pub bytes: u64,
    /// All bytes.
    pub all_bytes: u64,
    /// Bytes that were fetched in this time.
    pub fetched: u64,
    /// Since it began.
    pub time: Duration,
}

/// Counts what is there.
pub(crate) struct Counter {
    began: Instant,
    all_files: u64,
    all_bytes: u64,
    files: AtomicU64,
    bytes: AtomicU64,
    fetched: AtomicU64,
}

impl Counter {
    pub(crate) fn new(all_files: u64, all_bytes: u64) -> Self {
        Self {
            began: Instant::now(),
            all_files,
            all_bytes,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
        }
    }

    /// Bytes that were on the disk already.
    pub(crate) fn found(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that came over the network.
    pub(crate) fn fetched(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that have to come again.
    pub(crate) fn lost(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn file_is_there(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            files: self.files.load(Ordering::Relaxed),
            all_files: self.all_files,
            bytes: self.bytes.load(Ordering::Relaxed),
            all_bytes: self.all_bytes,
            fetched: self.fetched.load(Ordering::Relaxed),
            time: self.began.elapsed(),
        }
    }
}

/// Bytes as people read them, by thousands as the hub's pages have them.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    for (unit, name) in [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")] {
        if bytes >= unit {
            return format!("{:.1} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

impl std::fmt::Display for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} of {} files, {} of {}",
            self.files,
            self.all_files,
            size(self.bytes),
            size(self.all_bytes)
        )?;
        let seconds = self.time.as_secs_f64();
        if self.fetched > 0 && seconds > 0.0 {
            write!(formatter, ", {} a second", size((self.fetched as f64 / seconds) as u64))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_sentence() {
        let counter = Counter::new(3, 2_500_000);
        counter.found(1_000_000);
        counter.file_is_there();
        assert_eq!(counter.progress().to_string(), "1 of 3 files, 1.0 MB of 2.5 MB");
        counter.fetched(500);
        counter.lost(1_000_000);
        let said = counter.progress().to_string();
        assert!(said.starts_with("1 of 3 files, 500 bytes of 2.5 MB, "), "{said}");
    }
}
