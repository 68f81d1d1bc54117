//! Every argument of the command line; clap makes the parser and `--help` from these structures.

mod advantages;
mod ask;
mod certs;
mod compose;
mod doctor;
mod endpoint;
mod generate;
mod health;
mod list;
mod merge;
mod processes;
mod replay;
mod serve;
mod show;
mod watch;

use std::path::PathBuf;

use anytime_service::security::{CallingArgs, IdentityArgs};
use clap::{Args, Parser, Subcommand};

use crate::gpus::GpuSet;
use crate::overrides::OverrideArgs;
use crate::tasks::TaskName;
pub use advantages::{AdvantagesArgs, PriorArgument};
pub use ask::{AskArgs, AskingArgs, ChatArgs};
pub use certs::CertsArgs;
pub use compose::ComposeArgs;
pub use doctor::{DoctorArgs, TopArgs};
pub use endpoint::EndpointArgs;
pub use generate::GenerateArgs;
pub use health::HealthArgs;
pub use list::ListArgs;
pub use merge::MergeArgs;
pub use processes::ProcessArgs;
pub use replay::ReplayArgs;
pub use serve::ServeArgs;
pub use show::ShowArgs;
pub use watch::{FollowArgs, WatchArgs};

const EXIT_CODES: &str = "\
Exit codes: 0 success, 64 bad configuration (a job file, an argument), 69 a server cannot be reached, 70 the job failed, \
130 cancelled or interrupted";

/// Trains reasoning language models that are right whenever they are stopped
#[derive(Clone, Debug, Parser)]
#[command(name = "anytime", version = anytime_service::program::version(), after_help = EXIT_CODES)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
    /// Print one JSON document on standard output (`watch`, `ask`, `chat`: one line per event); all else goes to standard error
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands of `anytime`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Submit a job file to the learner
    Submit(SubmitArgs),
    /// List the jobs that the learner knows, or those that are asked for, newest first
    List(ListArgs),
    /// Show one job
    Get(JobArgs),
    /// Follow a job until it ends
    Watch(WatchArgs),
    /// End a job; a running one after the step under way
    Cancel(JobArgs),
    /// Remove a job that is over, with its directory
    Delete(DeleteArgs),
    /// Let a failed or paused job go on from its newest checkpoint
    Resume(ResumeArgs),
    /// Write a recovery checkpoint of a job as a Hugging Face model directory
    Export(ExportArgs),
    /// Add adapters to the weights of their base, and write the model
    Merge(MergeArgs),
    /// Train steps of a job again on the groups that it has kept, and say whether they come to the same; exit code 1 if not
    Replay(ReplayArgs),
    /// Say what is wrong: who waits for whom, which actor is dead, what was lost, and how to go on
    Doctor(DoctorArgs),
    /// Show what `doctor` says, again and again
    Top(TopArgs),
    /// Prove that a job lost no group and trained none twice, from its events, checkpoints and queue
    Audit(AuditArgs),
    /// List the groups of a job that could not be trained, save them, or have them trained after all
    DeadLetters(DeadLettersArgs),
    /// Measure the accuracy of a checkpoint at every budget
    Evaluate(Box<EvaluateArgs>),
    /// Generate the groups of a job into a file, with an actor alone
    Generate(GenerateArgs),
    /// Answer requests with a checkpoint, as OpenAI's clients ask, with an answer at every thinking budget
    Serve(ServeArgs),
    /// Ask a checkpoint, or a server that answers: shows the thinking, and the answer at every budget, as they come
    Ask(Box<AskArgs>),
    /// The same in turns: each line is a message, and the conversation is kept
    Chat(Box<ChatArgs>),
    /// Write report.json, curves.svg and timeline.svg of a job
    Report(ReportArgs),
    /// Read what an evaluation generated, or a file of groups: its problems, or one's traces with cuts, summaries, verdicts
    Show(ShowArgs),
    /// Check job files, with all that they name: model, tokenizer, markers, data; shows the first prompt and the counts
    Check(CheckArgs),
    /// Compute the advantages of one group from its scores (standard input), to check them by hand
    Advantages(Box<AdvantagesArgs>),
    /// Run job files on this machine: starts Redis, verifier, learner and actors, and ends them all
    Local(LocalArgs),
    /// Make a small problem and a small model, and train it on this machine
    Demo(DemoArgs),
    /// List the presets, or print one as a job file
    Presets(PresetsArgs),
    /// Write the problems of a task that the project makes itself
    Data(DataArgs),
    /// Run methods times seeds to the end on this machine, and report on them
    Study(StudyArgs),
    /// Make certificates and tokens for a cluster of one's own: a CA, and one of each for every role
    Certs(CertsArgs),
    /// Print the Compose file of a host with GPUs: a container on each, laid over docker-compose.yml
    Compose(ComposeArgs),
    /// Ask a learner or a verifier whether it serves (grpc.health.v1); exit code 69 if not
    Health(HealthArgs),
}

