//! An actor without a model: it leases, fetches and checks weights, and pushes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anytime_deltas::{DeltaDecoder, ElementWidth};
use anytime_proto::limits::MAX_MESSAGE_BYTES;
use anytime_proto::v1;
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::v1::rollout_service_client::RolloutServiceClient;
use anytime_proto::v1::weights_service_client::WeightsServiceClient;
use prost::Message as _;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::groups::group_for;

/// A client that takes whole chunks.
pub(crate) fn weights_client(channel: Channel) -> WeightsServiceClient<Channel> {
    WeightsServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// Weights as they were fetched.
pub(crate) struct Fetched {
    pub(crate) manifest: v1::WeightsManifest,
    /// By chunk number.
    pub(crate) entries: Vec<Vec<u8>>,
    /// Bytes of data that came, compressed where they were deltas.
    pub(crate) received: usize,
    pub(crate) as_delta: bool,
}

/// Fetches a version and puts its entries together.
pub(crate) async fn fetch(
    client: &mut WeightsServiceClient<Channel>,
    announcement: &v1::WeightsAnnouncement,
    skip_assets: bool,
) -> Result<Fetched, Status> {
    fetch_onto(client, announcement, skip_assets, None).await
}

/// The same for an actor that holds these weights: their announcement, and their tensors.
pub(crate) async fn fetch_onto(
    client: &mut WeightsServiceClient<Channel>,
    announcement: &v1::WeightsAnnouncement,
    skip_assets: bool,
    base: Option<(&v1::WeightsAnnouncement, &[Vec<u8>])>,
) -> Result<Fetched, Status> {
    let base_id = base.map(|(held, _)| v1::WeightsId {
        version: held.version,
        manifest_checksum: held.manifest_checksum.clone(),
    });
    let request = v1::FetchWeightsRequest {
        job_id: announcement.job_id.clone(),
        version: announcement.version,
        skip_assets,
        base: base_id.clone(),
    };
    let mut parts = client.fetch(request).await?.into_inner();
    let mut fetched = None;
    while let Some(response) = parts.message().await? {
        match response.part.unwrap() {
            Part::Manifest(manifest) => {
                let assets = if skip_assets { 0 } else { manifest.assets.len() };
                let entries = vec![Vec::new(); assets + manifest.tensors.len()];
                fetched = Some(Fetched {
                    manifest,
                    entries,
                    received: 0,
                    as_delta: false,
                });
            }
            Part::Chunk(chunk) => {
                let fetched = fetched.as_mut().unwrap();
                assert!(!fetched.as_delta);
                fetched.received += chunk.data.len();
                let entry = &mut fetched.entries[chunk.entry as usize];
                assert_eq!(entry.len() as u64, chunk.offset);
                entry.extend_from_slice(&chunk.data);
            }
            Part::Delta(delta) => {
                let fetched = fetched.as_mut().unwrap();
                assert_eq!(delta.base, base_id);
                if !fetched.as_delta {
                    fetched.as_delta = true;
                    fetched.entries = base.unwrap().1.to_vec();
                }
                apply(&delta, fetched);
            }
        }
    }
    Ok(fetched.unwrap())
}

fn apply(delta: &v1::WeightsDelta, fetched: &mut Fetched) {
    let mut decoder = DeltaDecoder::try_new().unwrap();
    for block in &delta.blocks {
        let tensor = block.tensor as usize;
        let width = ElementWidth::of_dtype(&fetched.manifest.tensors[tensor].dtype);
        let data = &mut fetched.entries[tensor];
        let range = width.block(block.number as usize, data.len()).unwrap();
        decoder.apply(width, &mut data[range], &block.data).unwrap();
        fetched.received += block.data.len();
    }
}

/// Leases and pushes until it is aborted; survives that the learner is away.
pub(crate) struct FakeActor {
    task: JoinHandle<()>,
    /// Group ids that were answered ACCEPTED.
    pub(crate) accepted: Arc<Mutex<Vec<String>>>,
}

impl FakeActor {
    pub(crate) fn start(address: SocketAddr, name: &str) -> Self {
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(live(address, name.to_owned(), accepted.clone()));
        Self { task, accepted }
    }

    /// As SIGKILL does: leases are not given back.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }
}

impl Drop for FakeActor {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn live(address: SocketAddr, name: String, accepted: Arc<Mutex<Vec<String>>>) {
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy();
    let mut rollouts = RolloutServiceClient::new(channel.clone());
    let mut weights = weights_client(channel);
    let mut seen = BTreeSet::new();
    loop {
        match work(&mut rollouts, &mut weights, &name, &accepted, &mut seen).await {
            Ok(()) => {}
            Err(status) => {
                assert!(
                    is_outage(&status) || status.code() == Code::NotFound,
                    "unexpected: {status:?}"
                );
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    }
}

/// The learner or Redis is away; a connection that breaks shows in several ways.
fn is_outage(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
    )
}

async fn work(
    rollouts: &mut RolloutServiceClient<Channel>,
    weights: &mut WeightsServiceClient<Channel>,
    name: &str,
    accepted: &Mutex<Vec<String>>,
    seen: &mut BTreeSet<(u64, String)>,
) -> Result<(), Status> {
    let watch = v1::WatchWeightsRequest {
        actor_id: name.to_owned(),
        job_id: String::new(),
        ..v1::WatchWeightsRequest::default()
    };
    let mut announcements = weights.clone().watch(watch).await?.into_inner();
    let mut current = announcements
        .message()
        .await?
        .ok_or_else(|| Status::unavailable("the stream ended"))?;
    loop {
        while let Ok(Ok(Some(newer))) = tokio::time::timeout(Duration::ZERO, announcements.message()).await {
            current = newer;
        }
        if seen.insert((current.version, current.manifest_checksum.clone())) {
            let fetched = fetch(weights, &current, !seen.is_empty()).await?;
            assert_eq!(fetched.manifest.version, current.version);
        }
        let request = v1::LeaseRequest {
            actor_id: name.to_owned(),
            max_groups: 2,
            wait_ms: 100,
            ..v1::LeaseRequest::default()
        };
        for lease in rollouts.lease(request).await?.into_inner().leases {
            let group = group_for(&lease, name, current.version.max(lease.min_weights_version));
            push_until_answered(rollouts, group, &lease.token, accepted).await?;
        }
    }
}

/// Pushes again and again while the learner or Redis is away, and while the queue is full.
async fn push_until_answered(
    rollouts: &mut RolloutServiceClient<Channel>,
    group: v1::ScoredGroup,
    token: &[u8],
    accepted: &Mutex<Vec<String>>,
) -> Result<(), Status> {
    loop {
        let outcome = rollouts
            .push(push_request(group.clone(), token.to_vec()))
            .await
            .map(|response| response.into_inner().status());
        match outcome {
            Ok(v1::PushStatus::QueueFull) => {}
            Ok(status) => {
                if status == v1::PushStatus::Accepted {
                    accepted.lock().unwrap().push(group.group_id.clone());
                }
                return Ok(());
            }
            Err(status) if is_outage(&status) => {}
            Err(status) => return Err(status),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub(crate) fn push_request(group: v1::ScoredGroup, lease_token: Vec<u8>) -> v1::PushRequest {
    v1::PushRequest {
        outcome: Some(v1::push_request::Outcome::Group(group.encode_to_vec().into())),
        lease_token,
    }
}
