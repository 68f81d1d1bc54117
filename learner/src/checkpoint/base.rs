//! The base of adapters: weights that a job does not train. They are read from the model's directory at every start, so
//! that what is checkpointed and exported is as small as the adapters, and are published beside them.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use anytime_policy::{AdapterDirectory, Adapters, Lora, ModelConfig, Weights};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use super::checksums;
use super::tensors::published_tensors;
use crate::weights::published::PublishedTensor;

/// The base of a job that trains adapters.
pub struct FrozenBase {
    /// Its directory.
    directory: PathBuf,
    /// The type in which it is published, which is the one that passes compute in.
    kind: Kind,
    /// Its tensors as they are published, with their checksums, once that has been asked for.
    tensors: OnceCell<Vec<PublishedTensor>>,
    /// Over the files that they were read from, so that it is the same in whatever type a job computes.
    checksum: String,
}

/// The adapters of a recovery checkpoint, beside their tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptAdapters {
    /// Their rank.
    pub rank: i64,
    /// What B·A is multiplied by.
    pub scale: f64,
    /// The projections that have them.
    pub targets: Vec<String>,
    /// Share of inputs that is dropped in training.
    pub dropout: f64,
    /// Whether exports are the whole model.
    pub is_merged: bool,
    /// The directory of the base.
    pub base: PathBuf,
    /// BLAKE3 over the files of the base.
    pub base_checksum: String,
}

impl KeptAdapters {
    /// Their size.
    pub fn lora(&self) -> Lora {
        Lora {
            rank: self.rank,
            scale: self.scale,
            targets: self.targets.clone(),
        }
    }

    /// The base with the adapters added, in `kind`.
    ///
    /// # Errors
    /// If the base is not there any more, or is another one.
    pub fn merge(&self, adapters: Weights, config: &ModelConfig, kind: Kind) -> anyhow::Result<Weights> {
        check_base(&self.base, &checksum_of_files(&self.base)?, &self.base_checksum)?;
        let weights = read_base(&self.base, config, kind, Device::Cpu)?;
        let adapters = Adapters {
            lora: self.lora(),
            tensors: adapters,
        };
        adapters.check(config, "recovery checkpoint")?;
        Ok(adapters.merge_into(weights))
    }
}

/// The directory of the base of a model: the model's own, or the one that its adapters name.
///
/// # Errors
/// Adapters that cannot be read.
pub fn base_directory(model: &Path) -> anyhow::Result<PathBuf> {
    let directory = match AdapterDirectory::open(model)? {
        Some(adapters) => adapters.base,
        None => model.to_path_buf(),
    };
    std::path::absolute(&directory).with_context(|| format!("model {}", directory.display()))
}

/// Reads the weights of a base.
///
/// # Errors
/// If they cannot be read, or are not the configuration's.
pub fn read_base(directory: &Path, config: &ModelConfig, kind: Kind, device: Device) -> anyhow::Result<Weights> {
    anytime_policy::read_weights(directory, config, kind, device)
        .with_context(|| format!("model {}", directory.display()))
}

impl FrozenBase {
    /// The base in a directory, whose weights are published in `kind`.
    ///
    /// # Errors
    /// If its files cannot be read, for their checksum.
    pub fn new(directory: &Path, kind: Kind) -> anyhow::Result<Self> {
        Ok(Self {
            directory: directory.to_path_buf(),
            kind,
            tensors: OnceCell::new(),
            checksum: checksum_of_files(directory)?,
        })
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its tensors as actors get them. `weights` are its weights, which never change: a job that publishes nothing holds no
    /// copy of them in the machine's own memory.
    pub(super) fn tensors(&self, weights: &Weights) -> &[PublishedTensor] {
        self.tensors.get_or_init(|| {
            let mut tensors = published_tensors(weights, self.kind);
            for tensor in &mut tensors {
                tensor.checksum = Some(tensor.checksum());
            }
            tensors
        })
    }

    /// BLAKE3 over the files that it was read from.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// Holds it against the one that adapters were trained on.
    ///
    /// # Errors
    /// If it is another.
    pub fn check(&self, trained_on: &str) -> anyhow::Result<()> {
        check_base(&self.directory, &self.checksum, trained_on)
    }
}

fn check_base(directory: &Path, found: &str, trained_on: &str) -> anyhow::Result<()> {
    ensure!(
        found == trained_on,
        "the weights in {} are not those that the job's adapters were trained on; put them back",
        directory.display()
    );
    Ok(())
}

/// The file beside adapters that another job starts from, which says what base they were trained on.
const BASE_FILE: &str = "base.blake3";

/// Writes down what base the adapters of a directory were trained on.
///
/// # Errors
/// If the disk refuses.
pub(super) fn note_base(directory: &Path, checksum: &str) -> anyhow::Result<()> {
    let path = directory.join(BASE_FILE);
    std::fs::write(&path, checksum).with_context(|| format!("writing {}", path.display()))
}

/// Holds the base of the adapters of a directory against what was written down, if it was.
///
/// # Errors
/// If it is another, or cannot be read.
pub(super) fn check_noted_base(directory: &Path) -> anyhow::Result<()> {
    let Ok(noted) = std::fs::read_to_string(directory.join(BASE_FILE)) else {
        return Ok(());
    };
    let base = base_directory(directory)?;
    check_base(&base, &checksum_of_files(&base)?, noted.trim())
}

/// BLAKE3 over the checksums of all files of weights.
fn checksum_of_files(directory: &Path) -> anyhow::Result<String> {
    let mut hasher = blake3::Hasher::new();
    for path in anytime_policy::weight_files(directory)? {
        hasher.update(checksums::of_file(&path)?.into_digits().as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}
