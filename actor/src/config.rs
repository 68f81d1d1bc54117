//! Arguments and environment, checked before anything starts.

use std::time::Duration;

use anytime_policy::device;
use anytime_proto::ActorId;
use anytime_service::exit::ExitError;
use anytime_service::telemetry::TelemetryArgs;
use clap::Parser;
use tch::Device;

use crate::engine::EngineLimits;

/// Bytes of a gibibyte.
const GIB: f64 = 1_073_741_824.0;

/// Generates scored groups for whatever job the learner runs.
#[derive(Clone, Debug, Parser)]
#[command(name = "anytime-actor", version)]
pub struct Args {
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
    /// Memory of the key-value cache, which bounds the sequences too [default: 2 on the CPU, 24 on a GPU]
    #[arg(long, env = "ANYTIME_CACHE_GIB")]
    pub cache_gib: Option<f64>,
    /// Logs and metrics
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
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
    /// How long a verifier may fail before the groups whose summaries wait for it are given up.
    pub verify_patience: Duration,
}

/// The default of [`ActorConfig::verify_patience`].
pub const VERIFY_PATIENCE: Duration = Duration::from_secs(60);

impl ActorConfig {
    /// Checks the arguments and looks for the device.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument.
    pub fn try_new(args: &Args) -> Result<Self, ExitError> {
        if args.slots == 0 {
            return Err(ExitError::configuration("--slots is 0; at least 1 sequence has to run"));
        }
        if args.threads == 0 {
            return Err(ExitError::configuration("--threads is 0; at least 1 is needed"));
        }
        let device = device::choose(&args.device)
            .map_err(|error| ExitError::configuration(format!("--device {}: {error}", args.device)))?;
        let default_gib = if device == Device::Cpu { 2.0 } else { 24.0 };
        let cache_gib = args.cache_gib.unwrap_or(default_gib);
        if !(cache_gib.is_finite() && cache_gib > 0.0) {
            return Err(ExitError::configuration(format!(
                "--cache-gib {cache_gib}: not above zero"
            )));
        }
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
                cache_bytes: (cache_gib * GIB) as usize,
            },
            verify_patience: VERIFY_PATIENCE,
        })
    }
}

fn default_actor_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "actor" } else { host.trim() };
    format!("{host}-{}", std::process::id())
}
