//! Arguments and environment, checked before anything starts.

mod serving;

use std::path::PathBuf;
use std::time::Duration;

use anytime_policy::actor_memory::words;
use anytime_policy::device;
use anytime_policy::memory::DeviceMemory;
use anytime_proto::ActorId;
use anytime_service::exit::ExitError;
use anytime_service::security::{CallSecurity, CallingArgs, IdentityArgs, ServingArgs};
use anytime_service::telemetry::TelemetryArgs;
use clap::{Parser, Subcommand};
use tch::Device;

use crate::engine::{CacheLimit, EngineLimits};
pub use serving::{ReasoningField, ServeArgs};

/// Bytes of a gibibyte.
const GIB: f64 = 1_073_741_824.0;

/// The share of its GPU's memory that an actor takes. The rest is for CUDA itself and for fragmentation.
const GPU_SHARE: f64 = anytime_proto::gpus::ACTOR_SHARE;
/// The share of the machine's memory, or of its container's, that an actor takes by default: others may share it.
const CPU_SHARE: f64 = 0.5;

/// Generates scored groups for whatever job the learner runs.
#[derive(Clone, Debug, Parser)]
#[command(name = "anytime-actor", version = anytime_service::program::version(), args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What is done instead of working for a learner.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The learner, which hands out problems and weights
    #[arg(long, env = "ANYTIME_LEARNER", default_value = "http://127.0.0.1:7100")]
    pub learner: String,
    /// The verifier, which grades answers
    #[arg(long, env = "ANYTIME_VERIFIER", default_value = "http://127.0.0.1:7102")]
    pub verifier: String,
    /// Name in logs and leases [default: host name and process number]
    #[arg(long, env = "ANYTIME_ACTOR_ID")]
    pub actor_id: Option<String>,
    /// Where to generate: auto, cpu, cuda, cuda:N
    #[arg(long, env = "ANYTIME_DEVICE", default_value = "auto")]
    pub device: String,
    /// Threads of one tensor operation
    #[arg(long, env = "ANYTIME_THREADS", default_value_t = 1)]
    pub threads: usize,
    /// Sequences generated at the same time
    #[arg(long, env = "ANYTIME_SLOTS", default_value_t = 64)]
    pub slots: usize,
    /// Share of the device's memory that this process may take, from which the key-value cache gets what weights and
    /// steps leave [default: 0.9 on a GPU, 0.5 on the CPU]
    #[arg(long, env = "ANYTIME_MEMORY_SHARE", value_name = "SHARE")]
    pub memory_share: Option<f64>,
    /// Memory of the key-value cache, which bounds the sequences too, in spite of any share [default: by the share]
    #[arg(long, env = "ANYTIME_CACHE_GIB", value_name = "GIB")]
    pub cache_gib: Option<f64>,
    /// Seconds that one step of the engine may take before the actor gives its leases back and ends, so that its
    /// supervisor starts it again; 0: for ever
    #[arg(long, env = "ANYTIME_STEP_TIMEOUT", value_name = "SECONDS", default_value_t = 900)]
    pub step_timeout: u64,
    /// Logs and metrics
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// How it shows itself
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Who may read its metrics
    #[command(flatten)]
    pub serving: ServingArgs,
    /// How it calls learner and verifier
    #[command(flatten)]
    pub calling: CallingArgs,
}

/// What the program does instead of working for a learner.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Generate the groups of a file of leases with a model on this machine, into a file; `anytime generate` calls it
    Generate(Box<GenerateArgs>),
    /// Answer requests with a model on this machine, at every budget, over HTTP as OpenAI's clients ask and over gRPC;
    /// `anytime serve` calls it
    Serve(Box<ServeArgs>),
}

/// The arguments of `anytime-actor generate`.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArgs {
    /// The file of leases, as `anytime-learner leases` writes it
    pub leases: PathBuf,
    /// File to write the groups to
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Where the model's path starts
    #[arg(long, env = "ANYTIME_ROOT", default_value = ".")]
    pub root: PathBuf,
    /// The verifier, which grades answers [default: none, and no answer has a verdict]
    #[arg(long, value_name = "URL")]
    pub verifier: Option<String>,
    /// Where to generate: auto, cpu, cuda, cuda:N
    #[arg(long, env = "ANYTIME_DEVICE", default_value = "auto")]
    pub device: String,
    /// Threads of one tensor operation
    #[arg(long, env = "ANYTIME_THREADS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Sequences generated at the same time
    #[arg(long, env = "ANYTIME_SLOTS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: u32,
    /// Share of the device's memory that this process may take
    #[arg(long, env = "ANYTIME_MEMORY_SHARE", value_name = "SHARE", default_value_t = CPU_SHARE, value_parser = memory_share)]
    pub memory_share: f64,
    /// How it shows itself
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// How it calls the verifier
    #[command(flatten)]
    pub calling: CallingArgs,
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

