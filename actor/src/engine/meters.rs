//! The engine's metrics. They are looked up once, because a decoding step should not search a registry.

use anytime_service::metric_names::{
    ACTOR_DECODE_BUSY, ACTOR_LEASE_WAIT, ACTOR_SEQUENCES, ACTOR_SLOTS, ACTOR_TOKENS, ACTOR_VERIFIER_WAIT,
    ACTOR_WEIGHTS_PAUSE, ACTOR_WEIGHTS_VERSION, ACTOR_WEIGHTS_WAIT,
};
use anytime_service::seconds::Seconds;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// A handle of every metric that the engine reports.
pub(crate) struct Meters {
    pub(crate) thinking_tokens: Counter,
    pub(crate) summary_tokens: Counter,
    pub(crate) busy: Seconds,
    pub(crate) lease_wait: Seconds,
    pub(crate) weights_wait: Seconds,
    pub(crate) verifier_wait: Seconds,
    pub(crate) running: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) slots_used: Gauge,
    pub(crate) slots_total: Gauge,
    pub(crate) version: Gauge,
    pub(crate) weights_pause: Histogram,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            thinking_tokens: counter!(ACTOR_TOKENS, "phase" => "thinking"),
            summary_tokens: counter!(ACTOR_TOKENS, "phase" => "summary"),
            busy: Seconds::new(counter!(ACTOR_DECODE_BUSY)),
            lease_wait: Seconds::new(counter!(ACTOR_LEASE_WAIT)),
            weights_wait: Seconds::new(counter!(ACTOR_WEIGHTS_WAIT)),
            verifier_wait: Seconds::new(counter!(ACTOR_VERIFIER_WAIT)),
            running: gauge!(ACTOR_SEQUENCES, "state" => "running"),
            waiting: gauge!(ACTOR_SEQUENCES, "state" => "waiting"),
            slots_used: gauge!(ACTOR_SLOTS, "state" => "used"),
            slots_total: gauge!(ACTOR_SLOTS, "state" => "total"),
            version: gauge!(ACTOR_WEIGHTS_VERSION),
            weights_pause: histogram!(ACTOR_WEIGHTS_PAUSE),
        }
    }
}
