//! Safetensors to tensors, one tensor at a time, so that a model needs its own size in memory and not twice that.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tch::{Device, Kind, Tensor};

use super::hints;
use super::listing::{Listing, list_shards};
use crate::config::ModelConfig;
use crate::error::PolicyError;
use crate::model_files;
use crate::weights::{Weights, expected_tensors};

/// A longer header means a damaged file: 100 MB, the limit of safetensors itself.
const LONGEST_HEADER: u64 = 100_000_000;

/// How much of two tensors is compared at a time.
const COMPARED_AT_A_TIME: usize = 1 << 20;

const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Reads the weights of a model directory, from `model.safetensors` or from the shards that
/// `model.safetensors.index.json` lists, as `kind` on `device`.
///
/// Ignores the rotary frequencies that older exports carry, and an `lm_head.weight` beside tied embeddings that is a
/// copy of them. Where two shards have the same tensor, it reads the one that the index names.
///
/// # Errors
/// A file is missing or damaged; a tensor is missing, unexpected, of the wrong shape, or neither f32, bf16 nor f16, or
/// holds a value that is not finite as `kind`; or a head beside tied embeddings is another tensor than they are.
pub fn read_weights(dir: &Path, config: &ModelConfig, kind: Kind, device: Device) -> Result<Weights, PolicyError> {
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
    open_shards(dir, config).map(|_| ())
}

/// Reads all weights, one tensor at a time, and keeps none: whether the model can be loaded as `kind`.
///
/// # Errors
/// Those of [`read_weights`].
pub fn check_values(dir: &Path, config: &ModelConfig, kind: Kind) -> Result<(), PolicyError> {
    for (shard, tensors) in open_shards(dir, config)? {
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

/// One weight that is not finite makes every logit NaN, which would show only when the first tokens are drawn.
fn refuse_what_is_not_finite(path: &Path, name: &str, tensor: &Tensor) -> Result<(), PolicyError> {
    if tensor.numel() == 0 {
        return Ok(());
    }
    // The minimum and the maximum of a tensor that holds NaN are both NaN.
    let (least, largest) = tensor.f_aminmax(None, false)?;
    if f64::try_from(&least)?.is_finite() && f64::try_from(&largest)?.is_finite() {
        return Ok(());
    }
    let not_finite = tensor.f_isfinite()?.f_logical_not()?.f_sum(Kind::Int64)?;
    let problem = format!(
        "{} of the {} values of tensor {name} are NaN or infinite as {:?}; the model cannot be used, so take another \
         checkpoint of it",
        i64::try_from(&not_finite)?,
        tensor.numel(),
        tensor.kind(),
    );
    Err(PolicyError::checkpoint(path, problem))
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

struct Shard {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    data_start: u64,
}

impl Shard {
    fn open(path: &Path) -> Result<Self, PolicyError> {
        let read_error = |source| PolicyError::read(path, source);
        let mut file = File::open(path).map_err(read_error)?;
        let file_length = file.metadata().map_err(read_error)?.len();
        let mut length = [0; 8];
        if file_length < 8 {
            return Err(PolicyError::checkpoint(
                path,
                "the file is too short for a safetensors header",
            ));
        }
        file.read_exact(&mut length).map_err(read_error)?;
        if model_files::POINTER.starts_with(&length) {
            return Err(model_files::is_pointer(path));
        }
        let header_length = u64::from_le_bytes(length);
        if header_length > LONGEST_HEADER.min(file_length - 8) {
            let problem = format!("the header claims {header_length} bytes, the file has {file_length}");
            return Err(PolicyError::checkpoint(path, problem));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header).map_err(read_error)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|source| PolicyError::json(path, source))?;
        let data_start = 8 + header_length;
        let needed = data_start + metadata.data_len() as u64;
        if needed != file_length {
            let problem = format!("the header describes {needed} bytes, the file has {file_length}");
            return Err(PolicyError::checkpoint(path, problem));
        }
        Ok(Shard {
            path: path.to_path_buf(),
            file,
            metadata,
            data_start,
        })
    }

    /// Names and descriptions in the order of their data, which is the order to read them in.
    fn tensors(&self) -> Vec<(String, TensorInfo)> {
        let tensors = self
            .metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| (name, info.clone()));
        let mut tensors: Vec<(String, TensorInfo)> = tensors.collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        tensors
    }

    /// Checks shape and element type of one tensor.
    fn check(&self, name: &str, info: &TensorInfo, expected: &[i64]) -> Result<(), PolicyError> {
        let found: Vec<i64> = info.shape.iter().map(|&size| size as i64).collect();
        if found != expected {
            return Err(PolicyError::TensorShape {
                origin: self.path.display().to_string(),
                name: name.to_owned(),
                found,
                expected: expected.to_vec(),
            });
        }
        self.kind(name, info).map(|_| ())
    }

    fn kind(&self, name: &str, info: &TensorInfo) -> Result<Kind, PolicyError> {
        match info.dtype {
            Dtype::F32 => Ok(Kind::Float),
            Dtype::BF16 => Ok(Kind::BFloat16),
            Dtype::F16 => Ok(Kind::Half),
            other => Err(PolicyError::TensorKind {
                origin: self.path.display().to_string(),
                name: name.to_owned(),
                found: format!("{other:?}"),
                allowed: "F32, BF16 or F16".to_owned(),
            }),
        }
    }

    /// Whether a tensor holds the same numbers as one of another file, or of this one.
    fn holds_the_same(&self, name: &str, other: &Shard, other_name: &str) -> Result<bool, PolicyError> {
        let (Some(one), Some(two)) = (self.metadata.info(name), other.metadata.info(other_name)) else {
            return Ok(false);
        };
        if one.shape != two.shape {
            return Ok(false);
        }
        if one.dtype != two.dtype {
            let (one, two) = (self.read(name, one)?, other.read(other_name, two)?);
            return Ok(one.f_to_kind(Kind::Float)?.f_equal(&two.f_to_kind(Kind::Float)?)?);
        }
        let length = one.data_offsets.1 - one.data_offsets.0;
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for start in (0..length).step_by(COMPARED_AT_A_TIME) {
            let size = COMPARED_AT_A_TIME.min(length - start);
            left.resize(size, 0);
            right.resize(size, 0);
            self.read_bytes(one.data_offsets.0 + start, &mut left)?;
            other.read_bytes(two.data_offsets.0 + start, &mut right)?;
            if left != right {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Bytes of the data from `start` on.
    fn read_bytes(&self, start: usize, bytes: &mut [u8]) -> Result<(), PolicyError> {
        self.file
            .read_exact_at(bytes, self.data_start + start as u64)
            .map_err(|source| PolicyError::read(&self.path, source))
    }

    fn read(&self, name: &str, info: &TensorInfo) -> Result<Tensor, PolicyError> {
        let kind = self.kind(name, info)?;
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        self.read_bytes(start, &mut bytes)?;
        let shape: Vec<i64> = info.shape.iter().map(|&size| size as i64).collect();
        Ok(Tensor::f_from_data_size(&bytes, &shape, kind)?)
    }
}
