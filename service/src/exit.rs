//! Exit codes, after sysexits.h, so that scripts can tell a bad job file from a server that is down.

use std::fmt::Display;
use std::process::ExitCode;

/// Bad configuration: an argument, a job file, a marker, a data row, a checkpoint.
pub const CONFIGURATION: u8 = 64;
/// A peer (learner, verifier, Redis) cannot be reached.
pub const UNAVAILABLE: u8 = 69;
/// The work itself failed.
pub const FAILED: u8 = 70;
/// Ended by SIGINT or by cancelling the job.
pub const INTERRUPTED: u8 = 130;

/// An error that ends the process with a code of its own. Attach it with [`anyhow::Error::context`] or return it bare;
/// [`exit_code`] finds it anywhere in the chain.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExitError {
    /// One of the codes of this module.
    pub code: u8,
    /// What went wrong.
    pub message: String,
}

impl ExitError {
    /// Bad configuration.
    pub fn configuration(message: impl Display) -> Self {
        Self {
            code: CONFIGURATION,
            message: message.to_string(),
        }
    }

    /// A peer cannot be reached.
    pub fn unavailable(message: impl Display) -> Self {
        Self {
            code: UNAVAILABLE,
            message: message.to_string(),
        }
    }
}

/// The exit code that an error asks for; [`FAILED`] where it asks for none.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<ExitError>())
        .map_or(FAILED, |exit| exit.code)
}

/// What `main` returns: prints the error as one line on standard error.
pub fn conclude(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}
