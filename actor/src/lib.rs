//! The rollout process: it leases problems, thinks about each in G traces, summarises every trace at its budgets, has
//! the summaries graded and pushes the scored group.
//!
//! Follow one group: `lease` asks for it, `coordinator` owns it, [`engine`] generates it ([`nodes`] says at
//! which points a trace is summarised), [`grade`] has its summaries graded, `push` hands it over. [`weights`] keeps the
//! engine at the version that the learner announced.
#![forbid(unsafe_code)]

pub mod configuration;
mod coordinator;
pub mod engine;
pub mod grade;
mod group;
mod lease;
mod link;
pub mod nodes;
pub mod plan;
mod push;
#[cfg(test)]
mod testing;
pub mod weights;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use anytime_service::channel::lazy_channel;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::configuration::Configuration;
use crate::coordinator::Coordinator;
use crate::grade::Grader;
use crate::lease::Backlog;
use crate::push::Pusher;

/// How long the engine may take to finish the step that it is at.
const ENGINE_DRAIN: Duration = Duration::from_secs(2);

/// Runs an actor until the token is cancelled, then gives its leases back.
///
/// # Errors
/// If an address is no address, or the engine's thread cannot start or ends by itself. Peers that are away are waited
/// for.
pub async fn run(configuration: Configuration, shutdown: CancellationToken) -> anyhow::Result<()> {
    let learner = lazy_channel("learner", &configuration.learner)?;
    let verifier = lazy_channel("verifier", &configuration.verifier)?;
    let actor_id = configuration.actor_id;
    let (limits, device) = (configuration.limits, configuration.device);
    info!(%actor_id, ?device, slots = limits.slots, cache_bytes = limits.cache_bytes, "actor starts");

    let (event_sender, events) = mpsc::unbounded_channel();
    let (engine, thread) = engine::spawn(limits, event_sender).context("engine thread")?;
    let backlog = Arc::new(Backlog::default());
    let (lease_sender, leases) = mpsc::channel(1);
    // Ends the tasks below also where the coordinator fails.
    let tasks = shutdown.child_token();
    let _end_tasks = tasks.clone().drop_guard();
    tokio::spawn(weights::follow(
        learner.clone(),
        actor_id.clone(),
        device,
        engine.clone(),
        tasks.clone(),
    ));
    tokio::spawn(lease::lease_work(
        learner.clone(),
        actor_id.clone(),
        engine.clone(),
        Arc::clone(&backlog),
        lease_sender,
        tasks,
    ));
    let grader = Grader::start(verifier, configuration.verify_patience);
    let pusher = Pusher::new(learner, actor_id.clone(), shutdown.clone());
    let coordinator = Coordinator::new(actor_id, engine, grader, pusher, backlog);
    coordinator.run(leases, events, shutdown).await?;
    join(thread).await;
    info!("actor ends");
    Ok(())
}

/// Waits for the engine's thread, but not for long: the process ends all the same.
async fn join(thread: JoinHandle<()>) {
    let deadline = Instant::now() + ENGINE_DRAIN;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            warn!("the engine is still at a step, ending without it");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
