//! The memory of the device that a process computes on, as metrics: how much there is, and how much of it whose.

use std::time::Duration;

use metrics::gauge;
use tokio_util::sync::CancellationToken;

use crate::metric_names::DEVICE_MEMORY;
use crate::shutdown::sleep_unless_cancelled;

/// How often the device is asked.
const INTERVAL: Duration = Duration::from_secs(5);

/// Asks for the bytes of every state again and again until the token is cancelled, on a thread that may wait for the
/// device. Where there is no answer, the metrics keep what they said last.
pub async fn report<const STATES: usize>(
    device: String,
    ask: impl Fn() -> Option<[(&'static str, u64); STATES]> + Clone + Send + 'static,
    shutdown: CancellationToken,
) {
    loop {
        if let Ok(Some(states)) = tokio::task::spawn_blocking(ask.clone()).await {
            for (state, bytes) in states {
                gauge!(DEVICE_MEMORY, "device" => device.clone(), "state" => state).set(bytes as f64);
            }
        }
        if !sleep_unless_cancelled(INTERVAL, &shutdown).await {
            return;
        }
    }
}
