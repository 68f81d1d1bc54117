//! The demo's model and jobs: the files that the binary carries, with their paths under the run's directory.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_proto::v1;

use super::task::TaskName;
use crate::job_file;
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
    /// (name, text) of the warm start.
    pub warm_start: (&'static str, &'static str),
    /// (name, text) of the main part.
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
    /// Those of a task; none where it trains a published checkpoint.
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

/// The jobs of a task (none where it trains a published checkpoint), warm start first, with all paths under `out` and, if one is given, another seed for everything.
///
/// # Errors
/// If a job file is wrong, or `out` is not UTF-8 (a job file could not name it).
pub fn job_specs(task: TaskName, out: &Path, seed: Option<u64>) -> anyhow::Result<Vec<v1::JobSpec>> {
    let mut specs = Vec::new();
    let files = JobFiles::of(task).map(|files| [files.warm_start, files.train]);
    for (name, text) in files.into_iter().flatten() {
        let mut spec = job_file::parse(name, text)?;
        move_paths(&mut spec, task.directory(), out)?;
        if let Some(seed) = seed {
            set_seeds(&mut spec, seed);
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// Writes the jobs as job files: what ran can be read, changed and run again.
///
/// # Errors
/// If a file cannot be written.
pub fn write_jobs(directory: &Path, specs: &[v1::JobSpec]) -> anyhow::Result<Vec<PathBuf>> {
    make_directory(directory)?;
    let mut paths = Vec::new();
    for spec in specs {
        let path = directory.join(format!("{}.toml", spec.name()));
        let text = toml::to_string_pretty(spec).context("job file")?;
        job_file::parse(&path.display().to_string(), &text)?;
        write_whole(&path, text)?;
        paths.push(path);
    }
    Ok(paths)
}

/// Puts `to` in the place of the directory `from` at the head of every path of a job.
///
/// # Errors
/// If `to` is not UTF-8.
pub fn move_paths(spec: &mut v1::JobSpec, from: &str, to: &Path) -> anyhow::Result<()> {
    let to = to
        .to_str()
        .with_context(|| format!("--out {}: allowed: a path in UTF-8", to.display()))?;
    let model = spec.model.get_or_insert_default();
    let data = spec.data.get_or_insert_default();
    let evaluation = spec.evaluation.get_or_insert_default();
    let checkpoint = spec.checkpoint.get_or_insert_default();
    let paths = [
        &mut model.path,
        &mut data.path,
        &mut evaluation.path,
        &mut checkpoint.output,
    ];
    for path in paths.into_iter().flatten() {
        if let Some(rest) = path.strip_prefix(from) {
            *path = format!("{}{rest}", to.trim_end_matches('/'));
        }
    }
    Ok(())
}

/// One seed for the first weights, the order of the data, the sampling and the training.
pub fn set_seeds(spec: &mut v1::JobSpec, seed: u64) {
    spec.model.get_or_insert_default().seed = Some(seed);
    spec.data.get_or_insert_default().shuffle_seed = Some(seed);
    spec.rollout.get_or_insert_default().seed = Some(seed);
    spec.training.get_or_insert_default().seed = Some(seed);
}
