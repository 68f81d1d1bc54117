//! Exports a whole model directory, so that a reader sees the old one or the new one and never half of either.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::Permissions;
use std::path::Path;

use anytime_files::replace_directory;
use safetensors::{Dtype, View};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::layout::{INDEX_FILE, SINGLE_FILE, asset_files};
use crate::config::ModelConfig;
use crate::error::PolicyError;
use crate::weights::{Weights, expected_tensors};

/// Weights above this are split into files below it: 5 GB, as transformers does.
const LARGEST_SHARD: usize = 5_000_000_000;

/// Writes a model directory that transformers and vLLM load: weights as `kind` (f32, bf16 or f16), `config.json` with
/// that kind noted, and the tokenizer and chat template of `assets_from`.
///
/// Everything is written and synced beside `dir` first. An existing `dir` is then exchanged in one step where the
/// file system can do that; elsewhere it is moved aside for an instant.
///
/// # Errors
/// A tensor is missing or of the wrong shape, `kind` is none of the three, or a file cannot be read or written; `dir`
/// is then as it was.
pub fn write_checkpoint(
    dir: &Path,
    config: &ModelConfig,
    weights: &Weights,
    kind: Kind,
    assets_from: &Path,
) -> Result<(), PolicyError> {
    write_sharded(dir, config, weights, kind, assets_from, LARGEST_SHARD)
}

fn write_sharded(
    dir: &Path,
    config: &ModelConfig,
    weights: &Weights,
    kind: Kind,
    assets_from: &Path,
    largest_shard: usize,
) -> Result<(), PolicyError> {
    replace_directory(dir, |draft| {
        for source in asset_files(assets_from) {
            let Some(name) = source.file_name().filter(|name| *name != "config.json") else {
                continue;
            };
            let target = draft.join(name);
            std::fs::copy(&source, &target).map_err(|error| PolicyError::write(&target, error))?;
        }
        write_files(draft, config, weights, kind, largest_shard)
    })
}

/// Writes weights as `kind` and `config.json` into a directory that exists. Nothing is synced: the caller assembles the
/// model directory and puts it in place, as [`write_checkpoint`] does.
///
/// # Errors
/// As [`write_checkpoint`].
pub fn write_model(dir: &Path, config: &ModelConfig, weights: &Weights, kind: Kind) -> Result<(), PolicyError> {
    write_files(dir, config, weights, kind, LARGEST_SHARD)
}

fn write_files(
    dir: &Path,
    config: &ModelConfig,
    weights: &Weights,
    kind: Kind,
    largest_shard: usize,
) -> Result<(), PolicyError> {
    let (_, dtype_name) = dtype_of(dir, kind)?;
    let mut entries = Vec::new();
    for (name, expected) in expected_tensors(config) {
        let origin = "weights".to_owned();
        let Some(tensor) = weights.get(&name) else {
            let hint = String::new();
            return Err(PolicyError::MissingTensor { origin, name, hint });
        };
        let found = tensor.size();
        if found != expected {
            return Err(PolicyError::TensorShape {
                origin,
                name,
                found,
                expected,
            });
        }
        entries.push((name, Entry::of(dir, tensor, kind)?));
    }
    let config_path = dir.join("config.json");
    write_json(&config_path, &config_with_dtype(config, dtype_name))?;
    // safetensors makes its files private to this user; they should be as readable as their neighbours.
    let mode = std::fs::metadata(&config_path)
        .map_err(|source| PolicyError::read(&config_path, source))?
        .permissions();

    let total: usize = entries.iter().map(|(_, entry)| entry.data_len()).sum();
    let shards = into_shards(entries, largest_shard);
    if let [shard] = shards.as_slice() {
        return write_shard(&dir.join(SINGLE_FILE), shard, &mode);
    }
    let mut weight_map = BTreeMap::new();
    for (index, shard) in shards.iter().enumerate() {
        let file_name = format!("model-{:05}-of-{:05}.safetensors", index + 1, shards.len());
        write_shard(&dir.join(&file_name), shard, &mode)?;
        weight_map.extend(shard.iter().map(|(name, _)| (name.clone(), file_name.clone())));
    }
    write_json(
        &dir.join(INDEX_FILE),
        &json!({"metadata": {"total_size": total}, "weight_map": weight_map}),
    )
}

/// How safetensors and transformers call a kind.
fn dtype_of(place: &Path, kind: Kind) -> Result<(Dtype, &'static str), PolicyError> {
    match kind {
        Kind::Float => Ok((Dtype::F32, "float32")),
        Kind::BFloat16 => Ok((Dtype::BF16, "bfloat16")),
        Kind::Half => Ok((Dtype::F16, "float16")),
        other => Err(PolicyError::checkpoint(
            place,
            format!("cannot be written as {other:?}"),
        )),
    }
}

/// The original configuration with the number type. The type keeps the field name that the file already uses.
fn config_with_dtype(config: &ModelConfig, dtype_name: &str) -> Value {
    let mut fields = config.json().clone();
    // Newer files say `dtype`; older readers know `torch_dtype` alone, and newer ones still understand it.
    let old_name = fields.contains_key("torch_dtype") || !fields.contains_key("dtype");
    if fields.contains_key("dtype") {
        fields.insert("dtype".to_owned(), json!(dtype_name));
    }
    if old_name {
        fields.insert("torch_dtype".to_owned(), json!(dtype_name));
    }
    Value::Object(fields)
}

