//! `WeightsService`: announces versions and sends them.
//!
//! Chunks number the entries that are sent through: the assets, then the tensors; with `skip_assets` number 0 is the
//! first tensor. The manifest is the same either way, and so is its checksum. An entry without bytes has no chunk.
//!
//! An actor may say which version it holds. It is then sent the deltas from there, where the store has them and they
//! are smaller than the full weights.

use std::sync::Arc;

use anytime_proto::limits::{STREAM_IDLE_TIMEOUT, WEIGHTS_CHUNK_BYTES};
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::v1::weights_service_server::WeightsService;
use anytime_proto::{JobId, WeightsVersion, v1};
use anytime_service::clock;
use anytime_service::metric_names::LEARNER_WEIGHTS_BYTES;
use anytime_service::security::connection_is_old;
use metrics::counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::info;

use super::status;
use super::stream::{ReplyStream, reply_stream};
use super::who::holder;
use crate::rollouts::broker::RolloutBroker;
use crate::weights::deltas::{self, Delta, EncodedDelta};
use crate::weights::published::HeldVersion;
use crate::weights::store::WeightsStore;

/// How many chunks may wait for the connection of one stream.
const CHUNKS_AHEAD: usize = 2;

/// `WeightsService` over the store: it announces every published version, and sends a version as full weights or as
/// deltas.
pub struct WeightsRpc {
    store: Arc<WeightsStore>,
    /// Is told by the streams which actors are there.
    broker: Arc<RolloutBroker>,
    shutdown: CancellationToken,
}

impl WeightsRpc {
    /// The service over a store.
    pub fn new(store: Arc<WeightsStore>, broker: Arc<RolloutBroker>, shutdown: CancellationToken) -> Self {
        Self {
            store,
            broker,
            shutdown,
        }
    }
}

#[tonic::async_trait]
impl WeightsService for WeightsRpc {
    type WatchStream = ReplyStream<v1::WeightsAnnouncement>;
    type FetchStream = ReplyStream<v1::FetchWeightsResponse>;

    async fn watch(&self, request: Request<v1::WatchWeightsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let is_old = connection_is_old(&request);
        let request = request.into_inner();
        let holder = holder(request.actor_id, request.incarnation)?;
        let job_id = (!request.job_id.is_empty()).then_some(JobId(request.job_id));
        let (store, broker, shutdown) = (self.store.clone(), self.broker.clone(), self.shutdown.clone());
        let serves = request.serves;
        let announcements = reply_stream(1, |sender| async move {
            let who = if serves { "a server" } else { "an actor" };
            info!(actor_id = %holder.actor, "{who} follows the weights");
            if !serves {
                broker.actor_arrived(&holder, clock::now());
            }
            let outcome = tokio::select! {
                () = announce(&store, job_id.as_ref(), serves, &sender) => Ok(()),
                () = sender.closed() => Ok(()),
                () = shutdown.cancelled() => Err(status::shutting_down()),
                // No fault: the actor opens the stream again, over another connection.
                () = is_old => Ok(()),
            };
            if !serves {
                broker.actors.left(&holder, clock::now());
            }
            info!(actor_id = %holder.actor, "{who} follows the weights no more");
            outcome
        });
        Ok(Response::new(announcements))
    }

    async fn fetch(&self, request: Request<v1::FetchWeightsRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let (job_id, version) = (JobId(request.job_id), WeightsVersion(request.version));
        let Some(held) = self.store.held(&job_id, version) else {
            return Err(status::weights_not_held(&job_id, version));
        };
        let skip_assets = request.skip_assets;
        let base = request.base.filter(|_| skip_assets);
        let deltas = base
            .as_ref()
            .map_or_else(Vec::new, |base| self.store.deltas_between(base, &held));
        let shutdown = self.shutdown.clone();
        let parts = reply_stream(CHUNKS_AHEAD, |sender| async move {
            tokio::select! {
                outcome = send_version(&held, skip_assets, base, &deltas, &sender) => outcome,
                () = shutdown.cancelled() => Err(status::shutting_down()),
            }
        });
        Ok(Response::new(parts))
    }
}

