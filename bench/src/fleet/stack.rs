//! Redis and the learner as child processes, and what they cost.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use anytime_proto::v1;
use anytime_proto::v1::job_service_client::JobServiceClient;
use anytime_service::channel::{PeerChannel, lazy_channel};
use anytime_service::security::CallSecurity;
use clap::Args;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::groups::Shape;

/// How long a process may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Ticks of a second in `/proc`, which is the same on all Linux machines.
const TICKS: f64 = 100.0;

/// Where Redis and the learner keep their files while they are measured.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Directory for the files of Redis and of the learner, deleted in the end [default: a new one for temporary files]
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// When Redis syncs what it accepted: always, everysec, no, or off for no file at all
    #[arg(long, default_value = "always")]
    pub redis_sync: String,
}

/// The job that the learner works on.
#[derive(Clone, Debug)]
pub struct Job {
    /// Groups per step.
    pub batch: u32,
    /// How many versions old a group may be.
    pub max_staleness: u64,
    /// The bound of the queue.
    pub queue_groups: u32,
    /// Steps between two checkpoints, with each of which groups are acknowledged.
    pub recovery_every: u64,
    /// Whether the trainer takes nothing at first.
    pub is_held: bool,
    /// MiB of weights that are published instead of any training.
    pub weights_mib: usize,
}

/// A Redis, and a learner that runs a job.
pub struct Stack {
    /// The learner's address.
    pub address: String,
    /// The job's id.
    pub job_id: String,
    /// The Redis.
    pub redis: Redis,
    learner: Running,
    hold: PathBuf,
    jobs: JobServiceClient<PeerChannel>,
}

/// A Redis of its own.
pub struct Redis {
    running: Running,
    port: u16,
    directory: TempDir,
}

/// What a process has used up, and what it holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds of processor time since its start.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl Usage {
    /// The usage of a process so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("a process has ended")?;
        // The name in parentheses may hold anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |index: usize| {
            fields
                .get(index)
                .and_then(|text| text.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("a process has ended")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        Ok(Self {
            cpu_seconds: (number(11) + number(12)) / TICKS,
            resident: kibibytes.unwrap_or(0) * 1024,
        })
    }
}

/// A child process that ends with what holds it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Redis {
    /// Starts a Redis that syncs as `place` says.
    ///
    /// # Errors
    /// If no Redis is installed, or it does not answer.
    pub async fn start(place: &Place) -> anyhow::Result<Self> {
        let directory = match &place.directory {
            Some(path) => TempDir::with_prefix_in("fleet-", path),
            None => TempDir::with_prefix("fleet-"),
        };
        let directory = directory.context("make a directory for the case")?;
        let port = free_port()?;
        let program = program(&["redis-server", "valkey-server"])
            .context("there is no redis-server and no valkey-server: run deploy/setup.sh redis")?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        if place.redis_sync == "off" {
            command.args(["--appendonly", "no"]);
        } else {
            command.args(["--appendonly", "yes", "--appendfsync", &place.redis_sync]);
        }
        command.arg("--dir").arg(directory.path());
        let running = start(command, &directory.path().join("redis.log"))?;
        let redis = Self {
            running,
            port,
            directory,
        };
        eventually("redis answers", || Ok(redis.ask::<String>("PING", &[]).ok())).await?;
        Ok(redis)
    }

    /// Its port on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has used up.
    ///
    /// # Errors
    /// If it has ended.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.running.0.id())
    }

    /// Sends it one command and returns the answer.
    ///
    /// # Errors
    /// If it does not answer as is expected.
    pub fn ask<T: redis::FromRedisValue>(&self, command: &str, arguments: &[&str]) -> anyhow::Result<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut connection = client.get_connection()?;
        Ok(redis::cmd(command).arg(arguments).query(&mut connection)?)
    }

    /// A number from a section of its `INFO`.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn info(&self, section: &str, name: &str) -> anyhow::Result<f64> {
        let text: String = self.ask("INFO", &[section])?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = value.and_then(|value| value.trim().parse().ok());
        value.with_context(|| format!("redis does not say {name}"))
    }
}

