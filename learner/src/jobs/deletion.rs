//! All that goes with a job that is over: its entry, what Redis holds of it, and its files.

use std::sync::Arc;

use anyhow::Context as _;
use anytime_service::metric_names::LEARNER_DELETED_JOBS;
use metrics::counter;
use tracing::warn;

use super::entry::JobEntry;
use super::registry::JobRegistry;
use super::removal::RemoveError;
use crate::rollouts::broker::RolloutBroker;

/// Who deletes jobs, as the label of the metric says it.
const BY: [&str; 2] = ["request", "retention"];

/// Removes a job that is over, and returns the models that went with it. Ends when its name is free again; its files may take
/// minutes more.
///
/// # Errors
/// As [`JobRegistry::remove`].
pub async fn delete(
    registry: Arc<JobRegistry>,
    broker: Arc<RolloutBroker>,
    entry: Arc<JobEntry>,
    with_models: bool,
) -> Result<Vec<String>, RemoveError> {
    let (of, taken) = (registry.clone(), entry.clone());
    let removal = tokio::task::spawn_blocking(move || of.remove(&taken, with_models));
    let removed = removal.await.context("remove a job")??;
    let models = removed.models.clone();
    broker.forget(entry.id()).await;
    registry.is_forgotten(entry.id());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = removed.delete_files() {
            let error = format!("{error:#}");
            warn!(job_id = %entry.id(), error, "files of a removed job are left, and deleted at the next start");
        }
    });
    Ok(models)
}

/// Counts a job that was deleted.
pub fn count_deletion(by: &'static str) {
    counter!(LEARNER_DELETED_JOBS, "by" => by).increment(1);
}

/// Lets the counts exist from the start.
pub(super) fn begin_counting() {
    for by in BY {
        counter!(LEARNER_DELETED_JOBS, "by" => by).increment(0);
    }
}
