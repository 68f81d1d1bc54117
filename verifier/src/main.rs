//! The process `anytime-verifier`.
#![forbid(unsafe_code)]

mod cli;

use std::io::{self, BufWriter};
use std::process::ExitCode;

use anyhow::Context as _;
use anytime_service::exit::ExitError;
use anytime_service::security::ServerSecurity;
use anytime_service::{exit, program, server, shutdown, telemetry};
use anytime_verifier::offline::{GradeSettings, grade_lines};
use anytime_verifier::serve::run;
use tracing::info;

use crate::cli::{Cli, Command, GradeArgs, ServeArgs};

fn main() -> ExitCode {
    program::begin(None);
    let cli = exit::parse_or_exit::<Cli>();
    let result = match cli.command {
        Command::Serve(args) => serve(&args),
        Command::Grade(args) => grade(&args),
    };
    exit::conclude(result)
}

fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let security = ServerSecurity::load(&args.identity, &args.serving)?;
        let sending = telemetry::start("verifier", &args.telemetry, &security)?;
        let limits = args.limits()?;
        let token = shutdown::on_signal().context("install the signal handlers")?;
        let listener = server::bind(args.listen, &security).await?;
        let address = listener.local_addr().context("address of the listener")?;
        if let Some(path) = &args.port_file {
            anytime_service::port_file::write(path, address)?;
        }
        info!(%address, threads = limits.threads, "listening");
        let outcome = run(listener, token, limits, security).await;
        sending.finish().await;
        outcome
    })
}

fn grade(args: &GradeArgs) -> anyhow::Result<()> {
    let settings = GradeSettings {
        options: args.options().map_err(ExitError::configuration)?,
        explain: args.explain,
        threads: args.threads()?,
    };
    let output = BufWriter::new(io::stdout().lock());
    grade_lines(io::stdin(), output, &settings)
}
