//! The versions that can be fetched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use anytime_proto::{JobId, WeightsVersion, v1};
use anytime_service::metric_names::LEARNER_WEIGHTS_VERSION;
use bytes::Bytes;
use metrics::gauge;
use prost::Message as _;
use tokio::sync::watch;
use tracing::{info, warn};

use super::deltas::{Step, Steps};
use crate::jobs::context::PublishedWeights;
use crate::lock::lock;

/// Below this size threads cost more than they bring.
const HASHED_BY_ONE_THREAD: usize = 16 * 1024 * 1024;

/// One version with its manifest. The bytes are shared with whoever sends them.
pub struct HeldVersion {
    /// Whose weights.
    pub job_id: JobId,
    /// Which ones.
    pub version: WeightsVersion,
    /// Names, shapes and checksums.
    pub manifest: v1::WeightsManifest,
    /// BLAKE3 of the encoded manifest, assets included, in lower-case hexadecimal.
    pub manifest_checksum: String,
    assets: Vec<Bytes>,
    tensors: Vec<Bytes>,
}

impl HeldVersion {
    /// Computes the checksums.
    pub fn new(job_id: JobId, weights: PublishedWeights) -> Self {
        let asset_bytes: Vec<Bytes> = weights.assets.iter().map(|(_, data)| data.clone()).collect();
        let tensor_bytes: Vec<Bytes> = weights.tensors.iter().map(|tensor| tensor.data.clone()).collect();
        let all: Vec<Bytes> = asset_bytes.iter().chain(&tensor_bytes).cloned().collect();
        let mut checksums = checksums_of(&all).into_iter();
        let mut next_checksum = || checksums.next().unwrap_or_default();

        let mut assets = Vec::with_capacity(weights.assets.len());
        for (name, data) in weights.assets {
            assets.push(v1::WeightsEntry {
                name,
                bytes: data.len() as u64,
                checksum: next_checksum(),
                ..v1::WeightsEntry::default()
            });
        }
        let mut tensors = Vec::with_capacity(weights.tensors.len());
        for tensor in weights.tensors {
            tensors.push(v1::WeightsEntry {
                name: tensor.name,
                dtype: tensor.dtype,
                shape: tensor.shape,
                bytes: tensor.data.len() as u64,
                checksum: next_checksum(),
            });
        }
        let version = weights.version;
        let manifest = v1::WeightsManifest {
            job_id: job_id.to_string(),
            version: version.0,
            assets,
            tensors,
        };
        let manifest_checksum = blake3::hash(&manifest.encode_to_vec()).to_hex().to_string();
        Self {
            job_id,
            version,
            manifest,
            manifest_checksum,
            assets: asset_bytes,
            tensors: tensor_bytes,
        }
    }

    /// Names it beyond doubt within its job.
    pub fn id(&self) -> v1::WeightsId {
        v1::WeightsId {
            version: self.version.0,
            manifest_checksum: self.manifest_checksum.clone(),
        }
    }

    /// The bytes of every tensor, in the manifest's order.
    pub fn tensors(&self) -> &[Bytes] {
        &self.tensors
    }

    /// Bytes of all tensors.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().map(|data| data.len() as u64).sum()
    }

    /// The bytes of every entry that is sent, in the order in which chunks number them.
    pub fn entries(&self, skip_assets: bool) -> impl Iterator<Item = &Bytes> {
        let assets: &[Bytes] = if skip_assets { &[] } else { &self.assets };
        assets.iter().chain(&self.tensors)
    }

    /// What actors are told of it.
    pub fn announcement(&self) -> v1::WeightsAnnouncement {
        v1::WeightsAnnouncement {
            job_id: self.job_id.to_string(),
            version: self.version.0,
            manifest_checksum: self.manifest_checksum.clone(),
        }
    }
}

