//! What is said about a peer that comes and goes: one line when it is lost, one when it is back.

use anytime_service::channel::Backoff;
use std::time::Duration;
use tonic::Status;
use tracing::{info, warn};

/// The state of the calls of one kind to one peer.
pub(crate) struct Link {
    name: &'static str,
    is_lost: bool,
    backoff: Backoff,
}

impl Link {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            is_lost: false,
            backoff: Backoff::default(),
        }
    }

    /// A call succeeded.
    pub(crate) fn is_up(&mut self) {
        self.backoff.reset();
        if self.is_lost {
            self.is_lost = false;
            info!(call = self.name, "peer is back");
        }
    }

    /// A call failed. Returns the pause before the next try.
    pub(crate) fn failed(&mut self, status: &Status) -> Duration {
        if !self.is_lost {
            self.is_lost = true;
            warn!(call = self.name, code = ?status.code(), message = status.message(), "peer is lost, waiting for it");
        }
        self.backoff.pause()
    }
}

/// Runs a call under a deadline; one that passes it is a status as any other failure.
pub(crate) async fn within<T>(
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
