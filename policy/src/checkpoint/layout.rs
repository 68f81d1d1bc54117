//! The names of the files in a model directory.

use std::path::{Path, PathBuf};

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
/// With these and the weights a process elsewhere can run the model.
pub fn asset_files(dir: &Path) -> Vec<PathBuf> {
    ASSETS
        .iter()
        .map(|name| dir.join(name))
        .filter(|path| path.is_file())
        .collect()
}
