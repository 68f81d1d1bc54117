//! SIGINT, SIGTERM and SIGHUP as something to wait for. Unlike a server the client has no fixed time to drain: it waits
//! for its children, and a second signal cuts that short.

use anytime_service::exit::{ExitError, INTERRUPTED};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the client.
#[derive(Debug)]
pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupt {
    /// Installs the handlers.
    ///
    /// # Errors
    /// If the system refuses them.
    pub fn try_new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal and gives its name.
    pub async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

/// The error that ends the client after a signal.
pub fn interrupted(message: impl Into<String>) -> ExitError {
    ExitError {
        code: INTERRUPTED,
        message: message.into(),
    }
}
