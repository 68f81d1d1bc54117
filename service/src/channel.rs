//! Client connections that are made on first use, kept alive, and never waited for without a bound.

use std::time::Duration;

use anytime_proto::limits::{CONNECT_TIMEOUT, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MAX_FRAME_BYTES};
use tonic::transport::{Channel, Endpoint};

use crate::exit::ExitError;

/// First pause after a failed call.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);

/// A channel to `http://host:port` that connects on first use and again after every loss. Calls set their own deadline.
///
/// # Errors
/// [`ExitError`] with the configuration code if the address is no URI.
pub fn lazy_channel(name: &str, address: &str) -> Result<Channel, ExitError> {
    let uri = if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    };
    let endpoint = Endpoint::from_shared(uri)
        .map_err(|error| ExitError::configuration(format!("{name} address `{address}`: {error}")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .max_frame_size(MAX_FRAME_BYTES)
        .connect_lazy())
}

/// The pauses between the tries of a failing call: each is twice as long as the one before, up to a bound, and then
/// shortened at random by up to a half, so that all callers of a server that comes back do not return in step.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_BACKOFF }
    }
}

impl Backoff {
    /// Returns the pause before the next try, and doubles the one after it.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_BACKOFF);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts over with the shortest pause, after a success.
    pub fn reset(&mut self) {
        self.next = FIRST_BACKOFF;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_differ_between_callers() {
        let pauses = || -> Vec<Duration> {
            let mut backoff = Backoff::default();
            (0..20).map(|_| backoff.pause()).collect()
        };
        let mut longest = FIRST_BACKOFF;
        for pause in pauses() {
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
            longest = (longest * 2).min(LONGEST_BACKOFF);
        }
        assert_ne!(pauses(), pauses());
    }
}
