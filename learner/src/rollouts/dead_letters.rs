//! Dead letters at the broker: what could not be trained goes to Redis, people read it there, and what they replay is
//! leased again.

use anytime_proto::{JobId, v1};
use anytime_service::clock;
use tracing::{info, warn};

use super::broker::RolloutBroker;
use crate::lock::lock;
use crate::queue::dead_letters::ListedLetter;
use crate::queue::groups::{GroupQueue, Settlement};
use crate::queue::redis::RedisUnavailable;

impl RolloutBroker {
    /// Writes the letters that Redis does not hold yet. A failed write is tried again; if the learner restarts before
    /// that, the groups are leased again.
    pub(super) async fn bury(&self) {
        let unwritten: Vec<_> = {
            let jobs = lock(&self.jobs);
            let trainings = jobs
                .iter()
                .filter_map(|(job_id, job)| Some((job_id, job.training.as_ref()?)));
            let letters = trainings.flat_map(|(job_id, training)| {
                let of_job = training.letters().iter();
                of_job.map(|letter| (job_id.clone(), training.queue.clone(), letter.clone()))
            });
            letters.collect()
        };
        for (job_id, queue, letter) in unwritten {
            match queue.bury(&letter).await {
                Ok(()) => {
                    if let Some(training) = lock(&self.jobs).get_mut(&job_id).and_then(|job| job.training.as_mut()) {
                        training.is_buried(letter.sequence);
                    }
                }
                Err(error) => warn!(%job_id, letter.sequence, %error, "a dead letter is not recorded yet"),
            }
        }
    }

    /// The dead letters of a job, the oldest first, whether it trains or not.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn dead_letters(&self, job_id: &JobId) -> Result<Vec<ListedLetter>, RedisUnavailable> {
        self.letters_of(job_id).dead_letters().await
    }

    /// The dead letter of a sequence, with its group. None where there is none.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn dead_letter(
        &self,
        job_id: &JobId,
        sequence: u64,
    ) -> Result<Option<(ListedLetter, Vec<u8>)>, RedisUnavailable> {
        self.letters_of(job_id).dead_letter(sequence).await
    }

    /// Deletes all keys of a job that was removed. Where Redis is unavailable, its queue is deleted later, and its letters
    /// run out by themselves.
    pub async fn forget(&self, job_id: &JobId) {
        if self.queue_to_delete(job_id).forget().await.is_err() {
            self.delete_queue(job_id).await;
        }
    }

    /// The queue of a job, for reads that do not need the right to it.
    pub(super) fn letters_of(&self, job_id: &JobId) -> GroupQueue {
        let jobs = lock(&self.jobs);
        let training = jobs.get(job_id).and_then(|job| job.training.as_ref());
        let queue = training.map(|training| training.queue.clone());
        drop(jobs);
        queue.unwrap_or_else(|| self.queue_to_delete(job_id))
    }

    /// Has the problems of dead letters leased again. The answer says of each what came of it; there is none where the job does
    /// not train.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn replay(
        &self,
        job_id: &JobId,
        sequences: &[u64],
    ) -> Result<Option<v1::ReplayDeadLettersResponse>, RedisUnavailable> {
        let queue = lock(&self.jobs)
            .get(job_id)
            .and_then(|job| job.training.as_ref())
            .map(|training| training.queue.clone());
        let Some(queue) = queue else {
            return Ok(None);
        };
        let _correcting = self.correcting.lock().await;
        let mut response = v1::ReplayDeadLettersResponse::default();
        let dead = queue.dead_sequences().await?;
        for sequence in sequences {
            let refusal = if dead.contains(sequence) {
                // The letter goes first, so that no letter is of a group that may be trained.
                queue.dig_up(*sequence).await?;
                let mut jobs = lock(&self.jobs);
                let training = jobs.get_mut(job_id).and_then(|job| job.training.as_mut());
                match training.map(|training| training.replay(*sequence)) {
                    Some(true) => None,
                    Some(false) => Some("it is not left out"),
                    None => Some("the job has stopped training"),
                }
            } else {
                Some("the job has no dead letter of it")
            };
            match refusal {
                None => {
                    info!(%job_id, sequence, "a dead letter was replayed: its problem is leased again");
                    response.replayed.push(*sequence);
                }
                Some(reason) => response.not_replayed.push(v1::NotReplayed {
                    sequence: *sequence,
                    reason: reason.to_owned(),
                }),
            }
        }
        self.changed.notify_waiters();
        Ok(Some(response))
    }

    /// The queue holds a group that cannot be trained: it is leased again, or becomes a dead letter.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub(super) async fn refuse_queued(
        &self,
        job_id: &JobId,
        queue: &GroupQueue,
        sequence: u64,
        problem: &str,
        payload: &[u8],
    ) -> Result<(), RedisUnavailable> {
        // It leaves the queue first: after a crash between the two steps it counts as never having come.
        queue.settle(&[sequence], Settlement::Forgotten).await?;
        if let Some(training) = lock(&self.jobs).get_mut(job_id).and_then(|job| job.training.as_mut()) {
            training.refuse_queued(sequence, problem, payload, clock::now());
        }
        self.bury().await;
        self.changed.notify_waiters();
        Ok(())
    }
}
