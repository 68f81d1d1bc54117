//! All jobs of this learner, and the order in which they run.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use anytime_proto::settings::{JobSettings, with_defaults};
use anytime_proto::v1::{self, JobState};
use anytime_proto::{JobId, ShortName as _};
use anytime_service::metric_names::LEARNER_JOBS;
use metrics::gauge;
use tokio::sync::Notify;
use tracing::info;

use super::entry::JobEntry;
use super::events::{EventLog, timestamp};
use super::store::{JobStore, StoredJob, events_path};
use crate::lock::lock;

#[derive(Default)]
struct Jobs {
    by_id: BTreeMap<JobId, Arc<JobEntry>>,
    by_request: HashMap<String, JobId>,
    /// In the order in which they run.
    waiting: VecDeque<JobId>,
}

/// All jobs of this learner by id, and the queue of those that wait for their turn. Requests submit to it and look jobs
/// up; the thread that runs jobs takes them from it one by one.
pub struct JobRegistry {
    store: JobStore,
    jobs: Mutex<Jobs>,
    /// A job may have begun to wait.
    submitted: Notify,
}

impl JobRegistry {
    /// Loads the jobs of earlier runs: the one that ran goes on first, then those that waited, in their order.
    ///
    /// # Errors
    /// If the runs directory cannot be used, or another learner uses it.
    pub fn open(runs_directory: &Path) -> anyhow::Result<Self> {
        let store = JobStore::open(runs_directory)?;
        let entries: Vec<Arc<JobEntry>> = store
            .load()?
            .into_iter()
            .map(|stored| Arc::new(JobEntry::new(stored)))
            .collect();
        let mut jobs = Jobs::default();
        for state in [JobState::Running, JobState::Queued] {
            let waiting = entries.iter().filter(|entry| entry.state() == state);
            jobs.waiting.extend(waiting.map(|entry| entry.id().clone()));
        }
        info!(jobs = entries.len(), waiting = jobs.waiting.len(), "loaded jobs");
        for entry in entries {
            jobs.insert(entry);
        }
        let registry = Self {
            store,
            jobs: Mutex::new(jobs),
            submitted: Notify::new(),
        };
        registry.count();
        Ok(registry)
    }

    /// The job that a request submitted before.
    pub fn of_request(&self, request_id: &str) -> Option<Arc<JobEntry>> {
        let jobs = lock(&self.jobs);
        let job_id = jobs.by_request.get(request_id)?;
        jobs.by_id.get(job_id).cloned()
    }

    /// Creates a job and lets it wait for its turn; a request that submitted one before gets that one. Writes to disk.
    ///
    /// # Errors
    /// If the disk refuses; nothing is left behind then.
    pub fn create(
        &self,
        request_id: &str,
        spec: &v1::JobSpec,
        settings: &JobSettings,
    ) -> anyhow::Result<Arc<JobEntry>> {
        // Held over the writing, so that two submissions at once get two ids and one request gets one job.
        let mut jobs = lock(&self.jobs);
        let known = jobs
            .by_request
            .get(request_id)
            .and_then(|job_id| jobs.by_id.get(job_id));
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let total_steps = if settings.kind == v1::JobKind::Evaluate {
            0
        } else {
            settings.training.steps
        };
        let mut job = v1::Job {
            spec: Some(with_defaults(spec)),
            state: JobState::Queued.into(),
            created: Some(timestamp()),
            total_steps,
            ..v1::Job::default()
        };
        let directory = self
            .store
            .create(&settings.name, &mut job, request_id)
            .context("create the job")?;
        let log = EventLog::open(&events_path(&directory))?;
        let entry = Arc::new(JobEntry::new(StoredJob {
            job,
            request_id: request_id.to_owned(),
            directory,
            log,
            was_cancelled: false,
        }));
        entry.announce();
        jobs.waiting.push_back(entry.id().clone());
        jobs.insert(entry.clone());
        drop(jobs);
        info!(job_id = %entry.id(), kind = settings.kind.short_name(), "queued a job");
        self.count();
        self.submitted.notify_one();
        Ok(entry)
    }

    /// A job by its id.
    pub fn get(&self, job_id: &JobId) -> Option<Arc<JobEntry>> {
        lock(&self.jobs).by_id.get(job_id).cloned()
    }

    /// All jobs, newest first.
    pub fn list(&self) -> Vec<Arc<JobEntry>> {
        let mut entries: Vec<Arc<JobEntry>> = lock(&self.jobs).by_id.values().cloned().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.created()));
        entries
    }

    /// The next job whose turn it is; waits for one.
    pub async fn next(&self) -> Arc<JobEntry> {
        loop {
            // `notify_one` keeps its permit for a waiter that comes later: nothing is missed in between.
            let submitted = self.submitted.notified();
            let next = {
                let mut jobs = lock(&self.jobs);
                jobs.waiting
                    .pop_front()
                    .and_then(|job_id| jobs.by_id.get(&job_id).cloned())
            };
            if let Some(entry) = next {
                return entry;
            }
            submitted.await;
        }
    }

    /// Sets the metric of jobs by state. To be called after every change of a job's state.
    pub fn count(&self) {
        let jobs = lock(&self.jobs);
        let states: Vec<JobState> = jobs.by_id.values().map(|entry| entry.state()).collect();
        drop(jobs);
        for state in [
            JobState::Queued,
            JobState::Running,
            JobState::Succeeded,
            JobState::Failed,
            JobState::Cancelled,
        ] {
            let count = states.iter().filter(|other| **other == state).count();
            gauge!(LEARNER_JOBS, "state" => state.short_name()).set(count as f64);
        }
    }
}

impl Jobs {
    fn insert(&mut self, entry: Arc<JobEntry>) {
        if !entry.request_id().is_empty() {
            self.by_request
                .insert(entry.request_id().to_owned(), entry.id().clone());
        }
        self.by_id.insert(entry.id().clone(), entry);
    }
}
