//! The actor's process.
#![forbid(unsafe_code)]

use anytime_actor::config::{ActorConfig, Args, Command, ServeArgs};
use anytime_policy::{device, operators, waiting};
use anytime_service::exit::{self, ExitError};
use anytime_service::security::{CallSecurity, ServerSecurity};
use anytime_service::{program, shutdown, telemetry};
use tracing::warn;

fn main() {
    program::begin(Some(operators::libtorch_version()));
    let args = exit::parse_or_exit::<Args>();
    // A thread that loads weights may still be inside libtorch.
    exit::conclude_now(start(&args))
}

fn start(args: &Args) -> anyhow::Result<()> {
    let threads = match &args.command {
        Some(Command::Generate(generate)) => generate.threads as usize,
        Some(Command::Serve(serve)) => serve.threads as usize,
        None => args.threads,
    };
    if let Err(error) = waiting::wait_briefly(threads) {
        eprintln!("threads wait as libgomp has it, because the program cannot be started again: {error}");
    }
    operators::keep_freed_memory();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match &args.command {
            Some(Command::Generate(generate)) => anytime_actor::generate(generate).await,
            Some(Command::Serve(serve)) => answer(serve).await,
            None => work(args).await,
        }
    });
    // Whatever still blocks a thread must not hold up the end of the process.
    runtime.shutdown_background();
    result
}

/// Answers requests.
async fn answer(args: &ServeArgs) -> anyhow::Result<()> {
    let security = ServerSecurity::load(&args.identity, &args.serving)?;
    let (metrics, sending) = telemetry::start_serving("actor", &args.telemetry, &security)?;
    let token = shutdown::on_signal().map_err(|error| ExitError::configuration(format!("signal handlers: {error}")))?;
    let outcome = anytime_actor::serve(args, &security, metrics, token).await;
    sending.finish().await;
    outcome
}

async fn work(args: &Args) -> anyhow::Result<()> {
    let metrics = ServerSecurity::load(&args.identity, &args.serving)?;
    let calls = CallSecurity::load(&args.identity, &args.calling)?;
    let sending = telemetry::start("actor", &args.telemetry, &metrics)?;
    let outcome = work_with(args, &metrics, calls).await;
    sending.finish().await;
    outcome
}

async fn work_with(args: &Args, metrics: &ServerSecurity, calls: CallSecurity) -> anyhow::Result<()> {
    // The warnings about the certificate have been logged already.
    for warning in calls
        .warnings()
        .iter()
        .filter(|warning| !metrics.warnings().contains(warning))
    {
        warn!("{warning}");
    }
    let config = ActorConfig::try_new(args, calls)?;
    device::set_threads(config.threads);
    let token = shutdown::on_signal().map_err(|error| ExitError::configuration(format!("signal handlers: {error}")))?;
    anytime_actor::run(config, token).await
}
