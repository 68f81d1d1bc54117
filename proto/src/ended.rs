//! Which training groups have ended, as a recovery checkpoint keeps it: those that its weights have learnt from, and
//! those that were left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::v1;

/// The training groups that have ended, by their sequence numbers. All below a watermark have; only those above it are
/// kept one by one, so that its size does not grow with the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndedGroups {
    /// Every group with a lower sequence number has ended.
    pub consumed_below: u64,
    /// Trained groups at or above `consumed_below`.
    pub consumed: BTreeSet<u64>,
    /// How many groups below `consumed_below` were left out and not trained.
    #[serde(default)]
    pub left_out_below: u64,
    /// Groups at or above `consumed_below` that were left out.
    #[serde(default)]
    pub left_out: BTreeSet<u64>,
    /// Groups below `consumed_below` that were left out and have not ended after all: they were replayed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub replayed: BTreeSet<u64>,
}

impl EndedGroups {
    /// Notes groups that were trained, and groups that were left out. One that has ended before stays as it was.
    pub fn finish(&mut self, trained: impl IntoIterator<Item = u64>, left_out: impl IntoIterator<Item = u64>) {
        for sequence in trained {
            if !self.replayed.remove(&sequence) && !self.holds(sequence) {
                self.consumed.insert(sequence);
            }
        }
        for sequence in left_out {
            if self.replayed.remove(&sequence) {
                self.left_out_below += 1;
            } else if !self.holds(sequence) {
                self.left_out.insert(sequence);
            }
        }
        loop {
            if self.left_out.remove(&self.consumed_below) {
                self.left_out_below += 1;
            } else if !self.consumed.remove(&self.consumed_below) {
                break;
            }
            self.consumed_below += 1;
        }
    }

    /// Notes groups that were left out and are to be trained after all. The caller knows that they were left out.
    pub fn replay(&mut self, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            if !self.left_out.remove(&sequence) && sequence < self.consumed_below && self.replayed.insert(sequence) {
                self.left_out_below = self.left_out_below.saturating_sub(1);
            }
        }
    }

    /// Whether a group has ended.
    pub fn holds(&self, sequence: u64) -> bool {
        let is_below = sequence < self.consumed_below && !self.replayed.contains(&sequence);
        is_below || self.consumed.contains(&sequence) || self.left_out.contains(&sequence)
    }

    /// How many groups were trained.
    pub fn trained(&self) -> u64 {
        self.trained_below() + self.consumed.len() as u64
    }

    /// How many groups below `consumed_below` were trained.
    pub fn trained_below(&self) -> u64 {
        let not_trained = self.left_out_below + self.replayed.len() as u64;
        self.consumed_below.saturating_sub(not_trained)
    }
}

/// What a recovery checkpoint says of itself, for an audit: a part of its `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointAccount {
    /// Finished steps.
    pub step: u64,
    /// The groups that have ended.
    #[serde(flatten)]
    pub ended: EndedGroups,
    /// The checksum of its weights' manifest; empty in checkpoints of earlier versions.
    #[serde(default)]
    pub weights_checksum: String,
}

/// The form that goes over the wire.
impl From<Result<CheckpointAccount, String>> for v1::CheckpointAccount {
    fn from(account: Result<CheckpointAccount, String>) -> Self {
        match account {
            Ok(CheckpointAccount {
                step,
                ended,
                weights_checksum,
            }) => Self {
                step,
                ended_below: ended.consumed_below,
                left_out_below: ended.left_out_below,
                trained: ended.consumed.into_iter().collect(),
                left_out: ended.left_out.into_iter().collect(),
                weights_checksum,
                problem: String::new(),
                replayed: ended.replayed.into_iter().collect(),
            },
            Err(problem) => Self {
                problem,
                ..Self::default()
            },
        }
    }
}

/// How often a directory is listed again because a checkpoint went while it was read.
const LISTINGS: usize = 4;