/// Announces the current version and each that follows, until the stream or the store is gone. Where versions follow
/// each other faster than the stream takes them, only the newest is announced.
async fn announce(
    store: &WeightsStore,
    job_id: Option<&JobId>,
    serves: bool,
    sender: &mpsc::Sender<v1::WeightsAnnouncement>,
) {
    let mut changed = store.subscribe();
    let mut announced: Option<v1::WeightsAnnouncement> = None;
    loop {
        changed.mark_unchanged();
        let current = store.current(job_id).map(|held| held.announcement(serves));
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
    base: Option<v1::WeightsId>,
    deltas: &[Arc<Delta>],
    sender: &mpsc::Sender<v1::FetchWeightsResponse>,
) -> Result<(), Status> {
    send_part(Part::Manifest(held.manifest.clone()), sender).await?;
    match deltas::encoded(deltas, held.tensor_bytes()).await {
        Some(deltas) => send_deltas(base, &deltas, sender).await,
        None => send_whole(held, skip_assets, sender).await,
    }
}

async fn send_whole(
    held: &HeldVersion,
    skip_assets: bool,
    sender: &mpsc::Sender<v1::FetchWeightsResponse>,
) -> Result<(), Status> {
    let bytes = counter!(LEARNER_WEIGHTS_BYTES, "form" => "whole");
    for (entry, data) in held.entries(skip_assets).enumerate() {
        let mut offset = 0;
        while offset < data.len() {
            let end = data.len().min(offset + WEIGHTS_CHUNK_BYTES);
            let chunk = v1::WeightsChunk {
                entry: entry as u32,
                offset: offset as u64,
                data: data.slice(offset..end),
            };
            send_part(Part::Chunk(chunk), sender).await?;
            bytes.increment((end - offset) as u64);
            offset = end;
        }
    }
    Ok(())
}

/// Sends all blocks of all deltas, many in one message. Without any change there is one message without blocks.
async fn send_deltas(
    base: Option<v1::WeightsId>,
    deltas: &[Arc<EncodedDelta>],
    sender: &mpsc::Sender<v1::FetchWeightsResponse>,
) -> Result<(), Status> {
    let mut waiting = Vec::new();
    let mut waiting_bytes = 0;
    for block in deltas.iter().flat_map(|delta| &delta.blocks) {
        waiting_bytes += block.data.len();
        waiting.push(block.clone());
        if waiting_bytes >= WEIGHTS_CHUNK_BYTES {
            send_blocks(&base, std::mem::take(&mut waiting), sender).await?;
            waiting_bytes = 0;
        }
    }
    let nothing_changed = deltas.iter().all(|delta| delta.blocks.is_empty());
    if !waiting.is_empty() || nothing_changed {
        send_blocks(&base, waiting, sender).await?;
    }
    Ok(())
}

async fn send_blocks(
    base: &Option<v1::WeightsId>,
    blocks: Vec<v1::weights_delta::Block>,
    sender: &mpsc::Sender<v1::FetchWeightsResponse>,
) -> Result<(), Status> {
    let bytes: usize = blocks.iter().map(|block| block.data.len()).sum();
    let delta = v1::WeightsDelta {
        base: base.clone(),
        blocks,
    };
    send_part(Part::Delta(delta), sender).await?;
    counter!(LEARNER_WEIGHTS_BYTES, "form" => "delta").increment(bytes as u64);
    Ok(())
}

/// Fails for a peer that takes nothing for long, which must not hold the memory of an old version.
async fn send_part(part: Part, sender: &mpsc::Sender<v1::FetchWeightsResponse>) -> Result<(), Status> {
    let response = v1::FetchWeightsResponse { part: Some(part) };
    match tokio::time::timeout(STREAM_IDLE_TIMEOUT, sender.send(response)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(status::peer_is_gone()),
        Err(_) => Err(status::peer_is_stuck()),
    }
}
