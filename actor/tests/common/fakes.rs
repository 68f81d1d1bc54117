//! A learner and a verifier that do what a test tells them, on ports of their own.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anytime_deltas::{DeltaEncoder, ElementWidth};
use anytime_policy::Weights;
use anytime_proto::limits::MAX_MESSAGE_BYTES;
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::v1::push_request::Outcome;
use anytime_proto::v1::rollout_service_server::{RolloutService, RolloutServiceServer};
use anytime_proto::v1::verifier_service_server::{VerifierService, VerifierServiceServer};
use anytime_proto::v1::weights_delta::Block;
use anytime_proto::v1::weights_service_server::{WeightsService, WeightsServiceServer};
use anytime_proto::v1::{
    AbandonedGroup, FetchWeightsRequest, FetchWeightsResponse, Lease, LeaseRequest, LeaseResponse, PushRequest,
    PushResponse, PushStatus, ScoredGroup, Verdict, VerdictKind, VerifyItem, VerifyRequest, VerifyResponse,
    WatchWeightsRequest, WeightsAnnouncement, WeightsChunk, WeightsDelta, WeightsEntry, WeightsId, WeightsManifest,
};
use anytime_service::security::ServerSecurity;
use anytime_service::server;
use prost::Message as _;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

/// One version as it is sent.
#[derive(Clone)]
pub struct Version {
    pub manifest: WeightsManifest,
    pub assets: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
}

impl Version {
    pub fn new(job_id: &str, version: u64, weights: &Weights) -> Self {
        let files = [
            ("config.json", super::config_json(32, 2, super::VOCABULARY)),
            ("tokenizer.json", super::tokenizer_json()),
        ];
        let entry = |name: &str, dtype: &str, shape: Vec<u64>, bytes: &[u8]| WeightsEntry {
            name: name.to_owned(),
            dtype: dtype.to_owned(),
            shape,
            bytes: bytes.len() as u64,
            checksum: blake3::hash(bytes).to_hex().to_string(),
        };
        let mut manifest = WeightsManifest {
            job_id: job_id.to_owned(),
            version,
            assets: vec![],
            tensors: vec![],
        };
        let (mut assets, mut tensors) = (Vec::new(), Vec::new());
        for (name, text) in files {
            manifest.assets.push(entry(name, "", vec![], text.as_bytes()));
            assets.push(text.into_bytes());
        }
        for (name, tensor) in weights {
            let values: Vec<f32> = Vec::try_from(tensor.flatten(0, -1)).unwrap();
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let shape = tensor.size().iter().map(|&length| length as u64).collect();
            manifest.tensors.push(entry(name, "F32", shape, &bytes));
            tensors.push(bytes);
        }
        Self {
            manifest,
            assets,
            tensors,
        }
    }

    pub fn announcement(&self) -> WeightsAnnouncement {
        WeightsAnnouncement {
            job_id: self.manifest.job_id.clone(),
            version: self.manifest.version,
            manifest_checksum: anytime_proto::manifest_checksum(&self.manifest),
            traceparent: String::new(),
            asking: String::new(),
        }
    }

    pub fn id(&self) -> WeightsId {
        WeightsId {
            version: self.manifest.version,
            manifest_checksum: self.announcement().manifest_checksum,
        }
    }

    /// What leads from this version to another one, a few blocks in each part.
    pub fn deltas_to(&self, new: &Version) -> Vec<WeightsDelta> {
        let mut encoder = DeltaEncoder::try_new().unwrap();
        let mut blocks = Vec::new();
        for (tensor, (base, new)) in self.tensors.iter().zip(&new.tensors).enumerate() {
            for number in 0..ElementWidth::Four.blocks(base.len()) {
                let range = ElementWidth::Four.block(number, base.len()).unwrap();
                let data = encoder.encode(ElementWidth::Four, &base[range.clone()], &new[range]);
                if let Some(data) = data.unwrap() {
                    blocks.push(Block {
                        tensor: tensor as u32,
                        number: number as u32,
                        data: data.into(),
                    });
                }
            }
        }
        let delta = |blocks: &[Block]| WeightsDelta {
            base: Some(self.id()),
            blocks: blocks.to_vec(),
        };
        blocks.chunks(3).map(delta).collect()
    }

    /// The full weights in chunks that are far smaller than the entries.
    pub fn chunks(&self, skip_assets: bool) -> Vec<WeightsChunk> {
        let assets = if skip_assets { &[] } else { self.assets.as_slice() };
        let mut chunks = Vec::new();
        for (index, bytes) in assets.iter().chain(&self.tensors).enumerate() {
            for (number, data) in bytes.chunks(1000).enumerate() {
                let data = data.to_vec().into();
                chunks.push(WeightsChunk {
                    entry: index as u32,
                    offset: number as u64 * 1000,
                    data,
                });
            }
        }
        chunks
    }
}

