//! The learner: its connection to Redis, its broker and monitor, and its services to actors. What trains only takes its
//! time, in the order of `learner/src/run/train.rs`.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisConnectionInfo;
use ::redis::aio::MultiplexedConnection;
use anytime_learner::invariants::Trained;
use anytime_learner::queue::fence::LearnerName;
use anytime_learner::queue::redis::{Connect, RedisConnection, bounds};
use anytime_learner::rollouts::broker::{Identity, RolloutBroker};
use anytime_learner::rollouts::group::{OTHER_LINE, ProblemSource, QueuedGroup, TrainingOpening};
use anytime_learner::rollouts::lease_token::LeaseTokens;
use anytime_learner::rollouts::monitor;
use anytime_learner::rpc::rollouts::RolloutsRpc;
use anytime_learner::rpc::weights::WeightsRpc;
use anytime_learner::weights::published::{PublishedTensor, PublishedWeights};
use anytime_learner::weights::store::WeightsStore;
use anytime_proto::v1::rollout_service_server::RolloutServiceServer;
use anytime_proto::v1::weights_service_server::WeightsServiceServer;
use anytime_proto::{EndedGroups, JobId, WeightsVersion, v1};
use anytime_service::security::ServerSecurity;
use anytime_service::server::router;
use anytime_tests::small_plan::small_plan;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use turmoil::net::TcpStream;

use crate::simulated::network::connections;
use crate::simulated::redis;
use crate::simulated::world::{BATCH, CHECKPOINT_EVERY, Checkpoint, MAX_STALENESS, Plant, STEPS, World};

pub(crate) const PORT: u16 = 7100;
pub(crate) const JOB: &str = "job";

/// How long a step takes.
const STEP: Duration = Duration::from_millis(700);

/// The pause before a supervisor starts a host again.
const BEFORE_THE_NEXT_START: Duration = Duration::from_secs(1);

/// Problem n asks n.
struct Counted;

impl ProblemSource for Counted {
    fn problem(&self, sequence: u64) -> v1::Problem {
        v1::Problem {
            id: format!("row-{sequence}"),
            prompt_ids: vec![1, sequence as u32],
            ground_truths: vec![sequence.to_string()],
        }
    }
}

fn plan() -> v1::RolloutPlan {
    v1::RolloutPlan {
        max_prompt_tokens: 8,
        ..small_plan()
    }
}

