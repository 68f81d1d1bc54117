//! The servers and the job thread of one learner, from start to drain.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use anytime_proto::limits::{DRAIN_TIMEOUT, MAX_MESSAGE_BYTES};
use anytime_proto::v1::job_service_server::JobServiceServer;
use anytime_proto::v1::rollout_service_server::RolloutServiceServer;
use anytime_proto::v1::weights_service_server::WeightsServiceServer;
use anytime_service::exit::ExitError;
use anytime_service::port_file;
use anytime_service::server::{router, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::jobs::registry::JobRegistry;
use crate::jobs::runner;
use crate::queue::redis::RedisLink;
use crate::rollouts::broker::Exchange;
use crate::rollouts::monitor;
use crate::rpc::jobs::JobDesk;
use crate::rpc::rollouts::Rollouts;
use crate::rpc::weights::Weights;
use crate::server_state::Hall;
use crate::weights::store::WeightsShelf;
use crate::{RunJob, Validate};

/// What is kept of the time to end for the exit itself.
const DRAIN_RESERVE: Duration = Duration::from_secs(1);

/// How often the drain looks whether the job thread has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a learner runs on.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL of Redis.
    pub redis: String,
    /// Where relative paths of specifications start.
    pub root: PathBuf,
    /// Where jobs are kept.
    pub runs_directory: PathBuf,
    /// The device of jobs.
    pub device: String,
    /// Where the bound address is written once the learner serves.
    pub port_file: Option<PathBuf>,
}

/// Serves, and runs jobs, until the token is cancelled; then lets go of the job under way, finishes the requests and
/// returns, all within the time to drain.
///
/// # Errors
/// [`ExitError`] with the configuration code where Redis, the root or the runs directory cannot be used.
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: CancellationToken,
    validate: Validate,
    run_job: RunJob,
) -> anyhow::Result<()> {
    let unusable_root = |error| ExitError::configuration(format!("--root {}: {error}", config.root.display()));
    let root = config.root.canonicalize().map_err(unusable_root)?;
    let link = Arc::new(RedisLink::connect(&config.redis).await?);
    let unusable_runs = |error: anyhow::Error| ExitError::configuration(format!("--runs-dir: {error:#}"));
    let registry = Arc::new(JobRegistry::open(&config.runs_directory).map_err(unusable_runs)?);
    let exchange = Arc::new(Exchange::new(link, shutdown.clone()));
    let shelf = Arc::new(WeightsShelf::default());
    let hall = Arc::new(Hall {
        registry: registry.clone(),
        exchange: exchange.clone(),
        shelf: shelf.clone(),
        shutdown: shutdown.clone(),
        runtime: tokio::runtime::Handle::current(),
        root: root.clone(),
        device: config.device,
    });

    let jobs = JobServiceServer::new(JobDesk::new(registry, validate, root, shutdown.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let rollouts = RolloutServiceServer::new(Rollouts::new(exchange.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let weights = WeightsServiceServer::new(Weights::new(shelf, exchange.clone(), shutdown.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (router, health) = router()?;
    health.set_serving::<JobServiceServer<JobDesk>>().await;
    health.set_serving::<RolloutServiceServer<Rollouts>>().await;
    health.set_serving::<WeightsServiceServer<Weights>>().await;
    let router = router.add_service(jobs).add_service(rollouts).add_service(weights);

    let address = listener.local_addr().context("address of the listener")?;
    if let Some(path) = &config.port_file {
        port_file::write(path, address)?;
    }
    info!(%address, "listening");
    tokio::spawn(monitor::watch_leases(exchange.clone()));
    tokio::spawn(monitor::watch_redis(exchange));
    let job_thread = runner::start(hall, run_job)?;

    let serve_and_drain = async {
        let outcome = tokio::select! {
            outcome = serve(router, listener, shutdown.clone()) => outcome,
            () = drain_time_is_over(&shutdown) => {
                warn!("requests were cut off, the drain took too long");
                Ok(())
            }
        };
        // If the transport failed, the job is to stop as well.
        shutdown.cancel();
        outcome
    };
    let (outcome, ()) = tokio::join!(serve_and_drain, drain_job_thread(job_thread, &shutdown));
    outcome
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
