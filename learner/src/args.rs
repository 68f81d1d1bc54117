//! The command line of `anytime-learner`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anytime_service::exit::ExitError;
use anytime_service::security::{IdentityArgs, ServerSecurity, ServingArgs};
use anytime_service::telemetry::TelemetryArgs;
use clap::{Parser, Subcommand};

use crate::hub::HubSource;
use crate::outputs::Places;
use crate::queue::target::RedisTarget;
use crate::ranks::MeetingArgs;
use crate::server::LearnerConfig;

/// Runs training jobs: leases problems to actors, queues what they push, trains, and hands out the weights
#[derive(Clone, Debug, Parser)]
#[command(
    name = "anytime-learner",
    version = anytime_service::program::version(),
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    /// What is done instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "ANYTIME_LISTEN", default_value = "127.0.0.1:7100")]
    pub listen: SocketAddr,
    /// File to write the bound `host:port` to, once the learner serves
    #[arg(long, env = "ANYTIME_PORT_FILE")]
    pub port_file: Option<PathBuf>,
    /// Which Redis, and what it is shown
    #[command(flatten)]
    pub redis: RedisArgs,
    /// What this learner's keys in Redis begin with; learners that share one Redis need a name each
    #[arg(long, env = "ANYTIME_CLUSTER", default_value = "anytime", value_parser = cluster_name)]
    pub cluster: String,
    /// Where relative paths of job files start
    #[arg(long, env = "ANYTIME_ROOT", default_value = ".")]
    pub root: PathBuf,
    /// Where jobs are kept, one directory each
    #[arg(long, env = "ANYTIME_RUNS_DIR", default_value = "runs")]
    pub runs_dir: PathBuf,
    /// Where models may be written besides --root and --runs-dir (`checkpoint.output`, `anytime export --output`);
    /// repeatable, or separated by colons in the variable
    #[arg(long, env = "ANYTIME_OUTPUT_ROOTS", value_name = "DIR", value_delimiter = ':')]
    pub output_root: Vec<PathBuf>,
    /// How many of the jobs that have succeeded or were cancelled are kept, those that ended last; older ones are deleted,
    /// unless their directories hold models [default: all]
    #[arg(long, env = "ANYTIME_KEEP_JOBS", value_name = "N")]
    pub keep_jobs: Option<usize>,
    /// How long such a job is kept after its end, likewise: 90d, 12h, … [default: for ever]
    #[arg(long, env = "ANYTIME_KEEP_JOBS_FOR", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub keep_jobs_for: Option<Duration>,
    /// auto, cpu, cuda, cuda:1, …
    #[arg(long, env = "ANYTIME_DEVICE", default_value = "auto")]
    pub device: String,
    /// Share of the device's memory that updates are planned with; less than 1 where actors compute there too
    #[arg(long, env = "ANYTIME_MEMORY_SHARE", value_name = "SHARE", default_value = "1", value_parser = memory_share)]
    pub memory_share: f64,
    /// Threads of tensor operations
    #[arg(long, env = "ANYTIME_THREADS", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// Check a job and end: reads the job (protobuf `JobSpec`) from standard input, opens all that it names and writes what
    /// it found (protobuf `JobCheck`) to standard output
    #[arg(long)]
    pub check: bool,
    /// Whether other processes compute the updates with this one
    #[command(flatten)]
    pub meeting: MeetingArgs,
    /// Logs and metrics
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// How it shows itself
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Whom it lets in
    #[command(flatten)]
    pub serving: ServingArgs,
}

/// Which Redis, and what it is shown.
#[derive(Clone, Debug, clap::Args)]
pub struct RedisArgs {
    /// URL of Redis 7 or newer; rediss:// for TLS
    #[arg(long, env = "ANYTIME_REDIS", default_value = "redis://127.0.0.1:6379")]
    pub redis: String,
    /// File with the password of Redis, which a URL would show to whoever lists processes; read again when it changes
    #[arg(long, env = "ANYTIME_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub redis_password_file: Option<PathBuf>,
    /// The CA that has signed the certificate of a Redis with TLS (PEM) [default: those of the system]
    #[arg(long, env = "ANYTIME_REDIS_CA", value_name = "FILE")]
    pub redis_ca: Option<PathBuf>,
    /// The certificate that a Redis with TLS is shown (PEM)
    #[arg(long, env = "ANYTIME_REDIS_CERT", value_name = "FILE", requires = "redis_key")]
    pub redis_cert: Option<PathBuf>,
    /// The private key of --redis-cert (PEM)
    #[arg(long, env = "ANYTIME_REDIS_KEY", value_name = "FILE", requires = "redis_cert")]
    pub redis_key: Option<PathBuf>,
}

impl RedisArgs {
    /// Checks every file that the arguments name; what an operator should know of them goes to `warnings`.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument, the file and what is wrong with it.
    pub fn target(&self, warnings: &mut Vec<String>) -> Result<RedisTarget, ExitError> {
        let target = RedisTarget {
            url: self.redis.clone(),
            password: self.redis_password_file.clone(),
            authority: self.redis_ca.clone(),
            identity: self.redis_cert.clone().zip(self.redis_key.clone()),
        };
        target.check(warnings)?;
        Ok(target)
    }
}

/// What the program does instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Write a recovery checkpoint of a job as a Hugging Face model directory; no learner needs to run
    Export(ExportArgs),
    /// Add adapters to the weights of their base, and write the model; no learner needs to run
    Merge(MergeArgs),
    /// Train steps of a job again on the groups that it has kept, and say whether they come to the same; no learner needs
    /// to run
    Replay(ReplayArgs),
    /// Write the leases of a job's groups to a file, for an actor without a learner; reads the job (protobuf `JobSpec`)
    /// from standard input, and `anytime generate` calls it
    Leases(LeasesArgs),
    /// Print the groups of a file as JSON, decoded; `anytime show` calls it
    Groups(GroupsArgs),
    /// Measure the accuracy at every budget of a server that OpenAI's clients can ask; reads the job (protobuf `JobSpec`)
    /// from standard input and writes the result (protobuf `EvaluationResult`), and `anytime evaluate` calls it
    Measure(MeasureArgs),
}

