//! How this actor fares, for an operator who asks the learner: which weights it generates with, how fast, what it waits
//! for and since when, and what it knows of its verifier. Every lease request carries the newest report.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anytime_proto::v1::{ActorReport, ActorWait, VerifierStanding};
use anytime_service::last_lines::cut;
use anytime_service::shutdown::sleep_unless_cancelled;
use anytime_service::{clock, program};
use tokio_util::sync::CancellationToken;

use crate::engine::{EngineHandle, ShortOf};
use crate::health::VerifierHealth;

/// How often the engine is looked at: what a report says of times is as exact as this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The rate of tokens is a mean over this time.
const WINDOW: Duration = Duration::from_secs(30);

/// The most bytes of the verifier's address that are reported.
const LONGEST_ADDRESS: usize = 200;

/// How this actor fares. Cheap to clone; clones share what was seen.
#[derive(Clone)]
pub struct Standing {
    engine: EngineHandle,
    verifier: VerifierHealth,
    verifier_address: String,
    seen: Arc<Mutex<Seen>>,
}

impl Standing {
    /// Of this engine and this verifier, which [`watch`](Self::watch) looks at.
    pub fn new(engine: EngineHandle, verifier: VerifierHealth, verifier_address: String) -> Self {
        let seen = Arc::new(Mutex::new(Seen::new(clock::now())));
        Self {
            engine,
            verifier,
            verifier_address,
            seen,
        }
    }

    /// Looks at the engine at intervals until the token is cancelled.
    pub(crate) async fn watch(self, shutdown: CancellationToken) {
        while sleep_unless_cancelled(LOOK_EVERY, &shutdown).await {
            drop(self.look());
        }
    }

    fn look(&self) -> MutexGuard<'_, Seen> {
        let load = self.engine.load();
        let wait = if load.outstanding() > 0 {
            ActorWait::Nothing
        } else {
            match load.short_of(self.engine.installed().borrow().is_some()) {
                ShortOf::Weights => ActorWait::Weights,
                ShortOf::Verifier => ActorWait::Verifier,
                ShortOf::Leases => ActorWait::Leases,
            }
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.note(wait, load.tokens(), clock::now());
        seen
    }

    /// How it fares now.
    pub fn report(&self) -> ActorReport {
        let now = clock::now();
        let installed = self.engine.installed();
        let weights = installed.borrow().as_ref().map(|installed| installed.id.clone());
        let mut address = self.verifier_address.clone();
        cut(&mut address, LONGEST_ADDRESS);
        let verifier = VerifierStanding {
            address,
            ..self.verifier.standing(now)
        };
        let load = self.engine.load();
        let seen = self.look();
        ActorReport {
            process: Some(program::report()),
            weights_job_id: weights.as_ref().map(|id| id.job_id.0.clone()).unwrap_or_default(),
            weights_version: weights.map(|id| id.version.0).unwrap_or_default(),
            waits_for: seen.wait.into(),
            wait_seconds: now.saturating_duration_since(seen.waits_since).as_secs_f64(),
            tokens_per_second: seen.tokens_per_second(),
            token_seconds_ago: seen
                .last_token
                .map(|at| now.saturating_duration_since(at).as_secs_f64()),
            sequences: u32::try_from(load.outstanding()).unwrap_or(u32::MAX),
            slots: u32::try_from(load.slots()).unwrap_or(u32::MAX),
            verifier: Some(verifier),
        }
    }
}

/// What was seen of the engine.
struct Seen {
    wait: ActorWait,
    waits_since: Instant,
    last_token: Option<Instant>,
    /// How many tokens had been generated at which time, within the window.
    tokens: VecDeque<(Instant, u64)>,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self {
            wait: ActorWait::Weights,
            waits_since: now,
            last_token: None,
            tokens: VecDeque::from([(now, 0)]),
        }
    }

    fn note(&mut self, wait: ActorWait, tokens: u64, now: Instant) {
        if wait != self.wait {
            self.wait = wait;
            self.waits_since = now;
        }
        if self.tokens.back().is_some_and(|(_, before)| *before < tokens) {
            self.last_token = Some(now);
        }
        self.tokens.push_back((now, tokens));
        // The oldest one that stays is at the beginning of the window, or before it.
        while self
            .tokens
            .get(1)
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW)
        {
            self.tokens.pop_front();
        }
    }

    fn tokens_per_second(&self) -> f64 {
        let (Some((since, before)), Some((until, after))) = (self.tokens.front(), self.tokens.back()) else {
            return 0.0;
        };
        let seconds = until.saturating_duration_since(*since).as_secs_f64();
        if seconds > 0.0 {
            (after - before) as f64 / seconds
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_half_minute_and_a_wait_lasts_since_it_began() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut seen = Seen::new(start);
        assert_eq!(seen.tokens_per_second(), 0.0);
        for second in 1..=100 {
            seen.note(ActorWait::Nothing, second * 50, at(second));
        }
        assert_eq!((seen.tokens_per_second(), seen.last_token), (50.0, Some(at(100))));
        assert_eq!(seen.tokens.len(), 31);
        for second in 101..=120 {
            seen.note(ActorWait::Leases, 5000, at(second));
        }
        assert_eq!((seen.wait, seen.waits_since), (ActorWait::Leases, at(101)));
        assert!((seen.tokens_per_second() - 500.0 / 30.0).abs() < 1e-9);
        assert_eq!(seen.last_token, Some(at(100)));
    }
}
