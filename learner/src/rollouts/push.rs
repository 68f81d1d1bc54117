//! The path of a pushed group. Where the full queue keeps it out, it waits for a moment. Where the answer is known
//! without looking at the group, it is given at once. Otherwise the group is decoded and checked
//! ([`intake`](super::intake)), judged by the lease table, then by Redis in one atomic script, and entered in the table.
//! Where two requests push the same group, the second one is a duplicate. Redis gets the bytes as they came.

use std::time::Instant;

use anytime_proto::limits::MAX_PUSH_WAIT;
use anytime_proto::{ActorId, GroupId, InvalidGroup, JobId, v1};
use anytime_service::clock;
use bytes::Bytes;
use tracing::{debug, error, warn};

use super::actors::Holder;
use super::broker::{Delivered, Failure, JobRollouts, RolloutBroker};
use super::inspection::longest_thinking;
use super::lease_table::PushCheck;
use super::outcomes;
use super::session::{Asked, training_sequence};
use crate::lock::lock;
use crate::queue::groups::{GroupQueue, PushOutcome};
use crate::queue::redis::RedisUnavailable;

/// How many groups of one actor must be refused in a row before the log says so.
const REFUSED_OFTEN: u64 = 5;

/// Why a push was refused.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The group breaks an invariant: pushing it again will not help.
    #[error(transparent)]
    Invalid(#[from] InvalidGroup),
    /// Its versions were right when it was leased: the learner went back to its recovery checkpoint since then, or a replay
    /// moved the group to a later step. The actor is not at fault.
    #[error(transparent)]
    Outdated(InvalidGroup),
    /// Push again later.
    #[error(transparent)]
    Unavailable(#[from] RedisUnavailable),
}

impl RolloutBroker {
    /// Takes an encoded group in, which is of the lease with these names.
    ///
    /// # Errors
    /// If the group is invalid, or Redis is unavailable.
    pub async fn push(&self, names: &v1::GroupNames, wire: Bytes) -> Result<v1::PushStatus, PushError> {
        self.wait_for_room(names, wire.len()).await;
        let outcome = self.try_push(names, wire).await;
        let actor = ActorId(names.actor_id.clone());
        match &outcome {
            Ok(v1::PushStatus::Accepted) => {
                self.actors.accepted(&actor);
                self.actors.handed_over(&actor);
            }
            Ok(v1::PushStatus::Duplicate | v1::PushStatus::Unwanted) => self.actors.handed_over(&actor),
            Err(PushError::Invalid(_) | PushError::Outdated(_))
                if self.actors.refused(&actor, clock::now()) == REFUSED_OFTEN =>
            {
                error!(actor_id = %actor, "the last {REFUSED_OFTEN} groups of an actor were all refused; look at its log");
            }
            _ => {}
        }
        let label = match &outcome {
            Ok(v1::PushStatus::Accepted) => Some("accepted"),
            Ok(v1::PushStatus::Duplicate) => Some("duplicate"),
            Ok(v1::PushStatus::QueueFull) => Some("queue_full"),
            Ok(_) => Some("unwanted"),
            Err(PushError::Invalid(_) | PushError::Outdated(_)) => Some("refused"),
            Err(PushError::Unavailable(_)) => None,
        };
        if let Some(label) = label {
            outcomes::count(label, 1);
        }
        match &outcome {
            Ok(v1::PushStatus::Accepted | v1::PushStatus::Duplicate) => self.arrived.notify_waiters(),
            Ok(_) => {}
            // Its lease may have been given back, so that others can have it.
            Err(_) => self.changed.notify_waiters(),
        }
        outcome
    }

    async fn try_push(&self, names: &v1::GroupNames, wire: Bytes) -> Result<v1::PushStatus, PushError> {
        let job_id = JobId(names.job_id.clone());
        let group_id = GroupId(names.group_id.clone());
        let actor = ActorId(names.actor_id.clone());
        let _on_its_way = self.intake.enter(wire.len()).await;
        let now = clock::now();
        let asked = match self.expect(&job_id, &group_id, now) {
            Expectation::Answered(status) => return Ok(status),
            Expectation::Training(asked) => Some(asked),
            Expectation::Evaluation => None,
        };
        let group = match self.intake.look_at(&wire, asked).await {
            Ok(Some(group)) => group,
            Ok(None) => {
                warn!(%job_id, %group_id, actor_id = %actor, "refused a group of another problem or plan");
                return Ok(v1::PushStatus::Unwanted);
            }
            Err(refused) => {
                let wire = if refused.is_readable { wire } else { Bytes::new() };
                return self
                    .refuse(names, refused.invalid.into(), refused.thinking_tokens, wire)
                    .await;
            }
        };
        let admission = {
            let mut jobs = lock(&self.jobs);
            match jobs.get_mut(&job_id) {
                Some(job) => job.admit(&job_id, &group, now),
                None => Ok(Admission::Answered(v1::PushStatus::Unwanted)),
            }
        };
        let (sequence, queue, bound, taken) = match admission {
            Ok(Admission::Training {
                sequence,
                queue,
                bound,
                taken,
            }) => (sequence, queue, bound, taken),
            Ok(Admission::Evaluation) => {
                let mut jobs = lock(&self.jobs);
                let evaluation = jobs.get_mut(&job_id).and_then(|job| job.evaluation.as_mut());
                return Ok(evaluation.map_or(v1::PushStatus::Unwanted, |evaluation| evaluation.push(group, now)));
            }
            Ok(Admission::Answered(status)) => return Ok(status),
            Err(error) => return self.refuse(names, error, longest_thinking(&group), wire).await,
        };
        let thinking_tokens = longest_thinking(&group);
        debug!(%job_id, %group_id, actor_id = %actor, problem_id = group.problem_id, thinking_tokens, "a group has come");
        // Frees the decoded tokens: the bytes go to Redis.
        drop(group);
        let outcome = queue.push(sequence, &wire, bound, taken).await?;

        let mut jobs = lock(&self.jobs);
        let Some(training) = jobs.get_mut(&job_id).and_then(|job| job.training.as_mut()) else {
            return Ok(v1::PushStatus::Unwanted);
        };
        match outcome {
            PushOutcome::Accepted => {
                training
                    .journeys
                    .arrived(sequence, &actor, &training.leases, clock::now());
                training.leases.accepted(sequence);
                Ok(v1::PushStatus::Accepted)
            }
            PushOutcome::Duplicate => {
                training.leases.accepted(sequence);
                Ok(v1::PushStatus::Duplicate)
            }
            PushOutcome::Full => {
                training.leases.kept_by_actor(sequence, clock::now());
                Ok(v1::PushStatus::QueueFull)
            }
            PushOutcome::KeysGone => Err(queue.keys_are_gone().into()),
        }
    }

    /// Where the full queue keeps a group out, waits for a moment until it does not: its batch may be the next, and its
    /// actor, once it is told that the queue is full, comes back only after a pause. The trainer would wait for that.
    async fn wait_for_room(&self, names: &v1::GroupNames, bytes: usize) {
        let (job_id, group_id) = (JobId(names.job_id.clone()), GroupId(names.group_id.clone()));
        if !self.is_kept_out(&job_id, &group_id) {
            return;
        }
        // Where too many wait already, this one is answered at once.
        let Some(_place) = self.intake.wait_outside(bytes) else {
            return;
        };
        let deadline = clock::now() + MAX_PUSH_WAIT;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no notification is missed, although the wait begins below.
            changed.as_mut().enable();
            if !self.is_kept_out(&job_id, &group_id) {
                return;
            }
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(deadline.into()) => return,
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    /// Whether a group of training may come, and the queue has no room for it.
    fn is_kept_out(&self, job_id: &JobId, group_id: &GroupId) -> bool {
        let jobs = lock(&self.jobs);
        let training = jobs.get(job_id).and_then(|job| job.training.as_ref());
        let (Some(training), Some(sequence)) = (training, training_sequence(job_id, group_id)) else {
            return false;
        };
        training.leases.is_there(sequence).is_none() && !training.leases.has_room(sequence)
    }

    /// Gives the lease of a group back that is refused for good. The group may become a dead letter by this.
    async fn refuse(
        &self,
        names: &v1::GroupNames,
        error: PushError,
        thinking_tokens: usize,
        wire: Bytes,
    ) -> Result<v1::PushStatus, PushError> {
        let (job_id, group_id) = (JobId(names.job_id.clone()), GroupId(names.group_id.clone()));
        let actor = ActorId(names.actor_id.clone());
        warn!(%job_id, %group_id, actor_id = %actor, %error, "refused a group");
        let is_at_fault = !matches!(error, PushError::Outdated(_));
        let failure = is_at_fault.then(|| Failure {
            reason: error.to_string(),
            thinking_tokens,
            refused: Some(Delivered {
                problem_id: names.problem_id.clone(),
                wire,
            }),
        });
        self.give_back(&job_id, &group_id, &Holder::unnamed(&actor), failure);
        self.bury().await;
        Err(error)
    }

    /// What a group with this id must be, or the answer where that is known without looking at it.
    fn expect(&self, job_id: &JobId, group_id: &GroupId, now: Instant) -> Expectation {
        let mut jobs = lock(&self.jobs);
        let Some(job) = jobs.get_mut(job_id) else {
            return Expectation::Answered(v1::PushStatus::Unwanted);
        };
        if job
            .evaluation
            .as_ref()
            .is_some_and(|evaluation| evaluation.contains(group_id))
        {
            return Expectation::Evaluation;
        }
        let (Some(training), Some(sequence)) = (&mut job.training, training_sequence(job_id, group_id)) else {
            return Expectation::Answered(v1::PushStatus::Unwanted);
        };
        match training.answer_to_push(sequence, now) {
            Some(status) => Expectation::Answered(status),
            None => Expectation::Training(training.asked(sequence)),
        }
    }
}

/// What a pushed group is to be.
enum Expectation {
    /// A group of training.
    Training(Asked),
    /// A group of the evaluation.
    Evaluation,
    /// The group need not be looked at: this is the answer.
    Answered(v1::PushStatus),
}

/// Where a pushed group goes.
enum Admission {
    /// It goes into the queue.
    Training {
        sequence: u64,
        queue: GroupQueue,
        bound: u64,
        taken: u64,
    },
    /// It goes to the evaluation.
    Evaluation,
    /// Nowhere: this is the answer.
    Answered(v1::PushStatus),
}

impl JobRollouts {
    /// Admits a pushed group that is what it was asked to be.
    fn admit(&mut self, job_id: &JobId, group: &v1::ScoredGroup, now: Instant) -> Result<Admission, PushError> {
        let group_id = GroupId(group.group_id.clone());
        let actor = ActorId(group.actor_id.clone());
        if let Some(evaluation) = self
            .evaluation
            .as_ref()
            .filter(|evaluation| evaluation.contains(&group_id))
        {
            evaluation.inspect(group)?;
            return Ok(Admission::Evaluation);
        }
        let (Some(training), Some(sequence)) = (&mut self.training, training_sequence(job_id, &group_id)) else {
            return Ok(Admission::Answered(v1::PushStatus::Unwanted));
        };
        match training.leases.check_push(sequence, &actor, now) {
            PushCheck::Duplicate => return Ok(Admission::Answered(v1::PushStatus::Duplicate)),
            PushCheck::Unwanted => return Ok(Admission::Answered(v1::PushStatus::Unwanted)),
            PushCheck::Admit => {}
        }
        let published = self.version.unwrap_or_default().0;
        if let Err(error) = training.check_versions(sequence, group, published) {
            let refusal = if training.was_right_when_leased(sequence, group, published) {
                PushError::Outdated
            } else {
                PushError::Invalid
            };
            return Err(refusal(error));
        }
        let bound = training.leases.queue_bound(sequence);
        Ok(Admission::Training {
            sequence,
            queue: training.queue.clone(),
            bound,
            taken: training.leases.taken_groups(),
        })
    }
}
