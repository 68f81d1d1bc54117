//! The process `anytime-verifier`.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use anyhow::Context as _;
use anytime_service::{exit, server, shutdown, telemetry};
use anytime_verifier::limits::ServerLimits;
use anytime_verifier::serve::run;
use tracing::info;

use crate::cli::{Command, ServeArgs};

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit_code) => return exit_code,
    };
    let result = match cli.command {
        Command::Serve(args) => serve(&args),
    };
    exit::conclude(result)
}

fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        telemetry::start("verifier", &args.telemetry)?;
        let limits = ServerLimits::with_threads(args.threads()?);
        let token = shutdown::on_signal().context("install the signal handlers")?;
        let listener = server::bind(args.listen).await?;
        let address = listener.local_addr().context("address of the listener")?;
        if let Some(path) = &args.port_file {
            anytime_service::port_file::write(path, address)?;
        }
        info!(%address, threads = limits.threads, "listening");
        run(listener, token, limits).await
    })
}
