//! Makes a model that is ready to run from verified bytes.

use std::path::{Component, Path};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use anytime_policy::{Decoder, ModelConfig, Tokenizer, Weights};
use anytime_proto::v1;
use tch::{Device, Kind, Tensor};

use super::assembly::Entries;
use crate::engine::{Model, ModelId};

/// The files of a model beside its weights, loaded. They stay the same over all versions of a job.
#[derive(Clone)]
pub struct Assets {
    /// The entries of the manifest that they were loaded from.
    pub entries: Vec<v1::WeightsEntry>,
    /// The model's `config.json`.
    pub config: Arc<ModelConfig>,
    /// Decodes the text that leaves the actor.
    pub tokenizer: Arc<Tokenizer>,
}

/// Loads `config.json` and tokenizer, by way of a temporary directory.
///
/// # Errors
/// If a file has no plain name, cannot be written, or is not what its name says.
pub fn load_assets(entries: &Entries) -> anyhow::Result<Assets> {
    let directory = tempfile::tempdir().context("directory for the model's files")?;
    for (entry, bytes) in entries.manifest.assets.iter().zip(&entries.assets) {
        // A name with a directory in it could write anywhere.
        let mut components = Path::new(&entry.name).components();
        let (Some(Component::Normal(name)), None) = (components.next(), components.next()) else {
            bail!("asset `{}` has no plain file name", entry.name);
        };
        std::fs::write(directory.path().join(name), bytes).with_context(|| format!("asset {}", entry.name))?;
    }
    Ok(Assets {
        entries: entries.manifest.assets.clone(),
        config: Arc::new(ModelConfig::load(directory.path())?),
        tokenizer: Arc::new(Tokenizer::load(directory.path())?),
    })
}

/// Builds the decoder on the device, in the kind in which the weights are published, which is also the learner's.
///
/// # Errors
/// If the tensors are not those of the configuration.
pub fn load_model(id: ModelId, entries: &Entries, assets: &Assets, device: Device) -> anyhow::Result<Model> {
    let mut weights = Weights::new();
    for (entry, bytes) in entries.manifest.tensors.iter().zip(&entries.tensors) {
        let kind = if entry.dtype == "BF16" {
            Kind::BFloat16
        } else {
            Kind::Float
        };
        let shape: Vec<i64> = entry.shape.iter().map(|&length| length as i64).collect();
        let tensor = Tensor::f_from_data_size(bytes, &shape, kind).with_context(|| entry.name.clone())?;
        weights.insert(entry.name.clone(), tensor.f_to_device(device)?);
    }
    let decoder = Decoder::new(&assets.config, &weights)?.for_generation();
    Ok(Model {
        id,
        config: Arc::clone(&assets.config),
        tokenizer: Arc::clone(&assets.tokenizer),
        decoder,
    })
}
