//! Keeps the engine at the announced weights. One task listens, one fetches. Of the announcements that come during a
//! fetch, only the latest counts.
//!
//! What was fetched last stays in memory as it was published, so that the next version can come as what changed since:
//! an actor holds these bytes beside the tensors of its engine, and twice while the next version is put together.

use std::sync::Arc;
use std::time::Duration;

use anytime_policy::memory::is_exhaustion;
use anytime_proto::limits::{CALL_TIMEOUT, MAX_MESSAGE_BYTES};
use anytime_proto::v1::weights_service_client::WeightsServiceClient;
use anytime_proto::v1::{WatchWeightsRequest, WeightsAnnouncement};
use anytime_proto::{JobId, WeightsVersion};
use anytime_service::channel::{Backoff, PeerChannel};
use anytime_service::metric_names::ACTOR_DELTA_FALLBACKS;
use anytime_service::peer::{PeerLog, with_deadline};
use anytime_service::shutdown::{run_unless_cancelled, sleep_unless_cancelled};
use anytime_service::traces::{self, Span, SpanRef};
use metrics::counter;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::{info, warn};

use super::fetch::{Base, FetchError, fetch};
use super::loader::{Loaded, Loader};
use super::model::Assets;
use crate::engine::{Command, EngineHandle, Installed, Model, ModelId};
use crate::identity::Identity;

/// A stream of announcements that is silent for this long is opened again, in case the learner has forgotten it. A
/// learner that is gone is noticed much sooner, by the keep-alive of the connection.
const LONGEST_SILENCE: Duration = Duration::from_secs(3600);

/// For so long the span of a swap waits for the engine, which changes over between two of its steps.
const SWAP_PATIENCE: Duration = Duration::from_secs(60);

type Client = WeightsServiceClient<PeerChannel>;

/// The weights cannot be followed any more.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no memory for the next weights ({0}); a smaller --cache-gib or --memory-share leaves more")]
pub struct WeightsError(String);

/// Who follows the weights, and whose.
#[derive(Clone, Debug)]
pub struct Follower {
    /// The process.
    pub identity: Identity,
    /// The job; none for whatever job runs.
    pub job_id: Option<JobId>,
    /// Whether it answers with them instead of generating groups.
    pub serves: bool,
}

impl Follower {
    /// An actor, which generates for whatever job runs.
    pub fn actor(identity: Identity) -> Self {
        Self {
            identity,
            job_id: None,
            serves: false,
        }
    }
}

/// Follows the weights until the token is cancelled. `latest` has what was announced last.
///
/// # Errors
/// If the device has no memory for a version. Fetching it again would find no more memory, and the job would wait for
/// this actor for ever.
pub async fn follow(
    channel: PeerChannel,
    follower: Follower,
    latest: watch::Sender<Option<WeightsAnnouncement>>,
    loader: Loader,
    engine: EngineHandle,
    shutdown: CancellationToken,
) -> Result<(), WeightsError> {
    let client = WeightsServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let receiver = latest.subscribe();
    let listening = listen(client.clone(), follower, latest);
    let fetching = install_latest(client, loader, engine, receiver, shutdown.clone());
    let both = async {
        tokio::select! {
            () = listening => Ok(()),
            outcome = fetching => outcome,
        }
    };
    run_unless_cancelled(both, &shutdown).await.unwrap_or(Ok(()))
}

/// Passes every announcement on, and connects again whenever the stream is lost or silent for long.
pub async fn listen(mut client: Client, follower: Follower, latest: watch::Sender<Option<WeightsAnnouncement>>) {
    let mut peer = PeerLog::new("weights.watch");
    loop {
        match listen_once(&mut client, &follower, &latest, &mut peer).await {
            // Silence is no failure: the version may stay for long. The new stream tells the current one again.
            Ok(()) => tokio::time::sleep(Backoff::default().pause()).await,
            Err(status) => tokio::time::sleep(peer.failed(&status)).await,
        }
    }
}

async fn listen_once(
    client: &mut Client,
    follower: &Follower,
    latest: &watch::Sender<Option<WeightsAnnouncement>>,
    peer: &mut PeerLog,
) -> Result<(), Status> {
    let request = WatchWeightsRequest {
        actor_id: follower.identity.actor_id.0.clone(),
        job_id: follower.job_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        incarnation: follower.identity.incarnation.clone(),
        serves: follower.serves,
    };
    let mut stream = with_deadline(CALL_TIMEOUT, client.watch(request)).await?;
    peer.is_up();
    loop {
        let Ok(message) = tokio::time::timeout(LONGEST_SILENCE, stream.message()).await else {
            return Ok(());
        };
        let Some(announcement) = message? else {
            return Ok(());
        };
        latest.send_if_modified(|held| {
            let is_new = !held.as_ref().is_some_and(|held| are_same(held, &announcement));
            *held = Some(announcement);
            is_new
        });
    }
}

