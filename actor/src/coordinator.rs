//! Owns every leased group on its way from lease to engine to grader to learner. It is one task, so that no state is
//! shared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use anytime_proto::v1::{AbandonReason, Generated, Lease, VerdictKind};
use anytime_proto::{ActorId, GroupId, JobId};
use anytime_service::metric_names::ACTOR_GROUP_SECONDS;
use metrics::histogram;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::engine::{Command, EngineHandle, Event, Installed};
use crate::grade::Grader;
use crate::group::{GroupInHand, Leased, WeightsMatch};
use crate::lease::Backlog;
use crate::push::{Abandoned, Pusher};

/// How often leases that wait for weights are looked at.
const PARKED_TICK: Duration = Duration::from_millis(250);

/// How long a lease waits for weights that newer ones seem to have replaced: an announcement may be on its way.
const LATE_PATIENCE: Duration = Duration::from_secs(3);

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
    actor_id: ActorId,
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
        actor_id: ActorId,
        engine: EngineHandle,
        grader: Grader,
        pusher: Pusher,
        backlog: Arc<Backlog>,
    ) -> Self {
        let installed = engine.installed();
        Self {
            actor_id,
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
        mut leases: mpsc::Receiver<Lease>,
        mut events: mpsc::UnboundedReceiver<Event>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(PARKED_TICK);
        let result = loop {
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                Some(lease) = leases.recv() => self.take_lease(lease),
                event = events.recv() => match event {
                    Some(event) => self.take_event(event),
                    None => break Err(anyhow!("the engine has ended")),
                },
                Some(graded) = self.gradings.join_next() => match graded {
                    Ok(graded) => self.take_verdicts(graded),
                    Err(error) => break Err(anyhow!("a grading task failed: {error}")),
                },
                // A push task reports by itself; it is joined so that the pushes under way can be counted.
                Some(_) = self.pushes.join_next() => {}
                // Weights arrived: parked leases may start. An engine that is gone is noticed by its events.
                Ok(()) = self.installed.changed() => self.review_parked(),
                // Parked leases run out.
                _ = tick.tick(), if !self.parked.is_empty() => self.review_parked(),
            }
            self.publish_backlog(&leases);
        };
        leases.close();
        while let Ok(lease) = leases.try_recv() {
            let (job_id, group_id) = (JobId(lease.job_id), GroupId(lease.group_id));
            self.give_back_undone(job_id, group_id);
        }
        self.drain().await;
        result
    }

    fn take_lease(&mut self, lease: Lease) {
        let patience = Duration::from_secs(u64::from(lease.seconds));
        let (job_id, group_id) = (JobId(lease.job_id.clone()), GroupId(lease.group_id.clone()));
        let lease = match Leased::try_new(lease) {
            Ok(lease) => lease,
            Err(error) => {
                let (reason, detail) = (AbandonReason::Engine, error.to_string());
                self.give_back(Abandoned {
                    job_id,
                    group_id,
                    reason,
                    detail,
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
        let deadline = Instant::now() + patience;
        let (job_id, group_id, version) = (&lease.job_id, &lease.group_id, lease.min_version);
        info!(%job_id, %group_id, %version, "lease waits for weights");
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
        let now = Instant::now();
        let held_job = self.held_job();
        for parked in std::mem::take(&mut self.parked) {
            let weights = parked.lease.match_weights(self.installed.borrow().as_ref());
            if weights == WeightsMatch::Ready {
                self.submit(parked.lease);
                continue;
            }
            // Weights of a third job: the lease's own has come and gone.
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
            let detail = "the weights that the lease asks for did not come".to_owned();
            let Leased { job_id, group_id, .. } = parked.lease;
            self.give_back(Abandoned {
                job_id,
                group_id,
                reason,
                detail,
            });
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
                    group.is_generated = true;
                }
            }
            Event::GroupFailed { group, reason, detail } => self.abandon(group, reason, detail),
        }
    }

    fn grade(&mut self, number: u64, trace: usize, node: usize, summaries: Vec<Generated>) {
        // A group that was given up may still have events on their way.
        let Some(group) = self.groups.get(&number) else {
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
        let (grader, grading) = (self.grader.clone(), group.lease.plan.grading);
        self.gradings.spawn(async move {
            let verdicts = grader.grade(items, grading).await;
            Graded {
                number,
                trace,
                node,
                summaries,
                verdicts,
            }
        });
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
            let scored = group.into_scored(&self.actor_id);
            self.pushes.spawn(self.pusher.clone().push(scored));
        }
    }

    fn abandon(&mut self, number: u64, reason: AbandonReason, detail: String) {
        if let Some(group) = self.groups.remove(&number) {
            let (job_id, group_id) = (group.lease.job_id, group.lease.group_id);
            self.give_back(Abandoned {
                job_id,
                group_id,
                reason,
                detail,
            });
        }
    }

    fn give_back_undone(&mut self, job_id: JobId, group_id: GroupId) {
        let detail = "the actor drains".to_owned();
        self.give_back(Abandoned {
            job_id,
            group_id,
            reason: AbandonReason::Shutdown,
            detail,
        });
    }

    fn give_back(&mut self, abandoned: Abandoned) {
        self.pushes.spawn(self.pusher.clone().abandon(abandoned));
    }

    /// Tells the lease loop what is in hand beyond the engine.
    fn publish_backlog(&self, leases: &mpsc::Receiver<Lease>) {
        let parked: usize = self.parked.iter().map(|parked| parked.lease.plan.traces).sum();
        let load = self.engine.load();
        load.waits_for_weights.store(parked > 0, Ordering::Release);
        // The lease loop has counted what lies in the channel; the sum is known only when it is empty.
        if leases.is_empty() {
            self.backlog.parked_traces.store(parked, Ordering::Release);
        }
        let generated = self.groups.values().filter(|group| group.is_generated).count();
        let before = self
            .backlog
            .finished_groups
            .swap(generated + self.pushes.len(), Ordering::AcqRel);
        if before != generated + self.pushes.len() {
            load.changed.notify_one();
        }
    }

    /// Gives back what is not finished and lets what is finished arrive, within a bound.
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
        for Leased { job_id, group_id, .. } in parked.chain(in_hand).collect::<Vec<_>>() {
            self.give_back_undone(job_id, group_id);
        }
        let pushes = async { while self.pushes.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, pushes).await.is_err() {
            warn!("drain ended before every lease was given back");
        }
    }
}
