//! Calls to a peer that may be away: the log of its comings and goings, and a deadline for every call.

use std::time::Duration;

use metrics::gauge;
use tonic::Status;
use tracing::{info, warn};

use crate::channel::Backoff;
use crate::metric_names::PEER_UP;

/// Remembers whether one kind of call to one peer succeeds. It says so in the log once when the peer is lost and once
/// when it is back, however often the call is tried in between, and it gives the pauses between the tries.
///
/// After each call, the caller calls exactly one of [`PeerLog::is_up`] and [`PeerLog::failed`].
pub struct PeerLog {
    call: &'static str,
    is_lost: bool,
    backoff: Backoff,
}

impl PeerLog {
    /// `call` names the kind of call in the log, such as `rollout.lease`.
    pub fn new(call: &'static str) -> Self {
        Self {
            call,
            is_lost: false,
            backoff: Backoff::default(),
        }
    }

    /// The call has succeeded.
    pub fn is_up(&mut self) {
        self.backoff.reset();
        show_peer(self.call, true);
        if self.is_lost {
            self.is_lost = false;
            info!(call = self.call, "peer is back");
        }
    }

    /// The call has failed. Returns the pause before the next try.
    pub fn failed(&mut self, status: &Status) -> Duration {
        show_peer(self.call, false);
        if !self.is_lost {
            self.is_lost = true;
            warn!(call = self.call, code = ?status.code(), message = status.message(), "peer is lost, waiting for it");
        }
        self.backoff.pause()
    }
}

/// Shows as a metric whether a peer is there, by the kind of call.
pub fn show_peer(call: &'static str, is_up: bool) {
    gauge!(PEER_UP, "call" => call).set(if is_up { 1.0 } else { 0.0 });
}

/// Waits for the answer to a call, but no longer than the deadline.
///
/// # Errors
/// The status that the peer answers with, or `DEADLINE_EXCEEDED` where it does not answer in time.
pub async fn with_deadline<T>(
    deadline: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => result.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "no answer within {} s",
            deadline.as_secs_f32()
        ))),
    }
}
