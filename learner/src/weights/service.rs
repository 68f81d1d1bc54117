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
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::info;

use super::shelf::{HeldVersion, WeightsShelf};
use crate::replay::exchange::Exchange;
use crate::statuses;

/// Chunks that wait for the connection, in each stream.
const CHUNKS_AHEAD: usize = 2;

type Sender<T> = mpsc::Sender<Result<T, Status>>;

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
    type WatchStream = ReceiverStream<Result<v1::WeightsAnnouncement, Status>>;
    type FetchStream = ReceiverStream<Result<v1::FetchWeightsResponse, Status>>;

    async fn watch(&self, request: Request<v1::WatchWeightsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        if request.actor_id.is_empty() {
            return Err(Status::invalid_argument("actor_id is empty"));
        }
        let actor = ActorId(request.actor_id);
        let job_id = (!request.job_id.is_empty()).then_some(JobId(request.job_id));
        let (sender, receiver) = mpsc::channel(1);
        let (shelf, exchange, shutdown) = (self.shelf.clone(), self.exchange.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            info!(actor_id = %actor, "an actor follows the weights");
            exchange.presence.arrived(&actor);
            tokio::select! {
                () = announce(&shelf, job_id.as_ref(), &sender) => {}
                () = sender.closed() => {}
                () = shutdown.cancelled() => {
                    // If the channel is full, the end of the stream tells the actor as much.
                    let _ = sender.try_send(Err(statuses::shutting_down()));
                }
            }
            exchange.presence.left(&actor, Instant::now());
            info!(actor_id = %actor, "an actor follows the weights no more");
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch(&self, request: Request<v1::FetchWeightsRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let (job_id, version) = (JobId(request.job_id), WeightsVersion(request.version));
        let Some(held) = self.shelf.held(&job_id, version) else {
            return Err(statuses::weights_not_held(&job_id, version));
        };
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = send_version(&held, request.skip_assets, &sender) => {}
                () = shutdown.cancelled() => {
                    let _ = sender.try_send(Err(statuses::shutting_down()));
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Announces the current version and each that follows, until the stream or the shelf is gone. Of versions that follow
/// each other faster than the stream takes them only the newest is announced.
async fn announce(shelf: &WeightsShelf, job_id: Option<&JobId>, sender: &Sender<v1::WeightsAnnouncement>) {
    let mut changed = shelf.subscribe();
    let mut announced: Option<v1::WeightsAnnouncement> = None;
    loop {
        changed.mark_unchanged();
        let current = shelf.current(job_id).map(|held| held.announcement());
        if let Some(announcement) = current
            && announced.as_ref() != Some(&announcement)
        {
            announced = Some(announcement.clone());
            if sender.send(Ok(announcement)).await.is_err() {
                return;
            }
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

async fn send_version(held: &HeldVersion, skip_assets: bool, sender: &Sender<v1::FetchWeightsResponse>) {
    let manifest = v1::fetch_weights_response::Part::Manifest(held.manifest.clone());
    if !send_part(manifest, sender).await {
        return;
    }
    for (entry, data) in held.entries(skip_assets).enumerate() {
        let mut offset = 0;
        while offset < data.len() {
            let end = data.len().min(offset + WEIGHTS_CHUNK_BYTES);
            let chunk = v1::WeightsChunk {
                entry: entry as u32,
                offset: offset as u64,
                data: data.slice(offset..end),
            };
            if !send_part(v1::fetch_weights_response::Part::Chunk(chunk), sender).await {
                return;
            }
            counter!(LEARNER_WEIGHTS_BYTES).increment((end - offset) as u64);
            offset = end;
        }
    }
}

/// Returns whether the peer still takes anything.
async fn send_part(part: v1::fetch_weights_response::Part, sender: &Sender<v1::FetchWeightsResponse>) -> bool {
    let response = v1::FetchWeightsResponse { part: Some(part) };
    matches!(
        tokio::time::timeout(STREAM_IDLE_TIMEOUT, sender.send(Ok(response))).await,
        Ok(Ok(()))
    )
}
