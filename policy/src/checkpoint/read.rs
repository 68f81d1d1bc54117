//! Safetensors to tensors, one tensor at a time, so that a model needs its own size in memory and not twice that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tch::{Device, Kind, Tensor};

use super::layout::{INDEX_FILE, SINGLE_FILE};
use crate::config::ModelConfig;
use crate::error::PolicyError;
use crate::weights::{Weights, expected_tensors};

/// A longer header means a damaged file: 100 MB, the limit of safetensors itself.
const LONGEST_HEADER: u64 = 100_000_000;

/// Reads the weights of a model directory, from `model.safetensors` or from the shards that
/// `model.safetensors.index.json` lists, as `kind` on `device`.
///
/// Rotary frequencies that older exports carry are ignored, as is an `lm_head.weight` beside tied embeddings.
///
/// # Errors
/// A file is missing or damaged; a tensor is missing, unexpected, of the wrong shape, or neither f32, bf16 nor f16.
pub fn read_weights(dir: &Path, config: &ModelConfig, kind: Kind, device: Device) -> Result<Weights, PolicyError> {
    let mut weights = Weights::new();
    for (mut shard, tensors) in open_shards(dir, config)? {
        for (name, info) in tensors {
            let tensor = shard.read(&name, &info)?.f_to_kind(kind)?.f_to_device(device)?;
            weights.insert(name, tensor);
        }
    }
    Ok(weights)
}

/// Checks by the headers alone that the directory holds every weight of the model in its shape, before gigabytes are
/// read.
///
/// # Errors
/// Those of [`read_weights`], except for data that cannot be read.
pub fn check_weights(dir: &Path, config: &ModelConfig) -> Result<(), PolicyError> {
    open_shards(dir, config).map(|_| ())
}

/// A file and the model's tensors in it, in the order of their data.
type ShardTensors = (Shard, Vec<(String, TensorInfo)>);

/// The files with the model's tensors in each; together they hold every expected tensor once.
fn open_shards(dir: &Path, config: &ModelConfig) -> Result<Vec<ShardTensors>, PolicyError> {
    let expected: HashMap<String, Vec<i64>> = expected_tensors(config).into_iter().collect();
    let mut missing: BTreeSet<&String> = expected.keys().collect();
    let Listing {
        named_by,
        shards: paths,
    } = list_shards(dir)?;
    let mut opened = Vec::with_capacity(paths.len());
    for path in &paths {
        let shard = Shard::open(path)?;
        let mut tensors = Vec::new();
        for (name, info) in shard.tensors() {
            if is_ignored(config, &name) {
                continue;
            }
            let Some(expected) = expected.get(&name) else {
                let model_type = config.model_type.name().to_owned();
                return Err(PolicyError::UnexpectedTensor {
                    origin: path.display().to_string(),
                    name,
                    model_type,
                });
            };
            if !missing.remove(&name) {
                return Err(PolicyError::checkpoint(
                    path,
                    format!("tensor {name} is also in another shard"),
                ));
            }
            shard.check(&name, &info, expected)?;
            tensors.push((name, info));
        }
        opened.push((shard, tensors));
    }
    if let Some(name) = missing.into_iter().next() {
        return Err(PolicyError::MissingTensor {
            origin: named_by.display().to_string(),
            name: name.clone(),
        });
    }
    Ok(opened)
}

fn is_ignored(config: &ModelConfig, name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq") || (config.tie_word_embeddings && name == "lm_head.weight")
}

/// The safetensors files of a directory, in the order of their names.
struct Listing {
    /// The index, or the only file.
    named_by: PathBuf,
    shards: Vec<PathBuf>,
}

fn list_shards(dir: &Path) -> Result<Listing, PolicyError> {
    let index = dir.join(INDEX_FILE);
    let single = dir.join(SINGLE_FILE);
    if single.exists() || !index.exists() {
        return Ok(Listing {
            named_by: single.clone(),
            shards: vec![single],
        });
    }
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read(&index).map_err(|source| PolicyError::read(&index, source))?;
    let parsed: Index = serde_json::from_slice(&text).map_err(|source| PolicyError::json(&index, source))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    // A shard is a file of this directory; the index may come from anywhere.
    if let Some(name) = names
        .iter()
        .find(|name| Path::new(name).file_name() != Some(name.as_ref()))
    {
        return Err(PolicyError::checkpoint(
            &index,
            format!("shard {name} is not a file name"),
        ));
    }
    if names.is_empty() {
        return Err(PolicyError::checkpoint(&index, "weight_map is empty"));
    }
    let shards = names.iter().map(|name| dir.join(name)).collect();
    Ok(Listing {
        named_by: index,
        shards,
    })
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

    fn read(&mut self, name: &str, info: &TensorInfo) -> Result<Tensor, PolicyError> {
        let kind = self.kind(name, info)?;
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        let read_error = |source| PolicyError::read(&self.path, source);
        self.file
            .seek(SeekFrom::Start(self.data_start + start as u64))
            .map_err(read_error)?;
        self.file.read_exact(&mut bytes).map_err(read_error)?;
        let shape: Vec<i64> = info.shape.iter().map(|&size| size as i64).collect();
        Ok(Tensor::f_from_data_size(&bytes, &shape, kind)?)
    }
}