/// What an actor runs with, checked: [`ActorConfig::try_new`] makes it of the arguments, [`crate::run`] takes it.
#[derive(Clone, Debug)]
pub struct ActorConfig {
    /// Address of the learner, `http://host:port`.
    pub learner: String,
    /// Address of the verifier, `http://host:port`.
    pub verifier: String,
    /// Name of this actor in logs and leases.
    pub actor_id: ActorId,
    /// The device that generates.
    pub device: Device,
    /// Threads of one tensor operation.
    pub threads: usize,
    /// How much the engine may run and remember at the same time.
    pub limits: EngineLimits,
    /// How long one step of the engine may take; zero: for ever.
    pub step_timeout: Duration,
    /// How learner and verifier are called.
    pub security: CallSecurity,
}

impl ActorConfig {
    /// Checks the arguments and looks for the device. `security` is how peers are called.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument.
    pub fn try_new(args: &Args, security: CallSecurity) -> Result<Self, ExitError> {
        if args.slots == 0 {
            return Err(ExitError::configuration("--slots is 0; at least 1 sequence has to run"));
        }
        if args.threads == 0 {
            return Err(ExitError::configuration("--threads is 0; at least 1 is needed"));
        }
        let device = device::choose(&args.device)
            .map_err(|error| ExitError::configuration(format!("--device {}: {error}", args.device)))?;
        let cache = cache_limit(args.memory_share, args.cache_gib, device)?;
        let actor_id = args.actor_id.clone().unwrap_or_else(default_actor_id);
        if actor_id.is_empty() {
            return Err(ExitError::configuration("--actor-id is empty"));
        }
        Ok(Self {
            learner: args.learner.clone(),
            verifier: args.verifier.clone(),
            actor_id: ActorId(actor_id),
            device,
            threads: args.threads,
            limits: EngineLimits {
                slots: args.slots,
                cache,
            },
            step_timeout: Duration::from_secs(args.step_timeout),
            security,
        })
    }
}

/// What bounds the key-value cache, by the arguments `--memory-share` and `--cache-gib`.
///
/// # Errors
/// [`ExitError`] with the configuration code that names the argument.
pub(crate) fn cache_limit(
    memory_share: Option<f64>,
    cache_gib: Option<f64>,
    device: Device,
) -> Result<CacheLimit, ExitError> {
    let default_share = if device == Device::Cpu { CPU_SHARE } else { GPU_SHARE };
    let share = memory_share.unwrap_or(default_share);
    if !(share > 0.0 && share <= 1.0) {
        return Err(ExitError::configuration(format!(
            "--memory-share {share}: it must be above 0 and at most 1"
        )));
    }
    let Some(cache_gib) = cache_gib else {
        return Ok(CacheLimit::Share(share));
    };
    if !(cache_gib.is_finite() && cache_gib > 0.0) {
        return Err(ExitError::configuration(format!(
            "--cache-gib {cache_gib}: not above zero"
        )));
    }
    let bytes = (cache_gib * GIB) as u64;
    // Where the system does not tell its memory, the allocation of the cache shows whether there is enough.
    if let Ok(memory) = DeviceMemory::ask(device)
        && bytes > memory.within_reach()
    {
        return Err(ExitError::configuration(format!(
            "--cache-gib {cache_gib}: the device has {}, of which {} are free, and the weights need some of it too; \
             without --cache-gib the actor takes what fits",
            words(memory.total),
            words(memory.within_reach())
        )));
    }
    Ok(CacheLimit::Bytes(usize::try_from(bytes).unwrap_or(usize::MAX)))
}

/// Host and process number.
pub(crate) fn default_actor_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "actor" } else { host.trim() };
    format!("{host}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(arguments: &[&str]) -> Result<CacheLimit, String> {
        let all = [&["anytime-actor", "--device", "cpu"], arguments].concat();
        let config = ActorConfig::try_new(&Args::try_parse_from(all).unwrap(), CallSecurity::default());
        config.map(|config| config.limits.cache).map_err(|error| {
            assert_eq!(error.code, anytime_service::exit::CONFIGURATION);
            error.message
        })
    }

    #[test]
    fn the_cache_is_bounded_by_bytes_by_a_share_or_by_default() {
        assert_eq!(limit(&[]), Ok(CacheLimit::Share(CPU_SHARE)));
        assert_eq!(limit(&["--memory-share", "0.25"]), Ok(CacheLimit::Share(0.25)));
        assert_eq!(limit(&["--cache-gib", "0.5"]), Ok(CacheLimit::Bytes(1 << 29)));
        // What is said in bytes stands whatever the share.
        let both = ["--cache-gib", "0.5", "--memory-share", "0.1"];
        assert_eq!(limit(&both), Ok(CacheLimit::Bytes(1 << 29)));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_value_and_the_reason() {
        for share in ["0", "-1", "1.01", "nan"] {
            let message = limit(&[&format!("--memory-share={share}")]).unwrap_err();
            assert!(message.contains("it must be above 0 and at most 1"), "{message}");
        }
        for gib in ["0", "-2", "inf", "nan"] {
            let message = limit(&[&format!("--cache-gib={gib}")]).unwrap_err();
            assert!(message.ends_with("not above zero"), "{message}");
        }
        let total = words(DeviceMemory::ask(Device::Cpu).unwrap().total);
        for gib in ["1e5", "1e300"] {
            let message = limit(&["--cache-gib", gib]).unwrap_err();
            assert!(message.starts_with("--cache-gib 1"), "{message}");
            assert!(message.contains(&format!("the device has {total}")), "{message}");
        }
    }
}
