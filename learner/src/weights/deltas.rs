//! Deltas: the difference between two versions that follow each other, for an actor that holds the first of them.
//! Deltas in a row form a chain, which serves an actor that missed some versions.
//!
//! A delta is encoded on threads of its own while the trainer goes on. The next publication waits for it, which matters
//! only where a training step is shorter than the encoding.
//!
//! Memory: of one job at most `MAX_DELTAS` deltas are kept, and only as many of the newest as together take less than
//! the full weights, because more would never be sent. The delta that is being encoded takes less than that too,
//! and its two versions are those that the store holds anyway. So a job never takes more than four times the published
//! bytes, and at small learning rates little more than twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anytime_deltas::{DeltaEncoder, DeltaError, ElementWidth};
use anytime_proto::v1;
use anytime_proto::v1::weights_delta::Block;
use anytime_service::metric_names::{LEARNER_DELTA_RATIO, LEARNER_DELTA_SECONDS};
use metrics::{gauge, histogram};
use tokio::sync::watch;
use tracing::{info, warn};

use super::published::HeldVersion;

/// How many deltas in a row are sent at most. Actors further behind are rare, and for them the chain is about as large
/// as the full weights.
pub(crate) const MAX_DELTAS: usize = 4;

/// How long a fetch waits for a delta that is being encoded. After that the full weights are sent.
const ENCODING_PATIENCE: Duration = Duration::from_secs(20);

/// One core in this many encodes: the trainer and its tensor code need the others.
const ENCODING_SHARE: usize = 4;

/// A delta that is ready to be sent: every block of the tensors that changed.
pub(crate) struct EncodedDelta {
    pub(crate) blocks: Vec<Block>,
    /// Compressed, over all blocks.
    pub(crate) bytes: u64,
}

#[derive(Clone)]
enum Progress {
    Encoding,
    Done(Arc<EncodedDelta>),
    /// The delta would be no smaller than the full weights, or the tensors are others.
    Useless,
}

/// The difference between one version and the next, ready or being encoded.
pub(crate) struct Delta {
    from: v1::WeightsId,
    to: v1::WeightsId,
    progress: watch::Receiver<Progress>,
}

impl Delta {
    /// Starts to encode. The thread ends by itself; the caller joins it before it starts another one.
    pub(crate) fn start(base: Arc<HeldVersion>, new: Arc<HeldVersion>) -> (Arc<Self>, Option<JoinHandle<()>>) {
        let (sender, progress) = watch::channel(Progress::Encoding);
        let delta = Arc::new(Self {
            from: base.id(),
            to: new.id(),
            progress,
        });
        let work = move || {
            // The trainer computes at the same time and needs the threads.
            anytime_policy::device::compute_on_this_thread_alone();
            let outcome = encode(&base, &new);
            // Once the job is gone, nobody waits for this.
            let _ = sender.send(outcome.map_or(Progress::Useless, |delta| Progress::Done(Arc::new(delta))));
        };
        let thread = std::thread::Builder::new().name("weights delta".to_owned()).spawn(work);
        let thread = thread.inspect_err(|error| warn!(%error, "no thread for a delta, actors fetch the full weights"));
        (delta, thread.ok())
    }

    /// The encoded delta as soon as it is ready; None where there will be none.
    async fn encoded(&self) -> Option<Arc<EncodedDelta>> {
        let mut progress = self.progress.clone();
        let is_over = |progress: &Progress| !matches!(progress, Progress::Encoding);
        // An encoder that broke off has dropped its end.
        let progress = progress.wait_for(is_over).await.ok()?;
        match &*progress {
            Progress::Done(delta) => Some(Arc::clone(delta)),
            Progress::Encoding | Progress::Useless => None,
        }
    }

    /// Compressed bytes; 0 while it is encoded, None where it is useless.
    fn bytes(&self) -> Option<u64> {
        match &*self.progress.borrow() {
            Progress::Encoding => Some(0),
            Progress::Done(delta) => Some(delta.bytes),
            Progress::Useless => None,
        }
    }
}

/// The last deltas of a job, each starting at the version at which the one before ends.
#[derive(Default)]
pub(crate) struct DeltaChain(VecDeque<Arc<Delta>>);

impl DeltaChain {
    /// Appends a delta, and drops those that will never be sent; `whole` is the size of all tensors in bytes.
    pub(crate) fn push(&mut self, delta: Arc<Delta>, whole: u64) {
        self.0.push_back(delta);
        let mut total = 0;
        let kept = self.0.iter().rev().take(MAX_DELTAS).take_while(|delta| {
            total += delta.bytes().unwrap_or(whole);
            total < whole
        });
        let dropped = self.0.len() - kept.count();
        self.0.drain(..dropped);
    }

