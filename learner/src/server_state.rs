//! What all jobs of one process share.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::hub::HubSource;
use crate::outputs::Places;
use crate::rollouts::broker::RolloutBroker;
use crate::weights::store::WeightsStore;

/// The parts of the process that a job's thread reaches through its context: the services' state below the gRPC
/// surface, and how the process was started. The server makes one at its start and gives it to the thread that runs
/// jobs.
pub struct ServerState {
    /// Leases and scored groups of all jobs.
    pub broker: Arc<RolloutBroker>,
    /// Published weights of all jobs.
    pub weights: Arc<WeightsStore>,
    /// Cancelled when the process is to end.
    pub shutdown: CancellationToken,
    /// Where the job thread, which is no asynchronous task, waits for the asynchronous side.
    pub runtime: Handle,
    /// The directory in which relative paths of specifications start.
    pub root: PathBuf,
    /// Where models may be written.
    pub places: Places,
    /// Where the Hugging Face hub is.
    pub hub: HubSource,
    /// The argument `--device`.
    pub device: String,
    /// The argument `--memory-share`.
    pub memory_share: f64,
    /// Why the process ends by itself, where it does.
    pub fault: OnceLock<String>,
}

impl ServerState {
    /// Lets the process end with an error, so that its supervisor starts it again.
    pub(crate) fn end_with(&self, reason: &str) {
        // A fault that came first is the one to tell.
        let _ = self.fault.set(reason.to_owned());
        self.shutdown.cancel();
    }
}
