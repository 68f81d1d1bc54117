//! What the jobs of one process share: the side of the services that the job thread reaches through its desk.

use std::path::PathBuf;
use std::sync::Arc;

use anytime_proto::JobId;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::jobs::entry::JobEntry;
use crate::jobs::registry::JobRegistry;
use crate::rollouts::broker::Exchange;
use crate::weights::store::WeightsShelf;

/// See the module.
pub struct Hall {
    /// All jobs.
    pub registry: Arc<JobRegistry>,
    /// Leases and groups.
    pub exchange: Arc<Exchange>,
    /// Published weights.
    pub shelf: Arc<WeightsShelf>,
    /// Cancelled when the process is to end.
    pub shutdown: CancellationToken,
    /// Where the job thread waits for the asynchronous side.
    pub runtime: Handle,
    /// Where relative paths of specifications start.
    pub root: PathBuf,
    /// The argument `--device`.
    pub device: String,
}

impl Hall {
    /// Waits for the next job; none when the process is to end.
    pub(crate) fn next_job(&self) -> Option<Arc<JobEntry>> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => None,
                entry = self.registry.next() => Some(entry),
            }
        })
    }

    /// Removes what a job leaves behind when its thread lets go of it; its queue only if the job has ended.
    pub(crate) fn clear(&self, job_id: &JobId, has_ended: bool) {
        self.exchange.remove_job(job_id);
        self.shelf.remove_job(job_id);
        if has_ended {
            self.runtime.block_on(self.exchange.delete_queue(job_id));
        }
    }
}
