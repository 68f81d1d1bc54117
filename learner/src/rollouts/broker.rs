//! The broker: leases go out to actors, and scored groups come in. It is the one place where the requests of actors,
//! the trainer and Redis meet.
//!
//! The lock is never held across a wait. A pushed group is judged by the lease table, then by Redis in one atomic
//! script, and is then entered in the table. Where two requests push the same group, the second one is a duplicate.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anytime_proto::{ActorId, GroupId, InvalidGroup, JobId, WeightsVersion, check_group, v1};
use anytime_service::metric_names::LEARNER_GROUPS;
use metrics::counter;
use prost::Message as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::actors::Actors;
use super::evaluation_leases::EvaluationLeases;
use super::lease_table::{GivenBack, PushCheck};
use super::session::{TrainingSession, training_sequence};
use crate::lock::lock;
use crate::queue::redis::{RedisConnection, RedisUnavailable};
use crate::queue::stream::{PushOutcome, Settlement};

/// Why a push was refused.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The group breaks an invariant: pushing it again will not help.
    #[error(transparent)]
    Invalid(#[from] InvalidGroup),
    /// Push again later.
    #[error(transparent)]
    Unavailable(#[from] RedisUnavailable),
}

/// The leases and groups of one job.
#[derive(Default)]
pub(super) struct JobRollouts {
    pub(super) training: Option<TrainingSession>,
    pub(super) evaluation: Option<EvaluationLeases>,
    pub(super) version: Option<WeightsVersion>,
}

/// Leases and pushed groups of all jobs. Requests of actors call it; the trainer's calls are in `take`, and the
/// monitor tells it of time that passes and of Redis that comes back. It is keyed by job, so that several jobs may run
/// at once.
pub struct RolloutBroker {
    pub(super) redis: Arc<RedisConnection>,
    pub(super) jobs: Mutex<BTreeMap<JobId, JobRollouts>>,
    /// Something may have become possible that was not: a lease, a group to take, an evaluation's end.
    pub(super) changed: Notify,
    /// Which actors are there.
    pub actors: Actors,
    pub(super) shutdown: CancellationToken,
}

impl RolloutBroker {
    /// A broker without jobs.
    pub fn new(redis: Arc<RedisConnection>, shutdown: CancellationToken) -> Self {
        Self {
            redis,
            jobs: Mutex::new(BTreeMap::new()),
            changed: Notify::new(),
            actors: Actors::default(),
            shutdown,
        }
    }

    /// Leases up to `count` groups, waiting until `deadline` for the first.
    ///
    /// # Errors
    /// If Redis is unavailable and nothing can be leased without it.
    pub async fn lease(
        &self,
        actor: &ActorId,
        count: usize,
        deadline: Instant,
    ) -> Result<v1::LeaseResponse, RedisUnavailable> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no notification is missed, although the wait begins below.
            changed.as_mut().enable();

            if self.shutdown.is_cancelled() {
                return Ok(v1::LeaseResponse {
                    leases: Vec::new(),
                    wait_reason: v1::WaitReason::NoJob.into(),
                });
            }
            let now = Instant::now();
            let (response, next_change) = self.try_lease(actor, count, now);
            if !response.leases.is_empty() {
                return Ok(response);
            }
            if response.wait_reason() == v1::WaitReason::Unspecified {
                return Err(RedisUnavailable("no leases until it is back".to_owned()));
            }
            if now >= deadline {
                return Ok(response);
            }
            let wake = next_change.map_or(deadline, |time| time.min(deadline));
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(wake.into()) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Leases what can be leased now: evaluations before training, because an evaluation holds its trainer up. Neither
    /// a lease nor a reason to wait means that Redis is unavailable. Also returns when something changes by time alone.
    fn try_lease(&self, actor: &ActorId, count: usize, now: Instant) -> (v1::LeaseResponse, Option<Instant>) {
        let is_up = self.redis.is_up();
        let mut leases = Vec::new();
        let mut wait_reason = v1::WaitReason::NoJob;
        let mut next_change: Option<Instant> = None;
        let mut jobs = lock(&self.jobs);
        for job in jobs.values_mut() {
            job.expire(now);
            if let Some(evaluation) = &mut job.evaluation {
                while leases.len() < count
                    && let Some(lease) = evaluation.lease(actor, now)
                {
                    leases.push(lease);
                }
                wait_reason = v1::WaitReason::AllLeased;
            } else if let Some(training) = &mut job.training {
                if !is_up {
                    wait_reason = v1::WaitReason::Unspecified;
                    continue;
                }
                while leases.len() < count {
                    match training.lease(actor, now) {
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

    /// Takes a scored group in.
    ///
    /// # Errors
    /// If the group is invalid, or Redis is unavailable.
    pub async fn push(&self, group: v1::ScoredGroup) -> Result<v1::PushStatus, PushError> {
        let outcome = self.try_push(group).await;
        if let Ok(status) = &outcome {
            let label = match status {
                v1::PushStatus::Accepted => "accepted",
                v1::PushStatus::Duplicate => "duplicate",
                v1::PushStatus::QueueFull => "queue_full",
                _ => "unwanted",
            };
            counter!(LEARNER_GROUPS, "outcome" => label).increment(1);
        }
        self.changed.notify_waiters();
        outcome
    }

    async fn try_push(&self, group: v1::ScoredGroup) -> Result<v1::PushStatus, PushError> {
        let job_id = JobId(group.job_id.clone());
        let group_id = GroupId(group.group_id.clone());
        let actor = ActorId(group.actor_id.clone());
        let now = Instant::now();
        if let Err(error) = check_group(&group) {
            warn!(%job_id, %group_id, actor_id = %actor, %error, "refused a group");
            self.give_back(&job_id, &group_id, &actor, Some(&error.to_string()));
            return Err(error.into());
        }

        let (sequence, stream, bound, taken) = {
            let mut jobs = lock(&self.jobs);
            let Some(job) = jobs.get_mut(&job_id) else {
                return Ok(v1::PushStatus::Unwanted);
            };
            if let Some(evaluation) = job
                .evaluation
                .as_mut()
                .filter(|evaluation| evaluation.contains(&group_id))
            {
                return Ok(evaluation.push(group));
            }
            let (Some(training), Some(sequence)) = (&mut job.training, training_sequence(&job_id, &group_id)) else {
                return Ok(v1::PushStatus::Unwanted);
            };
            if !training.is_of_plan(sequence, &group) {
                warn!(%job_id, %group_id, actor_id = %actor, "refused a group of another problem or plan");
                return Ok(v1::PushStatus::Unwanted);
            }
            match training.leases.check_push(sequence, &actor, now) {
                PushCheck::Duplicate => return Ok(v1::PushStatus::Duplicate),
                PushCheck::Unwanted => return Ok(v1::PushStatus::Unwanted),
                PushCheck::Admit => {}
            }
            let bound = training.leases.rules().queue_groups;
            (sequence, training.stream.clone(), bound, training.leases.taken_groups())
        };
        let outcome = stream.push(sequence, &group.encode_to_vec(), bound, taken).await?;

        let mut jobs = lock(&self.jobs);
        let Some(training) = jobs.get_mut(&job_id).and_then(|job| job.training.as_mut()) else {
            return Ok(v1::PushStatus::Unwanted);
        };
        match outcome {
            PushOutcome::Accepted => {
                training.leases.accepted(sequence);
                Ok(v1::PushStatus::Accepted)
            }
            PushOutcome::Duplicate => {
                training.leases.accepted(sequence);
                Ok(v1::PushStatus::Duplicate)
            }
            PushOutcome::Full => {
                training.leases.kept_by_actor(sequence, Instant::now());
                Ok(v1::PushStatus::QueueFull)
            }
            PushOutcome::KeysGone => Err(stream.keys_are_gone().into()),
        }
    }

    /// Takes back the lease of an actor that cannot go on.
    pub fn abandon(&self, abandoned: &v1::AbandonedGroup) -> v1::PushStatus {
        let job_id = JobId(abandoned.job_id.clone());
        let group_id = GroupId(abandoned.group_id.clone());
        let actor = ActorId(abandoned.actor_id.clone());
        let reason = abandoned.reason();
        let is_failure = reason != v1::AbandonReason::Shutdown;
        let why = format!("{}: {}", reason.as_str_name(), abandoned.detail);
        counter!(LEARNER_GROUPS, "outcome" => "abandoned").increment(1);
        let was_held = self.give_back(&job_id, &group_id, &actor, is_failure.then_some(&why));
        self.changed.notify_waiters();
        if was_held {
            v1::PushStatus::Accepted
        } else {
            v1::PushStatus::Unwanted
        }
    }

    fn give_back(&self, job_id: &JobId, group_id: &GroupId, actor: &ActorId, failure: Option<&str>) -> bool {
        let now = Instant::now();
        let mut jobs = lock(&self.jobs);
        let Some(job) = jobs.get_mut(job_id) else {
            return false;
        };
        if let Some(evaluation) = job
            .evaluation
            .as_mut()
            .filter(|evaluation| evaluation.contains(group_id))
        {
            return evaluation.give_back(group_id, actor, failure.is_some(), failure.unwrap_or_default(), now);
        }
        let (Some(training), Some(sequence)) = (&mut job.training, training_sequence(job_id, group_id)) else {
            return false;
        };
        match training.leases.give_back(sequence, actor, failure.is_some(), now) {
            GivenBack::NotHeld => false,
            GivenBack::Again => true,
            GivenBack::Skipped => {
                let last = failure.unwrap_or_default();
                warn!(%job_id, %group_id, last, "skipped a problem that failed too often");
                training.remember_skipped(sequence, last);
                true
            }
        }
    }

    /// A version has been published: what may be leased follows from it.
    pub fn set_version(&self, job_id: &JobId, version: WeightsVersion) {
        let mut jobs = lock(&self.jobs);
        let job = jobs.entry(job_id.clone()).or_default();
        job.version = Some(version);
        if let Some(training) = &mut job.training {
            training.leases.set_version(version);
        }
        drop(jobs);
        self.changed.notify_waiters();
    }

    /// Takes back the leases that have run out and those of actors that are gone. To be called about once a second.
    pub fn tick(&self, now: Instant) {
        let gone = self.actors.gone(now);
        let mut jobs = lock(&self.jobs);
        let mut count = 0;
        for job in jobs.values_mut() {
            count += job.expire(now);
            for actor in &gone {
                let from_training = job
                    .training
                    .as_mut()
                    .map_or(0, |it| it.leases.take_back_from(actor, now));
                let from_evaluation = job.evaluation.as_mut().map_or(0, |it| it.take_back_from(actor, now));
                let taken_back = from_training + from_evaluation;
                if taken_back > 0 {
                    warn!(actor_id = %actor, groups = taken_back, "an actor is gone, its groups are leased again");
                }
                counter!(LEARNER_GROUPS, "outcome" => "expired").increment(taken_back);
                count += taken_back;
            }
        }
        drop(jobs);
        if count > 0 {
            self.changed.notify_waiters();
        }
    }

    /// Records in Redis that skipped sequences must not be leased again after a restart. Where that fails they will be.
    pub async fn settle_skipped(&self) {
        let skipped: Vec<_> = {
            let mut jobs = lock(&self.jobs);
            let trainings = jobs.values_mut().filter_map(|job| job.training.as_mut());
            trainings
                .map(|training| (training.stream.clone(), training.take_skipped()))
                .collect()
        };
        for (stream, sequences) in skipped {
            if let Err(error) = stream.settle(&sequences, Settlement::Skipped).await {
                warn!(%error, groups = sequences.len(), "skipped problems are not recorded");
            }
        }
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

impl JobRollouts {
    fn expire(&mut self, now: Instant) -> u64 {
        let from_training = self.training.as_mut().map_or(0, |training| training.leases.expire(now));
        let from_evaluation = self.evaluation.as_mut().map_or(0, |evaluation| evaluation.expire(now));
        let expired = from_training + from_evaluation;
        if expired > 0 {
            counter!(LEARNER_GROUPS, "outcome" => "expired").increment(expired);
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
