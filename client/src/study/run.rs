//! Runs what a study still lacks, seed by seed, so that a study that was interrupted has whole pairs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_proto::settings::with_defaults;
use anytime_proto::v1;
use anytime_service::exit::{ExitError, FAILED, exit_code};
use serde::{Deserialize, Serialize};

use super::grid::{RunPlan, STUDY_FILE, Study};
use super::results::{self, RunResult, seed_directory};
use crate::arguments::ProcessArgs;
use crate::interrupt::Interrupt;
use crate::local::{self, LocalRun};
use crate::output::{lock_directory, make_directory, write_whole};
use crate::tasks::{self, JobFiles};

/// Marks the directory of a seed whose warm start is done.
const WARM_START_FILE: &str = "warm-start.json";

/// The warm start of a seed, as it was run.
#[derive(Debug, Deserialize, Serialize)]
struct WarmStart {
    settings: v1::JobSpec,
    seconds: f64,
}

/// Runs a study in a directory.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) study: &'a Study,
    /// The text of the study file, for the copy beside the results.
    pub(super) text: &'a str,
    pub(super) out: &'a Path,
    pub(super) processes: &'a ProcessArgs,
    pub(super) interrupt: Interrupt,
    pub(super) results: Vec<RunResult>,
}

impl Runner<'_> {
    /// Does every run that has no result yet. Returns the names of those that failed; the others are done.
    ///
    /// # Errors
    /// A signal, bad configuration, or results of other settings.
    pub(super) async fn run(&mut self) -> anyhow::Result<Vec<String>> {
        let _lock = lock_directory(self.out, "study.lock", "study")?;
        let plans = self.plans()?;
        write_whole(&self.out.join(STUDY_FILE), self.text)?;
        let total = plans.len();
        let mut failed = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            let name = &plan.name;
            if self.is_done(plan) {
                continue;
            }
            eprintln!(
                "study: run {} of {total}: {} with seed {}",
                index + 1,
                name.method,
                name.seed
            );
            match self.run_one(plan).await {
                Ok(()) => {}
                Err(error) if exit_code(&error) == FAILED => {
                    eprintln!("study: {} failed, going on: {error:#}", name.run);
                    failed.push(name.run.clone());
                }
                Err(error) => return Err(error.context(format!("run {}", name.run))),
            }
        }
        Ok(failed)
    }

    /// All runs in their order. Results of the same name with other settings are refused before anything starts.
    fn plans(&self) -> anyhow::Result<Vec<RunPlan>> {
        let mut plans = Vec::new();
        for seed in &self.study.seeds {
            for method in &self.study.methods {
                let plan = self.study.plan(method, *seed, self.out)?;
                if let Some(result) = self.result(&plan)
                    && !result.has_settings(&plan.spec)
                {
                    let message = format!(
                        "{}: {} has a run {} of other settings; take another --out, or remove it there",
                        self.out.display(),
                        results::RESULTS_FILE,
                        plan.name.run
                    );
                    return Err(ExitError::configuration(message).into());
                }
                plans.push(plan);
            }
        }
        Ok(plans)
    }

    fn result(&self, plan: &RunPlan) -> Option<&RunResult> {
        let name = &plan.name;
        self.results
            .iter()
            .find(|result| result.method == name.method && result.seed == name.seed)
    }

    fn is_done(&self, plan: &RunPlan) -> bool {
        self.result(plan).is_some()
    }

    async fn run_one(&mut self, plan: &RunPlan) -> anyhow::Result<()> {
        self.prepare_seed(plan.name.seed).await?;
        let directory = self.out.join(&plan.name.run);
        let finished = self.run_job(plan.spec.clone(), directory).await?;
        let result = RunResult::of(&plan.name, &finished.job, &finished.report.series)?;
        self.results.push(result);
        results::save(self.out, &self.results)
    }

    /// Makes data, model and warm start of a seed, unless they are there.
    async fn prepare_seed(&mut self, seed: u64) -> anyhow::Result<()> {
        let directory = self.out.join(seed_directory(seed));
        let (Some(task), Some(sizes)) = (self.study.base.task, &self.study.sizes) else {
            return make_directory(&directory);
        };
        let warm_start = self.study.warm_start(seed, self.out)?;
        if warm_start.is_some() && is_warm(&directory, warm_start.as_ref())? {
            return Ok(());
        }
        // The same seed gives the same files, so that writing them again does no harm.
        tasks::write_data(task, &directory.join("data"), seed, sizes)?;
        if JobFiles::of(task).is_some() {
            tasks::write_model(&directory.join("model"))?;
        }
        let Some(spec) = warm_start else {
            return Ok(());
        };
        eprintln!("study: warm start with seed {seed}");
        let finished = self.run_job(spec.clone(), directory.join("warm-start")).await?;
        let done = WarmStart {
            settings: spec,
            seconds: finished.job.seconds,
        };
        let text = serde_json::to_string_pretty(&done).context("warm start")?;
        write_whole(&directory.join(WARM_START_FILE), text + "\n")
    }

    async fn run_job(&mut self, spec: v1::JobSpec, out: PathBuf) -> anyhow::Result<local::Finished> {
        let run = LocalRun {
            specs: vec![spec],
            out,
            resume: true,
            processes: self.processes.clone(),
        };
        let goes_on = format!("`anytime study` with --out {} goes on from here", self.out.display());
        // The jobs' lines go to standard error, because standard output is for the result of the study.
        let finished = local::run_to_end(&run, true, &goes_on, &mut self.interrupt).await?;
        finished.into_iter().next().context("a run of no job")
    }
}

fn is_warm(directory: &Path, wanted: Option<&v1::JobSpec>) -> anyhow::Result<bool> {
    let path = directory.join(WARM_START_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let done: WarmStart = serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?;
    if wanted.map(with_defaults) != Some(with_defaults(&done.settings)) {
        let message = format!("{}: a warm start of other settings; take another --out", path.display());
        return Err(ExitError::configuration(message).into());
    }
    Ok(true)
}
