//! The broker: leases go out to actors, and scored groups come in. It is the one place where the requests of actors,
//! the trainer and Redis meet.
//!
//! The lock is never held across a wait. The way of a pushed group is in `push`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anytime_proto::{ActorId, GroupId, JobId, WeightsVersion, v1};
use anytime_service::clock;
use anytime_service::metric_names::LEARNER_DEAD_LETTERS;
use bytes::Bytes;
use metrics::counter;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::actors::{Actors, Holder};
use super::evaluation_leases::EvaluationLeases;
use super::intake::Intake;
use super::lease_table::GivenBack;
use super::outcomes;
use super::session::{TrainingSession, training_sequence};
use crate::lock::lock;
use crate::queue::dead_letters::{DeadLetter, cut};
use crate::queue::fence::{Fence, LearnerName};
use crate::queue::redis::{RedisConnection, RedisUnavailable};

/// What an actor asks for, and what it says of itself.
#[derive(Clone, Debug)]
pub struct LeaseAsk {
    /// Who asks.
    pub holder: Holder,
    /// The number of the request among those of this process; 0 where it does not count them.
    pub number: u64,
    /// The groups that it has in hand. None where it does not say.
    pub held: Option<BTreeSet<GroupId>>,
    /// How many groups it can start now.
    pub count: usize,
    /// When it is to be answered at the latest.
    pub deadline: Instant,
    /// How it fares, where it says so.
    pub report: Option<v1::ActorReport>,
}

/// Why no lease is given, where asking again later helps.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Redis is away, and nothing can be leased without it.
    #[error(transparent)]
    Redis(#[from] RedisUnavailable),
    /// The process ends.
    #[error("the learner is shutting down")]
    ShuttingDown,
}

/// The leases and groups of one job.
#[derive(Default)]
pub(super) struct JobRollouts {
    pub(super) training: Option<TrainingSession>,
    pub(super) evaluation: Option<EvaluationLeases>,
    pub(super) version: Option<WeightsVersion>,
    /// The checksum of the published version's manifest.
    pub(super) manifest_checksum: String,
    /// When the version was published.
    pub(super) published_at: Option<Instant>,
}

/// Leases and pushed groups of all jobs. Requests of actors call it; the trainer's calls are in `take` and `evaluate`, and
/// the monitor tells it of time that passes and of Redis that comes back. It is keyed by job, so that several jobs may run
/// at once.
pub struct RolloutBroker {
    pub(super) redis: Arc<RedisConnection>,
    pub(super) jobs: Mutex<BTreeMap<JobId, JobRollouts>>,
    /// Notified when a lease, a group to take or the end of an evaluation may have become possible.
    pub(super) changed: Notify,
    /// Notified when a group has come. This is apart from `changed` because those who wait for a lease, perhaps
    /// hundreds, need not wake up for it.
    pub(super) arrived: Notify,
    /// Pushed groups on their way into the queue.
    pub(super) intake: Intake,
    /// Which actors are there.
    pub actors: Actors,
    /// Held while Redis is told how sequences ended after an outage, and while a dead letter is replayed: a replay in the
    /// midst of the other would be settled as skipped again.
    pub(super) correcting: tokio::sync::Mutex<()>,
    /// Queues of ended jobs that could not be deleted.
    pub(super) undeleted_queues: Mutex<BTreeSet<JobId>>,
    /// This learner among those that share Redis.
    identity: Identity,
    /// The rights to jobs that this learner has, or had and lost.
    pub(super) fences: Mutex<BTreeMap<JobId, Arc<Fence>>>,
    pub(super) shutdown: CancellationToken,
}

/// A learner among those that share one Redis.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The prefix of its keys. Learners with different prefixes do not know each other's jobs.
    pub cluster: String,
    /// Its name for the other learners of the same cluster.
    pub name: LearnerName,
}

impl RolloutBroker {
    /// A broker without jobs.
    pub fn new(redis: Arc<RedisConnection>, identity: Identity, shutdown: CancellationToken) -> Self {
        // The counter exists from the start, because an alert looks at its increase.
        counter!(LEARNER_DEAD_LETTERS).absolute(0);
        Self {
            identity,
            fences: Mutex::default(),
            redis,
            jobs: Mutex::new(BTreeMap::new()),
            changed: Notify::new(),
            arrived: Notify::new(),
            intake: Intake::default(),
            actors: Actors::default(),
            correcting: tokio::sync::Mutex::default(),
            undeleted_queues: Mutex::default(),
            shutdown,
        }
    }

