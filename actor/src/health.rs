//! Whether the verifier judges: the calls to it know, and the lease loop asks for no work meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anytime_service::metric_names::ACTOR_VERIFIER_AWAY;
use metrics::gauge;
use tracing::{info, warn};

/// Whether the verifier judges. Cheap to clone.
#[derive(Clone)]
pub struct VerifierHealth {
    is_away: Arc<AtomicBool>,
}

impl Default for VerifierHealth {
    /// The verifier counts as there until a call fails.
    fn default() -> Self {
        // The series exists from the start.
        gauge!(ACTOR_VERIFIER_AWAY).set(0.0);
        Self {
            is_away: Arc::default(),
        }
    }
}

impl VerifierHealth {
    /// Whether the last call brought no verdicts.
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// The flag behind [`is_away`](Self::is_away), for the engine, which does not know the verifier.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_away)
    }

    /// A call brought verdicts.
    pub(crate) fn judges(&self) {
        if self.is_away.swap(false, Ordering::AcqRel) {
            info!("the verifier judges again");
            gauge!(ACTOR_VERIFIER_AWAY).set(0.0);
        }
    }

    /// A call brought no verdicts, and the verifier is at fault.
    pub(crate) fn fails(&self, problem: &str) {
        if !self.is_away.swap(true, Ordering::AcqRel) {
            warn!(problem, "the verifier judges nothing, waiting for it");
            gauge!(ACTOR_VERIFIER_AWAY).set(1.0);
        }
    }
}