/// What the learner holds, what it was told, and which faults it makes.
#[derive(Default)]
pub struct LearnerState {
    pub leases: VecDeque<Lease>,
    pub groups: Vec<ScoredGroup>,
    pub abandoned: Vec<AbandonedGroup>,
    pub versions: BTreeMap<(String, u64), Version>,
    /// How many further fetches deliver a flipped bit.
    pub torn_fetches: usize,
    pub fetches: Vec<FetchWeightsRequest>,
    /// How many further fetches are answered with a delta that has a flipped bit.
    pub torn_deltas: usize,
    /// Whether each fetch that was answered got deltas.
    pub answered_by_delta: Vec<bool>,
    /// How many further pushes are answered with a full queue.
    pub full_pushes: usize,
    /// The code that every push of a group is refused with.
    pub refuses_groups: Option<Code>,
    /// Every request for leases.
    pub lease_requests: Vec<LeaseRequest>,
}

#[derive(Clone)]
pub struct FakeLearner {
    state: Arc<Mutex<LearnerState>>,
    announced: Arc<watch::Sender<Option<WeightsAnnouncement>>>,
}

impl FakeLearner {
    pub async fn start(address: SocketAddr, stop: CancellationToken) -> (Self, String) {
        let learner = Self {
            state: Arc::default(),
            announced: Arc::new(watch::channel(None).0),
        };
        let address = learner.serve(address, stop).await;
        (learner, address)
    }

    pub async fn serve(&self, address: SocketAddr, stop: CancellationToken) -> String {
        let listener = server::bind(address, &ServerSecurity::default()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, _) = server::router(&ServerSecurity::default(), stop.clone()).unwrap();
        let rollout = RolloutServiceServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let router = router
            .add_service(rollout)
            .add_service(WeightsServiceServer::new(self.clone()));
        tokio::spawn(async move { server::serve(router, listener, &ServerSecurity::default(), stop).await });
        format!("http://{address}")
    }

    pub fn state(&self) -> MutexGuard<'_, LearnerState> {
        self.state.lock().unwrap()
    }

    pub fn publish(&self, version: Version) {
        let announcement = version.announcement();
        let key = (announcement.job_id.clone(), announcement.version);
        self.state().versions.insert(key, version);
        self.announced.send_replace(Some(announcement));
    }
}

#[tonic::async_trait]
impl RolloutService for FakeLearner {
    async fn lease(&self, request: Request<LeaseRequest>) -> Result<Response<LeaseResponse>, Status> {
        let request = request.into_inner();
        self.state().lease_requests.push(request.clone());
        for _ in 0..request.wait_ms / 10 {
            let leases: Vec<Lease> = {
                let mut state = self.state();
                let count = state.leases.len().min(request.max_groups as usize);
                state.leases.drain(..count).collect()
            };
            if !leases.is_empty() {
                return Ok(Response::new(LeaseResponse { leases, wait_reason: 0 }));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Response::new(LeaseResponse::default()))
    }

    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        let mut state = self.state();
        let request = request.into_inner();
        let group_id = match &request.outcome {
            Some(Outcome::Group(wire)) => decoded(wire)?.group_id,
            Some(Outcome::Abandoned(abandoned)) => abandoned.group_id.clone(),
            None => return Err(Status::invalid_argument("no outcome")),
        };
        // The leases of these tests have the group's id as their token.
        if request.lease_token != group_id.as_bytes() {
            return Err(Status::permission_denied("another token"));
        }
        let status = match request.outcome {
            Some(Outcome::Group(_)) if state.refuses_groups.is_some() => {
                let code = state.refuses_groups.unwrap_or(Code::Unknown);
                return Err(Status::new(code, "the message size is too large"));
            }
            Some(Outcome::Group(_)) if state.full_pushes > 0 => {
                state.full_pushes -= 1;
                PushStatus::QueueFull
            }
            Some(Outcome::Group(wire)) => {
                state.groups.push(decoded(&wire)?);
                PushStatus::Accepted
            }
            Some(Outcome::Abandoned(abandoned)) => {
                state.abandoned.push(abandoned);
                PushStatus::Accepted
            }
            None => return Err(Status::invalid_argument("no outcome")),
        };
        Ok(Response::new(PushResponse { status: status.into() }))
    }
}

