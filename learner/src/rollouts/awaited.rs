//! Reports the group that the trainer waits for, in metrics and at intervals in the log, so that a stall names its
//! group and the actor that has it.

use std::time::{Duration, Instant};

use anytime_proto::JobId;
use anytime_service::metric_names::{LEARNER_AWAITED_GROUP, LEARNER_AWAITED_SECONDS};
use metrics::gauge;
use tracing::warn;

use super::lease_table::NextToTrain;
use super::session::training_group_id;

/// A wait is logged after this time, and again each time that it has lasted as long again.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// How long the trainer has waited for one group.
#[derive(Default)]
pub(super) struct AwaitedGroup {
    wait: Option<Wait>,
}

struct Wait {
    sequence: u64,
    since: Instant,
    next_log: Instant,
}

impl AwaitedGroup {
    /// The trainer waits for this group, which is not in the queue.
    pub(super) fn still_waits(&mut self, job_id: &JobId, next: &NextToTrain, now: Instant) {
        let sequence = next.sequence();
        if self.wait.as_ref().is_none_or(|wait| wait.sequence != sequence) {
            self.wait = Some(Wait {
                sequence,
                since: now,
                next_log: now + LOG_EVERY,
            });
        }
        let Some(wait) = &mut self.wait else {
            return;
        };
        let waited = now.duration_since(wait.since).as_secs_f64();
        gauge!(LEARNER_AWAITED_GROUP).set(sequence as f64);
        gauge!(LEARNER_AWAITED_SECONDS).set(waited);
        if now < wait.next_log {
            return;
        }
        wait.next_log = now + LOG_EVERY;
        let group_id = training_group_id(job_id, sequence);
        match next {
            NextToTrain::Leased(_, actor_id, since) => {
                let held = now.duration_since(*since).as_secs_f64();
                warn!(%job_id, %group_id, %actor_id, waited, held, "the trainer waits for a group that an actor has");
            }
            NextToTrain::Free(_) | NextToTrain::Queued(_) => {
                warn!(%job_id, %group_id, waited, "the trainer waits for a group that no actor has leased");
            }
        }
    }

    /// The group is in the queue.
    pub(super) fn is_there(&mut self, sequence: u64) {
        self.wait = None;
        gauge!(LEARNER_AWAITED_GROUP).set(sequence as f64);
        gauge!(LEARNER_AWAITED_SECONDS).set(0.0);
    }
}

impl Drop for AwaitedGroup {
    /// The batch is complete, or the job was interrupted.
    fn drop(&mut self) {
        gauge!(LEARNER_AWAITED_SECONDS).set(0.0);
    }
}
