//! Exit codes, after sysexits.h, so that scripts can tell a bad job file from a server that is down.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;

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

/// An error that ends the process with a code of its own. Return it as it is or attach it with
/// [`anyhow::Error::context`]; [`exit_code`] finds it anywhere in the chain.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExitError {
    /// The exit code, one of the constants of this module.
    pub code: u8,
    /// What went wrong, as a sentence for the user.
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

/// Parses the arguments of this process. `main` calls it before anything else.
///
/// Where they ask for help or the version, the answer goes to standard output and the process ends with success. Where
/// they are wrong, the reason goes to standard error and the process ends with [`CONFIGURATION`], and not with the 2
/// that clap would choose.
#[expect(
    clippy::exit,
    reason = "nothing runs yet that would have to be ended, and each main is spared a branch"
)]
pub fn parse_or_exit<Args: Parser>() -> Args {
    Args::try_parse().unwrap_or_else(|error| {
        // With the stream closed there is nobody left to tell.
        let _ = error.print();
        std::process::exit(i32::from(code_of_usage(&error)))
    })
}

fn code_of_usage(error: &clap::Error) -> u8 {
    if error.use_stderr() { CONFIGURATION } else { 0 }
}

/// The exit code that an error asks for; [`FAILED`] where it asks for none.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<ExitError>())
        .map_or(FAILED, |exit| exit.code)
}

/// Ends the process at once, without running destructors of static objects: a thread that is still inside libtorch
/// would use objects that are gone and print errors while it ends.
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

/// As [`conclude`], for a process whose tensor threads may still be at work. It ends without waiting for them.
pub fn conclude_now(result: anyhow::Result<()>) -> ! {
    leave_now(code_of(result))
}

fn code_of(result: anyhow::Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error:#}");
            let code = exit_code(&error);
            // The same for who collects the log, which has one JSON object per line. Without a log this is nothing.
            if !std::io::stderr().is_terminal() {
                tracing::error!(exit_code = code, reason = format!("{error:#}"), "the process ends");
            }
            code
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    #[command(version = "1")]
    struct Args {
        /// Any number
        #[arg(long)]
        number: u8,
    }

    #[test]
    fn help_is_an_answer_and_a_wrong_argument_is_bad_configuration() {
        let code = |argument: &str| code_of_usage(&Args::try_parse_from(["test", argument]).unwrap_err());
        assert_eq!((code("--help"), code("--version")), (0, 0));
        assert_eq!((code("--number=x"), code("--colour=1")), (CONFIGURATION, CONFIGURATION));
        assert_eq!(Args::try_parse_from(["test", "--number=3"]).unwrap().number, 3);
    }

    #[test]
    fn an_error_asks_for_its_code_from_anywhere_in_the_chain() {
        let unreachable = anyhow::Error::new(ExitError::unavailable("no learner")).context("submit");
        assert_eq!(exit_code(&unreachable), UNAVAILABLE);
        assert_eq!(exit_code(&anyhow::anyhow!("anything else")), FAILED);
    }
}
