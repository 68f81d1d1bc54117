//! The recovery checkpoint: everything that a restarted learner needs to go on where it was.
//!
//! `recovery/step-NNNNNNNN/` under the job's directory holds `state.json`, `weights.safetensors` (f32 masters, or the
//! adapters alone), `optimiser.safetensors` and the checksums of these three, `checksums.json`. It is written aside, synced and renamed. The
//! newest two are kept: where the newest cannot be read, or is another than was written, the job goes on from the one
//! before. A crash costs the work since the newest one: groups trained since then are still in the replay queue,
//! unacknowledged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use anytime_files::{PART_SUFFIX, replace_directory, sync_directory};
use anytime_policy::{TensorFile, TensorShape, Weights, write_tensors};
use anytime_proto::EndedGroups;
use anytime_service::metric_names::LEARNER_DAMAGED_FILES;
use metrics::counter;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use tracing::{error, info, warn};

use super::base::KeptAdapters;
use super::checksums;
use crate::train::Trainer;

const DIRECTORY: &str = "recovery";
pub(super) const STATE_FILE: &str = "state.json";
pub(super) const WEIGHTS_FILE: &str = "weights.safetensors";
const OPTIMISER_FILE: &str = "optimiser.safetensors";
const FILES: [&str; 3] = [STATE_FILE, WEIGHTS_FILE, OPTIMISER_FILE];

/// The end of the name of a checkpoint that could not be read, until there are two good ones again.
const DAMAGED_SUFFIX: &str = ".damaged";

/// Stands behind the suffix of unfinished ones in the name of a checkpoint that is being removed.
const REMOVED: &str = "-removed";

/// How many checkpoints are kept.
const KEPT: usize = 2;

/// The element type in which a job computes, and in which its exports are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, as wide as f32.
    Bf16,
}

impl From<Kind> for Compute {
    fn from(kind: Kind) -> Self {
        if kind == Kind::BFloat16 { Self::Bf16 } else { Self::F32 }
    }
}

impl From<Compute> for Kind {
    fn from(compute: Compute) -> Self {
        match compute {
            Compute::F32 => Self::Float,
            Compute::Bf16 => Self::BFloat16,
        }
    }
}

/// What the numbers in a checkpoint refer to. With other problems, or another order of them, the consumed sequence
/// numbers would stand for other problems; with another tokenizer, ids for other words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// How many rows are trained on.
    pub rows: u64,
    /// BLAKE3 over the tokenised rows, in their order.
    pub data: String,
    /// BLAKE3 over configuration and tokenizer.
    pub model: String,
}

/// The counters of a job. All randomness of the learner is a pure function of its seeds and these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecoveryState {
    /// Finished steps; also the weights version.
    pub step: u64,
    /// Optimiser updates.
    pub updates: u64,
    /// The training groups that have ended.
    #[serde(flatten)]
    pub ended: EndedGroups,
    /// The checksum of the weights' manifest, as the events name it; empty where none was published.
    #[serde(default)]
    pub weights_checksum: String,
    /// The state of the objective; most objectives have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<serde_json::Value>,
    /// Accuracies of the starting weights by problem id, where the objective asks for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, f64>,
    /// The element type of the job's exports.
    #[serde(default)]
    pub compute: Compute,
    /// The inputs that the numbers refer to; none in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Updates in a row that were left out because their gradient was not finite.
    #[serde(default)]
    pub skipped_in_a_row: u32,
    /// The adapters that the checkpoint holds instead of a model's weights, and their base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<KeptAdapters>,
    /// What the watch over the reward remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<serde_json::Value>,
}

/// A checkpoint that has been read.
pub struct Recovered {
    /// The job's counters.
    pub state: RecoveryState,
    /// f32 masters, or the adapters alone.
    pub weights: Weights,
    /// The tensors of the optimiser, as [`AdamW::layout`](crate::train::AdamW::layout) names them, on the disk.
    pub optimiser: TensorFile,
    /// Newer checkpoints that could not be read, each with the reason.
    pub damaged: Vec<String>,
}

