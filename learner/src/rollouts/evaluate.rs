//! The side of the broker that evaluates: it opens an evaluation and hands its groups over one by one, as they come.

use anyhow::Context as _;
use anytime_proto::{JobId, v1};
use anytime_service::clock;

use super::broker::RolloutBroker;
use super::evaluation_leases::EvaluationLeases;
use super::group::EvaluatedGroup;
use crate::lock::lock;

impl RolloutBroker {
    /// Leases groups out for evaluation. Until it is closed no training problem of the job is leased.
    pub fn open_evaluation(&self, job_id: &JobId, leases: Vec<v1::Lease>) {
        let evaluation = EvaluationLeases::new(leases, clock::now());
        lock(&self.jobs).entry(job_id.clone()).or_default().evaluation = Some(evaluation);
        self.changed.notify_waiters();
    }

    /// The next group of the evaluation, in the order in which they come; waits for it. None once every group was taken
    /// or has failed too often. `progress` is told the number of finished groups and of all groups.
    ///
    /// Actors push no more than may wait (see [`EvaluationLeases::is_full`]) until groups are taken.
    ///
    /// # Errors
    /// If the evaluation is closed.
    pub async fn next_evaluated(
        &self,
        job_id: &JobId,
        progress: &mut impl FnMut(u32, u32),
    ) -> anyhow::Result<Option<EvaluatedGroup>> {
        loop {
            let (changed, arrived) = (self.changed.notified(), self.arrived.notified());
            tokio::pin!(changed, arrived);
            // From here on no notification is missed, although the wait begins below.
            changed.as_mut().enable();
            arrived.as_mut().enable();

            let (taken, was_full, is_over, (done, total)) = {
                let mut jobs = lock(&self.jobs);
                let evaluation = jobs.get_mut(job_id).and_then(|job| job.evaluation.as_mut());
                let evaluation = evaluation.context("the evaluation was closed")?;
                let was_full = evaluation.is_full();
                let progress = evaluation.progress();
                (evaluation.take(), was_full, evaluation.is_over(), progress)
            };
            if was_full {
                self.changed.notify_waiters();
            }
            progress(done, total);
            if taken.is_some() {
                return Ok(taken);
            }
            if is_over {
                return Ok(None);
            }
            tokio::select! {
                () = changed => {}
                () = arrived => {}
            }
        }
    }

    /// Ends an evaluation, also one that is not over.
    pub fn close_evaluation(&self, job_id: &JobId) {
        if let Some(job) = lock(&self.jobs).get_mut(job_id) {
            job.evaluation = None;
        }
        self.changed.notify_waiters();
    }
}
