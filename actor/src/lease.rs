//! Asks for work whenever the engine has room for it, and for no more than it has room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anytime_proto::ActorId;
use anytime_proto::limits::{CALL_TIMEOUT, MAX_LEASE_WAIT, MAX_MESSAGE_BYTES};
use anytime_proto::v1::rollout_service_client::RolloutServiceClient;
use anytime_proto::v1::{Lease, LeaseRequest};
use anytime_service::peer::{PeerLog, with_deadline};
use anytime_service::shutdown::{run_unless_cancelled, sleep_unless_cancelled};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::debug;

use crate::engine::EngineHandle;

/// How many traces a group is taken to have until the first lease says it.
const ASSUMED_TRACES: usize = 8;

/// How many groups may be generated and not yet pushed. It bounds the work that waits for verifier and learner.
const MOST_FINISHED_GROUPS: usize = 32;

/// An answer without leases that comes faster than this was not waited for; asking again at once would be a busy loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);

/// Work outside the engine that counts against new leases. The coordinator writes it, the lease loop reads it.
#[derive(Default)]
pub(crate) struct Backlog {
    /// Traces of leases that wait for weights.
    pub(crate) parked_traces: AtomicUsize,
    /// Groups that are being graded or pushed.
    pub(crate) finished_groups: AtomicUsize,
}

/// Leases work until the token is cancelled, and sends every lease to `leases`.
pub(crate) async fn lease_work(
    channel: Channel,
    actor_id: ActorId,
    engine: EngineHandle,
    backlog: Arc<Backlog>,
    leases: mpsc::Sender<Lease>,
    shutdown: CancellationToken,
) {
    let mut client = RolloutServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut peer = PeerLog::new("rollout.lease");
    let mut traces_per_group = ASSUMED_TRACES;
    let mut installed = engine.installed();
    // Without weights a lease would only run out.
    let has_weights = run_unless_cancelled(installed.wait_for(Option::is_some), &shutdown).await;
    if has_weights.is_none_or(|result| result.is_err()) {
        return;
    }
    loop {
        let Some(max_groups) = run_unless_cancelled(room(&engine, &backlog, traces_per_group), &shutdown).await else {
            return;
        };
        let wait_ms = MAX_LEASE_WAIT.as_millis() as u32;
        let request = LeaseRequest {
            actor_id: actor_id.0.clone(),
            max_groups,
            wait_ms,
        };
        let asked_at = Instant::now();
        let call = with_deadline(MAX_LEASE_WAIT + CALL_TIMEOUT, client.lease(request));
        let Some(result) = run_unless_cancelled(call, &shutdown).await else {
            return;
        };
        let pause = match result {
            Ok(response) => {
                peer.is_up();
                let pause = SHORTEST_WAIT.saturating_sub(asked_at.elapsed());
                let pause = if response.leases.is_empty() {
                    pause
                } else {
                    Duration::ZERO
                };
                debug!(asked = max_groups, got = response.leases.len(), reason = ?response.wait_reason(), "leased");
                for lease in response.leases {
                    traces_per_group = lease
                        .plan
                        .as_ref()
                        .map_or(ASSUMED_TRACES, |plan| plan.traces.max(1) as usize);
                    // Counted from here on, so that the next request does not ask for the same room.
                    backlog.parked_traces.fetch_add(traces_per_group, Ordering::AcqRel);
                    if leases.send(lease).await.is_err() {
                        return;
                    }
                }
                pause
            }
            Err(status) => peer.failed(&status),
        };
        if !sleep_unless_cancelled(pause, &shutdown).await {
            return;
        }
    }
}

/// Waits until there is room and says for how many groups. There is room until half as many sequences wait as can run.
async fn room(engine: &EngineHandle, backlog: &Backlog, traces_per_group: usize) -> u32 {
    let load = engine.load();
    loop {
        let wanted = (load.slots() * 3).div_ceil(2);
        let outstanding = load.outstanding() + backlog.parked_traces.load(Ordering::Acquire);
        let is_behind = backlog.finished_groups.load(Ordering::Acquire) >= MOST_FINISHED_GROUPS;
        if outstanding < wanted && !is_behind {
            return (wanted - outstanding).div_ceil(traces_per_group) as u32;
        }
        load.changed.notified().await;
    }
}