/// What became of a request to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// A checkpoint was written.
    Written,
    /// A checkpoint of the same state was there already.
    Kept,
}

/// Writes a checkpoint of this state and removes those before the last two. One of the very same state is left alone.
///
/// # Errors
/// If the disk does not take it; the earlier checkpoints are still there then.
pub fn save(job_directory: &Path, state: &RecoveryState, trainer: &Trainer) -> anyhow::Result<Saved> {
    let parent = job_directory.join(DIRECTORY);
    let target = step_directory(&parent, state.step);
    if read_state(&target).is_ok_and(|saved| saved == *state) {
        return Ok(Saved::Kept);
    }
    let write = |part: &Path| -> anyhow::Result<()> {
        // Tensor by tensor: the ranks may hold a part of each.
        let masters: Vec<TensorShape> = trainer.parameters().shapes().into_values().collect();
        write_tensors(&part.join(WEIGHTS_FILE), &masters, &mut |shape| trainer.master(shape))?;
        let give = &mut |shape: &TensorShape| trainer.tensor_of_state(shape);
        write_tensors(&part.join(OPTIMISER_FILE), &trainer.optimiser().layout(), give)?;
        write_state(part, state)?;
        checksums::write(part, &FILES)
    };
    replace_directory(&target, write).with_context(|| format!("recovery checkpoint {}", target.display()))?;
    remove_older(&parent, state.step);
    Ok(Saved::Written)
}

/// Removes what two good checkpoints make superfluous: older ones, and those that could not be read. Where that fails
/// the disk holds something too much, and the job goes on.
fn remove_older(parent: &Path, newest: u64) {
    let Ok(found) = list(parent) else {
        return;
    };
    // The job has gone back to an older checkpoint and left the steps beyond this one, and their checkpoints, behind.
    let mut good: Vec<&Candidate> = found
        .iter()
        .filter(|one| one.is_whole && one.step <= newest && read_state(&one.path).is_ok())
        .collect();
    let kept = good.split_off(good.len().saturating_sub(KEPT));
    let has_enough = kept.len() == KEPT;
    let is_kept = |one: &Candidate| kept.iter().any(|kept| kept.path == one.path);
    for one in &found {
        let is_older = one.is_whole && one.step <= newest;
        if (is_older || has_enough) && !is_kept(one) {
            remove(&one.path);
        }
    }
    let listing = if has_enough { fs::read_dir(parent).ok() } else { None };
    for entry in listing.into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(DAMAGED_SUFFIX) {
            remove(&entry.path());
        }
    }
}

/// The newest complete checkpoint of a job, with its weights on `device` and the optimiser's tensors; None where there
/// is none. One that cannot be read is put aside, and the one before it is taken. `is_damage` says whether an error is
/// of the checkpoint; any other one (a disk that is away, a device without memory) is returned.
///
/// # Errors
/// If there are checkpoints and none can be read, or an error that is no damage.
pub fn load_newest(
    job_directory: &Path,
    device: Device,
    is_damage: &dyn Fn(&anyhow::Error) -> bool,
) -> anyhow::Result<Option<Recovered>> {
    let parent = job_directory.join(DIRECTORY);
    let found = list(&parent)?;
    let mut damaged: Vec<(PathBuf, String)> = Vec::new();
    for one in found.iter().rev() {
        match read(&one.path, device) {
            Ok(mut recovered) => {
                put_right(&parent, one, &found, &damaged)?;
                info!(step = recovered.state.step, directory = %one.path.display(), "going on from the recovery checkpoint");
                recovered.damaged = damaged.into_iter().map(|(_, reason)| reason).collect();
                return Ok(Some(recovered));
            }
            Err(failure) if !is_damage(&failure) => {
                return Err(failure.context(format!("recovery checkpoint {}", one.path.display())));
            }
            Err(failure) if one.is_whole => {
                let reason = format!("recovery checkpoint {}: {failure:#}", one.path.display());
                error!(reason, "a recovery checkpoint cannot be read");
                counter!(LEARNER_DAMAGED_FILES, "what" => "recovery").increment(1);
                damaged.push((one.path.clone(), reason));
            }
            Err(failure) => {
                let reason = format!("{failure:#}");
                warn!(path = %one.path.display(), reason, "a checkpoint that was never finished");
            }
        }
    }
    if damaged.is_empty() {
        found.iter().for_each(|one| remove(&one.path));
        return Ok(None);
    }
    let reasons: Vec<String> = damaged.into_iter().map(|(_, reason)| reason).collect();
    bail!("no recovery checkpoint can be read: {}", reasons.join("; "))
}

