//! What becomes of requests, for the metrics.

use std::time::Instant;

use anytime_service::metric_names::{SERVE_FIRST_TOKEN_SECONDS, SERVE_REQUEST_SECONDS, SERVE_REQUESTS};
use metrics::{counter, histogram};

use super::answer::Update;
use super::error::ApiError;

/// Makes the series appear, so that the first request shows in a rate.
pub(crate) fn show_outcomes() {
    for outcome in ["answered", "cancelled", "failed", "refused"] {
        counter!(SERVE_REQUESTS, "outcome" => outcome).increment(0);
    }
}

/// Counts what becomes of a request. Dropped before anything was said, the client has gone.
pub(crate) struct Outcome {
    began: Instant,
    has_token: bool,
    outcome: Option<&'static str>,
}

impl Outcome {
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
            has_token: false,
            outcome: Some("cancelled"),
        }
    }

    /// Counts nothing.
    pub(crate) fn none() -> Self {
        Self {
            began: Instant::now(),
            has_token: false,
            outcome: None,
        }
    }

    /// It was answered.
    pub(crate) fn is_answered(&mut self) {
        self.outcome = Some("answered");
    }

    /// It has no answer for this reason.
    pub(crate) fn has_error(&mut self, error: &ApiError) {
        self.outcome = Some(if error.status < 500 { "refused" } else { "failed" });
    }

    /// Something was told.
    pub(crate) fn see(&mut self, update: &Update) {
        match update {
            Update::Reasoning(_) if !self.has_token => {
                self.has_token = true;
                histogram!(SERVE_FIRST_TOKEN_SECONDS).record(self.began.elapsed());
            }
            Update::Ended(_) => self.is_answered(),
            Update::Failed(_) => self.outcome = Some("failed"),
            _ => {}
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome else { return };
        counter!(SERVE_REQUESTS, "outcome" => outcome).increment(1);
        if outcome == "answered" {
            histogram!(SERVE_REQUEST_SECONDS).record(self.began.elapsed());
        }
    }
}
