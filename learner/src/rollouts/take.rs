//! The trainer's side of the broker: it opens and closes training, takes groups out of the queue and acknowledges them.
//! Calls wait while Redis is unavailable.
//!
//! Groups are taken in the order of their sequences, whatever the order in which they came, and the trainer waits for
//! the lowest one: nothing that was admitted is dropped for its age, because admission and the versions that leases ask
//! for keep every group fresh enough for its step. [`lease_table`](super::lease_table) has the argument.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use anytime_proto::{JobId, check_group, decode_group, v1};
use anytime_service::channel::Backoff;
use anytime_service::clock;
use anytime_service::traces::{Span, SpanRef};
use tracing::{debug, error, info, warn};

use super::awaited::AwaitedGroup;
use super::broker::RolloutBroker;
use super::group::{OTHER_LINE, QueuedGroup, TrainingOpening};
use super::inspection::{longest_thinking, names_weights, newest_version, oldest_version};
use super::inventory::Corrections;
use super::journeys::Journeys;
use super::lease_table::NextToTrain;
use super::session::{TrainingSession, training_group_id};
use super::{lengths, outcomes};
use crate::lock::lock;
use crate::queue::groups::{GroupQueue, Settlement, Survey};
use crate::queue::reader::GroupReader;
use crate::queue::redis::RedisUnavailable;

/// How often the trainer, while it waits for a group, checks how long it has waited.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the broker tries to delete the keys of an ended job.
const DELETE_TIMEOUT: Duration = Duration::from_secs(3);

impl RolloutBroker {
    /// Opens a job's training: from now on its problems are leased. `owner` tells the job from an earlier one with the
    /// same id.
    ///
    /// # Errors
    /// If the opening makes no sense, training is open already, or another learner works on the job.
    pub async fn open_training(
        &self,
        job_id: &JobId,
        owner: String,
        opening: TrainingOpening,
    ) -> anyhow::Result<GroupReader> {
        if opening.batch == 0 || opening.queue_groups == 0 || opening.lease_seconds == 0 {
            bail!("batch, queue_groups and lease_seconds must be above zero");
        }
        if lock(&self.jobs).get(job_id).is_some_and(|job| job.training.is_some()) {
            bail!("training is open already");
        }
        // These are no longer the keys of an ended job with this id, which were to be deleted.
        lock(&self.undeleted_queues).remove(job_id);
        self.take_right(job_id).await?;
        let queue = self.queue_of(job_id, owner);
        let mut backoff = Backoff::default();
        let (survey, dead) = loop {
            if let Some(rival) = queue.fence().lost_to() {
                bail!(rival);
            }
            match open_and_settle(&queue, &opening).await {
                Ok(found) => break found,
                Err(_) => self.wait_for_redis(&mut backoff).await,
            }
        };
        let reader = GroupReader::new(queue.clone());
        let mut training = TrainingSession::new(job_id, opening, queue, survey, &dead);
        let mut jobs = lock(&self.jobs);
        let job = jobs.entry(job_id.clone()).or_default();
        if let Some(version) = job.version {
            training.leases.set_version(version);
        }
        let (queued, trained) = (training.leases.queued_groups(), training.leases.admitted());
        info!(%job_id, queued, admitted = trained, "training is open");
        job.training = Some(training);
        drop(jobs);
        self.changed.notify_waiters();
        Ok(reader)
    }