/// The address of the learner, for every command that calls it.
#[derive(Clone, Debug, Args)]
pub struct LearnerArgs {
    /// Address of the learner
    #[arg(
        long,
        env = "ANYTIME_LEARNER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7100"
    )]
    pub learner: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub security: SecurityArgs,
}

/// How a learner is called: TLS and token.
#[derive(Clone, Debug, Default, Args)]
pub struct SecurityArgs {
    /// What the learner is shown.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Whom to trust, and the token.
    #[command(flatten)]
    pub calling: CallingArgs,
}

/// One job of a learner, for the commands that take a job id.
#[derive(Clone, Debug, Args)]
pub struct JobArgs {
    /// Id of the job
    pub job: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub learner: LearnerArgs,
}

/// The arguments of `anytime submit`.
#[derive(Clone, Debug, Args)]
pub struct SubmitArgs {
    /// The job file (TOML)
    #[arg(required_unless_present = "preset")]
    pub job_file: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub overrides: OverrideArgs,
    /// Makes a repeated submission harmless: the same id gives the same job again [default: a new one]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Follow the job until it ends
    #[arg(long)]
    pub watch: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub follow: FollowArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub learner: LearnerArgs,
}

/// The arguments of `anytime delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobArgs,
    /// Remove the models in the job's directory too; those elsewhere always stay
    #[arg(long)]
    pub with_models: bool,
}

/// The arguments of `anytime resume`.
#[derive(Clone, Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobArgs,
    /// Changes a setting that may change, such as `training.micro_batch_tokens=4096`; repeatable
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,
    /// Follow the job until it ends
    #[arg(long)]
    pub watch: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub follow: FollowArgs,
}

/// The arguments of `anytime audit`.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobArgs,
    /// Read this directory of jobs without a learner, or a copy of it
    #[arg(long, value_name = "DIR")]
    pub runs_dir: Option<PathBuf>,
}

/// The arguments of `anytime dead-letters`.
#[derive(Clone, Debug, Args)]
pub struct DeadLettersArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobArgs,
    /// Write each group as it was delivered last to DIR/SEQUENCE.pb (the message anytime.v1.ScoredGroup)
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Have the problem with this sequence number generated again and trained; repeatable
    #[arg(long, value_name = "SEQUENCE", conflicts_with = "replay_all")]
    pub replay: Vec<u64>,
    /// Have the problems of all dead letters generated again and trained
    #[arg(long)]
    pub replay_all: bool,
}

/// The arguments of `anytime export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobArgs,
    /// The recovery checkpoint after this step [default: the newest good one]
    #[arg(long, value_name = "N")]
    pub step: Option<u64>,
    /// Directory to write, as the learner sees it [default: exports/step-N in the job's directory]
    #[arg(long, value_name = "DIR")]
    pub output: Option<String>,
    /// Read this directory of jobs without a learner, on this machine
    #[arg(long, value_name = "DIR")]
    pub runs_dir: Option<PathBuf>,
}

/// The arguments of `anytime evaluate`.
#[derive(Clone, Debug, Args)]
pub struct EvaluateArgs {
    /// A job file with `kind = "evaluate"`; instead of --model and --problems
    #[arg(
        required_unless_present_any = ["model", "endpoint", "preset"],
        conflicts_with_all = ["model", "endpoint", "problems"]
    )]
    pub job_file: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub overrides: OverrideArgs,
    /// Checkpoint directory, as the learner sees it
    #[arg(long, value_name = "DIR", requires = "problems")]
    pub model: Option<String>,
    /// JSON, JSONL or Parquet file of problems with their answers (or a directory, or a pattern), as the learner sees it
    #[arg(long, value_name = "FILE")]
    pub problems: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub endpoint: EndpointArgs,
    /// The settings that a job file would have otherwise.
    #[command(flatten)]
    pub settings: EvaluateSettings,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub follow: FollowArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub learner: LearnerArgs,
}

