//! The files that the binary carries for the tasks: the model that starts from nothing and the job files that train it.

use std::path::Path;

use super::name::TaskName;
use crate::output::{make_directory, write_whole};

const MODEL_FILES: [(&str, &str); 4] = [
    ("config.json", include_str!("../../../deploy/demo/model/config.json")),
    (
        "generation_config.json",
        include_str!("../../../deploy/demo/model/generation_config.json"),
    ),
    (
        "tokenizer.json",
        include_str!("../../../deploy/demo/model/tokenizer.json"),
    ),
    (
        "tokenizer_config.json",
        include_str!("../../../deploy/demo/model/tokenizer_config.json"),
    ),
];

/// The job files of a task that starts from nothing.
#[derive(Clone, Copy, Debug)]
pub struct JobFiles {
    /// Path in the repository and text of the warm start's job file.
    pub warm_start: (&'static str, &'static str),
    /// Path in the repository and text of the main job's file.
    pub train: (&'static str, &'static str),
}

const CHAINS: JobFiles = JobFiles {
    warm_start: ("deploy/demo/sft.toml", include_str!("../../../deploy/demo/sft.toml")),
    train: (
        "deploy/demo/train.toml",
        include_str!("../../../deploy/demo/train.toml"),
    ),
};

const PRODUCTS: JobFiles = JobFiles {
    warm_start: (
        "deploy/demo/products-sft.toml",
        include_str!("../../../deploy/demo/products-sft.toml"),
    ),
    train: (
        "deploy/demo/products-train.toml",
        include_str!("../../../deploy/demo/products-train.toml"),
    ),
};

impl JobFiles {
    /// The job files of a task; none if it trains a published checkpoint.
    pub fn of(task: TaskName) -> Option<&'static Self> {
        match task {
            TaskName::Chains => Some(&CHAINS),
            TaskName::Products => Some(&PRODUCTS),
            TaskName::Sums => None,
        }
    }
}

/// Writes the configuration and the tokenizer of the demo's model; its weights are drawn by the learner.
///
/// # Errors
/// If a file cannot be written.
pub fn write_model(directory: &Path) -> anyhow::Result<()> {
    make_directory(directory)?;
    for (name, content) in MODEL_FILES {
        write_whole(&directory.join(name), content)?;
    }
    Ok(())
}
