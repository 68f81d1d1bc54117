//! `WeightsService`: announces versions and sends them.
//!
//! Chunks number the entries that are sent through: the assets, then the tensors; with `skip_assets` number 0 is the
//! first tensor. The manifest is the same either way, and so is its checksum. An entry without bytes has no chunk.

use std::sync::Arc;
use std::time::Instant;

use anytime_proto::limits::{STREAM_IDLE_TIMEOUT, WEIGHTS_CHUNK_BYTES};
use anytime_proto::v1::weights_service_server::WeightsService;
use anytime_proto::{ActorId, JobId, WeightsVersion, v1};
use anytime_service::metric_names::LEARNER_WEIGHTS_BYTES;
use metrics::counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::info;

use super::shelf::{HeldVersion, WeightsShelf};
use crate::replay::exchange::Exchange;
use crate::reply_stream::{ReplyStream, reply_stream};
use crate::statuses;

/// Chunks that wait for the connection, in each stream.
const CHUNKS_AHEAD: usize = 2;

/// See the module.
pub struct Weights {
    shelf: Arc<WeightsShelf>,
    /// Learns from the streams which actors are there.
    exchange: Arc<Exchange>,
    shutdown: CancellationToken,
}

impl Weights {
    /// The service over a shelf.
    pub fn new(shelf: Arc<WeightsShelf>, exchange: Arc<Exchange>, shutdown: CancellationToken) -> Self {
        Self {
            shelf,
            exchange,
            shutdown,
        }
    }
}

#[tonic::async_trait]
impl WeightsService for Weights {
    type WatchStream = ReplyStream<v1::WeightsAnnouncement>;
    type FetchStream = ReplyStream<v1::FetchWeightsResponse>;

    async fn watch(&self, request: Request<v1::WatchWeightsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        if request.actor_id.is_empty() {
            return Err(Status::invalid_argument("actor_id is empty"));
        }
        let actor = ActorId(request.actor_id);
        let job_id = (!request.job_id.is_empty()).then_some(JobId(request.job_id));
        let (shelf, exchange, shutdown) = (self.shelf.clone(), self.exchange.clone(), self.shutdown.clone());
        let announcements = reply_stream(1, |sender| async move {
            info!(actor_id = %actor, "an actor follows the weights");
            exchange.presence.arrived(&actor);
            let outcome = tokio::select! {
                () = announce(&shelf, job_id.as_ref(), &sender) => Ok(()),
                () = sender.closed() => Ok(()),
                () = shutdown.cancelled() => Err(statuses::shutting_down()),
            };
            exchange.presence.left(&actor, Instant::now());
            info!(actor_id = %actor, "an actor follows the weights no more");
            outcome
        });
        Ok(Response::new(announcements))
    }

    async fn fetch(&self, request: Request<v1::FetchWeightsRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let (job_id, version) = (JobId(request.job_id), WeightsVersion(request.version));
        let Some(held) = self.shelf.held(&job_id, version) else {
            return Err(statuses::weights_not_held(&job_id, version));
        };
        let shutdown = self.shutdown.clone();
        let parts = reply_stream(CHUNKS_AHEAD, |sender| async move {
            tokio::select! {
                outcome = send_version(&held, request.skip_assets, &sender) => outcome,
                () = shutdown.cancelled() => Err(statuses::shutting_down()),
            }
        });
        Ok(Response::new(parts))
    }
}

/// Announces the current version and each that follows, until the stream or the shelf is gone. Of versions that follow
/// each other faster than the stream takes them only the newest is announced.
async fn announce(shelf: &WeightsShelf, job_id: Option<&JobId>, sender: &mpsc::Sender<v1::WeightsAnnouncement>) {
    let mut changed = shelf.subscribe();
    let mut announced: Option<v1::WeightsAnnouncement> = None;
    loop {
        changed.mark_unchanged();
        let current = shelf.current(job_id).map(|held| held.announcement());
        if let Some(announcement) = current
            && announced.as_ref() != Some(&announcement)
        {
            announced = Some(announcement.clone());
            if sender.send(announcement).await.is_err() {
                return;
            }
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

async fn send_version(
    held: &HeldVersion,
    skip_assets: bool,
    sender: &mpsc::Sender<v1::FetchWeightsResponse>,
) -> Result<(), Status> {
    send_part(
        v1::fetch_weights_response::Part::Manifest(held.manifest.clone()),
        sender,
    )
    .await?;
    for (entry, data) in held.entries(skip_assets).enumerate() {
        let mut offset = 0;
        while offset < data.len() {
            let end = data.len().min(offset + WEIGHTS_CHUNK_BYTES);
            let chunk = v1::WeightsChunk {
                entry: entry as u32,
                offset: offset as u64,
                data: data.slice(offset..end),
            };
            send_part(v1::fetch_weights_response::Part::Chunk(chunk), sender).await?;
            counter!(LEARNER_WEIGHTS_BYTES).increment((end - offset) as u64);
            offset = end;
        }
    }
    Ok(())
}

/// A peer that takes nothing for long must not hold the memory of an old version.
async fn send_part(
    part: v1::fetch_weights_response::Part,
    sender: &mpsc::Sender<v1::FetchWeightsResponse>,
) -> Result<(), Status> {
    let response = v1::FetchWeightsResponse { part: Some(part) };
    match tokio::time::timeout(STREAM_IDLE_TIMEOUT, sender.send(response)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(statuses::peer_is_gone()),
        Err(_) => Err(statuses::peer_is_stuck()),
    }
}
