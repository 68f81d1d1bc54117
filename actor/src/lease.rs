//! Asks for as much work as the engine has room for, and no more. Every request also lists the groups in hand, which
//! renews their leases. Where there is no room for some time, a request is sent for that alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anytime_proto::limits::{CALL_TIMEOUT, MAX_LEASE_WAIT, MAX_MESSAGE_BYTES};
use anytime_proto::v1::rollout_service_client::RolloutServiceClient;
use anytime_proto::v1::{Lease, LeaseRequest, LeaseResponse};
use anytime_proto::{GroupId, ShortName as _};
use anytime_service::channel::PeerChannel;
use anytime_service::clock;
use anytime_service::peer::{PeerLog, with_deadline};
use anytime_service::shutdown::{run_unless_cancelled, sleep_unless_cancelled};
use anytime_service::traces::{self, Span, SpanRef};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::debug;

use crate::engine::EngineHandle;
use crate::health::VerifierHealth;
use crate::identity::Identity;
use crate::in_hand::{Held, InHand};
use crate::standing::Standing;

/// The number of traces that a group is assumed to have until the first lease tells it.
const ASSUMED_TRACES: usize = 8;

/// How many groups may be generated and not yet pushed. It bounds the work that waits for verifier and learner.
const MOST_FINISHED_GROUPS: usize = 32;

/// An answer without leases that comes faster than this was not waited for; asking again at once would be a busy loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);

/// The longest time for which an actor without room for work does not report its groups in hand.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// How often the lease loop checks whether a verifier that was away is back.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Work outside the engine that counts against new leases.
#[derive(Default)]
pub(crate) struct Backlog {
    /// Traces of leases that the coordinator has not received. The lease loop adds to it, the coordinator takes away.
    pub(crate) unreceived_traces: AtomicUsize,
    /// Traces of leases that wait for weights. The coordinator writes it.
    pub(crate) parked_traces: AtomicUsize,
    /// Groups that are being graded or pushed. The coordinator writes it.
    pub(crate) finished_groups: AtomicUsize,
}

/// A lease on its way to the coordinator.
pub(crate) struct NewLease {
    pub(crate) lease: Lease,
    pub(crate) held: Held,
    /// How many traces it adds to [`Backlog::unreceived_traces`].
    pub(crate) traces: usize,
    /// What its group's trace begins with.
    pub(crate) span: SpanRef,
}

/// Asks the learner for work, as one process of an actor: every request has a number, and lists the groups in hand.
pub struct Leaser {
    client: RolloutServiceClient<PeerChannel>,
    identity: Identity,
    in_hand: InHand,
    number: u64,
    standing: Option<Standing>,
}

impl Leaser {
    /// Asks for the process `identity`, which has the groups of `in_hand`.
    pub fn new(channel: PeerChannel, identity: Identity, in_hand: InHand) -> Self {
        let client = RolloutServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self {
            client,
            identity,
            in_hand,
            number: 0,
            standing: None,
        }
    }

    /// Says in every request how the actor fares.
    pub fn telling(mut self, standing: Standing) -> Self {
        self.standing = Some(standing);
        self
    }

    /// Asks for up to `max_groups` groups; the learner may wait for them as long as `wait`. Renews the leases of the
    /// groups in hand.
    ///
    /// # Errors
    /// What the learner or the connection says.
    pub async fn ask(&mut self, max_groups: u32, wait: Duration) -> Result<LeaseResponse, Status> {
        self.number += 1;
        let request = LeaseRequest {
            actor_id: self.identity.actor_id.0.clone(),
            max_groups,
            wait_ms: wait.as_millis() as u32,
            incarnation: self.identity.incarnation.clone(),
            held_group_ids: self.in_hand.ids(),
            number: self.number,
            report: self.standing.as_ref().map(Standing::report),
        };
        with_deadline(wait + CALL_TIMEOUT, self.client.lease(request)).await
    }
}

/// The lease loop with what it reads and what it tells.
pub(crate) struct LeaseLoop {
    pub(crate) identity: Identity,
    pub(crate) engine: EngineHandle,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) in_hand: InHand,
    pub(crate) verifier: VerifierHealth,
    pub(crate) standing: Standing,
    pub(crate) leases: mpsc::Sender<NewLease>,
}