impl Stack {
    /// Starts a learner on a Redis, and its job.
    ///
    /// # Errors
    /// If a process does not answer, or the job is refused.
    pub async fn start(redis: Redis, shape: &Shape, job: &Job) -> anyhow::Result<Self> {
        let directory = redis.directory().to_owned();
        let (hold, port_file) = (directory.join("hold"), directory.join("port"));
        if job.is_held {
            File::create(&hold)?;
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            "fleet",
            "learner",
            "--redis",
            &format!("redis://127.0.0.1:{}", redis.port),
        ]);
        command.arg("--runs-dir").arg(directory.join("runs"));
        command.arg("--port-file").arg(&port_file).arg("--hold").arg(&hold);
        for (name, value) in [
            ("--weights-mib", job.weights_mib.to_string()),
            ("--traces", shape.traces.to_string()),
            ("--thinking-tokens", shape.thinking_tokens.to_string()),
            ("--budgets", shape.budgets.to_string()),
            ("--summaries", shape.summaries.to_string()),
            ("--summary-tokens", shape.summary_tokens.to_string()),
            ("--prompt-tokens", shape.prompt_tokens.to_string()),
            ("--vocabulary", shape.vocabulary.to_string()),
        ] {
            command.args([name, &value]);
        }
        std::fs::create_dir_all(directory.join("runs"))?;
        command.env("RUST_LOG", "warn");
        let learner = start(command, &directory.join("learner.log"))?;
        let address = eventually("the learner listens", || Ok(std::fs::read_to_string(&port_file).ok())).await;
        let address = address.with_context(|| log_of(&directory.join("learner.log")))?;
        let address = address.trim().to_owned();
        let mut stack = Self {
            jobs: JobServiceClient::new(lazy_channel("learner", &address, &CallSecurity::default())?),
            address,
            job_id: String::new(),
            redis,
            learner,
            hold,
        };
        let request = v1::SubmitJobRequest {
            request_id: "fleet".to_owned(),
            spec: Some(spec(shape, job)),
        };
        let submitted = stack.jobs.submit(request).await.context("submit the job")?;
        stack.job_id = submitted.into_inner().id;
        Ok(stack)
    }

    /// A connection to the learner.
    ///
    /// # Errors
    /// If its address is not valid.
    pub fn channel(&self) -> anyhow::Result<PeerChannel> {
        Ok(lazy_channel("learner", &self.address, &CallSecurity::default())?)
    }

    /// The finished steps of the job.
    ///
    /// # Errors
    /// If the learner does not answer, or the job has ended.
    pub async fn step(&self) -> anyhow::Result<u64> {
        let request = v1::GetJobRequest {
            job_id: self.job_id.clone(),
        };
        let job = self.jobs.clone().get(request).await?.into_inner();
        if !matches!(job.state(), v1::JobState::Queued | v1::JobState::Running) {
            bail!("the job is {:?}: {}", job.state(), job.error);
        }
        Ok(job.step)
    }

    /// Where the job's groups are.
    ///
    /// # Errors
    /// If the learner does not answer.
    pub async fn account(&self) -> anyhow::Result<v1::QueueAccount> {
        let request = v1::AccountRequest {
            job_id: self.job_id.clone(),
        };
        let account = self.jobs.clone().account(request).await?.into_inner();
        account.queue.context("the job does not train")
    }

    /// Lets the trainer stand still, or go on.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn hold(&self, is_held: bool) -> anyhow::Result<()> {
        if is_held {
            File::create(&self.hold)?;
        } else if self.hold.exists() {
            std::fs::remove_file(&self.hold)?;
        }
        Ok(())
    }

    /// What the learner has used up.
    ///
    /// # Errors
    /// If it has ended; the error has the end of its log.
    pub fn learner(&self) -> anyhow::Result<Usage> {
        Usage::of(self.learner.0.id()).with_context(|| log_of(&self.redis.directory().join("learner.log")))
    }

    /// Sizes of what Redis keeps of the job: keys, groups, sequences that are remembered.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn redis_sizes(&self) -> anyhow::Result<Value> {
        let key = |name: &str| format!("anytime:{}:{name}", self.job_id);
        Ok(json!({
            "keys": self.redis.ask::<u64>("DBSIZE", &[])?,
            "stored": self.redis.ask::<u64>("HLEN", &[&key("groups")])?,
            "seen": self.redis.ask::<u64>("HLEN", &[&key("seen")])?,
        }))
    }
}

fn spec(shape: &Shape, job: &Job) -> v1::JobSpec {
    v1::JobSpec {
        name: Some("fleet".to_owned()),
        kind: Some(v1::JobKind::Train.into()),
        model: Some(v1::ModelSpec {
            path: Some("none".to_owned()),
            ..v1::ModelSpec::default()
        }),
        data: Some(v1::DataSpec {
            path: vec!["none.jsonl".to_owned()],
            ..v1::DataSpec::default()
        }),
        rollout: Some(v1::RolloutSpec {
            budgets: shape.budget_list(),
            ..v1::RolloutSpec::default()
        }),
        training: Some(v1::TrainingSpec {
            steps: Some(1_000_000),
            batch: Some(job.batch),
            max_staleness: Some(job.max_staleness),
            queue_groups: Some(job.queue_groups),
            ..v1::TrainingSpec::default()
        }),
        checkpoint: Some(v1::CheckpointSpec {
            recovery_every: Some(job.recovery_every),
            ..v1::CheckpointSpec::default()
        }),
        ..v1::JobSpec::default()
    }
}

fn start(mut command: Command, log: &Path) -> anyhow::Result<Running> {
    let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let child = command
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    Ok(Running(child))
}

/// The end of a log, for the message of an error.
fn log_of(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The first of these programs that is on PATH, or that deploy/setup.sh has fetched.
pub fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/bin");
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain([fetched]).collect();
    let mut candidates = folders
        .iter()
        .flat_map(|folder| names.iter().map(|name| folder.join(name)));
    candidates.find(|candidate| candidate.is_file())
}

/// Waits until something is there.
///
/// # Errors
/// If it does not come, or the look fails.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + START_PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = look()? {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("it did not come: {what}")
}
