//! Work beside the requests: expiring leases, and noticing when Redis goes away and comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anytime_proto::JobId;
use anytime_service::clock;
use anytime_service::metric_names::{
    LEARNER_ACTORS, LEARNER_LEASED, LEARNER_QUEUE_DEPTH, LEARNER_QUEUE_OLDEST, LEARNER_REFUSED_IN_A_ROW,
};
use metrics::gauge;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::broker::RolloutBroker;
use super::outcomes;
use super::progress::Ending;
use crate::lock::lock;
use crate::queue::groups::GroupQueue;
use crate::queue::redis::RedisUnavailable;

/// How often leases are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How often Redis is pinged.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Pause between two tries to reach Redis.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Takes leases back as time passes, until the process ends.
pub async fn watch_leases(broker: Arc<RolloutBroker>) {
    // From the start, so that the first leases that run out are an increase: the alert ActorsLost needs that.
    outcomes::count("expired", 0);
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = broker.shutdown.cancelled() => return,
            _ = interval.tick() => {}
        }
        broker.tick(clock::now());
        let (leased, queued) = broker.levels();
        gauge!(LEARNER_LEASED).set(leased as f64);
        gauge!(LEARNER_QUEUE_DEPTH).set(queued as f64);
        gauge!(LEARNER_QUEUE_OLDEST).set(broker.longest_wait(clock::now()).as_secs_f64());
        gauge!(LEARNER_ACTORS).set(broker.actors.connected() as f64);
        gauge!(LEARNER_REFUSED_IN_A_ROW).set(broker.actors.most_refused() as f64);
    }
}

/// Notices when Redis goes away, and brings the lease tables in line with it when it is back, until the process ends.
pub async fn watch_redis(broker: Arc<RolloutBroker>) {
    let mut doubtful = BTreeSet::new();
    loop {
        let is_up = broker.redis.is_up();
        tokio::select! {
            () = broker.shutdown.cancelled() => return,
            () = tokio::time::sleep(PING_EVERY), if is_up => {}
            () = broker.redis.wait_until_down(), if is_up => {}
            () = tokio::time::sleep(RETRY_EVERY), if !is_up => {}
        }
        if !broker.redis.is_up() {
            // An error was logged when the connection went down; this is tried again.
            let _ = broker.put_right().await;
            continue;
        }
        if broker.redis.ping().await.is_ok() && broker.renew_rights().await.is_ok() {
            broker.bury().await;
            broker.delete_ended_queues().await;
            // An error has been logged, and the connection is down.
            let _ = broker.look_for_strays(&mut doubtful).await;
        }
    }
}

impl RolloutBroker {
    /// Brings every open queue in line with what Redis holds after an outage.
    async fn put_right(&self) -> Result<(), RedisUnavailable> {
        self.redis.ping().await?;
        // A right that ran out while Redis was away may be another learner's now.
        self.renew_rights().await?;
        for (job_id, queue) in self.open_queues() {
            self.bring_in_line(&job_id, &queue).await?;
        }
        self.redis.mark_up();
        self.changed.notify_waiters();
        Ok(())
    }

    /// Repairs queues whose length is not what the lease table says although no command failed: Redis came back with
    /// older data behind a connection that held, somebody else wrote or deleted entries, or a push was interrupted
    /// between Redis and the table. A queue is repaired only if it differs twice in a row, since pushes go on
    /// meanwhile.
    async fn look_for_strays(&self, doubtful: &mut BTreeSet<JobId>) -> Result<(), RedisUnavailable> {
        let mut doubted_now = BTreeSet::new();
        for (job_id, queue) in self.open_queues() {
            let before = self.groups_in_queue(&job_id);
            let length = queue.length().await?;
            let after = self.groups_in_queue(&job_id);
            let (Some(before), Some(after)) = (before, after) else {
                continue;
            };
            if length >= before.min(after) && length <= before.max(after) {
                continue;
            }
            if doubtful.contains(&job_id) {
                self.bring_in_line(&job_id, &queue).await?;
                self.changed.notify_waiters();
            } else {
                doubted_now.insert(job_id);
            }
        }
        *doubtful = doubted_now;
        Ok(())
    }

    /// How many groups the queue of a job holds by the lease table. None where training is not open.
    fn groups_in_queue(&self, job_id: &JobId) -> Option<u64> {
        let jobs = lock(&self.jobs);
        let training = jobs.get(job_id)?.training.as_ref()?;
        Some(training.leases.queued_groups() + training.leases.taken_groups())
    }

    /// The queues of jobs that train, and that no other learner has taken.
    fn open_queues(&self) -> Vec<(JobId, GroupQueue)> {
        let jobs = lock(&self.jobs);
        let trainings = jobs
            .iter()
            .filter_map(|(job_id, job)| Some((job_id.clone(), job.training.as_ref()?)));
        trainings
            .map(|(job_id, training)| (job_id, training.queue.clone()))
            .filter(|(_, queue)| queue.fence().lost_to().is_none())
            .collect()
    }

    /// Reads what Redis knows of a job's sequences, and brings table and queue in line.
    async fn bring_in_line(&self, job_id: &JobId, queue: &GroupQueue) -> Result<(), RedisUnavailable> {
        let _correcting = self.correcting.lock().await;
        let queued_before = {
            let jobs = lock(&self.jobs);
            let training = jobs.get(job_id).and_then(|job| job.training.as_ref());
            training.map(|training| training.leases.queued().clone())
        };
        let survey = queue.open().await?;
        let (reconciled, replayed) = {
            let mut jobs = lock(&self.jobs);
            let training = jobs.get_mut(job_id).and_then(|job| job.training.as_mut());
            let (Some(training), Some(before)) = (training, queued_before) else {
                return Ok(());
            };
            let replayed = training.leases.replayed_among(&survey.skipped);
            (
                training.leases.reconcile(&before, &survey.queued, clock::now()),
                replayed,
            )
        };
        for sequence in replayed {
            queue.dig_up(sequence).await?;
            warn!(%job_id, sequence, "redis came back with the dead letter of a group that was replayed, removed it again");
        }
        if reconciled.lost > 0 {
            warn!(%job_id, groups = reconciled.lost, "redis lost groups of the queue, they are leased again");
        }
        if reconciled.ended.is_empty() {
            return Ok(());
        }
        for ending in [Ending::Trained, Ending::Stale, Ending::Skipped] {
            let sequences: Vec<u64> = reconciled
                .ended
                .iter()
                .filter(|(_, of_group)| *of_group == ending)
                .map(|(sequence, _)| *sequence)
                .collect();
            queue.settle(&sequences, ending.into()).await?;
        }
        let groups = reconciled.ended.len() as u64;
        warn!(%job_id, groups, "redis came back with groups that had left the queue, deleted them again");
        outcomes::count("back", groups);
        Ok(())
    }

    /// Deletes the queues of jobs that ended while Redis was away.
    async fn delete_ended_queues(&self) {
        let ended = lock(&self.undeleted_queues).clone();
        for job_id in ended {
            self.delete_queue(&job_id).await;
        }
    }
}