fn into_shards(entries: Vec<(String, Entry<'_>)>, largest_shard: usize) -> Vec<Vec<(String, Entry<'_>)>> {
    let mut shards = vec![Vec::new()];
    let mut size = 0;
    for (name, entry) in entries {
        let current = shards.len() - 1;
        let fits = size + entry.data_len() <= largest_shard || shards[current].is_empty();
        size = if fits {
            size + entry.data_len()
        } else {
            entry.data_len()
        };
        if fits {
            shards[current].push((name, entry));
        } else {
            shards.push(vec![(name, entry)]);
        }
    }
    shards
}

/// A tensor on its way into a file; its bytes exist only while they are written.
pub(super) struct Entry<'a> {
    tensor: &'a Tensor,
    dtype: Dtype,
    kind: Kind,
    shape: Vec<usize>,
}

impl View for &Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let tensor = self
            .tensor
            .detach()
            .to_kind(self.kind)
            .to_device(Device::Cpu)
            .contiguous();
        let mut bytes = vec![0; self.data_len()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        Entry::data_len(self)
    }
}

impl<'a> Entry<'a> {
    /// A tensor that is to be written as `kind` (f32, bf16 or f16); `place` is what an error names.
    pub(super) fn of(place: &Path, tensor: &'a Tensor, kind: Kind) -> Result<Self, PolicyError> {
        Ok(Self {
            tensor,
            dtype: dtype_of(place, kind)?.0,
            kind,
            shape: tensor.size().iter().map(|&size| size as usize).collect(),
        })
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.kind.elt_size_in_bytes()
    }
}

pub(super) fn write_shard(path: &Path, shard: &[(String, Entry<'_>)], mode: &Permissions) -> Result<(), PolicyError> {
    // transformers refuses files that do not say which framework's layout they have.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let entries = shard.iter().map(|(name, entry)| (name, entry));
    safetensors::serialize_to_file(entries, Some(metadata), path)
        .map_err(|error| PolicyError::checkpoint(path, error.to_string()))?;
    std::fs::set_permissions(path, mode.clone()).map_err(|source| PolicyError::write(path, source))
}

pub(super) fn write_json(path: &Path, value: &Value) -> Result<(), PolicyError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|source| PolicyError::json(path, source))?;
    text.push('\n');
    std::fs::write(path, text).map_err(|source| PolicyError::write(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::read::read_weights;
    use crate::weights::initialise_weights;

    fn small() -> (ModelConfig, Weights) {
        let config = ModelConfig::from_json(
            r#"{"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
                "num_attention_heads": 2, "vocab_size": 20, "max_position_embeddings": 64}"#,
        )
        .unwrap();
        let weights = initialise_weights(&config, 5, Device::Cpu);
        (config, weights)
    }

    #[test]
    fn shards_are_read_back() {
        let (config, weights) = small();
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("model");
        // The largest tensor has 640 bytes; a shard of less holds it alone.
        write_sharded(&dir, &config, &weights, Kind::Float, parent.path(), 600).unwrap();
        let index: Value = serde_json::from_slice(&std::fs::read(dir.join(INDEX_FILE)).unwrap()).unwrap();
        let bytes: usize = weights.values().map(|tensor| 4 * tensor.numel()).sum();
        assert_eq!(index["metadata"]["total_size"], bytes);
        assert_eq!(index["weight_map"].as_object().unwrap().len(), weights.len());
        let first = index["weight_map"]["model.embed_tokens.weight"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(first.starts_with("model-00001-of-000"), "{first}");
        assert!(!dir.join(SINGLE_FILE).exists());
        // Without a dtype of its own, the configuration says it under the name that all readers know.
        assert_eq!(ModelConfig::load(&dir).unwrap().json()["torch_dtype"], "float32");

        let again = read_weights(&dir, &config, Kind::Float, Device::Cpu).unwrap();
        assert!(weights.iter().all(|(name, tensor)| tensor.equal(&again[name])));
        assert_eq!(weights.len(), again.len());

        std::fs::remove_file(dir.join(&first)).unwrap();
        let error = read_weights(&dir, &config, Kind::Float, Device::Cpu)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cannot read") && error.contains(&first), "{error}");
    }

    #[test]
    fn an_index_that_lies_is_refused() {
        let (config, weights) = small();
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("model");
        write_sharded(&dir, &config, &weights, Kind::Float, parent.path(), 600).unwrap();
        let refusal = |index: Value| {
            write_json(&dir.join(INDEX_FILE), &index).unwrap();
            read_weights(&dir, &config, Kind::Float, Device::Cpu)
                .unwrap_err()
                .to_string()
        };
        let error = refusal(json!({"weight_map": {"a": "../elsewhere.safetensors"}}));
        assert!(
            error.contains("shard ../elsewhere.safetensors is not a file name"),
            "{error}"
        );
        assert!(refusal(json!({"weight_map": {}})).contains("weight_map is empty"));
        assert!(refusal(json!({})).contains("not valid json"));
        let names = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let first = names.filter(|name| name.ends_with(".safetensors")).min().unwrap();
        let error = refusal(json!({"weight_map": {"model.norm.weight": first}}));
        assert!(error.contains(INDEX_FILE) && error.contains("is missing"), "{error}");
    }
}
