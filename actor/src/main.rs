//! The actor's process.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anytime_actor::configuration::{Args, Configuration};
use anytime_policy::device;
use anytime_service::exit::{self, ExitError};
use anytime_service::{shutdown, telemetry};
use clap::Parser as _;
use clap::error::ErrorKind;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nothing is left to do where the terminal is gone.
            let _ = error.print();
            let asked_for_text = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked_for_text {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(exit::CONFIGURATION)
            };
        }
    };
    // A thread that loads weights may still be inside libtorch.
    exit::conclude_now(start(&args))
}

fn start(args: &Args) -> anyhow::Result<()> {
    anytime_policy::operators::keep_freed_memory();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(args));
    // Whatever still blocks a thread must not hold up the end of the process.
    runtime.shutdown_background();
    result
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    telemetry::start("actor", &args.telemetry)?;
    let configuration = Configuration::try_new(args)?;
    device::set_threads(configuration.threads);
    let token = shutdown::on_signal().map_err(|error| ExitError::configuration(format!("signal handlers: {error}")))?;
    anytime_actor::run(configuration, token).await
}
