//! How much room the disk of the runs directory has, as a metric.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anytime_service::metric_names::LEARNER_DISK;
use anytime_service::shutdown::sleep_unless_cancelled;
use metrics::gauge;
use nix::sys::statvfs::statvfs;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How often the disk is asked.
const INTERVAL: Duration = Duration::from_secs(10);

/// Asks the file system at intervals until the token is cancelled, on a thread that may block: a disk over the network may
/// not answer. Without an answer the metrics keep their last values.
pub async fn watch(runs_directory: PathBuf, shutdown: CancellationToken) {
    loop {
        let directory = runs_directory.clone();
        match tokio::task::spawn_blocking(move || room(&directory)).await {
            Ok(Ok(states)) => {
                for (state, bytes) in states {
                    gauge!(LEARNER_DISK, "state" => state).set(bytes as f64);
                }
            }
            Ok(Err(error)) => debug!(%error, "the file system of the runs directory does not say how full it is"),
            Err(_) => {}
        }
        if !sleep_unless_cancelled(INTERVAL, &shutdown).await {
            return;
        }
    }
}

/// Bytes by state. Free is what a user without privileges may still write.
pub(crate) fn room(directory: &Path) -> nix::Result<[(&'static str, u64); 2]> {
    let found = statvfs(directory)?;
    let block = found.fragment_size();
    Ok([
        ("free", found.blocks_available() * block),
        ("total", found.blocks() * block),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_room_on_its_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        let [(_, free), (_, total)] = room(directory.path()).expect("an answer");
        assert!(free <= total && total > 0, "{free} of {total}");
        assert!(room(&directory.path().join("nowhere")).is_err());
    }
}