/// The arguments of `anytime-learner measure`.
#[derive(Clone, Debug, clap::Args)]
pub struct MeasureArgs {
    /// URL of the server
    #[arg(long, value_name = "URL")]
    pub endpoint: String,
    /// Which of its models [default: its only one]
    #[arg(long, value_name = "NAME")]
    pub endpoint_model: Option<String>,
    /// Problems that are asked at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub concurrency: u32,
    /// The field of a request that holds the budget, with dots where it lies deeper; not read for servers of this project
    #[arg(long, value_name = "FIELD", default_value = "thinking_token_budget")]
    pub budget_field: String,
    /// File with the key that the server asks for
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Seconds that one answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Where relative paths of the job start
    #[arg(long, env = "ANYTIME_ROOT", default_value = ".")]
    pub root: PathBuf,
}

/// The arguments of `anytime-learner export`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// Id of the job
    pub job: String,
    /// Where jobs are kept
    #[arg(long, env = "ANYTIME_RUNS_DIR", default_value = "runs")]
    pub runs_dir: PathBuf,
    /// The recovery checkpoint after this step [default: the newest good one]
    #[arg(long, value_name = "N")]
    pub step: Option<u64>,
    /// Directory to write [default: exports/step-N in the job's directory]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `anytime-learner merge`.
#[derive(Clone, Debug, clap::Args)]
pub struct MergeArgs {
    /// Directory of the adapters; its adapter_config.json names the base
    pub adapters: PathBuf,
    /// Directory to write the model to, which must not exist or be empty
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// The type of the weights that are written; auto is what the base says its own are in
    #[arg(long, value_enum, default_value_t = MergedType::Auto)]
    pub dtype: MergedType,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// In what type merged weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum MergedType {
    Auto,
    F32,
    Bf16,
    F16,
}

/// The arguments of `anytime-learner replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// Id of the job, or its directory
    pub job: String,
    /// Where jobs are kept
    #[arg(long, env = "ANYTIME_RUNS_DIR", default_value = "runs")]
    pub runs_dir: PathBuf,
    /// Where the model's path starts, which a replay from the first step reads
    #[arg(long, env = "ANYTIME_ROOT", default_value = ".")]
    pub root: PathBuf,
    /// The first step to look at; training begins with the newest recovery checkpoint before it
    #[arg(long, value_name = "STEP", value_parser = clap::value_parser!(u64).range(1..))]
    pub from: u64,
    /// How many steps, from that one on [default: all that are kept without a gap]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// auto, cpu, cuda, cuda:1, … [default: that of the run]
    #[arg(long)]
    pub device: Option<String>,
    /// Threads of tensor operations [default: as many as the run had]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Changes a setting of the updates (a line of TOML): differences are then shown, and are no failure; repeatable
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,
    /// Directory to write the weights after the last step to, as a Hugging Face model [default: none is written]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `anytime-learner leases`.
#[derive(Clone, Debug, clap::Args)]
pub struct LeasesArgs {
    /// File to write the leases to
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Where relative paths of the job start
    #[arg(long, env = "ANYTIME_ROOT", default_value = ".")]
    pub root: PathBuf,
    /// The place of the first group, counted from 0: in the order of training, or among the problems of an evaluation
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub first: u64,
    /// How many groups [default: a step's, or all that an evaluation has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub groups: Option<u64>,
}

/// The arguments of `anytime-learner groups`.
#[derive(Clone, Debug, clap::Args)]
pub struct GroupsArgs {
    /// The file of groups
    pub file: PathBuf,
    /// Directory of the model whose tokenizer decodes them [default: what the file's job has kept, else its model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Where the model's path starts
    #[arg(long, env = "ANYTIME_ROOT", default_value = ".")]
    pub root: PathBuf,
    /// The one group with this place, or of the problem with this id; with all ids and log-probabilities
    #[arg(long, value_name = "K")]
    pub problem: Option<String>,
}

/// A name that is plain in a key.
fn cluster_name(name: &str) -> Result<String, String> {
    let is_plain = |each: char| each.is_ascii_alphanumeric() || matches!(each, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        return Err("must be 1 to 64 letters, digits, dots, hyphens and underscores".to_owned());
    }
    Ok(name.to_owned())
}

/// A share that leaves something.
fn memory_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    if share > 0.0 && share <= 1.0 {
        Ok(share)
    } else {
        Err("must be above 0 and at most 1".to_owned())
    }
}

impl Args {
    /// The part of the command line that the server needs. Redis and security were made of their arguments.
    pub fn config(&self, redis: RedisTarget, security: ServerSecurity) -> LearnerConfig {
        LearnerConfig {
            redis,
            security,
            cluster: self.cluster.clone(),
            root: self.root.clone(),
            runs_directory: self.runs_dir.clone(),
            output_roots: self.output_root.clone(),
            hub: HubSource::Environment,
            device: self.device.clone(),
            memory_share: self.memory_share,
            keep_jobs: self.keep_jobs,
            keep_jobs_for: self.keep_jobs_for,
            port_file: self.port_file.clone(),
        }
    }

    /// Where models may be written.
    pub fn places(&self) -> Places {
        Places {
            root: self.root.clone(),
            runs_directory: self.runs_dir.clone(),
            output_roots: self.output_root.clone(),
        }
    }
}
