//! Answers over HTTP, as OpenAI's clients ask, and over gRPC, with what this project adds: an answer at every budget, how far
//! its summaries agree, and traces that go on.
//!
//! Follow one request: [`http`] takes its body (`body`), `asking` checks it (`request`, `anytime`, `fields`, `prompt`) and makes an
//! order for the engine (`orders`), `dispatcher` lets it in and brings it the engine's events, `session` turns those into
//! updates (`line`, `text`, `summary`, `polling`, `vote`; `branches` and `pruning` for several traces), and `reply` writes these down for
//! the client. `reward` asks the service that scores branches. A call over gRPC takes the same way behind [`rpc`]: `translation` makes the fields of a body of its message.
//! [`page`] asks from a browser. [`following`] brings the weights of a job that trains.

mod answer;
mod anytime;
mod asking;
mod body;
mod branches;
mod dispatcher;
mod error;
mod fields;
mod following;
mod http;
mod line;
mod orders;
mod outcome;
mod page;
mod polling;
mod prompt;
mod pruning;
mod reply;
mod request;
mod reward;
mod rpc;
mod session;
mod settings;
mod summary;
mod text;
mod translation;
mod vote;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use anytime_policy::device;
use anytime_policy::memory::DeviceMemory;
use anytime_proto::v1::reason_service_server::ReasonServiceServer;
use anytime_service::exit::ExitError;
use anytime_service::security::ServerSecurity;
use anytime_service::telemetry::MetricsText;
use anytime_service::{device_load, device_memory, port_file, server};
use tch::Device;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::dispatcher::Dispatcher;
use self::following::Following;
use self::http::Surface;
use self::rpc::Reasoner;
use self::settings::Served;
use crate::config::{ServeArgs, cache_limit};
use crate::engine::{self, Command, EngineError, EngineHandle, EngineLimits};

/// How long answers under way may take when the process is asked to end.
const DRAIN: Duration = Duration::from_secs(7);

/// How often an end is looked for while it drains.
const POLL: Duration = Duration::from_millis(20);

/// Serves the model until the token is cancelled; answers under way may then end.
///
/// # Errors
/// [`ExitError`] where an argument or the model is wrong; otherwise what ended the engine.
pub async fn serve(
    args: &ServeArgs,
    security: &ServerSecurity,
    metrics: MetricsText,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let device = device::choose(&args.device)
        .map_err(|error| ExitError::configuration(format!("--device {}: {error}", args.device)))?;
    let cache = cache_limit(args.memory_share, args.cache_gib, device)?;
    let listener = server::bind(args.listen, security).await?;
    device::set_threads(args.threads as usize);
    let limits = EngineLimits {
        slots: args.slots as usize,
        cache,
    };
    let (sender, events) = mpsc::unbounded_channel();
    let (engine, thread) = engine::spawn(limits, sender).context("engine thread")?;
    let tasks = CancellationToken::new();
    let _end_tasks = tasks.clone().drop_guard();
    let ask = move || DeviceMemory::ask(device).ok().map(|memory| memory.states());
    tokio::spawn(device_memory::report(device::name(device), ask, tasks.clone()));
    tokio::spawn(device_load::report(device::name(device), tasks.clone()));

    let mut following = match &args.follow {
        Some(job) => Some(Following::begin(args, job, device, engine.clone(), tasks.clone())?),
        None => None,
    };
    let opened = tokio::select! {
        served = first_weights(args, device, &engine, following.as_mut()) => served?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let end = CancellationToken::new();
    let served = Arc::new(opened);
    let dispatcher = Dispatcher::start(engine.clone(), Arc::clone(&served), events, end.clone());
    let surface = Surface {
        dispatcher: dispatcher.clone(),
        metrics,
        created: reply::now(),
    };
    let draining = shutdown.child_token();
    let routes = http::routes(surface).into();
    let (router, health) = server::router_beside(security, draining, Some(routes))?;
    let reasoner = ReasonServiceServer::new(Reasoner::new(dispatcher.clone()));
    let router = router.add_service(reasoner.max_decoding_message_size(served.limits.body));
    health.set_serving::<ReasonServiceServer<Reasoner>>().await;
    let address = listener.local_addr().context("address of the listener")?;
    if let Some(path) = &args.port_file {
        port_file::write(path, address)?;
    }
    info!(
        %address, model = served.name, budgets = ?served.budgets, max_thinking = served.limits.thinking,
        max_prompt = served.limits.prompt, reproducible = served.is_reproducible, "serves"
    );
    let stop = CancellationToken::new();
    let serving = server::serve_beside(router, listener, security, stop.clone());
    let (engine, ending) = (engine.clone(), dispatcher);
    let drained = async move {
        tokio::select! {
            () = shutdown.cancelled() => {
                health.set_not_serving::<ReasonServiceServer<Reasoner>>().await;
                drain(&ending).await;
            }
            // The engine has ended by itself.
            () = end.cancelled() => {}
        }
        end.cancel();
        stop.cancel();
        engine.send(Command::Shutdown);
    };
    tokio::pin!(serving);
    tokio::select! {
        outcome = &mut serving => outcome?,
        () = drained => {
            // Connections that are kept open without a request do not hold the end up.
            let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
        }
    }
    let outcome = ended(thread).await;
    match following.and_then(Following::failure) {
        Some(failure) => Err(failure.into()),
        None => outcome,
    }
}

/// Gives the engine its first weights, and says with what they are asked.
async fn first_weights(
    args: &ServeArgs,
    device: Device,
    engine: &EngineHandle,
    following: Option<&mut Following>,
) -> anyhow::Result<Served> {
    if let Some(following) = following {
        return following.served(args, engine.installed()).await;
    }
    let arguments = args.clone();
    let opened = tokio::task::spawn_blocking(move || {
        device::compute_on_this_thread_alone();
        let directory = arguments.model.clone().unwrap_or_default();
        settings::open(&arguments, &directory, device)
    });
    let (served, model) = opened.await.context("loading the model")??;
    engine.send(Command::SwapWeights(Box::new(model)));
    Ok(served)
}

/// Waits until nothing is under way, but not for long.
async fn drain(dispatcher: &Dispatcher) {
    let deadline = tokio::time::Instant::now() + DRAIN;
    while dispatcher.in_flight() > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
    }
}

/// Why the engine's thread has ended, where that was not asked for.
async fn ended(thread: std::thread::JoinHandle<Result<(), EngineError>>) -> anyhow::Result<()> {
    match engine::join(thread).await {
        Err(EngineError::NoRoom(reason)) => Err(ExitError::configuration(reason).into()),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(()),
    }
}
