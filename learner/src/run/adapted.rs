//! The start of a job that trains adapters: the base of its model, and the adapters on it.

use std::path::Path;

use anyhow::ensure;
use anytime_policy::{AdapterDirectory, Adapters, Lora, ModelConfig, Weights};
use tch::{Device, Kind};

use crate::checkpoint::{FrozenBase, base_directory, read_base};
use crate::train::Parameters;

/// What adapters are loaded by.
pub(super) struct AdaptedStart<'a> {
    /// The directory of the model, or of adapters to go on with.
    pub(super) model: &'a Path,
    pub(super) config: &'a ModelConfig,
    pub(super) lora: Lora,
    /// Share of inputs that is dropped.
    pub(super) dropout: f64,
    /// What fresh adapters are drawn from.
    pub(super) seed: u64,
    /// The type that passes compute in.
    pub(super) kind: Kind,
    pub(super) device: Device,
}

impl AdaptedStart<'_> {
    /// The parameters with their base: these adapters, else those that the directory has, else fresh ones.
    ///
    /// # Errors
    /// What cannot be read, or does not fit.
    pub(super) fn load(self, tensors: Option<Weights>) -> anyhow::Result<(Parameters, FrozenBase)> {
        let Self { config, device, .. } = self;
        let tensors = match (tensors, AdapterDirectory::open(self.model)?) {
            (Some(tensors), _) => tensors,
            (None, Some(directory)) => {
                ensure!(
                    directory.lora.is_like(&self.lora, config),
                    "the adapters in {} are others than training.lora says: {}",
                    self.model.display(),
                    shown(&directory.lora)
                );
                directory.read(config, device)?.tensors
            }
            (None, None) => self.lora.initialise(config, self.seed, device).tensors,
        };
        let adapters = Adapters {
            lora: self.lora,
            tensors,
        };
        adapters.check(config, "adapters")?;
        let directory = base_directory(self.model)?;
        let weights = read_base(&directory, config, self.kind, device)?;
        let base = FrozenBase::new(&directory, self.kind)?;
        Ok((Parameters::adapted(weights, adapters, self.dropout), base))
    }
}

/// The size of adapters in the words of a job file.
pub(super) fn shown(lora: &Lora) -> String {
    format!(
        "rank = {}, alpha = {:?}, targets = {:?}",
        lora.rank,
        lora.scale * lora.rank as f64,
        lora.targets
    )
}