impl LeaseLoop {
    /// Leases work until the token is cancelled, and sends every lease to `leases`.
    pub(crate) async fn run(self, channel: PeerChannel, shutdown: CancellationToken) {
        let leaser = Leaser::new(channel, self.identity.clone(), self.in_hand.clone());
        let mut leaser = leaser.telling(self.standing.clone());
        let mut peer = PeerLog::new("rollout.lease");
        let mut traces_per_group = ASSUMED_TRACES;
        let mut longest_silence = LONGEST_SILENCE;
        let mut installed = self.engine.installed();
        // An actor without weights could not generate a lease, which would only expire.
        let has_weights = run_unless_cancelled(installed.wait_for(Option::is_some), &shutdown).await;
        if has_weights.is_none_or(|result| result.is_err()) {
            return;
        }
        loop {
            let room = tokio::time::timeout(longest_silence, self.room(traces_per_group));
            let Some(room) = run_unless_cancelled(room, &shutdown).await else {
                return;
            };
            // Without room, the leases in hand are renewed.
            let max_groups = room.unwrap_or(0);
            let wait = if max_groups > 0 { MAX_LEASE_WAIT } else { Duration::ZERO };
            let asked_at = clock::now();
            let began = SystemTime::now();
            let call = leaser.ask(max_groups, wait.min(longest_silence));
            let Some(result) = run_unless_cancelled(call, &shutdown).await else {
                return;
            };
            let pause = match result {
                Ok(response) => {
                    peer.is_up();
                    let is_idle = response.leases.is_empty() && max_groups > 0;
                    let pause = SHORTEST_WAIT.saturating_sub(clock::now() - asked_at);
                    debug!(asked = max_groups, got = response.leases.len(), reason = ?response.wait_reason(), "leased");
                    for lease in response.leases {
                        let plan = lease.plan.as_ref();
                        traces_per_group = plan.map_or(ASSUMED_TRACES, |plan| plan.traces.max(1) as usize);
                        longest_silence = silence_for(&lease);
                        let span = lease_span(&lease, began);
                        if !self.pass_on(lease, traces_per_group, span).await {
                            return;
                        }
                    }
                    if is_idle { pause } else { Duration::ZERO }
                }
                Err(status) => peer.failed(&status),
            };
            if !sleep_unless_cancelled(pause, &shutdown).await {
                return;
            }
        }
    }

    async fn pass_on(&self, lease: Lease, traces: usize, span: SpanRef) -> bool {
        // From here on the lease counts and is listed: the next request must not ask for the same room, nor omit the
        // group.
        self.backlog.unreceived_traces.fetch_add(traces, Ordering::AcqRel);
        let held = self.in_hand.hold(&GroupId(lease.group_id.clone()), lease.token.clone());
        let new = NewLease {
            lease,
            held,
            traces,
            span,
        };
        self.leases.send(new).await.is_ok()
    }

    /// Waits until there is room, and returns for how many groups. There is room while fewer traces run and wait than
    /// one and a half times the sequences that can run, and while the verifier is there.
    async fn room(&self, traces_per_group: usize) -> u32 {
        let load = self.engine.load();
        loop {
            let wanted = (load.slots() * 3).div_ceil(2);
            let outstanding = load.outstanding()
                + self.backlog.unreceived_traces.load(Ordering::Acquire)
                + self.backlog.parked_traces.load(Ordering::Acquire);
            let is_behind = self.backlog.finished_groups.load(Ordering::Acquire) >= MOST_FINISHED_GROUPS;
            if self.verifier.is_away() {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            if outstanding < wanted && !is_behind {
                return (wanted - outstanding).div_ceil(traces_per_group) as u32;
            }
            load.changed.notified().await;
        }
    }
}

/// The span that a group's trace begins with: from the request for work until the lease came.
fn lease_span(lease: &Lease, began: SystemTime) -> SpanRef {
    if !traces::is_on() {
        return SpanRef::default();
    }
    let mut span = Span::begin_at("lease", &SpanRef::default(), began);
    span.text("job_id", &lease.job_id).text("group_id", &lease.group_id);
    span.text("purpose", lease.purpose().short_name())
        .number("version", lease.min_weights_version);
    span.place()
}

/// The pause between two reports of what is in hand: a third of a lease's time, so that a lost one does no harm.
fn silence_for(lease: &Lease) -> Duration {
    Duration::from_secs_f64(f64::from(lease.seconds.max(1)) / 3.0).min(LONGEST_SILENCE)
}
