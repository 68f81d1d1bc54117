//! The names of the files in a model directory.

use std::path::{Path, PathBuf};

use crate::adapter_config::{has_tokenizer, read_config};

/// All weights in one file.
pub(super) const SINGLE_FILE: &str = "model.safetensors";
/// Which shard holds which tensor, where there are several.
pub(super) const INDEX_FILE: &str = "model.safetensors.index.json";

/// Files beside the weights that a model directory may have and that a user of it may need.
const ASSETS: [&str; 12] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "LICENSE",
    "NOTICE",
];

/// The names that [`asset_files`] looks for.
pub fn asset_names() -> &'static [&'static str] {
    &ASSETS
}

/// The files of a model directory that are there beside its weights: configuration, tokenizer, chat template.
///
/// With these and the weights a process elsewhere can run the model. What a directory of adapters lacks is its base's.
pub fn asset_files(dir: &Path) -> Vec<PathBuf> {
    // Who opens the model is told what is wrong with a base.
    let base = read_config(dir).ok().flatten().map(|(base, _)| base);
    let place_of = |name: &str| -> PathBuf {
        let own = dir.join(name);
        let Some(base) = &base else {
            return own;
        };
        // As the model and its tokenizer are read.
        let is_own = match name {
            "config.json" => false,
            "generation_config.json" => has_tokenizer(dir) && own.is_file(),
            "LICENSE" | "NOTICE" => own.is_file(),
            _ => has_tokenizer(dir),
        };
        if is_own { own } else { base.join(name) }
    };
    ASSETS
        .iter()
        .map(|name| place_of(name))
        .filter(|path| path.is_file())
        .collect()
}