/// Connects within the same time as over TCP, for all steps together.
async fn connect() -> ::redis::RedisResult<MultiplexedConnection> {
    let connecting = tokio::time::timeout(Duration::from_secs(3), connect_without_bound());
    connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn connect_without_bound() -> ::redis::RedisResult<MultiplexedConnection> {
    let stream = TcpStream::connect(("redis", redis::PORT)).await?;
    let information = RedisConnectionInfo::default();
    let (connection, driver) = MultiplexedConnection::new_with_config(&information, stream, bounds()).await?;
    tokio::spawn(driver);
    Ok(connection)
}

pub(crate) async fn serve(world: Arc<World>) -> turmoil::Result {
    loop {
        let connect: Connect = Box::new(|| Box::pin(connect()));
        if let Ok(redis) = RedisConnection::over(Duration::from_secs(20), "redis".to_owned(), connect).await {
            return serve_with(world, Arc::new(redis)).await;
        }
        tokio::time::sleep(BEFORE_THE_NEXT_START).await;
    }
}

async fn serve_with(world: Arc<World>, redis: Arc<RedisConnection>) -> turmoil::Result {
    let shutdown = CancellationToken::new();
    let identity = Identity {
        cluster: "anytime".to_owned(),
        name: LearnerName {
            id: "one".to_owned(),
            address: "learner".to_owned(),
        },
    };
    let broker = Arc::new(RolloutBroker::new(redis, identity, shutdown.clone()));
    *world.broker.lock().unwrap() = Arc::downgrade(&broker);
    let store = Arc::new(WeightsStore::default());
    let tokens = LeaseTokens::of_directory(&world.directory)?;
    tokio::spawn(monitor::watch_leases(broker.clone()));
    tokio::spawn(monitor::watch_redis(broker.clone()));
    let (router, _health) = router(&ServerSecurity::default(), shutdown.clone())?;
    let router = router
        .add_service(RolloutServiceServer::new(RolloutsRpc::new(broker.clone(), tokens)))
        .add_service(WeightsServiceServer::new(WeightsRpc::new(
            store.clone(),
            broker.clone(),
            shutdown,
        )));
    let serving = router.serve_with_incoming(connections(PORT).await?);
    tokio::select! {
        served = serving => served?,
        trained = train(&world, &broker, &store) => trained?,
    }
    Ok(())
}

fn publish(broker: &RolloutBroker, store: &WeightsStore, version: u64) {
    let job = JobId(JOB.to_owned());
    let weights = PublishedWeights {
        version: WeightsVersion(version),
        assets: vec![("config.json".to_owned(), Bytes::from_static(b"{}"))],
        traceparent: String::new(),
        asking: String::new(),
        tensors: vec![PublishedTensor {
            name: "a".to_owned(),
            dtype: "F32".to_owned(),
            shape: vec![4],
            data: Bytes::from(vec![version as u8; 16]),
            checksum: None,
        }],
    };
    let held = store.publish(&job, weights);
    broker.set_version(&job, held.version, &held.manifest_checksum);
}

async fn train(world: &World, broker: &RolloutBroker, store: &WeightsStore) -> anyhow::Result<()> {
    let job = JobId(JOB.to_owned());
    let Checkpoint { mut step, mut ended } = world.go_on();
    if world.plant == Some(Plant::TrainsTwice) {
        ended = EndedGroups::default();
    }
    broker.take_right(&job).await?;
    publish(broker, store, step);
    let opening = TrainingOpening {
        problems: Box::new(Counted),
        plan: plan(),
        batch: BATCH as u32,
        max_staleness: MAX_STALENESS,
        queue_groups: 3,
        lease_seconds: 5,
        seed: 7,
        ended: ended.clone(),
        total_groups: STEPS * BATCH,
    };
    let mut reader = broker.open_training(&job, "owner".to_owned(), opening).await?;
    let mut unacknowledged = Vec::new();
    while step < STEPS {
        let groups = broker.take(&job, &mut reader, BATCH as usize).await?;
        tokio::time::sleep(STEP).await;
        let (left_out, _) = broker.take_left_out(&job);
        let left_out: BTreeSet<u64> = left_out.iter().map(|group| group.sequence).collect();
        let trained: Vec<Trained> = groups.iter().map(|group| trained(group, step)).collect();
        let sequences: Vec<u64> = trained.iter().map(|group| group.sequence).collect();
        step += 1;
        ended.finish(sequences.iter().copied(), left_out.iter().copied());
        unacknowledged.extend(sequences);
        publish(broker, store, step);
        world.report(trained, left_out);
        if let Some(account) = broker.account(&job) {
            let open = account.queued.len() + account.leased.len() + account.waiting.len();
            world.admits(open as u64 + ended.trained(), step);
        }
        if !step.is_multiple_of(CHECKPOINT_EVERY) && step < STEPS {
            continue;
        }
        if world.plant == Some(Plant::AcknowledgesFirst) {
            world.acknowledges(&unacknowledged);
        }
        world.save(Checkpoint {
            step,
            ended: ended.clone(),
        });
        world.acknowledges(&unacknowledged);
        broker
            .acknowledge(&job, reader.queue(), &unacknowledged, ended.consumed_below)
            .await;
        unacknowledged.clear();
    }
    world.finish();
    std::future::pending().await
}

fn trained(queued: &QueuedGroup, step: u64) -> Trained {
    let thinkings = queued.group.traces.iter().filter_map(|trace| trace.thinking.as_ref());
    let versions = thinkings.flat_map(|thinking| &thinking.versions).copied();
    // Weights of another line count as those that train.
    let oldest = versions.filter(|version| *version != OTHER_LINE).min();
    Trained {
        sequence: queued.sequence,
        oldest_version: oldest.unwrap_or(step),
    }
}
