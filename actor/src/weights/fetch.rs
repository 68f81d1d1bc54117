//! Fetches one announced version.

use std::time::{Duration, Instant};

use anytime_proto::limits::{CALL_TIMEOUT, STREAM_IDLE_TIMEOUT};
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::v1::weights_service_client::WeightsServiceClient;
use anytime_proto::v1::{FetchWeightsRequest, FetchWeightsResponse, WeightsAnnouncement};
use anytime_service::metric_names::{ACTOR_WEIGHTS_BYTES, ACTOR_WEIGHTS_FETCH_SECONDS};
use metrics::{counter, histogram};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::assembly::{Assembly, Entries, TornWeights};

/// Why a version could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{}", .0.message())]
    Call(Status),
    #[error(transparent)]
    Torn(#[from] TornWeights),
}

/// Fetches and verifies a version. With `known_assets` the assets are skipped as long as the manifest has these very
/// ones; otherwise they come along.
pub(crate) async fn fetch(
    client: &mut WeightsServiceClient<Channel>,
    announced: &WeightsAnnouncement,
    known_assets: Option<&[anytime_proto::v1::WeightsEntry]>,
) -> Result<Entries, FetchError> {
    let started = Instant::now();
    let mut skip_assets = known_assets.is_some();
    let mut stream = open(client, announced, skip_assets).await?;
    let mut assembly = start(&mut stream, announced, skip_assets).await?;
    if known_assets.is_some_and(|known| known != assembly.manifest().assets) {
        skip_assets = false;
        stream = open(client, announced, skip_assets).await?;
        assembly = start(&mut stream, announced, skip_assets).await?;
    }
    let bytes = counter!(ACTOR_WEIGHTS_BYTES);
    while let Some(response) = next(&mut stream).await? {
        let Some(Part::Chunk(chunk)) = response.part else {
            return Err(FetchError::Call(Status::internal("the manifest came twice")));
        };
        bytes.increment(chunk.data.len() as u64);
        assembly.push(&chunk)?;
    }
    let entries = assembly.finish()?;
    histogram!(ACTOR_WEIGHTS_FETCH_SECONDS).record(started.elapsed());
    Ok(entries)
}

async fn open(
    client: &mut WeightsServiceClient<Channel>,
    announced: &WeightsAnnouncement,
    skip_assets: bool,
) -> Result<Streaming<FetchWeightsResponse>, FetchError> {
    let request = FetchWeightsRequest {
        job_id: announced.job_id.clone(),
        version: announced.version,
        skip_assets,
    };
    crate::link::within(CALL_TIMEOUT, client.fetch(request))
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
        _ => Err(FetchError::Call(Status::internal(
            "the stream does not start with a manifest",
        ))),
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
