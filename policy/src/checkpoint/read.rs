//! Safetensors to tensors, one tensor at a time, so that a model needs its own size in memory and not twice that.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use safetensors::tensor::TensorInfo;
use tch::{Device, Kind};

use super::adapter::AdapterDirectory;
use super::hints;
use super::listing::{Listing, list_shards};
use super::shard::{Shard, refuse_what_is_not_finite};
use crate::config::ModelConfig;
use crate::error::PolicyError;
use crate::weights::{Weights, expected_tensors};

const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Reads the weights of a model directory, from `model.safetensors` or from the shards that
/// `model.safetensors.index.json` lists, as `kind` on `device`.
///
/// Of a directory of adapters the weights are the base's with the adapters added. Ignores the rotary frequencies that older exports carry, and an `lm_head.weight` beside tied embeddings that is a
/// copy of them. Where two shards have the same tensor, it reads the one that the index names.
///
/// # Errors
/// A file is missing or damaged; a tensor is missing, unexpected, of the wrong shape, or neither f32, bf16 nor f16, or
/// holds a value that is not finite as `kind`; or a head beside tied embeddings is another tensor than they are.
pub fn read_weights(dir: &Path, config: &ModelConfig, kind: Kind, device: Device) -> Result<Weights, PolicyError> {
    let Some(adapters) = AdapterDirectory::open(dir)? else {
        return read_model(dir, config, kind, device);
    };
    let base = read_model(&adapters.base, config, kind, device)?;
    let weights = adapters.read(config, device)?.merge_into(base);
    for (name, _) in adapters.lora.weights(config) {
        // Of finite numbers the sum may not be.
        refuse_what_is_not_finite(dir, &name, &weights[&name])?;
    }
    Ok(weights)
}

fn read_model(dir: &Path, config: &ModelConfig, kind: Kind, device: Device) -> Result<Weights, PolicyError> {
    let mut weights = Weights::new();
    for (shard, tensors) in open_shards(dir, config)? {
        for (name, info) in tensors {
            let tensor = shard.read(&name, &info)?.f_to_kind(kind)?.f_to_device(device)?;
            refuse_what_is_not_finite(&shard.path, &name, &tensor)?;
            weights.insert(name, tensor);
        }
    }
    Ok(weights)
}

/// Checks by the headers that the directory holds every weight of the model in its shape, before gigabytes are read. Of
/// the data only a head beside tied embeddings is read.
///
/// # Errors
/// Those of [`read_weights`], except for data that cannot be read and values that are not finite.
pub fn check_weights(dir: &Path, config: &ModelConfig) -> Result<(), PolicyError> {
    let adapters = AdapterDirectory::open(dir)?;
    open_shards(adapters.as_ref().map_or(dir, |adapters| &adapters.base), config)?;
    adapters.map_or(Ok(()), |adapters| adapters.check(config))
}

/// Reads all weights, one tensor at a time, and keeps none: whether the model can be loaded as `kind`.
///
/// # Errors
/// Those of [`read_weights`].
pub fn check_values(dir: &Path, config: &ModelConfig, kind: Kind) -> Result<(), PolicyError> {
    let adapters = AdapterDirectory::open(dir)?;
    if let Some(adapters) = &adapters {
        adapters.read(config, Device::Cpu)?;
    }
    for (shard, tensors) in open_shards(adapters.as_ref().map_or(dir, |adapters| &adapters.base), config)? {
        for (name, info) in tensors {
            refuse_what_is_not_finite(&shard.path, &name, &shard.read(&name, &info)?.f_to_kind(kind)?)?;
        }
    }
    Ok(())
}

/// A file and the model's tensors in it, in the order of their data.
type ShardTensors = (Shard, Vec<(String, TensorInfo)>);

