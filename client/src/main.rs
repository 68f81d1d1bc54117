//! The binary `anytime`: arguments → runtime → command → exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anytime::arguments::Cli;
use anytime_service::exit::{self, ExitError};
use anytime_service::{program, telemetry};

fn main() -> ExitCode {
    program::begin(None);
    let arguments = exit::parse_or_exit::<Cli>();
    telemetry::start_for_people();
    let result = run(arguments);
    if let Err(error) = &result
        && is_broken_pipe(error)
    {
        // The reader of our output has seen enough (`anytime list | head`), which is no error.
        return ExitCode::SUCCESS;
    }
    exit::conclude(result)
}

/// One thread is enough, because the client only waits for others. It also must be one: the kernel ties a child's death
/// signal to the thread that started the child.
fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(anytime::run(cli));
    // A look-up of a host name may still be running; nothing is left to wait for.
    runtime.shutdown_background();
    result
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    if error.chain().any(|cause| cause.is::<ExitError>()) {
        return false;
    }
    let io_errors = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io_errors
        .into_iter()
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
