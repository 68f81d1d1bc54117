//! Client connections that are made on first use, kept alive, and never waited for without a bound.

use std::time::Duration;

use anytime_proto::limits::{CONNECT_TIMEOUT, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MAX_FRAME_BYTES};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::exit::ExitError;
use crate::security::{Bearer, CallSecurity};

/// First pause after a failed call.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);

/// A connection to a peer, whose every call shows this process's token where it has one.
pub type PeerChannel = InterceptedService<Channel, Bearer>;

/// A channel to `http://host:port` or `https://host:port` that connects on first use and again after every loss. Calls set
/// their own deadline. An address without a scheme is called over TLS where a CA is given.
///
/// # Errors
/// [`ExitError`] with the configuration code if the address is no URI, or if TLS cannot be spoken with it.
pub fn lazy_channel(name: &str, address: &str, security: &CallSecurity) -> Result<PeerChannel, ExitError> {
    let channel = endpoint(name, address, security)?.connect_lazy();
    Ok(InterceptedService::new(channel, security.bearer()))
}

/// What such a channel is made of.
///
/// # Errors
/// [`ExitError`] with the configuration code if the address is no URI, or if TLS cannot be spoken with it.
pub fn endpoint(name: &str, address: &str, security: &CallSecurity) -> Result<Endpoint, ExitError> {
    let scheme = if security.prefers_tls() { "https" } else { "http" };
    let uri = if address.contains("://") {
        address.to_owned()
    } else {
        format!("{scheme}://{address}")
    };
    let bad = |error: &dyn std::fmt::Display| ExitError::configuration(format!("{name} address `{address}`: {error}"));
    let uri: Uri = uri.parse().map_err(|error| bad(&error))?;
    let tls = security.tls_for(name, &uri)?;
    let mut endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .max_frame_size(MAX_FRAME_BYTES);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).map_err(|error| bad(&root_cause(&error)))?;
    }
    Ok(endpoint)
}

/// The innermost cause of an error: the outer ones say little, such as "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
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