    pub(super) fn cluster(&self) -> &str {
        &self.identity.cluster
    }

    pub(super) fn name(&self) -> &LearnerName {
        &self.identity.name
    }

    /// Renews the leases of the groups that the actor has in hand, and leases up to `count` more, waiting until
    /// `deadline` for the first.
    ///
    /// # Errors
    /// If Redis is unavailable and nothing can be leased without it, or the process ends.
    pub async fn lease(&self, ask: &LeaseAsk) -> Result<v1::LeaseResponse, LeaseError> {
        self.hear_from(ask, clock::now());
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no notification is missed, although the wait begins below.
            changed.as_mut().enable();

            if self.shutdown.is_cancelled() {
                return Err(LeaseError::ShuttingDown);
            }
            let now = clock::now();
            let (response, next_change) = self.try_lease(ask, now);
            if !response.leases.is_empty() || ask.count == 0 {
                self.actors.granted(&ask.holder, response.leases.len() as u64);
                return Ok(response);
            }
            if response.wait_reason() == v1::WaitReason::Unspecified {
                return Err(RedisUnavailable("no leases until it is back".to_owned()).into());
            }
            if now >= ask.deadline {
                return Ok(response);
            }
            let wake = next_change.map_or(ask.deadline, |time| time.min(ask.deadline));
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(wake.into()) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Leases what can be leased now: evaluations before training, because an evaluation holds its trainer up. Neither
    /// a lease nor a reason to wait means that Redis is unavailable. Also returns the time at which something changes
    /// without a notification.
    fn try_lease(&self, ask: &LeaseAsk, now: Instant) -> (v1::LeaseResponse, Option<Instant>) {
        let (holder, count) = (&ask.holder, ask.count);
        let is_up = self.redis.is_up();
        let mut leases = Vec::new();
        let mut wait_reason = v1::WaitReason::NoJob;
        let mut next_change: Option<Instant> = None;
        let mut jobs = lock(&self.jobs);
        for job in jobs.values_mut() {
            job.expire(now);
            if let Some(evaluation) = &mut job.evaluation {
                while leases.len() < count
                    && let Some(lease) = evaluation.lease(holder, now)
                {
                    leases.push(lease);
                }
                wait_reason = if evaluation.is_full() {
                    v1::WaitReason::QueueFull
                } else {
                    v1::WaitReason::AllLeased
                };
            } else if let Some(training) = &mut job.training {
                if !is_up {
                    wait_reason = v1::WaitReason::Unspecified;
                    continue;
                }
                while leases.len() < count {
                    match training.lease(holder, &job.manifest_checksum, now) {
                        Ok(lease) => leases.push(lease),
                        Err(reason) => {
                            wait_reason = reason;
                            break;
                        }
                    }
                }
            }
            next_change = [next_change, job.next_change(now)].into_iter().flatten().min();
        }
        drop(jobs);
        if !leases.is_empty() {
            wait_reason = v1::WaitReason::Unspecified;
        }
        (
            v1::LeaseResponse {
                leases,
                wait_reason: wait_reason.into(),
            },
            next_change,
        )
    }

    /// Takes back the lease of an actor that cannot go on.
    pub fn abandon(&self, abandoned: &v1::AbandonedGroup) -> v1::PushStatus {
        let job_id = JobId(abandoned.job_id.clone());
        let group_id = GroupId(abandoned.group_id.clone());
        let holder = Holder {
            actor: ActorId(abandoned.actor_id.clone()),
            incarnation: abandoned.incarnation.clone(),
        };
        let reason = abandoned.reason();
        let mut detail = abandoned.detail.clone();
        cut(&mut detail);
        let failure = (reason != v1::AbandonReason::Shutdown).then(|| Failure {
            reason: format!("{}: {detail}", reason.as_str_name()),
            thinking_tokens: abandoned.thinking_tokens as usize,
            refused: None,
        });
        outcomes::count("abandoned", 1);
        self.actors.handed_over(&holder.actor);
        let was_held = self.give_back(&job_id, &group_id, &holder, failure);
        self.changed.notify_waiters();
        if was_held {
            v1::PushStatus::Accepted
        } else {
            v1::PushStatus::Unwanted
        }
    }

    pub(super) fn give_back(
        &self,
        job_id: &JobId,
        group_id: &GroupId,
        holder: &Holder,
        failure: Option<Failure>,
    ) -> bool {
        let now = clock::now();
        let has_failed = failure.is_some();
        let failure = failure.unwrap_or_default();
        let mut jobs = lock(&self.jobs);
        let Some(job) = jobs.get_mut(job_id) else {
            return false;
        };
        if let Some(evaluation) = job
            .evaluation
            .as_mut()
            .filter(|evaluation| evaluation.contains(group_id))
        {
            let (was_held, is_left_out) = evaluation.give_back(group_id, holder, has_failed, now);
            if is_left_out {
                warn!(%job_id, %group_id, last = failure.reason, "an evaluation leaves out a problem that failed too often");
            }
            return was_held;
        }
        let (Some(training), Some(sequence)) = (&mut job.training, training_sequence(job_id, group_id)) else {
            return false;
        };
        let outcome = match &failure.refused {
            Some(_) => training.leases.refuse(sequence, holder, now),
            None => training.leases.give_back(sequence, holder, has_failed, now),
        };
        match outcome {
            GivenBack::NotHeld => false,
            GivenBack::Again => true,
            GivenBack::Skipped(deliveries) => {
                let letter = DeadLetter {
                    sequence,
                    problem_id: failure
                        .refused
                        .as_ref()
                        .map(|group| group.problem_id.clone())
                        .unwrap_or_default(),
                    actor_id: holder.actor.to_string(),
                    reason: failure.reason,
                    deliveries,
                    group: failure.refused.map(|group| group.wire.to_vec()).unwrap_or_default(),
                };
                training.is_dead(letter, failure.thinking_tokens);
                true
            }
        }
    }

    /// A version has been published: what may be leased follows from it.
    pub fn set_version(&self, job_id: &JobId, version: WeightsVersion, manifest_checksum: &str) {
        let mut jobs = lock(&self.jobs);
        let job = jobs.entry(job_id.clone()).or_default();
        job.version = Some(version);
        job.published_at = Some(clock::now());
        manifest_checksum.clone_into(&mut job.manifest_checksum);
        if let Some(training) = &mut job.training {
            training.leases.set_version(version);
        }
        drop(jobs);
        self.changed.notify_waiters();
    }

    /// How long the group that has waited longest has been in a queue, over all jobs.
    pub(super) fn longest_wait(&self, now: Instant) -> Duration {
        let mut jobs = lock(&self.jobs);
        let trainings = jobs.values_mut().filter_map(|job| job.training.as_mut());
        let waits = trainings.map(|training| training.longest_wait(now));
        waits.max().unwrap_or_default()
    }

    /// The number of leased groups and of queued groups over all jobs.
    pub fn levels(&self) -> (u64, u64) {
        let jobs = lock(&self.jobs);
        let mut leased = 0;
        let mut queued = 0;
        for job in jobs.values() {
            leased += job.evaluation.as_ref().map_or(0, EvaluationLeases::leased_groups);
            if let Some(training) = &job.training {
                leased += training.leases.leased_groups();
                queued += training.leases.queued_groups();
            }
        }
        (leased, queued)
    }
}

/// Why an actor gave a group back, or a push was refused.
#[derive(Default)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Tokens of the longest thinking, 0 where it is not known.
    pub(super) thinking_tokens: usize,
    /// The group that was refused.
    pub(super) refused: Option<Delivered>,
}

/// A group that was delivered and refused.
pub(super) struct Delivered {
    /// Its problem.
    pub(super) problem_id: String,
    /// The group as it came; empty where it cannot be read.
    pub(super) wire: Bytes,
}

impl JobRollouts {
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let from_training = self.training.as_mut().map_or(0, |training| training.leases.expire(now));
        let from_evaluation = self.evaluation.as_mut().map_or(0, |evaluation| evaluation.expire(now));
        let expired = from_training + from_evaluation;
        if expired > 0 {
            outcomes::count("expired", expired);
        }
        expired
    }

    fn next_change(&self, now: Instant) -> Option<Instant> {
        let training = self
            .training
            .as_ref()
            .and_then(|training| training.leases.next_change(now));
        let evaluation = self
            .evaluation
            .as_ref()
            .and_then(|evaluation| evaluation.next_change(now));
        [training, evaluation].into_iter().flatten().min()
    }
}