    /// The deltas that lead from one version to another; empty where none do.
    pub(crate) fn between(&self, from: &v1::WeightsId, to: &v1::WeightsId) -> Vec<Arc<Delta>> {
        // Searched from the back, because weights may come back to what they were.
        let Some(end) = self.0.iter().rposition(|delta| delta.to == *to) else {
            return Vec::new();
        };
        let Some(start) = self.0.iter().take(end + 1).rposition(|delta| delta.from == *from) else {
            return Vec::new();
        };
        self.0.range(start..=end).cloned().collect()
    }
}

/// The encoded deltas, once all are ready. None where one is useless or late, or where all together are not smaller
/// than the full weights, which have `whole` bytes.
pub(crate) async fn encoded(deltas: &[Arc<Delta>], whole: u64) -> Option<Vec<Arc<EncodedDelta>>> {
    if deltas.is_empty() {
        return None;
    }
    let all = async {
        let mut encoded = Vec::with_capacity(deltas.len());
        for delta in deltas {
            encoded.push(delta.encoded().await?);
        }
        Some(encoded)
    };
    let encoded = tokio::time::timeout(ENCODING_PATIENCE, all).await.ok()??;
    let total: u64 = encoded.iter().map(|delta| delta.bytes).sum();
    (total < whole).then_some(encoded)
}

/// Encodes all blocks that changed. None where the delta would be of no use.
fn encode(base: &HeldVersion, new: &HeldVersion) -> Option<EncodedDelta> {
    let started = Instant::now();
    let (job_id, version, whole) = (&new.job_id, new.version.0, new.tensor_bytes());
    if !anytime_proto::have_same_tensors(&base.manifest, &new.manifest) {
        info!(%job_id, version, "the tensors are not those of the version before, no delta");
        return None;
    }
    let blocks = match encode_blocks(base, new) {
        Ok(blocks) => blocks,
        Err(error) => {
            warn!(%job_id, version, %error, "no delta, actors fetch the full weights");
            return None;
        }
    };
    let seconds = started.elapsed();
    histogram!(LEARNER_DELTA_SECONDS).record(seconds);
    let Some(blocks) = blocks else {
        gauge!(LEARNER_DELTA_RATIO).set(1.0);
        info!(%job_id, version, whole, "a delta is no smaller than the full weights");
        return None;
    };
    let bytes = blocks.iter().map(|block| block.data.len() as u64).sum();
    gauge!(LEARNER_DELTA_RATIO).set(bytes as f64 / whole.max(1) as f64);
    info!(%job_id, version, bytes, whole, seconds = seconds.as_secs_f64(), "encoded a delta");
    Some(EncodedDelta { blocks, bytes })
}

/// None as soon as the blocks reach the size of the full weights.
fn encode_blocks(base: &HeldVersion, new: &HeldVersion) -> Result<Option<Vec<Block>>, DeltaError> {
    let whole = new.tensor_bytes();
    let mut places = Vec::new();
    for (tensor, entry) in new.manifest.tensors.iter().enumerate() {
        // Equal checksums show that a tensor has not changed, without a look at its bytes.
        if entry.checksum != base.manifest.tensors[tensor].checksum {
            let blocks = ElementWidth::of_dtype(&entry.dtype).blocks(entry.bytes as usize);
            places.extend((0..blocks).map(|number| (tensor, number)));
        }
    }
    let next = AtomicUsize::new(0);
    let total = AtomicU64::new(0);
    let encode_some = || -> Result<Vec<Block>, DeltaError> {
        let mut encoder = DeltaEncoder::try_new()?;
        let mut blocks = Vec::new();
        while let Some(&(tensor, number)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let width = ElementWidth::of_dtype(&new.manifest.tensors[tensor].dtype);
            let (base, new) = (&base.tensors()[tensor], &new.tensors()[tensor]);
            let range = width.block(number, new.len()).unwrap_or_default();
            let Some(data) = encoder.encode(width, &base[range.clone()], &new[range])? else {
                continue;
            };
            let bytes = data.len() as u64;
            if total.fetch_add(bytes, Ordering::Relaxed) + bytes >= whole {
                break;
            }
            blocks.push(Block {
                tensor: tensor as u32,
                number: number as u32,
                data: data.into(),
            });
        }
        Ok(blocks)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / ENCODING_SHARE).clamp(1, places.len().max(1));
    let encoded: Result<Vec<Vec<Block>>, DeltaError> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(encode_some)).collect();
        let mut parts = vec![encode_some()];
        parts.extend(
            helpers
                .into_iter()
                .map(|helper| helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        parts.into_iter().collect()
    });
    let blocks = encoded?.concat();
    Ok((total.into_inner() < whole).then_some(blocks))
}
