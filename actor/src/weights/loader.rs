//! The one place where async code meets the tensor code of arriving weights: a thread of its own, with channels to it.
//!
//! Async code passes on what comes from the learner, part by part, and waits for replies. The thread compares every
//! byte with its checksum, adds deltas to their base, and builds the decoder. It computes alone, without a team of
//! threads: the engine generates meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anytime_policy::device::compute_on_this_thread_alone;
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_service::metric_names::ACTOR_DELTA_SECONDS;
use metrics::histogram;
use tch::Device;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::assembly::{Assembly, Entries, TornWeights};
use super::model::{Assets, load_assets, load_model};
use super::patch::{BadDelta, Patch};
use crate::engine::{Model, ModelId, panic_text};

/// How many parts may wait for the thread. While this many wait, the stream from the learner is held back.
const PARTS_AHEAD: usize = 2;

/// Why the parts that came do not make the announced version.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Torn(#[from] TornWeights),
    /// The full weights have to be fetched.
    #[error(transparent)]
    Delta(#[from] BadDelta),
}

/// The thread dropped a task because it panicked. The log has the panic.
#[derive(Debug, Error)]
#[error("the thread that loads weights gave up")]
pub(crate) struct LoaderFailed;

/// Puts the parts of a version together.
pub(crate) enum Builder {
    /// Chunks of the full weights.
    Whole(Box<Assembly>),
    /// Deltas onto a version that is held.
    Onto(Box<Patch>),
}

impl Builder {
    fn push(&mut self, part: &Part) -> Result<(), Refused> {
        match (self, part) {
            (Self::Whole(assembly), Part::Chunk(chunk)) => assembly.push(chunk)?,
            (Self::Onto(patch), Part::Delta(delta)) => patch.apply(delta)?,
            (Self::Whole(_), _) => return Err(TornWeights::new("something else than a chunk came").into()),
            (Self::Onto(_), _) => return Err(TornWeights::new("something else than a delta came").into()),
        }
        Ok(())
    }

    fn finish(self) -> Result<Entries, Refused> {
        match self {
            Self::Whole(assembly) => Ok(assembly.finish()?),
            Self::Onto(patch) => Ok(patch.finish()?),
        }
    }
}

/// A version that runs, and what the actor keeps of it for the next one.
pub(crate) struct Loaded {
    pub(crate) model: Model,
    /// Without the bytes of assets, which `assets` holds in the form that is used.
    pub(crate) entries: Entries,
    pub(crate) assets: Assets,
}

enum Task {
    Build {
        builder: Builder,
        parts: mpsc::Receiver<Part>,
        is_complete: oneshot::Receiver<()>,
        /// `Ok(None)` where the parts broke off.
        reply: oneshot::Sender<Result<Option<Entries>, Refused>>,
    },
    Load {
        id: ModelId,
        entries: Entries,
        known_assets: Option<Assets>,
        reply: oneshot::Sender<anyhow::Result<Loaded>>,
    },
}

/// The async side of the thread, which ends when it is dropped.
pub struct Loader {
    tasks: Sender<Task>,
}

impl Loader {
    /// Starts the thread, which builds decoders on `device`.
    ///
    /// # Errors
    /// If the operating system has no thread to give.
    pub fn start(device: Device) -> std::io::Result<Self> {
        let (tasks, received) = channel();
        std::thread::Builder::new()
            .name("weights loader".to_owned())
            .spawn(move || run(&received, device))?;
        Ok(Self { tasks })
    }

    /// Starts to put a version together. Its parts are passed to the returned [`Building`].
    pub(crate) fn build(&self, builder: Builder) -> Building {
        let (parts, received) = mpsc::channel(PARTS_AHEAD);
        let (complete, is_complete) = oneshot::channel();
        let (reply, entries) = oneshot::channel();
        // Where the thread is gone, the reply is dropped, and whoever waits for it notices.
        let _ = self.tasks.send(Task::Build {
            builder,
            parts: received,
            is_complete,
            reply,
        });
        Building {
            parts,
            complete,
            entries,
        }
    }

    /// Makes a model from complete entries. Where they come without assets, it uses `known_assets`.
    pub(crate) async fn load(
        &self,
        id: ModelId,
        entries: Entries,
        known_assets: Option<Assets>,
    ) -> anyhow::Result<Loaded> {
        let (reply, loaded) = oneshot::channel();
        let _ = self.tasks.send(Task::Load {
            id,
            entries,
            known_assets,
            reply,
        });
        loaded.await.map_err(|_| LoaderFailed)?
    }
}

/// A version that is being put together. Dropping it gives the version up.
pub(crate) struct Building {
    parts: mpsc::Sender<Part>,
    complete: oneshot::Sender<()>,
    entries: oneshot::Receiver<Result<Option<Entries>, Refused>>,
}

