//! What happens beside the requests: time passes, and Redis goes away and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anytime_proto::JobId;
use anytime_service::metric_names::{LEARNER_LEASED, LEARNER_QUEUE_DEPTH};
use metrics::gauge;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::broker::RolloutBroker;
use crate::lock::lock;
use crate::queue::redis::RedisUnavailable;
use crate::queue::stream::GroupStream;

/// How often leases are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How often Redis is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Pause between two tries to reach Redis.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Takes leases back as time passes, until the process ends.
pub async fn watch_leases(broker: Arc<RolloutBroker>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = broker.shutdown.cancelled() => return,
            _ = interval.tick() => {}
        }
        broker.tick(Instant::now());
        let (leased, queued) = broker.levels();
        gauge!(LEARNER_LEASED).set(leased as f64);
        gauge!(LEARNER_QUEUE_DEPTH).set(queued as f64);
    }
}

/// Notices when Redis goes away, and brings the lease tables in line with it when it is back, until the process ends.
pub async fn watch_redis(broker: Arc<RolloutBroker>) {
    loop {
        let is_up = broker.redis.is_up();
        tokio::select! {
            () = broker.shutdown.cancelled() => return,
            () = tokio::time::sleep(PING_EVERY), if is_up => {}
            () = broker.redis.wait_until_down(), if is_up => {}
            () = tokio::time::sleep(RETRY_EVERY), if !is_up => {}
        }
        if !broker.redis.is_up() {
            // An error has been logged when it went down; it is tried again.
            let _ = broker.put_right().await;
            continue;
        }
        if broker.redis.ping().await.is_ok() {
            broker.settle_skipped().await;
        }
    }
}

impl RolloutBroker {
    /// Brings every open queue in line with what Redis holds after an outage.
    async fn put_right(&self) -> Result<(), RedisUnavailable> {
        self.redis.ping().await?;
        let streams: Vec<(JobId, GroupStream)> = {
            let jobs = lock(&self.jobs);
            let trainings = jobs
                .iter()
                .filter_map(|(job_id, job)| Some((job_id.clone(), job.training.as_ref()?)));
            trainings
                .map(|(job_id, training)| (job_id, training.stream.clone()))
                .collect()
        };
        for (job_id, stream) in streams {
            let survey = stream.open().await?;
            let mut jobs = lock(&self.jobs);
            let Some(training) = jobs.get_mut(&job_id).and_then(|job| job.training.as_mut()) else {
                continue;
            };
            let lost = training.leases.reconcile(&survey.queued, Instant::now());
            if lost > 0 {
                warn!(%job_id, groups = lost, "redis lost groups of the queue, they are leased again");
            }
        }
        self.redis.mark_up();
        self.changed.notify_waiters();
        Ok(())
    }
}
