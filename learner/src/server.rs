//! The servers and the job thread of one learner, from start to drain.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use anytime_proto::limits::{DRAIN_TIMEOUT, MAX_MESSAGE_BYTES};
use anytime_proto::v1::diagnosis_service_server::DiagnosisServiceServer;
use anytime_proto::v1::job_service_server::JobServiceServer;
use anytime_proto::v1::rollout_service_server::RolloutServiceServer;
use anytime_proto::v1::weights_service_server::WeightsServiceServer;
use anytime_service::exit::{CONFIGURATION, ExitError, FAILED};
use anytime_service::port_file;
use anytime_service::security::ServerSecurity;
use anytime_service::server::{router, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::diagnosis::Diagnostician;
use crate::health;
use crate::hub::HubSource;
use crate::jobs::disk;
use crate::jobs::export_request::ExportJob;
use crate::jobs::fault::{Fault, fault_of};
use crate::jobs::fork::TakeStart;
use crate::jobs::registry::JobRegistry;
use crate::jobs::retention::{self, Retention};
use crate::jobs::runner::{self, RunJob};
use crate::outputs::Places;
use crate::queue::fence::LearnerName;
use crate::queue::redis::{RedisConnection, START_PATIENCE};
use crate::queue::target::RedisTarget;
use crate::rollouts::broker::{Identity, RolloutBroker};
use crate::rollouts::lease_token::LeaseTokens;
use crate::rollouts::monitor;
use crate::rpc::diagnosis::DiagnosisRpc;
use crate::rpc::jobs::{JobWork, JobsRpc, Validate};
use crate::rpc::rollouts::RolloutsRpc;
use crate::rpc::weights::WeightsRpc;
use crate::server_state::ServerState;
use crate::weights::store::WeightsStore;

/// The part of the time to drain that is kept for the exit itself.
const DRAIN_RESERVE: Duration = Duration::from_secs(1);

/// How often the drain looks whether the job thread has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often jobs are counted by state.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How a learner was started: what its command line says, apart from the address to listen on.
#[derive(Clone, Debug)]
pub struct LearnerConfig {
    /// Which Redis.
    pub redis: RedisTarget,
    /// Who may call, and how.
    pub security: ServerSecurity,
    /// What its keys in Redis begin with.
    pub cluster: String,
    /// The directory in which relative paths of specifications start.
    pub root: PathBuf,
    /// The directory in which each job has a directory of its own.
    pub runs_directory: PathBuf,
    /// Other directories in which models may be written.
    pub output_roots: Vec<PathBuf>,
    /// Where the Hugging Face hub is.
    pub hub: HubSource,
    /// The device on which jobs compute: auto, cpu, cuda, cuda:1, ….
    pub device: String,
    /// The share of the device's memory that updates are planned with.
    pub memory_share: f64,
    /// How many jobs that are over are kept; all where it says nothing.
    pub keep_jobs: Option<usize>,
    /// How long each of them is kept; for ever where it says nothing.
    pub keep_jobs_for: Option<Duration>,
    /// The file to which the bound address is written once the learner serves.
    pub port_file: Option<PathBuf>,
}

/// How models are written of recovery checkpoints.
pub struct Writing {
    /// Where a user wants one.
    pub export: ExportJob,
    /// For another job to start from.
    pub take_start: TakeStart,
}

impl LearnerConfig {
    /// Where models may be written.
    pub fn places(&self) -> Places {
        Places {
            root: self.root.clone(),
            runs_directory: self.runs_directory.clone(),
            output_roots: self.output_roots.clone(),
        }
    }
}

/// Serves, and runs jobs, until the token is cancelled; then lets go of the job under way, finishes the requests and
/// returns, all within the time to drain.
///
/// # Errors
/// [`ExitError`] with the configuration code where the root or the runs directory cannot be used or Redis refuses the
/// credentials, with the code of a peer that cannot be reached where Redis does not answer, and with that of a failure
/// where no job can go on in this process.
pub async fn run(
    config: LearnerConfig,
    listener: TcpListener,
    shutdown: CancellationToken,
    validate: Validate,
    run_job: RunJob,
    writing: Writing,
) -> anyhow::Result<()> {
    let unusable_root = |error| ExitError::configuration(format!("--root {}: {error}", config.root.display()));
    let root = config.root.canonicalize().map_err(unusable_root)?;
    let redis = tokio::select! {
        redis = RedisConnection::connect_within(START_PATIENCE, config.redis.clone()) => Arc::new(redis?),
        () = shutdown.cancelled() => return Ok(()),
    };
    // A disk that is gone for a moment is no bad configuration, and a supervisor may try again.
    let unusable_runs = |error: anyhow::Error| ExitError {
        code: match fault_of(&error) {
            Fault::Process => FAILED,
            Fault::Passing | Fault::Own => CONFIGURATION,
        },
        message: format!("--runs-dir: {error:#}"),
    };
    let registry = Arc::new(JobRegistry::open(config.places()).map_err(unusable_runs)?);
    let address = listener.local_addr().context("address of the listener")?;
    let name = LearnerName::of(&config.runs_directory, &address.to_string())
        .with_context(|| format!("--runs-dir {}", config.runs_directory.display()))?;
    let identity = Identity {
        cluster: config.cluster.clone(),
        name,
    };
    let tokens = LeaseTokens::of_directory(&config.runs_directory).map_err(unusable_runs)?;
    let broker = Arc::new(RolloutBroker::new(redis.clone(), identity, shutdown.clone()));
    let store = Arc::new(WeightsStore::default());
    let places = config.places();
    let state = Arc::new(ServerState {
        broker: broker.clone(),
        weights: store.clone(),
        shutdown: shutdown.clone(),
        runtime: tokio::runtime::Handle::current(),
        root: root.clone(),
        places,
        hub: config.hub.clone(),
        device: config.device,
        memory_share: config.memory_share,
        fault: OnceLock::new(),
    });

    let work = JobWork {
        validate,
        export: writing.export,
        take_start: writing.take_start,
        device: device_name(&state.device),
        hub: config.hub,
    };
    let rpc = JobsRpc::new(registry.clone(), broker.clone(), work, root, shutdown.clone());
    let jobs = JobServiceServer::new(rpc)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let rollouts = RolloutServiceServer::new(RolloutsRpc::new(broker.clone(), tokens))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let weights = WeightsServiceServer::new(WeightsRpc::new(store, broker.clone(), shutdown.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let diagnostician = Diagnostician::new(registry.clone(), broker.clone(), redis.clone(), state.places.clone());
    let diagnosis =
        DiagnosisServiceServer::new(DiagnosisRpc::new(diagnostician)).max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (router, reporter) = router(&config.security, shutdown.clone())?;
    let router = router.add_service(jobs).add_service(diagnosis);
    let router = router.add_service(rollouts).add_service(weights);

    if let Some(path) = &config.port_file {
        port_file::write(path, address)?;
    }
    info!(%address, "listening");
    tokio::spawn(monitor::watch_leases(broker.clone()));
    let retention = Retention {
        jobs: config.keep_jobs,
        age: config.keep_jobs_for,
    };
    let old_jobs = retention::watch(retention, registry.clone(), broker.clone(), shutdown.clone());
    tokio::spawn(old_jobs);
    tokio::spawn(monitor::watch_redis(broker));
    tokio::spawn(disk::watch(config.runs_directory.clone(), shutdown.clone()));
    let job_thread = runner::start(registry.clone(), state.clone(), run_job)?;

    // Health checks are answered until the job has let go.
    let stop = CancellationToken::new();
    let serve_and_drain = async {
        let outcome = tokio::select! {
            outcome = serve(router, listener, &config.security, stop.clone()) => outcome,
            () = drain_time_is_over(&shutdown) => {
                warn!("requests were cut off, the drain took too long");
                Ok(())
            }
        };
        // If the transport failed, the job is to stop as well.
        shutdown.cancel();
        outcome
    };
    let jobs_are_looked_after = look_after_jobs(registry, &state);
    let health_is_shown = health::show(reporter.clone(), redis, shutdown.clone());
    let drained = async {
        tokio::join!(drain_job_thread(job_thread, &shutdown), health_is_shown);
        health::end(reporter).await;
        stop.cancel();
    };
    let (outcome, (), ()) = tokio::join!(serve_and_drain, drained, jobs_are_looked_after);
    outcome?;
    match state.fault.get() {
        Some(reason) => Err(ExitError {
            code: FAILED,
            message: reason.clone(),
        }
        .into()),
        None => Ok(()),
    }
}

/// The device as people call it: `cuda:0` where that is what `auto` chooses.
fn device_name(argument: &str) -> String {
    match anytime_policy::device::choose(argument) {
        Ok(device) => anytime_policy::device::name(device),
        Err(_) => argument.to_owned(),
    }
}

/// Keeps the metric of jobs by state up to date, also where a job pauses in the middle of its work. When the process is
/// told to end, it records that with the running job, so that this end does not count as a crash under the job.
async fn look_after_jobs(registry: Arc<JobRegistry>, state: &ServerState) {
    // A job may hold its lock for as long as an export takes to write; the drain must not wait for that.
    let with_registry = async |work: fn(&JobRegistry)| {
        let registry = registry.clone();
        let done = tokio::task::spawn_blocking(move || work(&registry));
        let _ = tokio::time::timeout(COUNT_EVERY, done).await;
    };
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => break,
            () = tokio::time::sleep(COUNT_EVERY) => with_registry(JobRegistry::count).await,
        }
    }
    if state.fault.get().is_none() {
        with_registry(JobRegistry::note_shutdown).await;
    }
}

async fn drain_time_is_over(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_TIMEOUT - DRAIN_RESERVE).await;
}

/// Waits for the thread as long as the drain may take. A step that takes longer is lost: the job resumes before it.
async fn drain_job_thread(job_thread: JoinHandle<()>, shutdown: &CancellationToken) {
    tokio::select! {
        () = drain_time_is_over(shutdown) => {
            warn!("the job did not let go in time, it resumes from its recovery checkpoint");
            return;
        }
        () = has_ended(&job_thread) => {}
    }
    if job_thread.join().is_err() {
        warn!("the job thread panicked");
    }
}

async fn has_ended(job_thread: &JoinHandle<()>) {
    while !job_thread.is_finished() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
