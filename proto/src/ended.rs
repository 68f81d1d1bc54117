//! Which training groups have ended, as a recovery checkpoint keeps it: those that its weights have learnt from, and
//! those that were left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
}

impl EndedGroups {
    /// Notes groups that were trained, and groups that were left out. One that has ended before stays as it was.
    pub fn finish(&mut self, trained: impl IntoIterator<Item = u64>, left_out: impl IntoIterator<Item = u64>) {
        for sequence in trained {
            if !self.holds(sequence) {
                self.consumed.insert(sequence);
            }
        }
        for sequence in left_out {
            if !self.holds(sequence) {
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

    /// Whether a group has ended.
    pub fn holds(&self, sequence: u64) -> bool {
        sequence < self.consumed_below || self.consumed.contains(&sequence) || self.left_out.contains(&sequence)
    }

    /// How many groups were trained.
    pub fn trained(&self) -> u64 {
        self.consumed_below.saturating_sub(self.left_out_below) + self.consumed.len() as u64
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

/// As it goes over the wire.
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
            },
            Err(problem) => Self {
                problem,
                ..Self::default()
            },
        }
    }
}

/// The accounts of all recovery checkpoints of a job's directory, by step. One that cannot be read gives the reason.
///
/// # Errors
/// If the directory is there and cannot be listed.
pub fn checkpoint_accounts(job_directory: &Path) -> std::io::Result<Vec<Result<CheckpointAccount, String>>> {
    let recovery = job_directory.join("recovery");
    let mut steps = Vec::new();
    if recovery.is_dir() {
        for entry in fs::read_dir(&recovery)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let step = name.strip_prefix("step-").and_then(|digits| digits.parse::<u64>().ok());
            steps.extend(step.map(|step| (step, path.join("state.json"))));
        }
    }
    steps.sort();
    let read = |(_, path): (u64, std::path::PathBuf)| {
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    };
    Ok(steps.into_iter().map(read).collect())
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
    fn what_earlier_versions_wrote_is_read() {
        let text = r#"{"step": 2, "updates": 4, "consumed_below": 8, "consumed": [9]}"#;
        let account: CheckpointAccount = serde_json::from_str(text).expect("valid");
        assert_eq!((account.step, account.ended.trained()), (2, 9));
    }
}
