//! The rights of this learner to its jobs, where several learners share one Redis.

use std::sync::Arc;

use anytime_proto::JobId;
use anytime_service::channel::Backoff;
use anytime_service::clock;
use tracing::{error, warn};

use super::broker::RolloutBroker;
use crate::lock::lock;
use crate::queue::fence::{Fence, HeldByAnother};
use crate::queue::groups::GroupQueue;
use crate::queue::redis::RedisUnavailable;

impl RolloutBroker {
    /// The queue of a job, with this learner's right to it. `owner` tells the job from an earlier one of its name.
    pub(super) fn queue_of(&self, job_id: &JobId, owner: String) -> GroupQueue {
        let fence = self.fence_of(job_id);
        GroupQueue::new(self.redis.clone(), self.cluster(), job_id, owner, fence)
    }

    /// The queue of a job that is over, to be deleted. Where another learner works on a job of that name, the queue is
    /// not this learner's.
    pub(super) fn queue_to_delete(&self, job_id: &JobId) -> GroupQueue {
        let own = lock(&self.fences).get(job_id).cloned();
        // A new fence is not stored, because every stored one is renewed.
        let fence = own.unwrap_or_else(|| self.new_fence(job_id));
        GroupQueue::new(self.redis.clone(), self.cluster(), job_id, String::new(), fence)
    }

    fn fence_of(&self, job_id: &JobId) -> Arc<Fence> {
        let mut fences = lock(&self.fences);
        fences
            .entry(job_id.clone())
            .or_insert_with(|| self.new_fence(job_id))
            .clone()
    }

    fn new_fence(&self, job_id: &JobId) -> Arc<Fence> {
        Arc::new(Fence::new(self.redis.clone(), self.cluster(), job_id, self.name()))
    }

    /// Takes the right to a job, before its queue is touched. Waits while Redis is unavailable.
    ///
    /// # Errors
    /// If another learner has it.
    pub async fn take_right(&self, job_id: &JobId) -> Result<(), HeldByAnother> {
        let fence = self.fence_of(job_id);
        let mut backoff = Backoff::default();
        loop {
            match fence.take().await {
                Ok(outcome) => return outcome,
                Err(_) => self.wait_for_redis(&mut backoff).await,
            }
        }
    }

    /// Makes sure that nobody else has the right to a job that this learner has taken, before something is written that
    /// another learner's work would contradict. Waits for Redis where it has not been heard of for too long.
    ///
    /// # Errors
    /// If another learner has it.
    pub async fn confirm_right(&self, job_id: &JobId) -> Result<(), HeldByAnother> {
        let Some(fence) = lock(&self.fences).get(job_id).cloned() else {
            return Ok(());
        };
        if let Some(rival) = fence.lost_to() {
            return Err(rival);
        }
        if fence.is_certain(clock::now()) {
            return Ok(());
        }
        self.take_right(job_id).await
    }

    /// Gives the right to a job back when its thread has let go of it.
    pub async fn give_right_back(&self, job_id: &JobId) {
        let fence = lock(&self.fences).remove(job_id);
        if let Some(fence) = fence
            && let Err(error) = fence.give_back().await
        {
            warn!(%job_id, %error, "the right to a job is not given back; it runs out by itself");
        }
    }

    /// Renews all rights. Where another learner has taken one, that is logged once, and the job stops.
    pub(super) async fn renew_rights(&self) -> Result<(), RedisUnavailable> {
        let fences: Vec<(JobId, Arc<Fence>)> = lock(&self.fences)
            .iter()
            .map(|(job_id, fence)| (job_id.clone(), fence.clone()))
            .collect();
        for (job_id, fence) in fences {
            if fence.lost_to().is_some() {
                continue;
            }
            if let Err(rival) = fence.take().await? {
                error!(%job_id, address = rival.address, "another learner has taken a job of this one, which stops");
                self.changed.notify_waiters();
            }
        }
        Ok(())
    }
}
