//! Fetches one announced version, whole or as what changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anytime_proto::limits::{CALL_TIMEOUT, STREAM_IDLE_TIMEOUT};
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::v1::weights_service_client::WeightsServiceClient;
use anytime_proto::v1::{FetchWeightsRequest, FetchWeightsResponse, WeightsAnnouncement, WeightsDelta, WeightsId};
use anytime_service::metric_names::{
    ACTOR_DELTA_FALLBACKS, ACTOR_DELTA_SECONDS, ACTOR_WEIGHTS_BYTES, ACTOR_WEIGHTS_FETCH_SECONDS,
};
use anytime_service::peer::with_deadline;
use metrics::{counter, histogram};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tracing::warn;

use super::assembly::{Assembly, Entries, TornWeights};
use super::patch::{BadDelta, Patch};

/// Deltas that wait for the thread that applies them.
const DELTAS_AHEAD: usize = 2;

/// Why a version could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{}", .0.message())]
    Call(Status),
    #[error(transparent)]
    Torn(#[from] TornWeights),
    #[error(transparent)]
    Delta(#[from] BadDelta),
}

/// The weights that an actor holds: their bytes as they were published, beside the tensors that the engine runs.
pub(crate) struct Base {
    /// Their announcement.
    pub(crate) announced: WeightsAnnouncement,
    pub(crate) entries: Arc<Entries>,
}

impl Base {
    fn id(&self) -> WeightsId {
        WeightsId {
            version: self.announced.version,
            manifest_checksum: self.announced.manifest_checksum.clone(),
        }
    }
}

/// Fetches and verifies a version, against what is held of the same job. The assets are skipped as long as the manifest
/// has those of the base; otherwise they come along. Deltas that lead nowhere cost a second fetch, of the whole.
pub(crate) async fn fetch(
    client: &mut WeightsServiceClient<Channel>,
    announced: &WeightsAnnouncement,
    base: Option<&Base>,
) -> Result<Entries, FetchError> {
    let started = Instant::now();
    let base = base.filter(|base| base.announced.job_id == announced.job_id);
    let entries = match base {
        None => fetch_whole(client, announced).await?,
        Some(base) => match fetch_onto(client, announced, base, Some(base.id())).await {
            Err(FetchError::Delta(error)) => {
                let (job_id, version, held) = (&announced.job_id, announced.version, base.announced.version);
                warn!(job_id, version, held, %error, "a delta of weights leads nowhere, fetching the whole");
                counter!(ACTOR_DELTA_FALLBACKS).increment(1);
                fetch_onto(client, announced, base, None).await?
            }
            other => other?,
        },
    };
    histogram!(ACTOR_WEIGHTS_FETCH_SECONDS).record(started.elapsed());
    Ok(entries)
}

async fn fetch_whole(
    client: &mut WeightsServiceClient<Channel>,
    announced: &WeightsAnnouncement,
) -> Result<Entries, FetchError> {
    let mut stream = open(client, announced, false, None).await?;
    let assembly = start(&mut stream, announced, false).await?;
    assemble(stream, assembly, None).await
}

/// Without assets where they are those of the base; as deltas where a base is named and the learner has them.
async fn fetch_onto(
    client: &mut WeightsServiceClient<Channel>,
    announced: &WeightsAnnouncement,
    base: &Base,
    named: Option<WeightsId>,
) -> Result<Entries, FetchError> {
    let mut stream = open(client, announced, true, named.clone()).await?;
    let assembly = start(&mut stream, announced, true).await?;
    if base.entries.manifest.assets != assembly.manifest().assets {
        drop(stream);
        return fetch_whole(client, announced).await;
    }
    match (next(&mut stream).await?.and_then(|response| response.part), named) {
        (Some(Part::Delta(first)), Some(id)) => {
            let patch = Patch::try_new(assembly.into_manifest(), id, Arc::clone(&base.entries))?;
            patch_from(stream, patch, first).await
        }
        (first, _) => assemble(stream, assembly, first).await,
    }
}

/// Puts the whole together from chunks.
async fn assemble(
    mut stream: Streaming<FetchWeightsResponse>,
    mut assembly: Assembly,
    first: Option<Part>,
) -> Result<Entries, FetchError> {
    let bytes = counter!(ACTOR_WEIGHTS_BYTES, "form" => "whole");
    let mut part = first;
    loop {
        match part {
            Some(Part::Chunk(chunk)) => {
                bytes.increment(chunk.data.len() as u64);
                assembly.push(&chunk)?;
            }
            Some(Part::Manifest(_) | Part::Delta(_)) => return Err(unexpected("something else than a chunk came")),
            None => {}
        }
        match next(&mut stream).await? {
            Some(response) => part = response.part,
            None => return Ok(assembly.finish()?),
        }
    }
}

/// Applies deltas on a thread of its own while the next ones come.
async fn patch_from(
    mut stream: Streaming<FetchWeightsResponse>,
    mut patch: Patch,
    first: WeightsDelta,
) -> Result<Entries, FetchError> {
    let (sender, mut deltas) = mpsc::channel::<WeightsDelta>(DELTAS_AHEAD);
    let (complete, is_complete) = tokio::sync::oneshot::channel();
    let applying = tokio::task::spawn_blocking(move || -> Result<Option<Entries>, BadDelta> {
        anytime_policy::device::compute_on_this_thread_alone();
        let mut busy = Duration::ZERO;
        while let Some(delta) = deltas.blocking_recv() {
            let started = Instant::now();
            patch.apply(&delta)?;
            busy += started.elapsed();
        }
        // A stream that broke off is no bad delta.
        if is_complete.blocking_recv().is_err() {
            return Ok(None);
        }
        let started = Instant::now();
        let entries = patch.finish()?;
        histogram!(ACTOR_DELTA_SECONDS).record(busy + started.elapsed());
        Ok(Some(entries))
    });
    let bytes = counter!(ACTOR_WEIGHTS_BYTES, "form" => "delta");
    let receiving = async move {
        let mut delta = first;
        loop {
            let received: usize = delta.blocks.iter().map(|block| block.data.len()).sum();
            bytes.increment(received as u64);
            // The thread lets go early only with an error of its own.
            if sender.send(delta).await.is_err() {
                return Ok(());
            }
            delta = match next(&mut stream).await?.map(|response| response.part) {
                Some(Some(Part::Delta(delta))) => delta,
                Some(_) => return Err(unexpected("something else than a delta came")),
                None => {
                    let _ = complete.send(());
                    return Ok(());
                }
            };
        }
    };
    let received = receiving.await;
    let applied = applying
        .await
        .map_err(|error| FetchError::Call(Status::internal(error.to_string())))?;
    match (received, applied?) {
        (Ok(()), Some(entries)) => Ok(entries),
        (Err(error), _) => Err(error),
        (Ok(()), None) => Err(unexpected("the deltas broke off")),
    }
}

fn unexpected(problem: &str) -> FetchError {
    FetchError::Call(Status::new(Code::Internal, problem))
}

async fn open(
    client: &mut WeightsServiceClient<Channel>,
    announced: &WeightsAnnouncement,
    skip_assets: bool,
    base: Option<WeightsId>,
) -> Result<Streaming<FetchWeightsResponse>, FetchError> {
    let request = FetchWeightsRequest {
        job_id: announced.job_id.clone(),
        version: announced.version,
        skip_assets,
        base,
    };
    with_deadline(CALL_TIMEOUT, client.fetch(request))
        .await
        .map_err(FetchError::Call)
}

async fn start(
    stream: &mut Streaming<FetchWeightsResponse>,
    announced: &WeightsAnnouncement,
    skip_assets: bool,
) -> Result<Assembly, FetchError> {
    match next(stream).await?.and_then(|response| response.part) {
        Some(Part::Manifest(manifest)) => Ok(Assembly::try_new(manifest, &announced.manifest_checksum, skip_assets)?),
        _ => Err(unexpected("the stream does not start with a manifest")),
    }
}

async fn next(stream: &mut Streaming<FetchWeightsResponse>) -> Result<Option<FetchWeightsResponse>, FetchError> {
    const DEADLINE: Duration = STREAM_IDLE_TIMEOUT;
    match tokio::time::timeout(DEADLINE, stream.message()).await {
        Ok(message) => message.map_err(FetchError::Call),
        Err(_) => Err(FetchError::Call(Status::deadline_exceeded(
            "the stream of weights went silent",
        ))),
    }
}
