//! The trainer's side of the broker: it opens and closes training, takes groups out of the queue, acknowledges them,
//! and has groups evaluated. Calls wait while Redis is unavailable.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use anytime_proto::{JobId, WeightsVersion, v1};
use anytime_service::channel::Backoff;
use anytime_service::metric_names::LEARNER_GROUPS;
use metrics::counter;
use prost::Message as _;
use tracing::{debug, error, info, warn};

use super::broker::RolloutBroker;
use super::evaluation_leases::EvaluationLeases;
use super::group::{QueuedGroup, TrainingOpening};
use super::lease_table::Judgement;
use super::session::TrainingSession;
use crate::lock::lock;
use crate::queue::reader::GroupReader;
use crate::queue::redis::RedisUnavailable;
use crate::queue::stream::{Entry, GroupStream, Settlement, Survey};

/// The trainer looks into the queue at least this often, for entries that no push of this process announced: those of a
/// push whose answer was lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the broker tries to delete the keys of an ended job.
const DELETE_TIMEOUT: Duration = Duration::from_secs(3);

impl RolloutBroker {
    /// Opens a job's training: from now on its problems are leased. `owner` tells the job from an earlier one with the
    /// same id.
    ///
    /// # Errors
    /// If the opening makes no sense, or training is open already.
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
        let stream = GroupStream::new(self.redis.clone(), job_id, owner);
        let mut backoff = Backoff::default();
        let survey = loop {
            match open_and_settle(&stream, &opening).await {
                Ok(survey) => break survey,
                Err(_) => self.wait_for_redis(&mut backoff).await,
            }
        };
        let reader = GroupReader::new(stream.clone());
        let mut training = TrainingSession::new(job_id, opening, stream, survey);
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

