//! The arguments of `anytime-actor serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anytime_service::security::{CallingArgs, IdentityArgs, ServingArgs};
use anytime_service::telemetry::TelemetryArgs;

/// The field that reasoning is sent in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ReasoningField {
    /// `reasoning`
    #[default]
    #[value(name = "reasoning")]
    Reasoning,
    /// `reasoning_content`
    #[value(name = "reasoning_content")]
    ReasoningContent,
    /// Both, twice the same
    #[value(name = "both")]
    Both,
}

impl ReasoningField {
    /// The names of the fields.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Reasoning => &["reasoning"],
            Self::ReasoningContent => &["reasoning_content"],
            Self::Both => &["reasoning", "reasoning_content"],
        }
    }
}

/// The arguments of `anytime-actor serve`. What is not given is as the model's `anytime.json` has it, which exports of this
/// project hold, and else as a job has it by default; but for the instruction, of which there is none then.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Directory of the checkpoint that answers
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "follow",
        conflicts_with = "follow"
    )]
    pub model: Option<PathBuf>,
    /// Id of a job of --learner whose newest weights answer
    #[arg(long, value_name = "JOB")]
    pub follow: Option<String>,
    /// The learner of --follow
    #[arg(long, env = "ANYTIME_LEARNER", default_value = "http://127.0.0.1:7100")]
    pub learner: String,
    /// Where requests are taken, over HTTP and gRPC
    #[arg(long, env = "ANYTIME_LISTEN", default_value = "127.0.0.1:7103")]
    pub listen: SocketAddr,
    /// File that the address is written to once it listens
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// What the model is called in requests and answers [default: the name of its directory, or the job's id]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Ascending thinking budgets in tokens of a request that names none
    #[arg(long, value_delimiter = ',', value_name = "N,N,…")]
    pub budgets: Vec<u32>,
    /// The largest budget that a request may ask for [default: twice the largest of --budgets]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub max_thinking: Option<u32>,
    /// The longest prompt, in tokens
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub max_prompt_tokens: u32,
    /// The longest summary, in tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub max_summary_tokens: Option<u32>,
    /// The most summaries that may vote at a budget
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub max_summaries: u32,
    /// The most branches of a request
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub max_branches: u32,
    /// The temperature of a request that names none [default: 1]
    #[arg(long, value_name = "X")]
    pub temperature: Option<f32>,
    /// The top-p of a request that names none [default: 1]
    #[arg(long, value_name = "X")]
    pub top_p: Option<f32>,
    /// The top-k of a request that names none; 0 is off [default: 0]
    #[arg(long, value_name = "N")]
    pub top_k: Option<u32>,
    /// Appended to every user's last message that does not end in it already [default: none]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub instruction: Option<String>,
    /// Whether messages go through the model's chat template [default: where it has one]
    #[arg(long, value_name = "BOOL")]
    pub chat_template: Option<bool>,
    /// Opens the thinking
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub markers_open: Option<String>,
    /// Ends the thinking
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub markers_end: Option<String>,
    /// Inserted where the thinking is cut
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub markers_cut: Option<String>,
    /// Opens the summary
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub markers_summary: Option<String>,
    /// The field of answers that has the thinking
    #[arg(long, value_name = "FIELD", default_value = "reasoning")]
    pub reasoning_field: ReasoningField,
    /// Requests under way and waiting at the same time; more are told to come again
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub max_requests: u32,
    /// Seconds that a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub request_timeout: u64,
    /// The largest body of a request, in bytes
    #[arg(long, value_name = "N", default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(1024..=1 << 30))]
    pub max_body_bytes: u32,
    /// Scores branches that may be given up, where a request asks for that: a URL that is asked over HTTP
    #[arg(long, env = "ANYTIME_REWARD", value_name = "URL")]
    pub reward: Option<String>,
    /// File with the key that --reward is shown, as a bearer token
    #[arg(long, value_name = "FILE")]
    pub reward_key_file: Option<PathBuf>,
    /// Seconds that --reward has for a score; a branch without one is not given up
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub reward_timeout: u64,
    /// Where to generate: auto, cpu, cuda, cuda:N
    #[arg(long, env = "ANYTIME_DEVICE", default_value = "auto")]
    pub device: String,
    /// Threads of one tensor operation
    #[arg(long, env = "ANYTIME_THREADS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Sequences generated at the same time
    #[arg(long, env = "ANYTIME_SLOTS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    pub slots: u32,
    /// Share of the device's memory that this process may take [default: 0.9 on a GPU, 0.5 on the CPU]
    #[arg(long, env = "ANYTIME_MEMORY_SHARE", value_name = "SHARE")]
    pub memory_share: Option<f64>,
    /// Memory of the key-value cache, in spite of any share [default: by the share]
    #[arg(long, env = "ANYTIME_CACHE_GIB", value_name = "GIB")]
    pub cache_gib: Option<f64>,
    /// Logs and metrics
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// How it shows itself
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// How it calls the learner
    #[command(flatten)]
    pub calling: CallingArgs,
    /// Who may ask it
    #[command(flatten)]
    pub serving: ServingArgs,
}
