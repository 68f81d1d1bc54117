//! Makes a model that is ready to run from verified bytes.

use std::path::{Component, Path};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use anytime_policy::{ADAPTER_CONFIG, Adapters, Decoder, Lora, ModelConfig, Tokenizer, Weights, is_of_adapter};
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
    /// The size of adapters, where the weights are a base with some.
    pub lora: Option<Arc<Lora>>,
}

/// Loads `config.json` and tokenizer, by way of a temporary directory.
///
/// # Errors
/// If a file has no plain name, cannot be written, or is not what its name says.
pub fn load_assets(entries: &Entries) -> anyhow::Result<Assets> {
    let directory = tempfile::tempdir().context("directory for the model's files")?;
    let is_of_model = |(entry, _): &(&v1::WeightsEntry, _)| entry.name != ADAPTER_CONFIG;
    // The base comes along, and is no directory here.
    for (entry, bytes) in entries.manifest.assets.iter().zip(&entries.assets).filter(is_of_model) {
        // A name with a directory in it could write anywhere.
        let mut components = Path::new(&entry.name).components();
        let (Some(Component::Normal(name)), None) = (components.next(), components.next()) else {
            bail!("asset `{}` has no plain file name", entry.name);
        };
        std::fs::write(directory.path().join(name), bytes).with_context(|| format!("asset {}", entry.name))?;
    }
    let mut adapters = entries.manifest.assets.iter().zip(&entries.assets);
    let lora = match adapters.find(|(entry, _)| entry.name == ADAPTER_CONFIG) {
        Some((_, text)) => Some(Arc::new(anytime_policy::lora_of_json(text, Path::new(ADAPTER_CONFIG))?)),
        None => None,
    };
    Ok(Assets {
        lora,
        entries: entries.manifest.assets.clone(),
        config: Arc::new(ModelConfig::load(directory.path())?),
        tokenizer: Arc::new(Tokenizer::load(directory.path())?),
    })
}

/// Builds the decoder on the device, in the kind in which the weights are published, which is also the learner's.
///
/// # Errors
/// If the tensors are not those of the configuration.
///
/// Adapters are added to the base as the learner adds them, so that both mean the same policy.
pub fn load_model(id: ModelId, entries: &Entries, assets: &Assets, device: Device) -> anyhow::Result<Model> {
    let mut weights = Weights::new();
    let mut adapters = assets.lora.as_ref().map(|lora| Adapters {
        lora: Lora::clone(lora),
        tensors: Weights::new(),
    });
    for (entry, bytes) in entries.manifest.tensors.iter().zip(&entries.tensors) {
        let kind = if entry.dtype == "BF16" {
            Kind::BFloat16
        } else {
            Kind::Float
        };
        let shape: Vec<i64> = entry.shape.iter().map(|&length| length as i64).collect();
        let tensor = Tensor::f_from_data_size(bytes, &shape, kind).with_context(|| entry.name.clone())?;
        let tensor = tensor.f_to_device(device)?;
        match &mut adapters {
            Some(adapters) if is_of_adapter(&entry.name) => adapters.tensors.insert(entry.name.clone(), tensor),
            _ => weights.insert(entry.name.clone(), tensor),
        };
    }
    if let Some(adapters) = adapters {
        adapters.check(&assets.config, "weights")?;
        weights = adapters.merge_into(weights);
    }
    let decoder = Decoder::new(&assets.config, &weights)?.for_generation();
    Ok(Model {
        id,
        config: Arc::clone(&assets.config),
        tokenizer: Arc::clone(&assets.tokenizer),
        decoder,
    })
}
