//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use anytime_service::exit;
use anytime_service::telemetry::TelemetryArgs;
use clap::{Args, Parser, Subcommand};

/// Grades answers to mathematical problems.
#[derive(Debug, Parser)]
#[command(name = "anytime-verifier", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer anytime.v1.VerifierService until SIGTERM
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "ANYTIME_LISTEN", default_value = "127.0.0.1:7102")]
    pub(crate) listen: SocketAddr,
    /// File that is given the bound host:port once the server listens
    #[arg(long, env = "ANYTIME_PORT_FILE")]
    pub(crate) port_file: Option<PathBuf>,
    /// Threads that grade; by default one for each core
    #[arg(long, env = "ANYTIME_THREADS")]
    threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
}

impl ServeArgs {
    /// How many threads grade.
    pub(crate) fn threads(&self) -> anyhow::Result<NonZeroUsize> {
        match self.threads {
            Some(threads) => Ok(threads),
            None => std::thread::available_parallelism().context("count the cores, --threads sets their number"),
        }
    }
}

/// Reads the arguments; what is wrong with them is printed and ends the process as bad configuration.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    Cli::try_parse_from(arguments).map_err(|error| {
        // With standard error closed there is nobody left to tell.
        let _ = error.print();
        if error.use_stderr() {
            ExitCode::from(exit::CONFIGURATION)
        } else {
            ExitCode::SUCCESS
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
