//! A temporary directory with the demo's data and model, jobs on them, and the command line run in it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anytime::demo;
use anytime::tasks::{self, Sizes, TaskName};
use anytime_proto::v1::{self, JobSpec};
use tempfile::TempDir;

use crate::process::{Mark, tail};
use crate::programs;
use crate::wait::patiently;

/// Rows of data that a small job needs.
const SIZES: Sizes = Sizes {
    train: 400,
    test: 24,
    sft: 9_600,
};

const DATA_SEED: u64 = 11;

/// A temporary directory that holds the demo's `data/` and `model/`. It makes jobs on them and runs `anytime` in it;
/// when it is dropped, every process started here ends before the directory is removed.
#[derive(Debug)]
pub struct Workplace {
    // Dropped by hand, after the processes that write into it.
    directory: Option<TempDir>,
    path: PathBuf,
    mark: Mark,
}

impl Default for Workplace {
    fn default() -> Self {
        Self::new()
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// Its one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, tail(&self.stderr)))
    }

    /// Panics with its output unless it ended with this code.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "standard error:\n{}\nstandard output:\n{}",
            tail(&self.stderr),
            tail(&self.stdout)
        );
        self
    }
}

impl Workplace {
    /// A directory with `data/` and `model/`.
    pub fn new() -> Self {
        let directory = TempDir::new().expect("temporary directory");
        let path = directory.path().canonicalize().expect("temporary directory");
        tasks::write_data(TaskName::Chains, &path.join("data"), DATA_SEED, &SIZES).expect("data");
        tasks::write_model(&path.join("model")).expect("model");
        let mark = Mark::new(&path);
        Self {
            directory: Some(directory),
            path,
            mark,
        }
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The mark of everything that is started here.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// A short warm start of the demo's model; the checkpoint goes to `sft/`.
    pub fn sft(&self, steps: u64) -> JobSpec {
        let mut spec = self.demo_job(v1::JobKind::Sft);
        let training = spec.training.get_or_insert_default();
        training.steps = Some(steps);
        training.warmup_updates = Some(steps / 10);
        spec
    }

    /// A small train job on weights that are drawn at its start. It learns nothing, but passes through everything
    /// except an evaluation; its leases run out soon.
    pub fn train(&self, name: &str, steps: u64) -> JobSpec {
        let mut spec = self.demo_job(v1::JobKind::Train);
        spec.name = Some(name.to_owned());
        let model = spec.model.get_or_insert_default();
        model.path = Some(self.path("model").display().to_string());
        model.initialise = Some(true);
        let rollout = spec.rollout.get_or_insert_default();
        rollout.budgets = vec![6, 12];
        rollout.traces = Some(4);
        rollout.summaries = Some(2);
        rollout.lease_seconds = Some(3);
        let training = spec.training.get_or_insert_default();
        training.steps = Some(steps);
        training.batch = Some(4);
        training.learning_rate = Some(3e-4);
        spec.evaluation = None;
        let checkpoint = spec.checkpoint.get_or_insert_default();
        checkpoint.output = None;
        checkpoint.recovery_every = Some(5);
        spec
    }

    /// The demo's own train job on the checkpoint of [`Workplace::sft`].
    pub fn demo_train(&self) -> JobSpec {
        self.demo_job(v1::JobKind::Train)
    }

    fn demo_job(&self, kind: v1::JobKind) -> JobSpec {
        let specs = demo::job_specs(TaskName::Chains, &self.path, None).expect("the demo's jobs");
        specs
            .into_iter()
            .find(|spec| spec.kind() == kind)
            .expect("a job of this kind")
    }

    /// Writes a job file without checking it.
    pub fn write_job(&self, spec: &JobSpec) -> PathBuf {
        let path = self.path(&format!("{}.toml", spec.name()));
        let text = toml::to_string_pretty(spec).expect("job file");
        std::fs::write(&path, text).expect("job file");
        path
    }

    /// `anytime` with these arguments, in this directory.
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(programs::binary("anytime"));
        self.mark.put_on(&mut command);
        // `anytime local` finds a Redis above its own executable or on PATH; the build may lie outside the checkout.
        let redis_directory = programs::redis_server();
        let redis_directory = redis_directory.parent().map(Path::to_path_buf);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories = std::env::split_paths(&path).chain(redis_directory);
        let path = std::env::join_paths(directories).expect("PATH");
        command.args(arguments).current_dir(&self.path).env("PATH", path);
        command
    }

    /// Runs `anytime` to its end, with a deadline.
    pub async fn anytime(&self, arguments: &[&str], seconds: u64) -> Ended {
        self.run(self.command(arguments), seconds).await
    }

    /// Runs a command to its end, and panics [`patiently`] after `seconds`.
    pub async fn run(&self, command: std::process::Command, seconds: u64) -> Ended {
        let mut command = tokio::process::Command::from(command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let what = format!("{:?}", command.as_std());
        let limit = patiently(seconds);
        let output = tokio::time::timeout(Duration::from_secs(limit), command.output()).await;
        let output = output
            .unwrap_or_else(|_| panic!("{what} did not end within {limit} s"))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended {
            code: output
                .status
                .code()
                .unwrap_or_else(|| panic!("{what}: {}", output.status)),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Panics if any process that was started here is left.
    pub fn assert_nothing_runs(&self) {
        let left = self.mark.processes();
        assert!(left.is_empty(), "processes are left: {left:?}");
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        self.mark.kill_all();
        drop(self.directory.take());
    }
}
