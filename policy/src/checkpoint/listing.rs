//! Which files of a model directory hold its weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::layout::{INDEX_FILE, SINGLE_FILE};
use crate::error::PolicyError;
use crate::model_files;

/// The safetensors files of a directory, in the order of their names.
pub(super) struct Listing {
    /// The index, or the only file.
    pub(super) named_by: PathBuf,
    pub(super) shards: Vec<PathBuf>,
    /// Tensors and the names of their files; empty where there is no index.
    places: BTreeMap<String, String>,
}

impl Listing {
    /// Whether the index says that a tensor is in this file.
    pub(super) fn names(&self, tensor: &str, shard: &Path) -> bool {
        let place = self.places.get(tensor);
        place.is_some_and(|place| shard.file_name().is_some_and(|name| name == place.as_str()))
    }
}

/// The files that hold the weights of a model's directory, in the order of their names.
///
/// # Errors
/// An index that cannot be read, or weights in another format.
pub fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    Ok(list_shards(dir)?.shards)
}

/// The files that the directory says to read.
pub(super) fn list_shards(dir: &Path) -> Result<Listing, PolicyError> {
    let index = dir.join(INDEX_FILE);
    let single = dir.join(SINGLE_FILE);
    if single.exists() || !index.exists() {
        if !single.exists()
            && let Some(problem) = other_weights(dir)
        {
            return Err(PolicyError::checkpoint(dir, problem));
        }
        return Ok(Listing {
            named_by: single.clone(),
            shards: vec![single],
            places: BTreeMap::new(),
        });
    }
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = model_files::bytes(&index)?;
    let parsed: Index = serde_json::from_slice(&text).map_err(|source| PolicyError::json(&index, source))?;
    let names: BTreeSet<&String> = parsed.weight_map.values().collect();
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
        places: parsed.weight_map,
    })
}

/// Which weights in another format the directory has instead, and what to do about it.
fn other_weights(dir: &Path) -> Option<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let first = |endings: &[&str]| {
        names
            .iter()
            .find(|name| endings.iter().any(|ending| name.ends_with(ending)))
    };
    if let Some(name) = names.iter().find(|name| name.starts_with("adapter_model.")) {
        // Those of other formats are not read at all.
        if !name.ends_with(".safetensors") {
            return Some(format!("the adapters in {name} are not read; save them as safetensors"));
        }
        return Some(format!(
            "there are adapters ({name}) and neither a model nor adapter_config.json, which says what they are added to; fetch \
             that file"
        ));
    }
    if let Some(name) = first(&[".safetensors"]) {
        return Some(format!(
            "there is neither {SINGLE_FILE} nor {INDEX_FILE}, which says what is in the files beside it such as {name}; \
             fetch it, or save the model again"
        ));
    }
    let name = first(&[
        ".bin",
        ".bin.index.json",
        ".pt",
        ".pth",
        ".gguf",
        ".ckpt",
        ".h5",
        ".msgpack",
    ])?;
    Some(format!(
        "there is no {SINGLE_FILE}, and {name} is not read; \
         AutoModelForCausalLM.from_pretrained(…).save_pretrained(…) of transformers writes it"
    ))
}
