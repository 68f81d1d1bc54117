//! The rollout process: it leases problems, thinks about each in G traces, summarises every trace at its budgets, has
//! the summaries graded and pushes the scored group.
//!
//! Follow one group: `lease` asks the learner for it, `coordinator` owns it, [`engine`] generates it ([`nodes`] says
//! at which points a trace is summarised), [`grade`] has its summaries graded, and `push` hands it to the learner.
//! [`weights`] keeps the engine at the version that the learner announced. [`generate()`] does the same for a file of
//! leases and a model on the disk, without a learner, and [`serve()`] answers requests with it.
//!
//! Async code meets tensor code in two files: `engine/mod.rs` for generation, `weights/loader.rs` for arriving weights.
#![forbid(unsafe_code)]

pub mod config;
mod coordinator;
pub mod engine;
mod generate;
pub mod grade;
mod group;
pub mod health;
pub mod identity;
pub mod in_hand;
pub mod lease;
pub mod nodes;
pub mod plan;
pub mod push;
mod serve;
mod spans;
pub mod standing;
#[cfg(test)]
mod testing;
pub mod weights;

pub use generate::generate;
pub use serve::serve;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use anytime_policy::device;
use anytime_policy::memory::DeviceMemory;
use anytime_service::channel::PeerChannel;
use anytime_service::channel::lazy_channel;
use anytime_service::exit::ExitError;
use anytime_service::{device_load, device_memory};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::ActorConfig;
use crate::coordinator::Coordinator;
use crate::engine::{EngineError, EngineHandle, Event};
use crate::grade::Grader;
use crate::identity::Identity;
use crate::in_hand::InHand;
use crate::lease::{Backlog, LeaseLoop};
use crate::push::Pusher;
use crate::standing::Standing;
use crate::weights::{Follower, WeightsError};

/// Runs an actor until the token is cancelled, then gives its leases back.
///
/// # Errors
/// If an address is no address, the engine's thread cannot start or ends by itself, or memory runs out. Peers that are
/// away are waited for.
pub async fn run(config: ActorConfig, shutdown: CancellationToken) -> anyhow::Result<()> {
    let learner = lazy_channel("learner", &config.learner, &config.security)?;
    let verifier = lazy_channel("verifier", &config.verifier, &config.security)?;
    let identity = Identity::new(config.actor_id);
    let actor_id = &identity.actor_id;
    let (limits, device) = (config.limits, config.device);
    info!(%actor_id, ?device, slots = limits.slots, cache = ?limits.cache, "actor starts");

    let (event_sender, events) = mpsc::unbounded_channel();
    let (engine, thread) = engine::spawn(limits, event_sender).context("engine thread")?;
    // Ends the tasks below also where the coordinator fails.
    let tasks = shutdown.child_token();
    let _end_tasks = tasks.clone().drop_guard();
    let ask = move || DeviceMemory::ask(device).ok().map(|memory| memory.states());
    tokio::spawn(device_memory::report(device::name(device), ask, tasks.clone()));
    tokio::spawn(device_load::report(device::name(device), tasks.clone()));
    let loader = weights::Loader::start(device).context("weights loader thread")?;
    let (announced, _) = watch::channel(None);
    let following = tokio::spawn(weights::follow(
        learner.clone(),
        Follower::actor(identity.clone()),
        announced,
        loader,
        engine.clone(),
        tasks.clone(),
    ));
    // Where weights cannot be loaded any more, groups are given back as at any other end.
    let end = shutdown.child_token();
    let following = tokio::spawn(end_with(following, end.clone()));
    let watching = tokio::spawn(end_where_stuck(engine.clone(), config.step_timeout, end.clone()));
    let parts = Parts {
        identity,
        learner,
        verifier,
        verifier_address: config.verifier,
        engine,
        events,
    };
    let outcome = work(parts, &shutdown, end.clone()).await;
    if let Err(error) = engine::join(thread).await {
        return Err(match error {
            EngineError::NoRoom(_) => ExitError::configuration(error).into(),
            _ => error.into(),
        });
    }
    outcome?;
    if watching.is_finished() {
        return Err(watching.await.context("watchdog")?.into());
    }
    watching.abort();
    if end.is_cancelled() && !shutdown.is_cancelled() {
        following.await.context("weights task")??;
    }
    info!("actor ends");
    Ok(())
}

/// What an actor is made of, besides the tasks of [`work`].
pub struct Parts {
    /// Who it is.
    pub identity: Identity,
    /// The connection to the learner.
    pub learner: PeerChannel,
    /// The connection to the verifier.
    pub verifier: PeerChannel,
    /// Where that one is, for people.
    pub verifier_address: String,
    /// What generates.
    pub engine: EngineHandle,
    /// What the engine says.
    pub events: mpsc::UnboundedReceiver<Event>,
}

/// Leases groups, has them generated and graded, and pushes them, until `end` is cancelled. Then it gives back what it
/// has; `shutdown` says that the whole process ends.
///
/// # Errors
/// If the engine ends by itself.
pub async fn work(parts: Parts, shutdown: &CancellationToken, end: CancellationToken) -> anyhow::Result<()> {
    let Parts {
        identity,
        learner,
        verifier,
        verifier_address,
        engine,
        events,
    } = parts;
    let backlog = Arc::new(Backlog::default());
    let (lease_sender, leases) = mpsc::channel(1);
    let grader = Grader::start(verifier);
    engine.load().watch_verifier(grader.health().flag());
    let standing = Standing::new(engine.clone(), grader.health(), verifier_address);
    let lease_loop = LeaseLoop {
        identity: identity.clone(),
        engine: engine.clone(),
        backlog: Arc::clone(&backlog),
        in_hand: InHand::default(),
        verifier: grader.health(),
        standing: standing.clone(),
        leases: lease_sender,
    };
    let tasks = shutdown.child_token();
    let _end_tasks = tasks.clone().drop_guard();
    tokio::spawn(standing.watch(tasks.clone()));
    tokio::spawn(lease_loop.run(learner.clone(), tasks));
    let pusher = Pusher::new(learner, identity.clone(), shutdown.clone());
    let coordinator = Coordinator::new(identity, engine, grader, pusher, backlog);
    coordinator.run(leases, events, end).await
}

/// Waits for the task that follows the weights; where it fails, the actor ends.
async fn end_with(
    following: tokio::task::JoinHandle<Result<(), WeightsError>>,
    end: CancellationToken,
) -> anyhow::Result<()> {
    let outcome = following.await.context("weights task")?;
    if outcome.is_err() {
        end.cancel();
    }
    Ok(outcome?)
}

/// Waits until the engine is stuck; the actor ends then, and says why.
async fn end_where_stuck(engine: EngineHandle, patience: Duration, end: CancellationToken) -> EngineError {
    let error = engine::watchdog::stuck(engine.load(), patience).await;
    error!(%error, "the actor gives its leases back and ends");
    end.cancel();
    error
}
