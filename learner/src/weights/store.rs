//! The versions that can be fetched: of each job the current one and the one before, and the last deltas between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use anytime_proto::{JobId, WeightsVersion, v1};
use anytime_service::metric_names::LEARNER_WEIGHTS_VERSION;
use metrics::gauge;
use tokio::sync::watch;
use tracing::{info, warn};

use super::deltas::{Delta, DeltaChain};
use super::published::{HeldVersion, PublishedWeights};
use crate::lock::lock;

/// What is held of one job.
struct JobVersions {
    current: Arc<HeldVersion>,
    /// Kept because an actor may be in the middle of fetching it.
    previous: Option<Arc<HeldVersion>>,
    /// The last deltas, which lead to the current version.
    deltas: DeltaChain,
    /// Grows with every publication of any job.
    order: u64,
}

/// The versions of all jobs, in memory. The trainer publishes to it; the gRPC service waits for publications and sends
/// what it holds.
pub struct WeightsStore {
    jobs: Mutex<BTreeMap<JobId, JobVersions>>,
    /// The thread that encodes the newest delta.
    encoder: Mutex<Option<JoinHandle<()>>>,
    /// Counts publications.
    changed: watch::Sender<u64>,
}

impl Default for WeightsStore {
    fn default() -> Self {
        Self {
            jobs: Mutex::new(BTreeMap::new()),
            encoder: Mutex::new(None),
            changed: watch::Sender::new(0),
        }
    }
}

impl WeightsStore {
    /// Makes a version the current one of its job, and starts to encode the delta that leads to it.
    pub fn publish(&self, job_id: &JobId, weights: PublishedWeights) -> Arc<HeldVersion> {
        let start = Instant::now();
        let held = Arc::new(HeldVersion::new(job_id.clone(), weights));
        // One delta is encoded at a time: that is what bounds the memory.
        let mut encoder = lock(&self.encoder);
        if encoder.take().is_some_and(|thread| thread.join().is_err()) {
            warn!(%job_id, "the encoding of a delta panicked, actors fetch the full weights");
        }
        let mut jobs = lock(&self.jobs);
        let order = *self.changed.borrow() + 1;
        let (previous, mut deltas) = match jobs.remove(job_id) {
            Some(versions) => (Some(versions.current), versions.deltas),
            None => (None, DeltaChain::default()),
        };
        if let Some(base) = &previous {
            let (delta, thread) = Delta::start(base.clone(), held.clone());
            deltas.push(delta, held.tensor_bytes());
            *encoder = thread;
        }
        jobs.insert(
            job_id.clone(),
            JobVersions {
                current: held.clone(),
                previous,
                deltas,
                order,
            },
        );
        drop(jobs);
        self.changed.send_modify(|count| *count += 1);
        gauge!(LEARNER_WEIGHTS_VERSION).set(held.version.0 as f64);
        info!(%job_id, version = held.version.0, seconds = start.elapsed().as_secs_f64(), "published weights");
        held
    }

    /// Drops all versions of a job.
    pub fn remove_job(&self, job_id: &JobId) {
        lock(&self.jobs).remove(job_id);
    }

    /// The current version of a job; without one, of the job that published last.
    pub fn current(&self, job_id: Option<&JobId>) -> Option<Arc<HeldVersion>> {
        let jobs = lock(&self.jobs);
        let versions = match job_id {
            Some(job_id) => jobs.get(job_id),
            None => jobs.values().max_by_key(|versions| versions.order),
        };
        versions.map(|versions| versions.current.clone())
    }

    /// A version that is still held.
    pub fn held(&self, job_id: &JobId, version: WeightsVersion) -> Option<Arc<HeldVersion>> {
        let jobs = lock(&self.jobs);
        let versions = jobs.get(job_id)?;
        if versions.current.version == version {
            return Some(versions.current.clone());
        }
        versions.previous.clone().filter(|held| held.version == version)
    }

    /// The deltas that lead from the version that an actor holds to a held version; empty where none do.
    pub(crate) fn deltas_between(&self, base: &v1::WeightsId, held: &HeldVersion) -> Vec<Arc<Delta>> {
        let jobs = lock(&self.jobs);
        let versions = jobs.get(&held.job_id);
        versions.map_or_else(Vec::new, |versions| versions.deltas.between(base, &held.id()))
    }

    /// A receiver that is told of every publication.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
