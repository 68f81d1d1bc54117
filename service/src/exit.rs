//! Exit codes, after sysexits.h, so that scripts can tell a bad job file from a server that is down.

use std::fmt::Display;
use std::process::ExitCode;

/// Bad configuration: an argument, a job file, a marker, a data row, a checkpoint.
pub const CONFIGURATION: u8 = 64;
/// Bad input: a line that is not what the command reads.
pub const DATA: u8 = 65;
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

    /// Bad input.
    pub fn data(message: impl Display) -> Self {
        Self {
            code: DATA,
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

/// Ends the process at once, without running destructors of static objects: a thread that is still inside libtorch
/// would find its ground gone and write nonsense on its way down.
pub fn leave_now(code: u8) -> ! {
    // SAFETY: `_exit` takes a number, does not return and touches no memory of this program. What must be on disk was
    // written and synced before.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(i32::from(code))
    }
}

/// What `main` returns: prints the error as one line on standard error.
pub fn conclude(result: anyhow::Result<()>) -> ExitCode {
    ExitCode::from(code_of(result))
}

/// As [`conclude`], for a process whose tensor threads may still be at work: it does not wait for them.
pub fn conclude_now(result: anyhow::Result<()>) -> ! {
    leave_now(code_of(result))
}

fn code_of(result: anyhow::Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit_code(&error)
        }
    }
}
