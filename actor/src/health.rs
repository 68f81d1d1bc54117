//! Whether the verifier judges: the calls to it know, and the lease loop asks for no work meanwhile. What the verifier said
//! of itself, and what the last failed call said, is kept for whoever asks how this actor fares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anytime_proto::v1::{ProcessReport, VerifierStanding};
use anytime_service::clock;
use anytime_service::last_lines::log_line;
use anytime_service::metric_names::ACTOR_VERIFIER_AWAY;
use metrics::gauge;
use tracing::{info, warn};

/// Whether the verifier judges. Cheap to clone.
#[derive(Clone)]
pub struct VerifierHealth {
    is_away: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

/// What the calls saw.
struct Seen {
    /// Since when it judges, or does not.
    since: Instant,
    last_error: Option<(String, Instant)>,
    process: Option<(ProcessReport, Instant)>,
}

impl Default for VerifierHealth {
    /// The verifier counts as there until a call fails.
    fn default() -> Self {
        // The series exists from the start.
        gauge!(ACTOR_VERIFIER_AWAY).set(0.0);
        Self {
            is_away: Arc::default(),
            seen: Arc::new(Mutex::new(Seen {
                since: clock::now(),
                last_error: None,
                process: None,
            })),
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
            self.seen().since = clock::now();
            info!("the verifier judges again");
            gauge!(ACTOR_VERIFIER_AWAY).set(0.0);
        }
    }

    /// A call brought no verdicts, and the verifier is at fault.
    pub(crate) fn fails(&self, problem: &str) {
        let mut seen = self.seen();
        let now = clock::now();
        seen.last_error = Some((problem.to_owned(), now));
        if !self.is_away.swap(true, Ordering::AcqRel) {
            seen.since = now;
            warn!(problem, "the verifier judges nothing, waiting for it");
            gauge!(ACTOR_VERIFIER_AWAY).set(1.0);
        }
    }

    /// What an answer said of the verifier's process; an earlier version says nothing.
    pub(crate) fn heard(&self, process: Option<ProcessReport>) {
        if let Some(process) = process {
            self.seen().process = Some((process, clock::now()));
        }
    }

    /// What is known of the verifier, but for its address.
    pub(crate) fn standing(&self, now: Instant) -> VerifierStanding {
        let seen = self.seen();
        let age = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
        VerifierStanding {
            address: String::new(),
            is_away: self.is_away(),
            since_seconds: age(seen.since),
            last_error: seen.last_error.as_ref().map(|(text, at)| log_line(text, age(*at))),
            process: seen.process.as_ref().map(|(process, at)| aged(process, age(*at))),
        }
    }

    /// What was seen is right also after a panic: each change is one step.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A report that was made some time ago, with its ages as they are now.
fn aged(process: &ProcessReport, seconds: f64) -> ProcessReport {
    let mut process = process.clone();
    process.up_seconds += seconds;
    for line in [&mut process.last_error, &mut process.last_warning]
        .into_iter()
        .flatten()
    {
        line.seconds_ago += seconds;
    }
    process
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_verifier_that_is_back_is_there_and_its_last_fault_stays() {
        let health = VerifierHealth::default();
        health.heard(None);
        assert_eq!(health.standing(clock::now()).process, None);
        health.heard(Some(ProcessReport {
            version: "7.0.0".to_owned(),
            up_seconds: 10.0,
            last_warning: Some(log_line("slow", 1.0)),
            ..ProcessReport::default()
        }));
        health.fails("Unavailable: nobody is there");
        let away = health.standing(clock::now() + Duration::from_secs(5));
        assert!(away.is_away && away.since_seconds >= 5.0, "{away:?}");
        let process = away.process.expect("it said so");
        assert!(process.up_seconds >= 15.0 && process.last_warning.expect("a line").seconds_ago >= 6.0);
        health.judges();
        let back = health.standing(clock::now());
        assert!(!back.is_away && back.since_seconds < 5.0, "{back:?}");
        assert_eq!(back.last_error.expect("it stays").text, "Unavailable: nobody is there");
    }
}