    /// Takes `count` groups out of the queue, waiting for them. They stay in Redis until they are acknowledged.
    ///
    /// # Errors
    /// If training is not open, or actors give every problem up.
    pub async fn take(
        &self,
        job_id: &JobId,
        reader: &mut GroupReader,
        count: usize,
    ) -> anyhow::Result<Vec<QueuedGroup>> {
        let stream = reader.stream().clone();
        let mut groups = Vec::new();
        let mut backoff = Backoff::default();
        while groups.len() < count {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no notification is missed, although the wait begins below.
            changed.as_mut().enable();

            self.check_training(job_id)?;
            let (queued, _) = self.queue_figures(job_id);
            let outcome = match reader.front(count - groups.len()).await {
                Ok(Some(entry)) => self.take_entry(job_id, &stream, entry).await,
                // The stream holds every queued group behind the reader's place, unless somebody else has deleted it.
                Ok(None) if queued > 0 => Err(stream.entries_are_gone()),
                Ok(None) => {
                    tokio::select! {
                        () = &mut changed => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                    continue;
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(group) => groups.extend(group),
                // An entry that was not dealt with stays in front.
                Err(_) => {
                    self.wait_for_redis(&mut backoff).await;
                    continue;
                }
            }
            reader.pop_front();
            backoff.reset();
        }
        // The order in which actors happened to finish must not decide which groups share a minibatch.
        groups.sort_by_key(|group| group.sequence);
        Ok(groups)
    }

    fn check_training(&self, job_id: &JobId) -> anyhow::Result<()> {
        let jobs = lock(&self.jobs);
        let training = jobs
            .get(job_id)
            .and_then(|job| job.training.as_ref())
            .context("training is not open")?;
        training.failure().map_or(Ok(()), |failure| bail!(failure))
    }

    async fn take_entry(
        &self,
        job_id: &JobId,
        stream: &GroupStream,
        entry: &Entry,
    ) -> Result<Option<QueuedGroup>, RedisUnavailable> {
        let Some(sequence) = entry.sequence else {
            error!(%job_id, entry = entry.id, "an entry of the queue is not one of ours, dropped");
            stream.discard(&entry.id).await?;
            return Ok(None);
        };
        let group = match v1::ScoredGroup::decode(entry.payload.as_slice()) {
            Ok(group) => group,
            Err(error) => {
                error!(%job_id, sequence, %error, "a group in the queue cannot be decoded, it is leased again");
                stream.settle(&[sequence], Settlement::Forgotten).await?;
                self.with_training(job_id, |training| training.leases.lost(sequence, Instant::now()));
                return Ok(None);
            }
        };
        let oldest = oldest_version(&group);
        let judge_and_take = |training: &mut TrainingSession| {
            let judgement = training.leases.judge(sequence, oldest);
            if judgement == Judgement::Train {
                training.leases.taken(sequence);
            }
            judgement
        };
        let Some(judgement) = self.with_training(job_id, judge_and_take) else {
            return Ok(None);
        };
        match judgement {
            Judgement::Train => {
                // A place in the queue is free.
                self.changed.notify_waiters();
                return Ok(Some(QueuedGroup { sequence, group }));
            }
            Judgement::Held => {}
            Judgement::Finished => stream.settle(&[sequence], Settlement::Trained).await?,
            Judgement::Stale => {
                stream.settle(&[sequence], Settlement::Stale).await?;
                debug!(%job_id, group_id = group.group_id, version = oldest.0, "dropped a group as too old");
                counter!(LEARNER_GROUPS, "outcome" => "stale").increment(1);
                self.with_training(job_id, |training| training.leases.dropped_as_stale(sequence));
                self.changed.notify_waiters();
            }
        }
        Ok(None)
    }

    /// Removes groups from Redis once a recovery checkpoint holds the updates that they made.
    pub async fn acknowledge(&self, job_id: &JobId, stream: &GroupStream, sequences: &[u64]) {
        let mut backoff = Backoff::default();
        while stream.settle(sequences, Settlement::Trained).await.is_err() {
            self.wait_for_redis(&mut backoff).await;
        }
        self.with_training(job_id, |training| training.leases.acknowledged(sequences));
        self.changed.notify_waiters();
    }

    /// Leases groups out for evaluation, waits for all, and returns them in the order of the leases. Meanwhile the
    /// job's training problems are not leased. `progress` is told the number of finished groups and of all groups.
    ///
    /// # Errors
    /// If a group fails too often.
    pub async fn evaluate(
        &self,
        job_id: &JobId,
        leases: Vec<v1::Lease>,
        mut progress: impl FnMut(u32, u32),
    ) -> anyhow::Result<Vec<v1::ScoredGroup>> {
        let evaluation = EvaluationLeases::new(leases, Instant::now());
        lock(&self.jobs).entry(job_id.clone()).or_default().evaluation = Some(evaluation);
        self.changed.notify_waiters();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();

            let (done, total) = {
                let mut jobs = lock(&self.jobs);
                let job = jobs.get_mut(job_id).context("the evaluation was closed")?;
                let evaluation = job.evaluation.as_ref().context("the evaluation was closed")?;
                if let Some(failure) = evaluation.failure() {
                    bail!("evaluation: {failure}");
                }
                let (done, total) = evaluation.progress();
                if done == total {
                    let groups = job
                        .evaluation
                        .take()
                        .map(EvaluationLeases::into_groups)
                        .unwrap_or_default();
                    drop(jobs);
                    progress(done, total);
                    self.changed.notify_waiters();
                    return Ok(groups);
                }
                (done, total)
            };
            progress(done, total);
            changed.await;
        }
    }

    /// Ends an evaluation that was not finished.
    pub fn close_evaluation(&self, job_id: &JobId) {
        if let Some(job) = lock(&self.jobs).get_mut(job_id) {
            job.evaluation = None;
        }
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

    /// Deletes the keys of a job that has ended. If Redis is unavailable they stay, which costs memory only.
    pub async fn delete_queue(&self, job_id: &JobId) {
        let stream = GroupStream::new(self.redis.clone(), job_id, String::new());
        match tokio::time::timeout(DELETE_TIMEOUT, stream.delete()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%job_id, %error, "the queue of an ended job stays in redis"),
            Err(_) => warn!(%job_id, "the queue of an ended job stays in redis"),
        }
    }

    /// The number of groups in the queue, and of groups that were dropped as too old.
    pub fn queue_figures(&self, job_id: &JobId) -> (u64, u64) {
        self.with_training(job_id, |training| {
            (training.leases.queued_groups(), training.leases.stale_groups())
        })
        .unwrap_or_default()
    }

    fn with_training<T>(&self, job_id: &JobId, action: impl FnOnce(&mut TrainingSession) -> T) -> Option<T> {
        let mut jobs = lock(&self.jobs);
        jobs.get_mut(job_id)?.training.as_mut().map(action)
    }

    async fn wait_for_redis(&self, backoff: &mut Backoff) {
        tokio::time::sleep(backoff.pause()).await;
        self.redis.wait_until_up().await;
    }
}

/// Opens the keys and brings them in line with the recovery checkpoint, which decides: groups that it holds leave the
/// queue, and groups that were settled as trained although it lacks them may come again.
async fn open_and_settle(stream: &GroupStream, opening: &TrainingOpening) -> Result<Survey, RedisUnavailable> {
    let survey = stream.open().await?;
    let is_below = |sequence: &u64| *sequence < opening.next_sequence_from;
    let is_consumed = |sequence: &u64| is_below(sequence) || opening.consumed.contains(sequence);

    let consumed: Vec<u64> = survey.queued.iter().copied().filter(is_consumed).collect();
    stream.settle(&consumed, Settlement::Trained).await?;
    // Below the lowest open sequence nothing needs to be remembered.
    let settled: BTreeSet<u64> = [&survey.trained, &survey.stale, &survey.skipped]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    let is_untrue = |sequence: &u64| survey.trained.contains(sequence) && !is_consumed(sequence);
    let forgotten: Vec<u64> = settled
        .into_iter()
        .filter(|sequence| is_below(sequence) || is_untrue(sequence))
        .collect();
    stream.settle(&forgotten, Settlement::Forgotten).await?;
    Ok(survey)
}

/// The lowest version of any token of a group.
fn oldest_version(group: &v1::ScoredGroup) -> WeightsVersion {
    let mut oldest = u64::MAX;
    for trace in &group.traces {
        let thinking = trace.thinking.iter();
        let summaries = trace
            .nodes
            .iter()
            .flat_map(|node| &node.summaries)
            .filter_map(|it| it.generated.as_ref());
        for generated in thinking.chain(summaries) {
            oldest = generated.versions.iter().copied().fold(oldest, u64::min);
        }
    }
    WeightsVersion(if oldest == u64::MAX { 0 } else { oldest })
}