/// The checksums in order. Large weights are hashed by all cores: the trainer waits for it.
fn checksums_of(all: &[Bytes]) -> Vec<String> {
    let hash = |data: &Bytes| blake3::hash(data).to_hex().to_string();
    let total: usize = all.iter().map(Bytes::len).sum();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if total < HASHED_BY_ONE_THREAD || threads == 1 {
        return all.iter().map(hash).collect();
    }
    let mut checksums = vec![String::new(); all.len()];
    std::thread::scope(|scope| {
        // Neighbouring tensors are of one layer and about equally large.
        let per_thread = all.len().div_ceil(threads).max(1);
        for (some, places) in all.chunks(per_thread).zip(checksums.chunks_mut(per_thread)) {
            scope.spawn(move || {
                for (data, place) in some.iter().zip(places) {
                    *place = blake3::hash(data).to_hex().to_string();
                }
            });
        }
    });
    checksums
}

struct JobShelf {
    current: Arc<HeldVersion>,
    /// Kept because an actor may be in the middle of fetching it.
    previous: Option<Arc<HeldVersion>>,
    /// Up to the current version.
    steps: Steps,
    /// Grows with every publication of any job.
    order: u64,
}

/// See the module.
pub struct WeightsShelf {
    jobs: Mutex<BTreeMap<JobId, JobShelf>>,
    /// The thread that encodes the newest step.
    encoder: Mutex<Option<JoinHandle<()>>>,
    /// Counts publications.
    changed: watch::Sender<u64>,
}

impl Default for WeightsShelf {
    fn default() -> Self {
        Self {
            jobs: Mutex::new(BTreeMap::new()),
            encoder: Mutex::new(None),
            changed: watch::Sender::new(0),
        }
    }
}

impl WeightsShelf {
    /// Makes a version the current one of its job, and has the step to it encoded meanwhile.
    pub fn publish(&self, job_id: &JobId, weights: PublishedWeights) -> Arc<HeldVersion> {
        let start = Instant::now();
        let held = Arc::new(HeldVersion::new(job_id.clone(), weights));
        // One step is encoded at a time: that is what bounds the memory.
        let mut encoder = lock(&self.encoder);
        if encoder.take().is_some_and(|thread| thread.join().is_err()) {
            warn!(%job_id, "the encoding of a delta panicked, actors fetch the whole");
        }
        let mut jobs = lock(&self.jobs);
        let order = *self.changed.borrow() + 1;
        let (previous, mut steps) = match jobs.remove(job_id) {
            Some(shelf) => (Some(shelf.current), shelf.steps),
            None => (None, Steps::default()),
        };
        if let Some(base) = &previous {
            let (step, thread) = Step::start(base.clone(), held.clone());
            steps.push(step, held.tensor_bytes());
            *encoder = thread;
        }
        jobs.insert(
            job_id.clone(),
            JobShelf {
                current: held.clone(),
                previous,
                steps,
                order,
            },
        );
        drop(jobs);
        self.changed.send_modify(|count| *count += 1);
        gauge!(LEARNER_WEIGHTS_VERSION).set(held.version.0 as f64);
        info!(%job_id, version = held.version.0, seconds = start.elapsed().as_secs_f64(), "published weights");
        held
    }

    /// Drops what a job that has ended published.
    pub fn remove_job(&self, job_id: &JobId) {
        lock(&self.jobs).remove(job_id);
    }

    /// The current version of a job; without one, of the job that published last.
    pub fn current(&self, job_id: Option<&JobId>) -> Option<Arc<HeldVersion>> {
        let jobs = lock(&self.jobs);
        let shelf = match job_id {
            Some(job_id) => jobs.get(job_id),
            None => jobs.values().max_by_key(|shelf| shelf.order),
        };
        shelf.map(|shelf| shelf.current.clone())
    }

    /// A version that is still held.
    pub fn held(&self, job_id: &JobId, version: WeightsVersion) -> Option<Arc<HeldVersion>> {
        let jobs = lock(&self.jobs);
        let shelf = jobs.get(job_id)?;
        if shelf.current.version == version {
            return Some(shelf.current.clone());
        }
        shelf.previous.clone().filter(|held| held.version == version)
    }

    /// The steps that lead from a base to a held version; empty where none do.
    pub(crate) fn steps_between(&self, base: &v1::WeightsId, held: &HeldVersion) -> Vec<Arc<Step>> {
        let jobs = lock(&self.jobs);
        let shelf = jobs.get(&held.job_id);
        shelf.map_or_else(Vec::new, |shelf| shelf.steps.between(base, &held.id()))
    }

    /// Tells of every publication.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
