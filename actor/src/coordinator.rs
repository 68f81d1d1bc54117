//! Owns every leased group on its way from lease to engine to grader to learner. It is one task, so that no state is
//! shared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use anytime_proto::v1::{AbandonReason, Generated, Lease, RolloutPlan, VerdictKind};
use anytime_proto::{GroupId, JobId};
use anytime_service::clock;
use anytime_service::metric_names::ACTOR_GROUP_SECONDS;
use anytime_service::traces::SpanRef;
use metrics::histogram;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::engine::{Command, EngineHandle, Event, Installed};
use crate::grade::Grader;
use crate::group::{GroupInHand, Leased, WeightsMatch};
use crate::identity::Identity;
use crate::in_hand::Held;
use crate::lease::{Backlog, NewLease};
use crate::plan::Plan;
use crate::push::{Abandoned, EncodedGroup, Pusher};

/// How often leases that wait for weights are looked at.
const PARKED_TICK: Duration = Duration::from_millis(250);

/// How long a lease waits whose weights seem to have been replaced by newer ones: an announcement may be on its way.
const LATE_PATIENCE: Duration = Duration::from_secs(3);

/// Why leases are given back when the process ends.
const DRAINS: &str = "the actor drains";

/// How long the last pushes may take once the process drains.
const DRAIN: Duration = Duration::from_secs(5);

/// A lease that waits for its weights.
struct Parked {
    lease: Leased,
    deadline: Instant,
    /// The job of the weights that were held when the lease came.
    held_job: Option<JobId>,
}

/// The outcome of grading a node.
struct Graded {
    number: u64,
    trace: usize,
    node: usize,
    summaries: Vec<Generated>,
    verdicts: Result<Vec<VerdictKind>, String>,
}

pub(crate) struct Coordinator {
    identity: Identity,
    engine: EngineHandle,
    installed: watch::Receiver<Option<Installed>>,
    grader: Grader,
    pusher: Pusher,
    backlog: Arc<Backlog>,
    next_number: u64,
    parked: Vec<Parked>,
    groups: BTreeMap<u64, GroupInHand>,
    gradings: JoinSet<Graded>,
    pushes: JoinSet<()>,
}

impl Coordinator {
    pub(crate) fn new(
        identity: Identity,
        engine: EngineHandle,
        grader: Grader,
        pusher: Pusher,
        backlog: Arc<Backlog>,
    ) -> Self {
        let installed = engine.installed();
        Self {
            identity,
            engine,
            installed,
            grader,
            pusher,
            backlog,
            next_number: 0,
            parked: Vec::new(),
            groups: BTreeMap::new(),
            gradings: JoinSet::new(),
            pushes: JoinSet::new(),
        }
    }