/// Makes the checkpoint that was read the newest of the directory: an unfinished one gets its final name, damaged ones
/// are renamed out of the way, and other unfinished directories are removed.
fn put_right(
    parent: &Path,
    taken: &Candidate,
    found: &[Candidate],
    damaged: &[(PathBuf, String)],
) -> anyhow::Result<()> {
    for (path, _) in damaged {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = parent.join(format!(".{name}{DAMAGED_SUFFIX}"));
        remove(&aside);
        fs::rename(path, &aside).with_context(|| format!("putting {} aside", path.display()))?;
    }
    if !taken.is_whole {
        let target = step_directory(parent, taken.step);
        warn!(from = %taken.path.display(), "took up a checkpoint that was complete but for its name");
        fs::rename(&taken.path, &target).with_context(|| format!("renaming {}", taken.path.display()))?;
    }
    for one in found.iter().filter(|one| !one.is_whole && one.path != taken.path) {
        remove(&one.path);
    }
    Ok(sync_directory(parent)?)
}

/// Reads the checkpoint of a step, or the newest that can be read, and changes nothing.
///
/// # Errors
/// If there is none, or none of that step, with the steps that there are; or if it cannot be read.
pub fn load_step(job_directory: &Path, step: Option<u64>, device: Device) -> anyhow::Result<Recovered> {
    let parent = job_directory.join(DIRECTORY);
    let mut found = list(&parent)?;
    ensure!(!found.is_empty(), "it has no recovery checkpoint");
    let steps = steps(job_directory)?;
    if let Some(step) = step {
        let named: Vec<String> = steps.iter().map(u64::to_string).collect();
        ensure!(
            steps.contains(&step),
            "it has no recovery checkpoint of step {step}; there are those of {}",
            named.join(", ")
        );
        found.retain(|one| one.step == step && one.is_whole);
    }
    let mut failure = None;
    for one in found.iter().rev() {
        match read(&one.path, device) {
            Ok(recovered) => return Ok(recovered),
            Err(error) => {
                let error = error.context(format!("recovery checkpoint {}", one.path.display()));
                failure.get_or_insert(error);
            }
        }
    }
    Err(failure.unwrap_or_else(|| anyhow::anyhow!("it has no recovery checkpoint")))
}

/// The steps of the checkpoints of a job, ascending.
///
/// # Errors
/// If the directory cannot be read.
pub fn steps(job_directory: &Path) -> anyhow::Result<Vec<u64>> {
    let found = list(&job_directory.join(DIRECTORY))?;
    Ok(found.iter().filter(|one| one.is_whole).map(|one| one.step).collect())
}

/// A directory that holds a checkpoint, or perhaps does.
struct Candidate {
    step: u64,
    path: PathBuf,
    /// It has its final name.
    is_whole: bool,
}

