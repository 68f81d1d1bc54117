//! Fetches one announced version, whole or as deltas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anytime_proto::limits::{CALL_TIMEOUT, STREAM_IDLE_TIMEOUT};
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::v1::weights_service_client::WeightsServiceClient;
use anytime_proto::v1::{FetchWeightsRequest, FetchWeightsResponse, WeightsAnnouncement, WeightsId};
use anytime_service::channel::PeerChannel;
use anytime_service::metric_names::{ACTOR_DELTA_FALLBACKS, ACTOR_WEIGHTS_BYTES, ACTOR_WEIGHTS_FETCH_SECONDS};
use anytime_service::peer::with_deadline;
use metrics::{counter, histogram};
use tonic::{Code, Status, Streaming};
use tracing::warn;

use super::assembly::{Assembly, Entries};
use super::loader::{Builder, Building, Loader, Refused};
use super::patch::Patch;

/// Why a version could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{}", .0.message())]
    Call(Status),
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// The version that an actor holds, as it was published. Deltas of the next one are applied to it.
pub(crate) struct Base {
    /// How it was announced.
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
/// has those of the base; otherwise they come along. Deltas that lead nowhere cost a second fetch, of the full weights.
pub(crate) async fn fetch(
    client: &mut WeightsServiceClient<PeerChannel>,
    loader: &Loader,
    announced: &WeightsAnnouncement,
    base: Option<&Base>,
) -> Result<Entries, FetchError> {
    let started = Instant::now();
    let base = base.filter(|base| base.announced.job_id == announced.job_id);
    let entries = match base {
        None => fetch_whole(client, loader, announced).await?,
        Some(base) => match fetch_onto(client, loader, announced, base, Some(base.id())).await {
            Err(FetchError::Refused(Refused::Delta(error))) => {
                let (job_id, version, held) = (&announced.job_id, announced.version, base.announced.version);
                warn!(job_id, version, held, %error, "a delta of weights leads nowhere, fetching the full weights");
                counter!(ACTOR_DELTA_FALLBACKS).increment(1);
                fetch_onto(client, loader, announced, base, None).await?
            }
            other => other?,
        },
    };
    histogram!(ACTOR_WEIGHTS_FETCH_SECONDS).record(started.elapsed());
    Ok(entries)
}

async fn fetch_whole(
    client: &mut WeightsServiceClient<PeerChannel>,
    loader: &Loader,
    announced: &WeightsAnnouncement,
) -> Result<Entries, FetchError> {
    let mut stream = open(client, announced, false, None).await?;
    let assembly = start(&mut stream, announced, false).await?;
    receive(stream, loader.build(Builder::Whole(Box::new(assembly))), None).await
}

/// Fetches a version without its assets where they are those of the base, and as deltas where `named` names the base
/// and the learner has some that start from it.
async fn fetch_onto(
    client: &mut WeightsServiceClient<PeerChannel>,
    loader: &Loader,
    announced: &WeightsAnnouncement,
    base: &Base,
    named: Option<WeightsId>,
) -> Result<Entries, FetchError> {
    let mut stream = open(client, announced, true, named.clone()).await?;
    let assembly = start(&mut stream, announced, true).await?;
    if base.entries.manifest.assets != assembly.manifest().assets {
        drop(stream);
        return fetch_whole(client, loader, announced).await;
    }
    let first = next(&mut stream).await?.and_then(|response| response.part);
    let builder = match (&first, named) {
        (Some(Part::Delta(_)), Some(id)) => {
            let patch = Patch::try_new(assembly.into_manifest(), id, Arc::clone(&base.entries));
            Builder::Onto(Box::new(patch.map_err(Refused::from)?))
        }
        _ => Builder::Whole(Box::new(assembly)),
    };
    receive(stream, loader.build(builder), first).await
}

/// Passes the parts on to the loader as they come.
async fn receive(
    mut stream: Streaming<FetchWeightsResponse>,
    building: Building,
    first: Option<Part>,
) -> Result<Entries, FetchError> {
    let mut part = first;
    loop {
        if let Some(part) = part {
            count_bytes(&part);
            // What the loader refuses makes the rest useless.
            if !building.push(part).await {
                break;
            }
        }
        match next(&mut stream).await? {
            Some(response) => part = response.part,
            None => break,
        }
    }
    let entries = building.finish().await?;
    entries.ok_or_else(|| unexpected("the thread that loads weights gave up"))
}

fn count_bytes(part: &Part) {
    match part {
        Part::Chunk(chunk) => counter!(ACTOR_WEIGHTS_BYTES, "form" => "whole").increment(chunk.data.len() as u64),
        Part::Delta(delta) => {
            let bytes: usize = delta.blocks.iter().map(|block| block.data.len()).sum();
            counter!(ACTOR_WEIGHTS_BYTES, "form" => "delta").increment(bytes as u64);
        }
        Part::Manifest(_) => {}
    }
}

fn unexpected(problem: &str) -> FetchError {
    FetchError::Call(Status::new(Code::Internal, problem))
}

async fn open(
    client: &mut WeightsServiceClient<PeerChannel>,
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
        Some(Part::Manifest(manifest)) => Assembly::try_new(manifest, &announced.manifest_checksum, skip_assets)
            .map_err(|error| Refused::from(error).into()),
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