/// The files with the model's tensors in each; together they hold every expected tensor once.
fn open_shards(dir: &Path, config: &ModelConfig) -> Result<Vec<ShardTensors>, PolicyError> {
    let expected: HashMap<String, Vec<i64>> = expected_tensors(config).into_iter().collect();
    let listing = list_shards(dir)?;
    let mut shards = Vec::with_capacity(listing.shards.len());
    for path in &listing.shards {
        shards.push(Shard::open(path)?);
    }
    let chosen = Chosen::among(&shards, &listing)?;
    let mut missing: BTreeSet<&String> = expected.keys().collect();
    let mut tensors_of = Vec::with_capacity(shards.len());
    for (index, shard) in shards.iter().enumerate() {
        let mut tensors = Vec::new();
        for (name, info) in shard.tensors() {
            let is_copied_head = config.tie_word_embeddings && name == HEAD;
            if is_copied_head || chosen.place(&name) != Some(index) {
                continue;
            }
            let Some(expected) = expected.get(&name) else {
                let hint = hints::unexpected(config, &name, |other| expected.contains_key(other));
                return Err(PolicyError::UnexpectedTensor {
                    origin: shard.path.display().to_string(),
                    name,
                    model_type: config.model_type.name().to_owned(),
                    hint,
                });
            };
            missing.remove(&name);
            shard.check(&name, &info, expected)?;
            tensors.push((name, info));
        }
        tensors_of.push(tensors);
    }
    if let Some(name) = missing.into_iter().next() {
        let is_head = name == HEAD;
        return Err(PolicyError::MissingTensor {
            origin: listing.named_by.display().to_string(),
            name: name.clone(),
            hint: if is_head { hints::NO_HEAD } else { "" }.to_owned(),
        });
    }
    if config.tie_word_embeddings {
        refuse_another_head(&shards, &chosen)?;
    }
    Ok(shards.into_iter().zip(tensors_of).collect())
}

fn is_ignored(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq")
}

/// The shard that each tensor is read from.
struct Chosen(HashMap<String, usize>);

impl Chosen {
    /// Of the shards that hold a tensor, the one that the index names, or else the only one.
    fn among(shards: &[Shard], listing: &Listing) -> Result<Self, PolicyError> {
        let mut holders: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for (name, _) in shard.tensors().into_iter().filter(|(name, _)| !is_ignored(name)) {
                holders.entry(name).or_default().push(index);
            }
        }
        let mut chosen = HashMap::with_capacity(holders.len());
        for (name, holders) in holders {
            let is_named = |index: &&usize| listing.names(&name, &shards[**index].path);
            let place = match (holders.iter().find(is_named), holders.as_slice()) {
                (Some(named), _) => *named,
                (None, [only]) => *only,
                (None, [first, second, ..]) => {
                    let (first, second) = (&shards[*first].path, &shards[*second].path);
                    let problem = format!(
                        "tensor {name} is also in {}, and the index names neither; name one of them there",
                        first.file_name().unwrap_or_default().to_string_lossy()
                    );
                    return Err(PolicyError::checkpoint(second, problem));
                }
                (None, []) => continue,
            };
            chosen.insert(name, place);
        }
        Ok(Self(chosen))
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }
}

/// Refuses a head beside tied embeddings that differs from them: the model would not be the one that was trained.
fn refuse_another_head(shards: &[Shard], chosen: &Chosen) -> Result<(), PolicyError> {
    let holder = |name: &str| chosen.place(name).map(|index| &shards[index]);
    let (Some(with_head), Some(with_embedding)) = (holder(HEAD), holder(EMBEDDING)) else {
        return Ok(());
    };
    if with_head.holds_the_same(HEAD, with_embedding, EMBEDDING)? {
        return Ok(());
    }
    let problem = format!(
        "tensor {HEAD} differs from {EMBEDDING}, though tie_word_embeddings in config.json is true; set that to false to \
         keep the head, or remove the tensor"
    );
    Err(PolicyError::checkpoint(&with_head.path, problem))
}
