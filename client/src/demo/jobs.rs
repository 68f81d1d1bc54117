//! The demo's jobs: the task's job files with their paths moved into the run's directory.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_proto::v1;

use crate::job_file;
use crate::output::{make_directory, write_whole};
use crate::tasks::{JobFiles, TaskName};

/// The jobs of a task, warm start first, with all paths under `out`; `seed` replaces every seed in them. A task that
/// trains a published checkpoint has no jobs here.
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

/// Writes the jobs as job files, so that what ran can be read, changed and run again.
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
        .with_context(|| format!("--out {} is not UTF-8, so a job file cannot name it", to.display()))?;
    let model = spec.model.get_or_insert_default();
    let data = spec.data.get_or_insert_default();
    let evaluation = spec.evaluation.get_or_insert_default();
    let checkpoint = spec.checkpoint.get_or_insert_default();
    let single = [&mut model.path, &mut checkpoint.output];
    let lists = [&mut data.path, &mut evaluation.path];
    for path in single.into_iter().flatten().chain(lists.into_iter().flatten()) {
        if let Some(rest) = path.strip_prefix(from) {
            *path = format!("{}{rest}", to.trim_end_matches('/'));
        }
    }
    Ok(())
}

/// Sets one seed for the first weights, the order of the data, and the sampling.
pub fn set_seeds(spec: &mut v1::JobSpec, seed: u64) {
    spec.model.get_or_insert_default().seed = Some(seed);
    spec.data.get_or_insert_default().shuffle_seed = Some(seed);
    spec.rollout.get_or_insert_default().seed = Some(seed);
}