/// What may be a checkpoint, the best last: unfinished ones first, then those with their final names, each by step.
fn list(parent: &Path) -> anyhow::Result<Vec<Candidate>> {
    let mut found = Vec::new();
    if !parent.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(parent).with_context(|| format!("reading {}", parent.display()))? {
        let path = entry.with_context(|| format!("reading {}", parent.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some((step, is_whole)) = parse_name(name) {
            found.push(Candidate { step, path, is_whole });
        }
    }
    found.sort_by_key(|one| (one.is_whole, one.step));
    Ok(found)
}

/// The step of `step-N`, and of what was to become one: `.step-N.part`, `.step-N.part-replaced`, and `step-N.part` of
/// earlier versions.
fn parse_name(name: &str) -> Option<(u64, bool)> {
    let behind = name.trim_start_matches('.').strip_prefix("step-")?;
    let digits = behind.split('.').next().unwrap_or_default();
    let step = digits.parse().ok()?;
    let suffix = &behind[digits.len()..];
    match suffix {
        "" if !name.starts_with('.') => Some((step, true)),
        _ if suffix.starts_with(PART_SUFFIX) => Some((step, false)),
        _ => None,
    }
}

/// The directory of the checkpoint of a step of a job.
pub(super) fn directory_of(job_directory: &Path, step: u64) -> PathBuf {
    step_directory(&job_directory.join(DIRECTORY), step)
}

/// The state of a checkpoint.
///
/// # Errors
/// If it cannot be read.
pub(super) fn state_of(checkpoint: &Path) -> anyhow::Result<RecoveryState> {
    Ok(read_state_file(checkpoint)?.state)
}

/// Whether checksums were written with a checkpoint.
///
/// # Errors
/// If its state cannot be read.
pub(super) fn has_checksums(checkpoint: &Path) -> anyhow::Result<bool> {
    Ok(read_state_file(checkpoint)?.has_checksums)
}

fn step_directory(parent: &Path, step: u64) -> PathBuf {
    parent.join(format!("step-{step:08}"))
}

fn remove(path: &Path) {
    if path.exists()
        && let Err(error) = take_away(path)
    {
        warn!(path = %path.display(), %error, "a checkpoint that is not needed cannot be removed");
    }
}

/// Takes the name of a whole checkpoint away before its files, so that whoever reads meanwhile finds all of it or nothing.
fn take_away(path: &Path) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with('.') {
        return fs::remove_dir_all(path);
    }
    let hidden = path.with_file_name(format!(".{name}{PART_SUFFIX}{REMOVED}"));
    if hidden.exists() {
        fs::remove_dir_all(&hidden)?;
    }
    fs::rename(path, &hidden)?;
    fs::remove_dir_all(&hidden)
}

fn read_state(directory: &Path) -> anyhow::Result<RecoveryState> {
    for name in FILES {
        let path = directory.join(name);
        let is_there = path
            .try_exists()
            .with_context(|| format!("reading {}", path.display()))?;
        ensure!(is_there, "it lacks {name}");
    }
    Ok(read_state_file(directory)?.state)
}

/// The content of `state.json`.
#[derive(Serialize, Deserialize)]
struct StateFile<State> {
    #[serde(flatten)]
    state: State,
    /// Whether checksums were written with it; those of earlier versions have none.
    #[serde(default)]
    has_checksums: bool,
}

fn write_state(directory: &Path, state: &RecoveryState) -> anyhow::Result<()> {
    let path = directory.join(STATE_FILE);
    let has_checksums = true;
    let bytes = serde_json::to_vec_pretty(&StateFile { state, has_checksums })?;
    fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
}

fn read_state_file(directory: &Path) -> anyhow::Result<StateFile<RecoveryState>> {
    let path = directory.join(STATE_FILE);
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{STATE_FILE} is damaged"))
}

fn read(directory: &Path, device: Device) -> anyhow::Result<Recovered> {
    let state = read_state(directory)?;
    if !checksums::check(directory, &FILES)? {
        let is_older = !read_state_file(directory)?.has_checksums;
        ensure!(is_older, "it lacks {}", checksums::FILE);
        warn!(directory = %directory.display(), "a recovery checkpoint of an earlier version has no checksums");
    }
    let weights = read_tensors(&directory.join(WEIGHTS_FILE), device)?;
    let optimiser = TensorFile::open(&directory.join(OPTIMISER_FILE))?;
    Ok(Recovered {
        state,
        weights: weights.into_iter().collect(),
        optimiser,
        damaged: Vec::new(),
    })
}

fn read_tensors(path: &Path, device: Device) -> anyhow::Result<Vec<(String, Tensor)>> {
    let tensors = Tensor::read_safetensors(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_device(device)))
        .collect())
}

#[cfg(test)]
mod tests;
