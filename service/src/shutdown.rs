//! Turns SIGTERM and SIGINT into one cancelled token, and bounds the time that a process has after it.

use std::future::Future;
use std::time::Duration;

use anytime_proto::limits::DRAIN_TIMEOUT;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A token that is cancelled by the first SIGTERM or SIGINT. From that moment the process has [`DRAIN_TIMEOUT`] to end;
/// a watchdog thread then ends it whatever it waits for.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "draining");
        cancelled.cancel();
        spawn_watchdog(DRAIN_TIMEOUT);
    });
    Ok(token)
}

/// Ends the process when the drain takes too long. A thread, because what hangs may be the runtime itself.
fn spawn_watchdog(limit: Duration) {
    let watchdog = move || {
        std::thread::sleep(limit);
        warn!(seconds = limit.as_secs(), "drain took too long, ending now");
        crate::exit::leave_now(crate::exit::FAILED);
    };
    if let Err(error) = std::thread::Builder::new().name("watchdog".to_owned()).spawn(watchdog) {
        warn!(%error, "no watchdog thread, ending now");
        crate::exit::leave_now(crate::exit::FAILED);
    }
}

/// Sleeps until the time has passed or the token is cancelled. Returns whether the time has passed.
pub async fn sleep_unless_cancelled(duration: Duration, token: &CancellationToken) -> bool {
    run_unless_cancelled(tokio::time::sleep(duration), token)
        .await
        .is_some()
}

/// Runs a future until the token is cancelled. Returns its output, or `None` where it was cancelled.
pub async fn run_unless_cancelled<T>(future: impl Future<Output = T>, token: &CancellationToken) -> Option<T> {
    tokio::select! {
        () = token.cancelled() => None,
        output = future => Some(output),
    }
}
