//! Writes what the demo runs on: data, the model's files and the job files with their paths under the run's directory.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_proto::v1;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::chain::Chain;
use super::rows::{SftRow, cut_row, full_row};
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

/// The jobs in their order.
const JOB_FILES: [(&str, &str); 2] = [
    ("deploy/demo/sft.toml", include_str!("../../../deploy/demo/sft.toml")),
    (
        "deploy/demo/train.toml",
        include_str!("../../../deploy/demo/train.toml"),
    ),
];

/// Share of whole rows in the warm start; the others are cut, and teach only what a summary is.
const WHOLE_SHARE: f64 = 0.7;

/// The directory that the job files above name; another `--out` takes its place.
const OUT_IN_JOB_FILES: &str = "runs/demo";

/// How many rows of each file.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Problems to train on.
    pub train: usize,
    /// Problems to evaluate on; none of them occurs in the other files.
    pub test: usize,
    /// Rows of the warm start, whole and cut ones.
    pub sft: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            train: 4000,
            test: 256,
            sft: 64_000,
        }
    }
}

#[derive(Serialize)]
struct ProblemRow {
    id: String,
    problem: String,
    answer: String,
}

/// Writes train.jsonl, test.jsonl and sft.jsonl; the same seed gives the same files.
///
/// # Errors
/// If a file cannot be written.
pub fn write_data(directory: &Path, seed: u64, sizes: &Sizes) -> anyhow::Result<()> {
    make_directory(directory)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut taken = HashSet::new();
    let test = draw_new(&mut random, sizes.test, &mut taken);
    let held_out = taken.clone();
    let train = draw_new(&mut random, sizes.train, &mut taken);
    write_lines(&directory.join("test.jsonl"), &problem_rows("test", &test))?;
    write_lines(&directory.join("train.jsonl"), &problem_rows("train", &train))?;

    let mut rows: Vec<SftRow> = Vec::with_capacity(sizes.sft);
    while rows.len() < sizes.sft {
        let chain = Chain::draw(&mut random);
        if held_out.contains(&chain) {
            continue;
        }
        let is_whole = random.random_bool(WHOLE_SHARE);
        rows.push(if is_whole {
            full_row(&chain, &mut random)
        } else {
            cut_row(&chain, &mut random)
        });
    }
    write_lines(&directory.join("sft.jsonl"), &rows)
}

/// Draws chains that were not drawn before.
fn draw_new(random: &mut ChaCha8Rng, count: usize, taken: &mut HashSet<Chain>) -> Vec<Chain> {
    let mut chains = Vec::with_capacity(count);
    while chains.len() < count {
        let chain = Chain::draw(random);
        if taken.insert(chain.clone()) {
            chains.push(chain);
        }
    }
    chains
}

fn problem_rows(name: &str, chains: &[Chain]) -> Vec<ProblemRow> {
    let mut rows = Vec::with_capacity(chains.len());
    for (index, chain) in chains.iter().enumerate() {
        let id = format!("{name}-{index}");
        rows.push(ProblemRow {
            id,
            problem: chain.problem(),
            answer: chain.answer().to_string(),
        });
    }
    rows
}

fn write_lines(path: &Path, rows: &[impl Serialize]) -> anyhow::Result<()> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row).context("row of data")?);
        text.push('\n');
    }
    write_whole(path, text)
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

/// The demo's jobs with all paths under `out` and, if one is given, another seed for everything.
///
/// # Errors
/// If a job file of the demo is wrong, or `out` is not UTF-8 (a job file could not name it).
pub fn job_specs(out: &Path, seed: Option<u64>) -> anyhow::Result<Vec<v1::JobSpec>> {
    let out = out
        .to_str()
        .with_context(|| format!("--out {}: allowed: a path in UTF-8", out.display()))?;
    let mut specs = Vec::new();
    for (name, text) in JOB_FILES {
        let mut spec = job_file::parse(name, text)?;
        move_paths(&mut spec, out);
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

fn move_paths(spec: &mut v1::JobSpec, out: &str) {
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
        if let Some(rest) = path.strip_prefix(OUT_IN_JOB_FILES) {
            *path = format!("{}{rest}", out.trim_end_matches('/'));
        }
    }
}

fn set_seeds(spec: &mut v1::JobSpec, seed: u64) {
    spec.model.get_or_insert_default().seed = Some(seed);
    spec.data.get_or_insert_default().shuffle_seed = Some(seed);
    spec.rollout.get_or_insert_default().seed = Some(seed);
    spec.training.get_or_insert_default().seed = Some(seed);
}