    /// Takes the next `count` groups in the order of training, waiting for each. They stay in Redis until they are
    /// acknowledged.
    ///
    /// # Errors
    /// If training is not open, actors give every problem up, or another learner has taken the job.
    pub async fn take(
        &self,
        job_id: &JobId,
        reader: &mut GroupReader,
        count: usize,
    ) -> anyhow::Result<Vec<QueuedGroup>> {
        let queue = reader.queue().clone();
        let mut groups = Vec::new();
        let mut backoff = Backoff::default();
        let mut awaited = AwaitedGroup::default();
        let mut since = SystemTime::now();
        while groups.len() < count {
            let (changed, arrived) = (self.changed.notified(), self.arrived.notified());
            tokio::pin!(changed, arrived);
            // From here on no notification is missed, although the wait begins below.
            changed.as_mut().enable();
            arrived.as_mut().enable();

            if let Some(rival) = queue.fence().lost_to() {
                bail!(rival);
            }
            let next = self.next_to_train(job_id)?;
            let NextToTrain::Queued(sequence) = next else {
                awaited.still_waits(job_id, &next, clock::now());
                tokio::select! {
                    () = &mut changed => {}
                    () = &mut arrived => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                continue;
            };
            awaited.is_there(sequence);
            let outcome = match reader.read(sequence).await {
                Ok(Some(payload)) => self.take_group(job_id, &queue, sequence, &payload).await,
                Ok(None) => Err(queue.entries_are_gone()),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(group) => {
                    groups.extend(group.map(|group| traced(job_id, group, since)));
                    since = SystemTime::now();
                    backoff.reset();
                }
                Err(_) => self.wait_for_redis(&mut backoff).await,
            }
        }
        Ok(groups)
    }

    fn next_to_train(&self, job_id: &JobId) -> anyhow::Result<NextToTrain> {
        let jobs = lock(&self.jobs);
        let training = jobs
            .get(job_id)
            .and_then(|job| job.training.as_ref())
            .context("training is not open")?;
        match training.failure() {
            Some(failure) => bail!(failure),
            None => Ok(training.leases.next_to_train()),
        }
    }

    /// Takes one group, which the queue holds. None where it is leased again or dropped instead.
    async fn take_group(
        &self,
        job_id: &JobId,
        queue: &GroupQueue,
        sequence: u64,
        payload: &[u8],
    ) -> Result<Option<QueuedGroup>, RedisUnavailable> {
        let mut group = match self.read_group(job_id, sequence, payload) {
            Ok(group) => group,
            Err(problem) => {
                error!(%job_id, sequence, problem, "a group in the queue cannot be trained");
                self.refuse_queued(job_id, queue, sequence, &problem, payload).await?;
                return Ok(None);
            }
        };
        let (version, manifest_checksum) = self.published(job_id);
        let oldest = oldest_version(&group);
        let max_staleness = self.with_training(job_id, |training| training.leases.rules().max_staleness);
        let is_too_old = version.saturating_sub(oldest) > max_staleness.unwrap_or_default();
        let is_replayed = self.with_training(job_id, |training| training.replays > 0) == Some(true);
        // It was pushed for a later step, with tokens of a version that a restart has undone, and a sequence before it was
        // dropped since: its step comes earlier than that version.
        let is_too_new = newest_version(&group) > version;
        if is_too_new || (is_too_old && is_replayed) {
            // A replayed group took its place, so that it is trained one step later and is too old for that. In both cases it
            // is leased again.
            queue.settle(&[sequence], Settlement::Forgotten).await?;
            self.with_training(job_id, |training| training.leases.lost(sequence, clock::now()));
            self.changed.notify_waiters();
            return Ok(None);
        }
        if is_too_old {
            // Only an earlier version of the learner, which took groups as they came, can have left such an old one.
            queue.settle(&[sequence], Settlement::Stale).await?;
            warn!(%job_id, group_id = group.group_id, oldest, version, "dropped a group as too old");
            outcomes::count("stale", 1);
            let thinking_tokens = longest_thinking(&group);
            lengths::count("stale", thinking_tokens);
            self.with_training(job_id, |training| training.remember_stale(sequence, thinking_tokens));
            self.changed.notify_waiters();
            return Ok(None);
        }
        if !names_weights(&group, version, &manifest_checksum) {
            rename_version(&mut group, version);
        }
        let thinking_tokens = longest_thinking(&group);
        let (group_id, problem_id) = (&group.group_id, &group.problem_id);
        debug!(%job_id, group_id, problem_id, version, thinking_tokens, "a group is trained");
        lengths::count("trained", thinking_tokens);
        let now = clock::now();
        let taken = self.with_training(job_id, |training| {
            let was_full = training.leases.is_full();
            training.leases.taken(sequence);
            (was_full, training.journeys.taken(sequence, &group.actor_id, now))
        });
        // Training that was closed meanwhile knows nothing of the group any more.
        let (was_full, journey) =
            taken.unwrap_or_else(|| (false, Journeys::default().taken(sequence, &group.actor_id, now)));
        if was_full {
            // A place in the queue is free.
            self.changed.notify_waiters();
        }
        Ok(Some(QueuedGroup {
            sequence,
            group,
            journey,
        }))
    }

    /// Reads a group that the queue holds. It was inspected when it was pushed, but perhaps by an earlier learner, whose
    /// data or rules were others.
    fn read_group(&self, job_id: &JobId, sequence: u64, payload: &[u8]) -> Result<v1::ScoredGroup, String> {
        let group = decode_group(payload).map_err(|error| error.to_string())?;
        check_group(&group).map_err(|error| error.to_string())?;
        if group.group_id != training_group_id(job_id, sequence).as_str() {
            return Err(format!("it is group `{}`", group.group_id));
        }
        if let Some(asked) = self.with_training(job_id, |training| training.asked(sequence)) {
            if !asked.is_of_plan(&group) {
                return Err("it is of another problem or plan".to_owned());
            }
            asked.inspect(&group).map_err(|error| error.to_string())?;
        }
        Ok(group)
    }

    /// The published version and its manifest's checksum.
    fn published(&self, job_id: &JobId) -> (u64, String) {
        let jobs = lock(&self.jobs);
        let job = jobs.get(job_id);
        let version = job.and_then(|job| job.version).unwrap_or_default().0;
        (
            version,
            job.map(|job| job.manifest_checksum.clone()).unwrap_or_default(),
        )
    }

    /// Removes groups from Redis once a recovery checkpoint holds the updates that they made. By that checkpoint all
    /// sequences below `ended_below` have ended: neither Redis nor the lease table remembers how each of them did.
    pub async fn acknowledge(&self, job_id: &JobId, queue: &GroupQueue, sequences: &[u64], ended_below: u64) {
        let mut backoff = Backoff::default();
        let settle = async || {
            queue.settle(sequences, Settlement::Trained).await?;
            queue.forget_below(ended_below).await
        };
        while settle().await.is_err() {
            if queue.fence().lost_to().is_some() {
                return;
            }
            self.wait_for_redis(&mut backoff).await;
        }
        self.with_training(job_id, |training| {
            training.leases.acknowledged(sequences);
            training.leases.forget_below(ended_below);
        });
        self.changed.notify_waiters();
    }

    /// No training problem of the job is leased any more. What is queued stays in Redis.
    pub fn close_training(&self, job_id: &JobId) {
        if let Some(job) = lock(&self.jobs).get_mut(job_id) {
            job.training = None;
        }
        self.changed.notify_waiters();
    }

    /// Removes the leases and groups of a job from memory.
    pub fn remove_job(&self, job_id: &JobId) {
        lock(&self.jobs).remove(job_id);
        self.changed.notify_waiters();
    }

    /// Deletes the keys of a job that has ended. Where Redis is unavailable they are deleted when it is back.
    pub async fn delete_queue(&self, job_id: &JobId) {
        let queue = self.queue_to_delete(job_id);
        let problem = match tokio::time::timeout(DELETE_TIMEOUT, queue.delete()).await {
            Ok(Ok(())) => {
                lock(&self.undeleted_queues).remove(job_id);
                return;
            }
            // Another learner has a job of this name: the queue is that job's.
            Ok(Err(_)) if queue.fence().lost_to().is_some() => {
                lock(&self.undeleted_queues).remove(job_id);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if lock(&self.undeleted_queues).insert(job_id.clone()) {
            warn!(%job_id, problem, "the queue of an ended job stays in redis until redis is back");
        }
    }

    /// The number of groups in the queue, and of groups that were dropped as too old.
    pub fn queue_figures(&self, job_id: &JobId) -> (u64, u64) {
        self.with_training(job_id, |training| {
            (training.leases.queued_groups(), training.leases.stale_groups())
        })
        .unwrap_or_default()
    }

    /// The sequences that have not ended, by state; none while the job does not train.
    pub fn account(&self, job_id: &JobId) -> Option<v1::QueueAccount> {
        self.with_training(job_id, |training| training.leases.account())
    }

    /// The groups that were left out since the last call, and those that were replayed.
    pub fn take_left_out(&self, job_id: &JobId) -> (Vec<v1::LeftOutGroup>, Vec<u64>) {
        self.with_training(job_id, TrainingSession::take_left_out)
            .unwrap_or_default()
    }

    fn with_training<T>(&self, job_id: &JobId, action: impl FnOnce(&mut TrainingSession) -> T) -> Option<T> {
        let mut jobs = lock(&self.jobs);
        jobs.get_mut(job_id)?.training.as_mut().map(action)
    }

    pub(super) async fn wait_for_redis(&self, backoff: &mut Backoff) {
        tokio::time::sleep(backoff.pause()).await;
        self.redis.wait_until_up().await;
    }
}

/// Adds the span of its taking to a group's trace, which began `since` the trainer waits for it. What the group says of the
/// trace goes no further.
fn traced(job_id: &JobId, mut queued: QueuedGroup, since: SystemTime) -> QueuedGroup {
    let pushed = SpanRef::parse(&std::mem::take(&mut queued.group.traceparent));
    let mut span = Span::begin_at("take", &pushed, since);
    span.text("job_id", job_id).text("group_id", &queued.group.group_id);
    span.number("sequence", queued.sequence);
    queued.journey.span = span.place();
    queued
}

/// Opens the keys and brings them in line with the recovery checkpoint, which decides: groups that it holds leave the
/// queue, and groups that were settled as trained although it lacks them may come again. Also returns the sequences with
/// a dead letter.
async fn open_and_settle(
    queue: &GroupQueue,
    opening: &TrainingOpening,
) -> Result<(Survey, BTreeSet<u64>), RedisUnavailable> {
    let survey = queue.open().await?;
    let dead = queue.dead_sequences().await?;
    let corrections = Corrections::of(&opening.ended, &survey);
    queue.settle(&corrections.ended, Settlement::Trained).await?;
    queue.settle(&corrections.forgotten, Settlement::Forgotten).await?;
    Ok((survey, dead))
}

/// Marks the tokens of a version as those of other weights. The learner went back to its recovery checkpoint since they
/// were generated, and the number stands for other weights now: the tokens are not fresh.
fn rename_version(group: &mut v1::ScoredGroup, version: u64) {
    for trace in &mut group.traces {
        let summaries = trace
            .nodes
            .iter_mut()
            .flat_map(|node| &mut node.summaries)
            .filter_map(|summary| summary.generated.as_mut());
        for generated in trace.thinking.iter_mut().chain(summaries) {
            for of_token in &mut generated.versions {
                if *of_token == version {
                    *of_token = OTHER_LINE;
                }
            }
        }
    }
}