/// The accounts of all recovery checkpoints of a job's directory, by step. One that cannot be read gives the reason; one
/// that a running job removes meanwhile is none.
///
/// # Errors
/// If the directory is there and cannot be listed.
pub fn checkpoint_accounts(job_directory: &Path) -> std::io::Result<Vec<Result<CheckpointAccount, String>>> {
    let recovery = job_directory.join("recovery");
    let mut accounts = Vec::new();
    for _ in 0..LISTINGS {
        let mut has_lost = false;
        accounts.clear();
        for directory in checkpoints(&recovery)? {
            let account = read_account(&directory.join("state.json"));
            // Its name goes before its files.
            if account.is_err() && !directory.try_exists()? {
                has_lost = true;
            } else {
                accounts.push(account);
            }
        }
        if !has_lost {
            break;
        }
    }
    Ok(accounts)
}

/// The directories of the checkpoints, by step.
fn checkpoints(recovery: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut steps = Vec::new();
    if recovery.is_dir() {
        for entry in fs::read_dir(recovery)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let step = name.strip_prefix("step-").and_then(|digits| digits.parse::<u64>().ok());
            steps.extend(step.map(|step| (step, path.clone())));
        }
    }
    steps.sort();
    Ok(steps.into_iter().map(|(_, path)| path).collect())
}

fn read_account(path: &Path) -> Result<CheckpointAccount, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_groups_close_up_to_a_watermark() {
        let mut ended = EndedGroups::default();
        ended.finish([1, 2, 5], []);
        assert_eq!((ended.consumed_below, ended.trained()), (0, 3));
        // A group that was left out does not hold the watermark up.
        ended.finish([], [0]);
        assert_eq!((ended.consumed_below, ended.left_out_below, ended.trained()), (3, 1, 3));
        assert_eq!(ended.consumed, BTreeSet::from([5]));
        assert!(ended.holds(0) && ended.holds(5) && !ended.holds(3));
        ended.finish([3], [4, 7]);
        assert_eq!((ended.consumed_below, ended.left_out_below, ended.trained()), (6, 2, 4));
        assert_eq!(ended.left_out, BTreeSet::from([7]));
        // Said again, nothing changes.
        let before = ended.clone();
        ended.finish([5, 1], [0, 7, 3]);
        assert_eq!(ended, before);
    }

    #[test]
    fn a_replayed_group_is_open_until_it_ends_again() {
        let mut ended = EndedGroups::default();
        ended.finish([0, 2, 3, 6], [1, 5]);
        assert_eq!((ended.consumed_below, ended.trained()), (4, 4));
        ended.replay([1, 5]);
        assert!(!ended.holds(1) && !ended.holds(5) && ended.holds(2));
        assert_eq!(
            (ended.left_out_below, ended.trained_below(), ended.trained()),
            (0, 3, 4)
        );
        // Said twice, nothing changes.
        let before = ended.clone();
        ended.replay([1, 5]);
        assert_eq!(ended, before);
        let text = serde_json::to_string(&ended).expect("plain data");
        assert_eq!(serde_json::from_str::<EndedGroups>(&text).expect("its own form"), ended);

        ended.finish([1], []);
        assert!(ended.holds(1));
        assert_eq!((ended.trained_below(), ended.trained()), (4, 5));
        ended.finish([4], [5]);
        assert_eq!((ended.consumed_below, ended.left_out_below, ended.trained()), (7, 1, 6));
        // It may be left out, replayed and left out again.
        ended.replay([5]);
        ended.finish([], [5]);
        assert_eq!((ended.consumed_below, ended.left_out_below, ended.trained()), (7, 1, 6));
        assert!(ended.replayed.is_empty());
    }

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let text = r#"{"step": 2, "updates": 4, "consumed_below": 8, "consumed": [9]}"#;
        let account: CheckpointAccount = serde_json::from_str(text).expect("valid");
        assert_eq!((account.step, account.ended.trained()), (2, 9));
    }
}