/// Fetches the latest announced version again and again, and hands each complete set to the engine.
async fn install_latest(
    mut client: Client,
    loader: Loader,
    engine: EngineHandle,
    mut latest: watch::Receiver<Option<WeightsAnnouncement>>,
    shutdown: CancellationToken,
) -> Result<(), WeightsError> {
    let mut held: Option<Held> = None;
    // The counter exists from the start, so that the first fallback shows in a rate.
    counter!(ACTOR_DELTA_FALLBACKS).absolute(0);
    let mut peer = PeerLog::new("weights.fetch");
    loop {
        let announced = latest.borrow_and_update().clone();
        let installed = held.as_ref().map(|held| &held.base.announced);
        let is_held = |announced: &WeightsAnnouncement| installed.is_some_and(|held| are_same(held, announced));
        let Some(announced) = announced.filter(|announced| !is_held(announced)) else {
            if latest.changed().await.is_err() {
                return Ok(());
            }
            continue;
        };
        let mut span = swap_span(&announced);
        let pause = match fetch_model(&mut client, &loader, &announced, held.as_ref()).await {
            Ok((model, fetched)) => {
                peer.is_up();
                if traces::is_on() {
                    tokio::spawn(end_once_installed(span, engine.installed(), model.id.clone()));
                }
                engine.send(Command::SwapWeights(Box::new(model)));
                held = Some(fetched);
                continue;
            }
            Err(Failure::Lost(status)) => {
                span.fail(status.message());
                peer.failed(&status)
            }
            Err(Failure::Bad(problem)) if is_exhaustion(&problem) => {
                return Err(WeightsError(problem.lines().next().unwrap_or_default().to_owned()));
            }
            Err(Failure::Bad(problem)) => {
                let (job_id, version) = (&announced.job_id, announced.version);
                warn!(job_id, version, problem, "weights refused, fetching again");
                span.fail(&problem);
                peer.failed(&Status::data_loss(problem))
            }
        };
        // Whatever is newest after the pause is tried next.
        if !sleep_unless_cancelled(pause, &shutdown).await {
            return Ok(());
        }
    }
}

/// Whether two announcements are of the same weights, whoever published them.
fn are_same(one: &WeightsAnnouncement, other: &WeightsAnnouncement) -> bool {
    one.job_id == other.job_id && one.version == other.version && one.manifest_checksum == other.manifest_checksum
}

/// The span of a change of weights, from their announcement until the engine has them.
fn swap_span(announced: &WeightsAnnouncement) -> Span {
    let mut span = Span::begin("swap", &SpanRef::parse(&announced.traceparent));
    span.text("job_id", &announced.job_id)
        .number("version", announced.version);
    span
}

/// Keeps a span until the engine has these weights, or newer ones.
async fn end_once_installed(span: Span, mut installed: watch::Receiver<Option<Installed>>, id: ModelId) {
    let is_there = |held: &Option<Installed>| {
        held.as_ref()
            .is_some_and(|held| held.id.job_id != id.job_id || held.id.version >= id.version)
    };
    let _ = tokio::time::timeout(SWAP_PATIENCE, async {
        while installed.changed().await.is_ok() {
            if is_there(&installed.borrow()) {
                break;
            }
        }
    })
    .await;
    drop(span);
}

/// The version that the engine was given last.
struct Held {
    base: Base,
    assets: Assets,
}

enum Failure {
    /// The learner is away, or no longer holds the version.
    Lost(Status),
    /// What came cannot be used.
    Bad(String),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Call(status) if status.code() != Code::Internal => Self::Lost(status),
            other => Self::Bad(other.to_string()),
        }
    }
}

async fn fetch_model(
    client: &mut Client,
    loader: &Loader,
    announced: &WeightsAnnouncement,
    held: Option<&Held>,
) -> Result<(Model, Held), Failure> {
    let entries = fetch(client, loader, announced, held.map(|held| &held.base)).await?;
    let id = ModelId {
        job_id: JobId(announced.job_id.clone()),
        version: WeightsVersion(announced.version),
        manifest_checksum: announced.manifest_checksum.clone(),
    };
    info!(job_id = %id.job_id, version = id.version.0, tensors = entries.tensors.len(), "weights fetched");
    // No assets come where those of the base are still the right ones.
    let known_assets = held
        .map(|held| held.assets.clone())
        .filter(|_| entries.assets.is_empty());
    let loaded = loader.load(id, entries, known_assets).await;
    let Loaded { model, entries, assets } = loaded.map_err(|error| Failure::Bad(format!("{error:#}")))?;
    let base = Base {
        announced: announced.clone(),
        entries: Arc::new(entries),
    };
    Ok((model, Held { base, assets }))
}
