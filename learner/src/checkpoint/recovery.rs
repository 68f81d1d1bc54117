//! The recovery checkpoint: everything that a restarted learner needs to go on where it was.
//!
//! `recovery/step-NNNNNNNN/` under the job's directory holds `state.json`, `weights.safetensors` (f32 masters) and
//! `optimiser.safetensors`. It is written aside, synced and renamed; the previous one is removed after that. A crash
//! costs the work since the newest one: groups trained since then are still in the replay queue, unacknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_files::{PART_SUFFIX, replace_directory};
use anytime_policy::Weights;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor, no_grad};
use tracing::{info, warn};

use crate::train::Trainer;

const DIRECTORY: &str = "recovery";
const STATE_FILE: &str = "state.json";
const WEIGHTS_FILE: &str = "weights.safetensors";
const OPTIMISER_FILE: &str = "optimiser.safetensors";

/// The counters of a job. All randomness of the learner is a pure function of its seeds and these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecoveryState {
    /// Finished steps; also the weights version.
    pub step: u64,
    /// Optimiser updates.
    pub updates: u64,
    /// Every training group with a lower sequence number has been consumed.
    pub consumed_below: u64,
    /// Consumed groups at or above `consumed_below`.
    pub consumed: BTreeSet<u64>,
    /// The state of the objective; most objectives have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<serde_json::Value>,
    /// Accuracies of the starting weights by problem id, where the objective asks for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, f64>,
}

impl RecoveryState {
    /// Marks groups as consumed.
    pub fn consume(&mut self, sequences: impl IntoIterator<Item = u64>) {
        self.consumed.extend(sequences);
        while self.consumed.remove(&self.consumed_below) {
            self.consumed_below += 1;
        }
    }
}

/// A checkpoint that has been read.
pub struct Recovered {
    /// The job's counters.
    pub state: RecoveryState,
    /// f32 masters.
    pub weights: Weights,
    /// The tensors of the optimiser, as [`AdamW::state`](crate::train::AdamW::state) names them.
    pub optimiser: BTreeMap<String, Tensor>,
}

/// Writes a checkpoint of this state and removes older ones.
///
/// # Errors
/// If the disk does not take it; the previous checkpoint is still there then.
pub fn save(job_directory: &Path, state: &RecoveryState, trainer: &Trainer) -> anyhow::Result<()> {
    let parent = job_directory.join(DIRECTORY);
    let target = parent.join(format!("step-{:08}", state.step));
    let write = |part: &Path| -> anyhow::Result<()> {
        write_tensors(&part.join(WEIGHTS_FILE), trainer.masters().iter())?;
        let optimiser = trainer.optimiser().state();
        write_tensors(
            &part.join(OPTIMISER_FILE),
            optimiser.iter().map(|(name, tensor)| (name, tensor)),
        )?;
        Ok(fs::write(part.join(STATE_FILE), serde_json::to_vec_pretty(state)?)?)
    };
    replace_directory(&target, write).with_context(|| format!("recovery checkpoint {}", target.display()))?;
    for (step, directory) in list(&parent)? {
        if step != state.step {
            fs::remove_dir_all(&directory).with_context(|| format!("old checkpoint {}", directory.display()))?;
        }
    }
    Ok(())
}

/// The newest complete checkpoint of a job, with its weights on `device` and the optimiser's tensors; None where there
/// is none.
///
/// # Errors
/// A checkpoint that is there but cannot be read.
pub fn load_newest(job_directory: &Path, device: Device) -> anyhow::Result<Option<Recovered>> {
    let mut found = list(&job_directory.join(DIRECTORY))?;
    let Some((step, directory)) = found.pop() else {
        return Ok(None);
    };
    let read = || -> anyhow::Result<Recovered> {
        let state: RecoveryState = serde_json::from_slice(&fs::read(directory.join(STATE_FILE))?)?;
        let weights = read_tensors(&directory.join(WEIGHTS_FILE), device)?;
        let optimiser = read_tensors(&directory.join(OPTIMISER_FILE), device)?;
        Ok(Recovered {
            state,
            weights: weights.into_iter().collect(),
            optimiser: optimiser.into_iter().collect(),
        })
    };
    let checkpoint = read().with_context(|| format!("recovery checkpoint {}", directory.display()))?;
    info!(step, directory = %directory.display(), "going on from the recovery checkpoint");
    Ok(Some(checkpoint))
}

/// Complete checkpoints by step, ascending. Checkpoints whose writing was interrupted are removed.
fn list(parent: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    if !parent.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(parent).with_context(|| format!("reading {}", parent.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(PART_SUFFIX) {
            warn!(path = %path.display(), "removing a checkpoint that was never finished");
            fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        } else if let Some(step) = name.strip_prefix("step-").and_then(|digits| digits.parse().ok()) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}

fn write_tensors<'a>(path: &Path, tensors: impl Iterator<Item = (&'a String, &'a Tensor)>) -> anyhow::Result<()> {
    let on_host: Vec<(&str, Tensor)> = no_grad(|| {
        tensors
            .map(|(name, tensor)| (name.as_str(), tensor.detach().to_device(Device::Cpu).contiguous()))
            .collect()
    });
    Tensor::write_safetensors(&on_host, path).with_context(|| format!("writing {}", path.display()))
}

fn read_tensors(path: &Path, device: Device) -> anyhow::Result<Vec<(String, Tensor)>> {
    let tensors = Tensor::read_safetensors(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_device(device)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_objective_remembers_is_kept_and_may_be_missing() {
        let without = r#"{"step": 2, "updates": 4, "consumed_below": 8, "consumed": []}"#;
        let mut state: RecoveryState = serde_json::from_str(without).expect("a checkpoint of an earlier version");
        assert_eq!((state.step, &state.objective), (2, &None));
        state.objective = Some(serde_json::json!({ "best_accuracy": 0.5 }));
        let text = serde_json::to_string(&state).expect("serialisable");
        assert_eq!(serde_json::from_str::<RecoveryState>(&text).expect("valid"), state);
    }

    #[test]
    fn consumed_groups_close_up_to_a_watermark() {
        let mut state = RecoveryState::default();
        state.consume([1, 2, 5]);
        assert_eq!((state.consumed_below, state.consumed.len()), (0, 3));
        state.consume([0]);
        assert_eq!(state.consumed_below, 3);
        assert_eq!(state.consumed, BTreeSet::from([5]));
    }
}
