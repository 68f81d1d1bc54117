//! Directories of adapters as PEFT lays them out: `adapter_config.json`, which names the directory of the base, and
//! `adapter_model.safetensors`. They may have the files of a tokenizer; what they lack is the base's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Device, Kind};

use super::shard::{Shard, refuse_what_is_not_finite};
use super::write::{Entry, write_json, write_shard};
use crate::adapter_config::{ADAPTER_CONFIG, Lora, adapter_config, read_config};
use crate::config::ModelConfig;
use crate::error::PolicyError;
use crate::lora::{Adapters, is_of_adapter};
use crate::weights::Weights;

/// Their tensors.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// A directory of adapters, of which the configuration has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterDirectory {
    /// The directory of the model that they are added to.
    pub base: PathBuf,
    /// Their size.
    pub lora: Lora,
    path: PathBuf,
}

impl AdapterDirectory {
    /// The adapters of a directory; None where it is a model's own.
    ///
    /// # Errors
    /// A configuration that cannot be read, or of adapters that this crate does not know; a base that is not there.
    pub fn open(dir: &Path) -> Result<Option<Self>, PolicyError> {
        let Some((base, lora)) = read_config(dir)? else {
            return Ok(None);
        };
        let path = dir.join(ADAPTER_WEIGHTS);
        Ok(Some(Self { base, lora, path }))
    }

    /// Reads the adapters, in f32 on `device`.
    ///
    /// # Errors
    /// A file that is missing or damaged, a tensor that is missing, unexpected, of another shape or not finite.
    pub fn read(&self, config: &ModelConfig, device: Device) -> Result<Adapters, PolicyError> {
        let shard = self.shard()?;
        let mut tensors = Weights::new();
        for (name, info) in shard.tensors() {
            let tensor = shard.read(&name, &info)?.f_to_kind(Kind::Float)?.f_to_device(device)?;
            refuse_what_is_not_finite(&self.path, &name, &tensor)?;
            tensors.insert(name, tensor);
        }
        let adapters = Adapters {
            lora: self.lora.clone(),
            tensors,
        };
        adapters.check(config, &self.path.display().to_string())?;
        Ok(adapters)
    }

    /// Checks by the header that the file holds the adapters' tensors in their shapes.
    ///
    /// # Errors
    /// Those of [`AdapterDirectory::read`], but for values.
    pub fn check(&self, config: &ModelConfig) -> Result<(), PolicyError> {
        let shard = self.shard()?;
        let mut found: BTreeMap<String, _> = shard.tensors().into_iter().collect();
        let origin = || self.path.display().to_string();
        for (name, shape) in self.lora.expected(config) {
            let Some(info) = found.remove(&name) else {
                return Err(PolicyError::MissingTensor {
                    origin: origin(),
                    name,
                    hint: format!(", though {ADAPTER_CONFIG} has its projection among target_modules"),
                });
            };
            shard.check(&name, &info, &shape)?;
        }
        match found.into_keys().next() {
            Some(name) => Err(PolicyError::UnexpectedTensor {
                origin: origin(),
                hint: if is_of_adapter(&name) {
                    format!(", or {ADAPTER_CONFIG} does not have its projection among target_modules")
                } else {
                    String::new()
                },
                name,
                model_type: config.model_type.name().to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn shard(&self) -> Result<Shard, PolicyError> {
        Shard::open(&self.path)
    }
}

/// Writes the two files of adapters into a directory that exists. `base` is what the configuration names as their base.
///
/// # Errors
/// If a tensor is not the model's, or the disk refuses.
pub fn write_adapters(
    dir: &Path,
    config: &ModelConfig,
    adapters: &Adapters,
    base: &str,
    dropout: f64,
) -> Result<(), PolicyError> {
    adapters.check(config, "adapters")?;
    let path = dir.join(ADAPTER_CONFIG);
    write_json(&path, &adapter_config(&adapters.lora, base, dropout))?;
    let mode = std::fs::metadata(&path)
        .map_err(|source| PolicyError::read(&path, source))?
        .permissions();
    let mut entries = Vec::new();
    for (name, tensor) in &adapters.tensors {
        entries.push((name.clone(), Entry::of(dir, tensor, Kind::Float)?));
    }
    write_shard(&dir.join(ADAPTER_WEIGHTS), &entries, &mode)
}
