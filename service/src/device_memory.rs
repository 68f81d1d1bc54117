//! The memory of the device that a process computes on, as metrics: how much there is, and who uses how much of it.

use std::time::Duration;

use metrics::gauge;
use tokio_util::sync::CancellationToken;

use crate::metric_names::DEVICE_MEMORY;
use crate::shutdown::sleep_unless_cancelled;

/// How often the device is asked.
const INTERVAL: Duration = Duration::from_secs(5);

/// Asks the device every few seconds how many bytes are in each state, until the token is cancelled. It asks on a
/// thread that may block, because the device may make it wait. Where there is no answer, the metrics keep their last
/// values.
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