impl Building {
    /// Passes a part on. False where the thread has refused an earlier one: [`Building::finish`] says why.
    pub(crate) async fn push(&self, part: Part) -> bool {
        self.parts.send(part).await.is_ok()
    }

    /// Waits for the verified entries, after the last part. `None` where the thread gave up without a reason.
    pub(crate) async fn finish(self) -> Result<Option<Entries>, Refused> {
        // Where the thread has refused a part, it has dropped its end, and there is nobody to tell.
        let _ = self.complete.send(());
        drop(self.parts);
        self.entries.await.unwrap_or(Ok(None))
    }
}

fn run(tasks: &Receiver<Task>, device: Device) {
    compute_on_this_thread_alone();
    while let Ok(task) = tasks.recv() {
        // A panic costs its version, which is fetched again; the next version needs the thread.
        let _ = catch_unwind(AssertUnwindSafe(|| carry_out(task, device)));
    }
}

fn carry_out(task: Task, device: Device) {
    // The one who asked may have given up and take no reply.
    match task {
        Task::Build {
            builder,
            parts,
            is_complete,
            reply,
        } => {
            let _ = reply.send(build(builder, parts, is_complete));
        }
        Task::Load {
            id,
            entries,
            known_assets,
            reply,
        } => {
            // A panic is returned as an error with its message, which may say that memory ran out.
            let loaded = catch_unwind(AssertUnwindSafe(|| load(id, entries, known_assets, device)));
            let loaded = loaded.unwrap_or_else(|panic| Err(anyhow::anyhow!(panic_text(panic.as_ref()))));
            let _ = reply.send(loaded);
        }
    }
}

fn build(
    mut builder: Builder,
    mut parts: mpsc::Receiver<Part>,
    is_complete: oneshot::Receiver<()>,
) -> Result<Option<Entries>, Refused> {
    let is_patch = matches!(builder, Builder::Onto(_));
    let mut busy = Duration::ZERO;
    while let Some(part) = parts.blocking_recv() {
        let started = Instant::now();
        builder.push(&part)?;
        busy += started.elapsed();
    }
    // A stream that broke off says nothing against the parts that came.
    if is_complete.blocking_recv().is_err() {
        return Ok(None);
    }
    let started = Instant::now();
    let entries = builder.finish()?;
    if is_patch {
        histogram!(ACTOR_DELTA_SECONDS).record(busy + started.elapsed());
    }
    Ok(Some(entries))
}

fn load(id: ModelId, entries: Entries, known_assets: Option<Assets>, device: Device) -> anyhow::Result<Loaded> {
    let assets = match known_assets {
        Some(assets) => assets,
        None => load_assets(&entries)?,
    };
    let model = load_model(id, &entries, &assets, device)?;
    let entries = Entries {
        assets: Vec::new(),
        ..entries
    };
    Ok(Loaded { model, entries, assets })
}

#[cfg(test)]
mod tests {
    use anytime_proto::{manifest_checksum, v1};

    use super::*;

    /// A version of one tensor with four bytes.
    fn version() -> (Builder, Part) {
        let data = vec![0, 0, 128, 63];
        let tensor = v1::WeightsEntry {
            name: "weight".to_owned(),
            bytes: 4,
            checksum: blake3::hash(&data).to_hex().to_string(),
            dtype: "F32".to_owned(),
            shape: vec![1],
        };
        let manifest = v1::WeightsManifest {
            job_id: "job".to_owned(),
            version: 1,
            assets: Vec::new(),
            tensors: vec![tensor],
        };
        let checksum = manifest_checksum(&manifest);
        let assembly = Assembly::try_new(manifest, &checksum, false).unwrap();
        let chunk = v1::WeightsChunk {
            entry: 0,
            offset: 0,
            data: data.into(),
        };
        (Builder::Whole(Box::new(assembly)), Part::Chunk(chunk))
    }

    #[tokio::test]
    async fn the_thread_outlives_versions_that_break_off_or_are_refused() {
        let loader = Loader::start(Device::Cpu).unwrap();
        let (builder, part) = version();
        let broken_off = loader.build(builder);
        assert!(broken_off.push(part).await);
        drop(broken_off);

        let refused = loader.build(version().0);
        refused.push(Part::Delta(v1::WeightsDelta::default())).await;
        let error = refused.finish().await.unwrap_err();
        assert_eq!(error.to_string(), "torn weights: something else than a chunk came");

        let (builder, part) = version();
        let complete = loader.build(builder);
        assert!(complete.push(part).await);
        let entries = complete.finish().await.unwrap().unwrap();
        assert_eq!(entries.tensors[0].as_ref(), [0, 0, 128, 63]);
    }
}