fn decoded(wire: &[u8]) -> Result<ScoredGroup, Status> {
    ScoredGroup::decode(wire).map_err(|error| Status::invalid_argument(error.to_string()))
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl WeightsService for FakeLearner {
    type WatchStream = Streamed<WeightsAnnouncement>;
    type FetchStream = Streamed<FetchWeightsResponse>;

    async fn watch(&self, _: Request<WatchWeightsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let announcements = WatchStream::new(self.announced.subscribe()).filter_map(|latest| latest.map(Ok));
        Ok(Response::new(Box::pin(announcements)))
    }

    async fn fetch(&self, request: Request<FetchWeightsRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let mut state = self.state();
        state.fetches.push(request.clone());
        let key = (request.job_id.clone(), request.version);
        let Some(version) = state.versions.get(&key).cloned() else {
            return Err(Status::not_found("the version is no longer held"));
        };
        let first = Part::Manifest(version.manifest.clone());
        let base = request.base.filter(|_| request.skip_assets);
        let base = base.and_then(|id| state.versions.values().find(|held| held.id() == id).cloned());
        state.answered_by_delta.push(base.is_some());
        if let Some(base) = base {
            let mut deltas = base.deltas_to(&version);
            if state.torn_deltas > 0 {
                state.torn_deltas -= 1;
                let block = deltas.last_mut().unwrap().blocks.last_mut().unwrap();
                let mut data = block.data.to_vec();
                *data.last_mut().unwrap() ^= 1;
                block.data = data.into();
            }
            let parts = std::iter::once(first).chain(deltas.into_iter().map(Part::Delta));
            let responses: Vec<_> = parts
                .map(|part| Ok(FetchWeightsResponse { part: Some(part) }))
                .collect();
            return Ok(Response::new(Box::pin(tokio_stream::iter(responses))));
        }
        let mut chunks = version.chunks(request.skip_assets);
        if state.torn_fetches > 0 {
            state.torn_fetches -= 1;
            let last = chunks.last_mut().unwrap();
            let mut data = last.data.to_vec();
            data[7] ^= 1;
            last.data = data.into();
        }
        let parts = std::iter::once(first).chain(chunks.into_iter().map(Part::Chunk));
        let responses: Vec<_> = parts
            .map(|part| Ok(FetchWeightsResponse { part: Some(part) }))
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(responses))))
    }
}

/// What the verifier does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Works: an answer is right if its text has an even number of words.
    Works,
    /// Every verdict is a fault.
    OutOfTime,
    /// Every verdict is another fault, as of a bad deployment.
    Broken,
    /// No answer at all.
    Refuses,
    /// Fewer verdicts than items.
    Short,
    /// Fails at every answer to the question whose ground truth is 42, and judges others.
    FailsAt42,
    /// Refuses requests with such an answer.
    Refuses42,
}

#[derive(Clone)]
pub struct FakeVerifier {
    pub mood: Arc<Mutex<Mood>>,
    pub requests: Arc<Mutex<Vec<VerifyRequest>>>,
}

/// What [`FakeVerifier`] holds for right.
pub fn is_right(response: &str) -> bool {
    response.split_whitespace().count().is_multiple_of(2)
}

impl FakeVerifier {
    pub async fn start(mood: Mood, stop: CancellationToken) -> (Self, String) {
        let verifier = Self {
            mood: Arc::new(Mutex::new(mood)),
            requests: Arc::default(),
        };
        let listener = server::bind(([127, 0, 0, 1], 0).into(), &ServerSecurity::default())
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (router, _) = server::router(&ServerSecurity::default(), stop.clone()).unwrap();
        let router = router.add_service(VerifierServiceServer::new(verifier.clone()));
        tokio::spawn(async move { server::serve(router, listener, &ServerSecurity::default(), stop).await });
        (verifier, format!("http://{address}"))
    }
}

#[tonic::async_trait]
impl VerifierService for FakeVerifier {
    type VerifyStreamStream = Streamed<VerifyResponse>;

    async fn verify_stream(
        &self,
        _requests: Request<Streaming<VerifyRequest>>,
    ) -> Result<Response<Self::VerifyStreamStream>, Status> {
        Err(Status::unimplemented("the actor sends single batches"))
    }

    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let request = request.into_inner();
        let mood = *self.mood.lock().unwrap();
        let kind = |item: &VerifyItem| match mood {
            Mood::OutOfTime => VerdictKind::OutOfTime,
            Mood::Broken => VerdictKind::InternalError,
            Mood::FailsAt42 if item.ground_truths == ["42"] => VerdictKind::InternalError,
            _ if is_right(&item.response) => VerdictKind::Correct,
            _ => VerdictKind::Wrong,
        };
        let verdicts = request.items.iter().map(|item| Verdict {
            kind: kind(item).into(),
            ..Verdict::default()
        });
        let mut verdicts: Vec<Verdict> = verdicts.collect();
        let holds_42 = request.items.iter().any(|item| item.ground_truths == ["42"]);
        self.requests.lock().unwrap().push(request);
        match mood {
            Mood::Refuses => return Err(Status::unavailable("out for lunch")),
            Mood::Refuses42 if holds_42 => return Err(Status::invalid_argument("an answer is too long")),
            Mood::Short => verdicts.truncate(1),
            _ => {}
        }
        Ok(Response::new(VerifyResponse {
            verdicts,
            ..VerifyResponse::default()
        }))
    }
}
