//! What the file systems say. One over the network may not answer for ever: then that is said, and no more than one thread
//! waits for it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anytime_proto::v1::{CheckpointStanding, DiskStanding};
use tokio::sync::Semaphore;

use crate::jobs::disk::room;
use crate::jobs::standing::checkpoints_of;
use crate::outputs::Places;

/// How long the disks are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Default)]
pub(super) struct OnDisk {
    /// The file systems, each once.
    pub(super) disks: Vec<DiskStanding>,
    /// The recovery checkpoints of each job, in the order of the question.
    pub(super) checkpoints: Vec<Vec<CheckpointStanding>>,
}

/// Asks the file systems of the learner's directories.
pub(super) struct Disks {
    places: Places,
    turn: Arc<Semaphore>,
}

impl Disks {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// How much room there is, and which checkpoints lie in these directories of jobs.
    pub(super) async fn look(&self, jobs: Vec<PathBuf>) -> OnDisk {
        let (places, turn) = (self.places.clone(), self.turn.clone());
        let look = async move {
            let turn = turn.acquire_owned().await.ok()?;
            let work = move || {
                let _turn = turn;
                OnDisk {
                    disks: rooms(&places),
                    checkpoints: jobs.iter().map(|job| checkpoints_of(job)).collect(),
                }
            };
            tokio::task::spawn_blocking(work).await.ok()
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(Some(found)) => found,
            Ok(None) | Err(_) => OnDisk {
                disks: vec![DiskStanding {
                    problem: format!("the file system has not answered for {} s", PATIENCE.as_secs()),
                    ..standing("runs", &self.places.runs_directory)
                }],
                checkpoints: Vec::new(),
            },
        }
    }
}

fn rooms(places: &Places) -> Vec<DiskStanding> {
    let own = [("runs", &places.runs_directory), ("root", &places.root)];
    let outputs = places.output_roots.iter().map(|output| ("output", output));
    let mut seen = BTreeSet::new();
    let mut disks = Vec::new();
    for (what, directory) in own.into_iter().chain(outputs) {
        let device = std::fs::metadata(directory).map(|metadata| metadata.dev());
        // One that cannot be looked at is told each time, with the reason.
        if device.is_ok_and(|device| !seen.insert(device)) {
            continue;
        }
        disks.push(match room(directory) {
            Ok([(_, free), (_, total)]) => DiskStanding {
                free,
                total,
                ..standing(what, directory)
            },
            Err(error) => DiskStanding {
                problem: error.to_string(),
                ..standing(what, directory)
            },
        });
    }
    disks
}

fn standing(what: &str, directory: &Path) -> DiskStanding {
    DiskStanding {
        what: what.to_owned(),
        directory: directory.display().to_string(),
        ..DiskStanding::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_system_is_told_once_and_one_that_is_gone_with_the_reason() {
        let directory = tempfile::tempdir().expect("a directory");
        let gone = directory.path().join("gone");
        let places = Places {
            root: directory.path().to_owned(),
            runs_directory: directory.path().to_owned(),
            output_roots: vec![directory.path().to_owned(), gone],
        };
        let disks = rooms(&places);
        let told: Vec<(&str, bool)> = disks
            .iter()
            .map(|disk| (disk.what.as_str(), disk.problem.is_empty()))
            .collect();
        assert_eq!(told, [("runs", true), ("output", false)], "{disks:?}");
        assert!(disks[0].free <= disks[0].total && disks[0].total > 0);
    }

    #[tokio::test]
    async fn a_file_system_that_does_not_answer_holds_nobody_up() {
        let disks = Disks::new(Places::default());
        let hung = disks.turn.clone().acquire_owned().await.expect("it is free");
        let found = disks.look(vec![PathBuf::from("nowhere")]).await;
        assert!(found.disks[0].problem.contains("not answered"), "{:?}", found.disks);
        drop(hung);
    }
}