/// Settings of an evaluation on the command line. An option that is not given keeps the default of a job file.
#[derive(Clone, Debug, Default, Args)]
#[group(conflicts_with = "job_file", multiple = true)]
pub struct EvaluateSettings {
    /// What the job id starts with [default: evaluate]
    #[arg(long)]
    pub name: Option<String>,
    /// Ascending thinking budgets in tokens
    #[arg(long, value_delimiter = ',', value_name = "N,N,…")]
    pub budgets: Vec<u32>,
    /// Traces per problem
    #[arg(long, value_name = "N")]
    pub samples: Option<u32>,
    /// Summaries per budget
    #[arg(long, value_name = "N")]
    pub summaries: Option<u32>,
    /// Cap of a summary in tokens
    #[arg(long, value_name = "N")]
    pub max_summary_tokens: Option<u32>,
    /// Sampling temperature
    #[arg(long, value_name = "X")]
    pub temperature: Option<f64>,
    /// Sampling top-p
    #[arg(long, value_name = "X")]
    pub top_p: Option<f64>,
    /// Sampling top-k; 0 is off
    #[arg(long, value_name = "N")]
    pub top_k: Option<u32>,
    /// Seed of the sampling
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Appended to every problem that does not end in it already
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub instruction: Option<String>,
    /// Problems with longer prompts are left out
    #[arg(long, value_name = "N", conflicts_with = "endpoint")]
    pub max_prompt_tokens: Option<u32>,
    /// Whether what is generated is kept for `anytime show`
    #[arg(long, value_name = "BOOL", conflicts_with = "endpoint")]
    pub keep_generations: Option<bool>,
    /// Whether the problem goes through the model's chat template
    #[arg(long, value_name = "BOOL", conflicts_with = "endpoint")]
    pub chat_template: Option<bool>,
    /// Opens the thinking
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "endpoint")]
    pub markers_open: Option<String>,
    /// Ends the thinking
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "endpoint")]
    pub markers_end: Option<String>,
    /// Inserted where the thinking is cut
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "endpoint")]
    pub markers_cut: Option<String>,
    /// Opens the summary
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "endpoint")]
    pub markers_summary: Option<String>,
}

/// The arguments of `anytime report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobArgs,
    /// Directory to write to; made where it does not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// The arguments of `anytime check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The job files (TOML); a later one may start from the model that an earlier one writes
    #[arg(required_unless_present = "preset")]
    pub job_files: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub overrides: OverrideArgs,
    /// Show the ground truths that can only be matched word for word, or never
    #[arg(long)]
    pub data: bool,
    /// Say how the job fits on so many GPUs of so many gigabytes, such as 4x80, and refuse it where it does not
    #[arg(long, value_name = "NxGB")]
    pub gpus: Option<GpuSet>,
    /// Check the settings alone, and open nothing that they name
    #[arg(long, conflicts_with_all = ["data", "learner", "gpus"])]
    pub settings_only: bool,
    /// Ask this learner, which sees other files than this machine [default: look at the files here]
    #[arg(long, value_name = "URL")]
    pub learner: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub security: SecurityArgs,
}

/// The arguments of `anytime local`.
#[derive(Clone, Debug, Args)]
pub struct LocalArgs {
    /// The job files (TOML), run one after another; relative paths in them start at the current directory
    #[arg(required_unless_present = "preset")]
    pub job_files: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub overrides: OverrideArgs,
    /// Directory of jobs, logs and the report [default: runs/NAME, after the last job]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on where an earlier run in the same directory was interrupted
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub processes: ProcessArgs,
}

/// The arguments of `anytime demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// What is learned [default: chains]
    #[arg(long, value_enum, conflicts_with = "preset")]
    pub task: Option<TaskName>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub overrides: OverrideArgs,
    /// Directory of data, jobs, logs and the report [default: runs/demo, runs/products]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of the data, the first weights and all sampling [default: those of the demo's job files]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub processes: ProcessArgs,
}

/// The arguments of `anytime presets`.
#[derive(Clone, Debug, Args)]
pub struct PresetsArgs {
    /// Print this preset as a job file
    #[arg(value_name = "BASE/METHOD")]
    pub name: Option<String>,
}

/// The arguments of `anytime data`.
#[derive(Clone, Debug, Args)]
pub struct DataArgs {
    /// Which problems
    #[arg(value_enum)]
    pub task: TaskName,
    /// Directory to write `data/` to, and `model/` where the task starts from nothing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of the problems
    #[arg(long, value_name = "N", default_value_t = 2505)]
    pub seed: u64,
    /// Problems to train on [default: 4000; sums: 2000]
    #[arg(long, value_name = "N")]
    pub train: Option<usize>,
    /// Problems to evaluate on [default: 256; sums: 128]
    #[arg(long, value_name = "N")]
    pub test: Option<usize>,
    /// Rows of the warm start [default: 64000; sums: none]
    #[arg(long, value_name = "N")]
    pub sft: Option<usize>,
}

/// The arguments of `anytime study`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct StudyArgs {
    /// What `anytime study` does instead of running a study.
    #[command(subcommand)]
    pub action: Option<StudyAction>,
    /// The study file (TOML)
    #[arg(required = true)]
    pub study_file: Option<PathBuf>,
    /// Directory of data, runs, results.json and the report; a study that was interrupted there goes on [default:
    /// runs/NAME, after the study file]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub processes: ProcessArgs,
}

/// What `anytime study` does instead of running a study.
#[derive(Clone, Debug, Subcommand)]
pub enum StudyAction {
    /// Write report.html and its figures from the results.json of a directory
    Report {
        /// Directory with results.json, and study.toml where there is one
        directory: PathBuf,
    },
}