    /// Works until the token is cancelled; then, and where it fails, gives the leases back.
    ///
    /// # Errors
    /// If the engine's thread ends by itself.
    pub(crate) async fn run(
        mut self,
        mut leases: mpsc::Receiver<NewLease>,
        mut events: mpsc::UnboundedReceiver<Event>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(PARKED_TICK);
        let result = loop {
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                Some(lease) = leases.recv() => {
                    let traces = lease.traces;
                    self.take_lease(lease.lease, lease.held, lease.span);
                    // A trace stops being counted as unreceived only after it is counted as the engine's or as parked.
                    self.publish_backlog();
                    self.backlog.unreceived_traces.fetch_sub(traces, Ordering::AcqRel);
                }
                event = events.recv() => match event {
                    Some(event) => self.take_event(event),
                    None => break Err(anyhow!("the engine has ended")),
                },
                Some(graded) = self.gradings.join_next() => match graded {
                    Ok(graded) => self.take_verdicts(graded),
                    // Its group was given up.
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => break Err(anyhow!("a grading task failed: {error}")),
                },
                // A push task reports by itself, unless it panics.
                Some(outcome) = self.pushes.join_next() => report_panic(outcome),
                // Weights arrived: parked leases may start. An engine that is gone is noticed by its events.
                Ok(()) = self.installed.changed() => self.review_parked(),
                // Parked leases run out.
                _ = tick.tick(), if !self.parked.is_empty() => self.review_parked(),
            }
            self.publish_backlog();
        };
        leases.close();
        while let Ok(NewLease { lease, held, .. }) = leases.try_recv() {
            self.give_back(Abandoned {
                job_id: JobId(lease.job_id),
                group_id: GroupId(lease.group_id),
                reason: AbandonReason::Shutdown,
                detail: DRAINS.to_owned(),
                thinking_tokens: 0,
                held,
            });
        }
        self.drain().await;
        result
    }

    fn take_lease(&mut self, lease: Lease, held: Held, span: SpanRef) {
        let patience = Duration::from_secs(u64::from(lease.seconds));
        let lease = match Plan::try_new(lease.plan.as_ref().unwrap_or(&RolloutPlan::default())) {
            Ok(plan) => Leased::new(lease, plan, held).traced(span),
            Err(error) => {
                self.give_back(Abandoned {
                    job_id: JobId(lease.job_id),
                    group_id: GroupId(lease.group_id),
                    reason: AbandonReason::Engine,
                    detail: error.to_string(),
                    thinking_tokens: 0,
                    held,
                });
                return;
            }
        };
        let weights = lease.match_weights(self.installed.borrow().as_ref());
        match weights {
            WeightsMatch::Ready => self.submit(lease),
            WeightsMatch::Early => self.park(lease, patience),
            WeightsMatch::Late => self.park(lease, patience.min(LATE_PATIENCE)),
        }
    }

    fn park(&mut self, lease: Leased, patience: Duration) {
        let deadline = clock::now() + patience;
        let (job_id, group_id, version) = (&lease.job_id, &lease.group_id, lease.min_version);
        info!(%job_id, %group_id, version = version.0, "lease waits for weights");
        let held_job = self.held_job();
        self.parked.push(Parked {
            lease,
            deadline,
            held_job,
        });
    }

    fn held_job(&self) -> Option<JobId> {
        self.installed.borrow().as_ref().map(|held| held.id.job_id.clone())
    }

    fn review_parked(&mut self) {
        let now = clock::now();
        let held_job = self.held_job();
        for parked in std::mem::take(&mut self.parked) {
            let weights = parked.lease.match_weights(self.installed.borrow().as_ref());
            if weights == WeightsMatch::Ready {
                self.submit(parked.lease);
                continue;
            }
            // The weights now are of a third job, so those of the lease's own job have come and gone.
            let is_outlived = held_job != parked.held_job && held_job.as_ref() != Some(&parked.lease.job_id);
            if now < parked.deadline && !is_outlived {
                self.parked.push(parked);
                continue;
            }
            // Late weights are nobody's fault, and another actor may hold them still.
            let is_late = weights == WeightsMatch::Late || is_outlived;
            let reason = if is_late {
                AbandonReason::Shutdown
            } else {
                AbandonReason::Engine
            };
            self.give_back_lease(
                parked.lease,
                0,
                reason,
                "the weights that the lease asks for did not come",
            );
        }
    }

    fn submit(&mut self, lease: Leased) {
        let Some(tokenizer) = self.installed.borrow().as_ref().map(|held| Arc::clone(&held.tokenizer)) else {
            return;
        };
        self.next_number += 1;
        self.engine.send(Command::AddGroup(lease.request(self.next_number)));
        self.groups.insert(self.next_number, GroupInHand::new(lease, tokenizer));
    }

    fn take_event(&mut self, event: Event) {
        match event {
            Event::TraceFinished {
                group,
                trace,
                thinking,
                nodes,
            } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.trace_finished(trace, thinking, nodes);
                }
            }
            Event::NodeFinished {
                group,
                trace,
                node,
                summaries,
            } => self.grade(group, trace, node, summaries),
            Event::GroupFinished { group } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.generated();
                }
            }
            Event::GroupFailed { group, reason, detail } => self.abandon(group, reason, detail),
            // A training group is told nothing more.
            Event::Served(_) => {}
        }
    }

    fn grade(&mut self, number: u64, trace: usize, node: usize, summaries: Vec<Generated>) {
        // A group that was given up may still have events on their way.
        let Some(group) = self.groups.get_mut(&number) else {
            return;
        };
        let items = match group.verify_items(trace, node, &summaries) {
            Ok(items) => items,
            Err(error) => {
                self.engine.send(Command::CancelGroup(number));
                self.abandon(number, AbandonReason::Engine, format!("{error:#}"));
                return;
            }
        };
        let (grader, grading, span) = (self.grader.clone(), group.lease.plan.grading, group.spans.graded());
        let task = self.gradings.spawn(async move {
            let verdicts = grader.grade(items, grading, span).await;
            Graded {
                number,
                trace,
                node,
                summaries,
                verdicts,
            }
        });
        if let Some(group) = self.groups.get_mut(&number) {
            group.is_graded_by(task);
        }
    }

    fn take_verdicts(&mut self, graded: Graded) {
        let number = graded.number;
        let Some(group) = self.groups.get_mut(&number) else {
            return;
        };
        let verdicts = match graded.verdicts {
            Ok(verdicts) => verdicts,
            Err(problem) => {
                self.engine.send(Command::CancelGroup(number));
                self.abandon(number, AbandonReason::Verifier, problem);
                return;
            }
        };
        let is_complete = group.node_graded(graded.trace, graded.node, graded.summaries, &verdicts);
        if is_complete && let Some(group) = self.groups.remove(&number) {
            histogram!(ACTOR_GROUP_SECONDS).record(group.lease.leased_at.elapsed());
            let recent = self.installed.borrow().as_ref().map(|held| Arc::clone(&held.recent));
            let (scored, held, mut span) =
                group.into_scored(&self.identity.actor_id, recent.as_deref().unwrap_or_default());
            let pusher = self.pusher.clone();
            self.pushes.spawn(async move {
                // The push task reports what became of the group.
                let status = pusher.push(EncodedGroup::from(&scored), held).await;
                span.text("outcome", status.map_or("given_back", |status| status.as_str_name()));
            });
        }
    }

    fn abandon(&mut self, number: u64, reason: AbandonReason, detail: String) {
        if let Some(mut group) = self.groups.remove(&number) {
            group.spans.fail(&detail);
            let thinking_tokens = group.thinking_tokens();
            self.give_back_lease(group.lease, thinking_tokens, reason, &detail);
        }
    }

    fn give_back_lease(&mut self, lease: Leased, thinking_tokens: usize, reason: AbandonReason, detail: &str) {
        self.give_back(Abandoned {
            job_id: lease.job_id,
            group_id: lease.group_id,
            reason,
            detail: detail.to_owned(),
            thinking_tokens,
            held: lease.held,
        });
    }

    fn give_back(&mut self, abandoned: Abandoned) {
        self.pushes.spawn(self.pusher.clone().abandon(abandoned));
    }

    /// Tells the lease loop how much work lies outside the engine.
    fn publish_backlog(&self) {
        let parked: usize = self.parked.iter().map(|parked| parked.lease.plan.traces).sum();
        let load = self.engine.load();
        load.waits_for_weights.store(parked > 0, Ordering::Release);
        self.backlog.parked_traces.store(parked, Ordering::Release);
        let generated = self.groups.values().filter(|group| group.is_generated).count();
        let before = self
            .backlog
            .finished_groups
            .swap(generated + self.pushes.len(), Ordering::AcqRel);
        if before != generated + self.pushes.len() {
            load.changed.notify_one();
        }
    }

    /// Gives back the groups that are not finished and waits for the pushes of those that are, for a bounded time.
    async fn drain(mut self) {
        self.engine.send(Command::Shutdown);
        self.gradings.abort_all();
        info!(
            groups = self.groups.len(),
            pushes = self.pushes.len(),
            "giving leases back"
        );
        let parked = std::mem::take(&mut self.parked).into_iter().map(|parked| parked.lease);
        let in_hand = std::mem::take(&mut self.groups).into_values().map(|group| group.lease);
        for lease in parked.chain(in_hand).collect::<Vec<_>>() {
            self.give_back_lease(lease, 0, AbandonReason::Shutdown, DRAINS);
        }
        let pushes = async { while self.pushes.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, pushes).await.is_err() {
            warn!("drain ended before every lease was given back");
        }
    }
}

/// A group whose task panicked is not in hand any more, so that the learner leases it again.
fn report_panic(outcome: Result<(), JoinError>) {
    if let Err(error) = outcome {
        error!(%error, "handing a group over failed, it will be leased again");
    }
}
