//! Old jobs go by themselves, where the learner was told how many to keep, or for how long. Only jobs that are over for good
//! go (succeeded or cancelled): a failed one may be resumed, and all others go on. No model goes with a job: one whose
//! directory holds models stays until somebody deletes it. A job that starts from another one has taken what it needs of
//! that already ([`fork`](super::fork)).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anytime_proto::v1::JobState;
use anytime_service::metric_names::LEARNER_JOBS_KEPT_FOR_MODELS;
use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::deletion::{begin_counting, count_deletion, delete};
use super::entry::JobEntry;
use super::registry::JobRegistry;
use super::removal::{RemoveError, models_of};
use crate::rollouts::broker::RolloutBroker;

/// How often old jobs are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Which jobs that are over are kept; all of them by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// So many of those that ended last.
    pub jobs: Option<usize>,
    /// Those that ended no longer ago.
    pub age: Option<Duration>,
}

/// A job that is over for good, with the time of its end.
struct Ended<T> {
    job: T,
    at: SystemTime,
}

impl Retention {
    /// Those that are not kept, the oldest first. A job goes where either limit says so.
    fn surplus<T>(self, mut ended: Vec<Ended<T>>, now: SystemTime) -> Vec<T> {
        ended.sort_by_key(|one| one.at);
        let beyond = self.jobs.map_or(0, |most| ended.len().saturating_sub(most));
        let is_too_old = |at: SystemTime| {
            // A clock that was put back makes nothing old.
            let age = now.duration_since(at).unwrap_or_default();
            self.age.is_some_and(|longest| age > longest)
        };
        let numbered = ended.into_iter().enumerate();
        let surplus = numbered.filter(|(place, one)| *place < beyond || is_too_old(one.at));
        surplus.map(|(_, one)| one.job).collect()
    }

    fn keeps_all(self) -> bool {
        self == Self::default()
    }
}

/// Looks for old jobs and deletes them, until the process is to end. Returns at once where all are kept.
pub async fn watch(
    retention: Retention,
    registry: Arc<JobRegistry>,
    broker: Arc<RolloutBroker>,
    shutdown: CancellationToken,
) {
    begin_counting();
    gauge!(LEARNER_JOBS_KEPT_FOR_MODELS).set(0.0);
    if retention.keeps_all() {
        return;
    }
    loop {
        delete_old(retention, &registry, &broker).await;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn delete_old(retention: Retention, registry: &Arc<JobRegistry>, broker: &Arc<RolloutBroker>) {
    let of = registry.clone();
    let look = move || {
        let over = of.list().into_iter().filter_map(is_over).collect();
        let surplus = retention.surplus(over, SystemTime::now());
        let (holding, bare): (Vec<_>, Vec<_>) = surplus.into_iter().partition(holds_models);
        gauge!(LEARNER_JOBS_KEPT_FOR_MODELS).set(holding.len() as f64);
        bare
    };
    let Ok(surplus) = tokio::task::spawn_blocking(look).await else {
        return;
    };
    for entry in surplus {
        let job_id = entry.id().clone();
        match delete(registry.clone(), broker.clone(), entry, false).await {
            Ok(_) => {
                info!(%job_id, "an old job is deleted (--keep-jobs, --keep-jobs-for)");
                count_deletion("retention");
            }
            // It is being exported, or somebody was faster.
            Err(RemoveError::IsInUse(_) | RemoveError::IsGone(_) | RemoveError::IsNotOver { .. }) => {}
            Err(error) => warn!(%job_id, error = format!("{error:#}"), "an old job stays"),
        }
    }
}

fn is_over(entry: Arc<JobEntry>) -> Option<Ended<Arc<JobEntry>>> {
    let is_for_good = matches!(entry.state(), JobState::Succeeded | JobState::Cancelled);
    let (seconds, nanos) = entry.ended().filter(|_| is_for_good)?;
    let since_epoch = Duration::new(seconds.try_into().ok()?, nanos.try_into().ok()?);
    Some(Ended {
        job: entry,
        at: SystemTime::UNIX_EPOCH + since_epoch,
    })
}

/// A directory that cannot be listed may hold some.
fn holds_models(entry: &Arc<JobEntry>) -> bool {
    models_of(entry.directory()).map_or(true, |models| !models.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surplus(retention: Retention, ended: &[u64]) -> Vec<u64> {
        let epoch = SystemTime::UNIX_EPOCH;
        let ended = ended.iter().map(|at| Ended {
            job: *at,
            at: epoch + Duration::from_secs(*at),
        });
        retention.surplus(ended.collect(), epoch + Duration::from_secs(100))
    }

    #[test]
    fn the_oldest_go_first_and_either_limit_counts() {
        let of = |jobs, age| Retention {
            jobs,
            age: Option::map(age, Duration::from_secs),
        };
        let ended = [50, 10, 90, 30];
        assert_eq!(surplus(of(None, None), &ended), [0; 0]);
        assert_eq!(surplus(of(Some(2), None), &ended), [10, 30]);
        assert_eq!(surplus(of(Some(4), None), &ended), [0; 0]);
        assert_eq!(surplus(of(Some(0), None), &ended), [10, 30, 50, 90]);
        assert_eq!(
            surplus(of(None, Some(50)), &ended),
            [10, 30],
            "50 seconds are not too old"
        );
        assert_eq!(surplus(of(Some(1), Some(80)), &ended), [10, 30, 50]);
        // By a clock that runs ahead of this one.
        assert_eq!(surplus(of(None, Some(1)), &[200]), [0; 0]);
    }
}
