//! The clock that timers of the runtime go by. A simulated network has one of its own, which jumps ahead.

use std::time::Instant;

/// Now, by the clock of the runtime: the same as [`Instant::now`] outside of a simulation.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
