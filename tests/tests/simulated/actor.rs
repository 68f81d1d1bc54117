//! An actor: its loops are the code itself. What generates takes its time and says what an engine would; what loads the
//! weights fetches and checks them, and builds nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anytime_actor::engine::{self, Command, EngineSide, Event, GroupRequest, Installed, ModelId};
use anytime_actor::identity::Identity;
use anytime_actor::nodes::nodes;
use anytime_actor::weights::{Assembly, Follower, listen};
use anytime_actor::{Parts, work as work_with};
use anytime_policy::{ModelConfig, Tokenizer};
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::v1::weights_service_client::WeightsServiceClient;
use anytime_proto::v1::{AbandonReason, FetchWeightsRequest, FinishReason, Generated, WeightsAnnouncement};
use anytime_proto::{ActorId, JobId, WeightsVersion};
use anytime_service::channel::PeerChannel;
use rand::RngExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::simulated::network::channel;
use crate::simulated::world::World;
use crate::simulated::{learner, verifier};

/// How often the engine looks for commands.
const TURN: Duration = Duration::from_millis(50);

/// How long a group takes, in milliseconds.
const GROUP_MILLISECONDS: std::ops::Range<u64> = 100..2500;

/// The pause after a fetch that failed.
const PAUSE: Duration = Duration::from_millis(300);

pub(crate) async fn work(name: &'static str, _: Arc<World>) -> turmoil::Result {
    let learner = channel("learner", learner::PORT);
    let identity = Identity::new(ActorId(name.to_owned()));
    let (engine, side) = engine::handle(8);
    let (event_sender, events) = mpsc::unbounded_channel();
    let (announced, latest) = watch::channel(None);
    let client = WeightsServiceClient::new(learner.clone());
    tokio::spawn(listen(client.clone(), Follower::actor(identity.clone()), announced));
    tokio::spawn(install(client, side.installed.clone(), latest));
    tokio::spawn(generate(side, event_sender));
    let parts = Parts {
        identity,
        learner,
        verifier: channel("verifier", verifier::PORT),
        verifier_address: "verifier".to_owned(),
        engine,
        events,
    };
    let shutdown = CancellationToken::new();
    Ok(work_with(parts, &shutdown, shutdown.child_token()).await?)
}

/// Fetches what is announced, whole, and installs it.
async fn install(
    mut client: WeightsServiceClient<PeerChannel>,
    installed: watch::Sender<Option<Installed>>,
    mut latest: watch::Receiver<Option<WeightsAnnouncement>>,
) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/tests/fixtures/tokenizer-chatml");
    let tokenizer = Arc::new(Tokenizer::load(&fixture).unwrap());
    // Of any model: nothing is computed here.
    let config = r#"{"model_type": "qwen2", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": 8, "max_position_embeddings": 8,
        "rms_norm_eps": 1e-6, "rope_theta": 1e4, "tie_word_embeddings": true, "eos_token_id": 0}"#;
    let config = Arc::new(ModelConfig::from_json(config).unwrap());
    let mut held = None;
    loop {
        let announced = latest.borrow_and_update().clone();
        let Some(announced) = announced.filter(|announced| held.as_ref() != Some(announced)) else {
            if latest.changed().await.is_err() {
                return;
            }
            continue;
        };
        if fetch(&mut client, &announced).await.is_err() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let id = ModelId {
            job_id: JobId(announced.job_id.clone()),
            version: WeightsVersion(announced.version),
            manifest_checksum: announced.manifest_checksum.clone(),
        };
        held = Some(announced);
        installed.send_modify(|installed| {
            let recent = installed.iter().flat_map(|held| held.recent.iter().cloned());
            let recent = recent.chain([id.clone()]).collect();
            *installed = Some(Installed {
                id,
                config: config.clone(),
                tokenizer: tokenizer.clone(),
                recent,
            });
        });
    }
}

async fn fetch(client: &mut WeightsServiceClient<PeerChannel>, announced: &WeightsAnnouncement) -> Result<(), Status> {
    let torn = |error: anytime_actor::weights::TornWeights| Status::data_loss(error.to_string());
    let request = FetchWeightsRequest {
        job_id: announced.job_id.clone(),
        version: announced.version,
        skip_assets: false,
        base: None,
    };
    let mut stream = client.fetch(request).await?.into_inner();
    let mut assembly = None;
    while let Some(response) = stream.message().await? {
        match (response.part, &mut assembly) {
            (Some(Part::Manifest(manifest)), assembly) => {
                *assembly = Some(Assembly::try_new(manifest, &announced.manifest_checksum, false).map_err(torn)?);
            }
            (Some(Part::Chunk(chunk)), Some(assembly)) => assembly.push(&chunk).map_err(torn)?,
            _ => return Err(Status::data_loss("no manifest")),
        }
    }
    let assembly = assembly.ok_or_else(|| Status::data_loss("nothing came"))?;
    assembly.finish().map(|_| ()).map_err(torn)
}

/// Stands in for the engine's thread.
async fn generate(side: EngineSide, events: mpsc::UnboundedSender<Event>) {
    let mut under_way: Vec<(u64, tokio::task::AbortHandle)> = Vec::new();
    loop {
        while let Ok(command) = side.commands.try_recv() {
            match command {
                Command::AddGroup(request) => {
                    let (installed, events) = (side.installed.subscribe(), events.clone());
                    let number = request.number;
                    let task = tokio::spawn(generate_group(request.clone(), installed, events));
                    under_way.push((number, task.abort_handle()));
                    side.load.has_read(request.plan.traces);
                }
                Command::CancelGroup(number) => {
                    for (_, task) in under_way.iter().filter(|(group, _)| *group == number) {
                        task.abort();
                    }
                }
                // No training group is stopped before its end.
                Command::SwapWeights(_) | Command::StopGroup(_) | Command::PruneTrace(..) => {}
                Command::Shutdown => return,
            }
        }
        under_way.retain(|(_, task)| !task.is_finished());
        side.load.show_sequences(under_way.len() * 2);
        tokio::time::sleep(TURN).await;
    }
}

/// A group of one token for each trace and summary, all by the weights that were held when it began.
async fn generate_group(
    request: GroupRequest,
    installed: watch::Receiver<Option<Installed>>,
    events: mpsc::UnboundedSender<Event>,
) {
    let group = request.number;
    let held = installed.borrow().as_ref().map(|held| held.id.clone());
    let Some(held) = held.filter(|held| held.job_id == request.job_id && held.version >= request.min_version) else {
        let _ = events.send(Event::GroupFailed {
            group,
            reason: AbandonReason::Shutdown,
            detail: "other weights are held".to_owned(),
        });
        return;
    };
    let milliseconds = rand::rng().random_range(GROUP_MILLISECONDS);
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    let generated = || Generated {
        ids: vec![3],
        log_probs: vec![-0.5],
        versions: vec![held.version.0],
        finish: FinishReason::EndMarker.into(),
    };
    for trace in 0..request.plan.traces {
        let nodes = nodes(&request.plan, 1, FinishReason::EndMarker);
        let summaries: Vec<usize> = nodes
            .iter()
            .map(|node| node.multiplicity * request.plan.summaries)
            .collect();
        let _ = events.send(Event::TraceFinished {
            group,
            trace,
            thinking: generated(),
            nodes,
        });
        for (node, count) in summaries.into_iter().enumerate() {
            let _ = events.send(Event::NodeFinished {
                group,
                trace,
                node,
                summaries: (0..count).map(|_| generated()).collect(),
            });
        }
    }
    let _ = events.send(Event::GroupFinished { group });
}
