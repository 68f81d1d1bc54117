//! All jobs of this learner, and the order in which they run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use anytime_proto::settings::{InvalidSetting, JobSettings, with_defaults};
use anytime_proto::v1::{self, JobState};
use anytime_proto::{JobId, ShortName as _};
use anytime_service::metric_names::{LEARNER_DAMAGED_FILES, LEARNER_FIGURES_REFUSED, LEARNER_JOBS};
use metrics::{counter, gauge};
use tokio::sync::Notify;
use tracing::info;

use super::checked::CheckedJob;
use super::entry::JobEntry;
use super::events::{EventLog, timestamp};
use super::files::{METRICS_FILE, TENSORBOARD_DIRECTORY, events_path};
use super::line::Line;
use super::pauses::ResumeError;
use super::removal::{RemoveError, RemovedJob, models_of, set_aside};
use super::staged::Staged;
use super::store::{JobStore, StoredJob};
use super::turns::{Turn, Turns};
use crate::lock::lock;
use crate::outputs::Places;

/// Why a job was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Another job writes to the same place.
    #[error(transparent)]
    Refused(#[from] InvalidSetting),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] anyhow::Error),
}

#[derive(Default)]
struct Jobs {
    by_id: BTreeMap<JobId, Arc<JobEntry>>,
    by_request: HashMap<String, JobId>,
    /// Removed jobs whose queues are still in Redis: no new job takes such a name, or its queue would be deleted.
    leaving: BTreeSet<JobId>,
    turns: Turns<JobId>,
}

/// All jobs of this learner by id, and the queue of those that wait for their turn. Requests submit to it and look jobs
/// up; the thread that runs jobs takes them from it one by one.
pub struct JobRegistry {
    store: JobStore,
    places: Places,
    /// Held by whoever creates, removes or resumes a job, also while the disk works: one at a time.
    turn: Mutex<()>,
    /// Held for moments only, by whoever looks a job up as well.
    jobs: Mutex<Jobs>,
    /// A job may have begun to wait.
    submitted: Notify,
}

impl JobRegistry {
    /// Loads the jobs of earlier runs: those that ran or were to be tried again go on first, then those that waited, by
    /// their priorities and in their order. Those that wait for a person go on waiting.
    ///
    /// # Errors
    /// If the runs directory cannot be used, or another learner uses it.
    pub fn open(places: Places) -> anyhow::Result<Self> {
        let store = JobStore::open(&places.runs_directory)?;
        // They exist from the start, because an alert looks at their increase.
        for what in ["events", "recovery", "job"] {
            counter!(LEARNER_DAMAGED_FILES, "what" => what).increment(0);
        }
        for file in [METRICS_FILE, TENSORBOARD_DIRECTORY] {
            counter!(LEARNER_FIGURES_REFUSED, "file" => file).increment(0);
        }
        let entries: Vec<Arc<JobEntry>> = store
            .load()?
            .into_iter()
            .map(|stored| Arc::new(JobEntry::new(stored)))
            .collect();
        for entry in &entries {
            entry.make_up_for_figures();
        }
        let mut jobs = Jobs::default();
        let began = |entry: &&Arc<JobEntry>| entry.goes_on_at_start();
        let queued = |entry: &&Arc<JobEntry>| entry.state() == JobState::Queued;
        for entry in entries.iter().filter(began) {
            jobs.turns.go_on(entry.id().clone());
        }
        for entry in entries.iter().filter(queued) {
            jobs.turns.wait(entry.id().clone(), entry.priority());
        }
        info!(
            jobs = entries.len(),
            waiting = jobs.turns.waiting().len(),
            "loaded jobs"
        );
        for entry in entries {
            jobs.insert(entry);
        }
        let registry = Self {
            store,
            places,
            turn: Mutex::new(()),
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
    /// If another job writes its model to the same place, or the disk refuses; nothing is left behind then.
    pub fn create(
        &self,
        request_id: &str,
        spec: &v1::JobSpec,
        checked: &CheckedJob,
    ) -> Result<Arc<JobEntry>, CreateError> {
        let settings = &checked.settings;
        // So that two submissions at once get two ids and one request gets one job.
        let turn = lock(&self.turn);
        if let Some(known) = self.of_request(request_id) {
            return Ok(known);
        }
        self.check_output(settings)?;
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
            hub: checked.found.hub.clone(),
            forked_from: checked.fork.as_ref().map(|fork| fork.from.clone()),
            ..v1::Job::default()
        };
        let directory = self
            .store
            .create(
                &settings.name,
                &mut job,
                request_id,
                (&checked.files, checked.fork.as_ref().and_then(|fork| fork.staged())),
                &|id| lock(&self.jobs).leaving.contains(id),
            )
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
        // Before it may start: its start checks again, and notes what is not noted yet.
        for notice in &checked.found.notices {
            entry.notice(&notice.topic, &notice.text);
        }
        let mut jobs = lock(&self.jobs);
        jobs.turns.wait(entry.id().clone(), settings.priority);
        jobs.insert(entry.clone());
        drop(jobs);
        drop(turn);
        info!(job_id = %entry.id(), kind = settings.kind.short_name(), "queued a job");
        self.count();
        self.submitted.notify_one();
        Ok(entry)
    }

    /// Checks that no unfinished job writes its model to the same place as the job to be submitted.
    ///
    /// # Errors
    /// `checkpoint.output`, with the other job.
    pub fn check_output(&self, settings: &JobSettings) -> Result<(), InvalidSetting> {
        let output = settings.checkpoint.output.as_deref();
        lock(&self.jobs).check_output(&self.places, output, None)
    }

    /// A directory for what a job is to begin with that does not exist yet.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn stage(&self) -> anyhow::Result<Staged> {
        self.store.stage()
    }

    /// Who waits for a turn, and for whom.
    pub fn line(&self) -> Line {
        let jobs = lock(&self.jobs);
        let is_paused = |job_id: &JobId| jobs.state_of(job_id) == Some(JobState::Paused);
        let at_work = jobs.by_id.values().find(|entry| entry.is_held());
        let kept = jobs.turns.kept(Instant::now(), is_paused);
        // What ended while it waited is taken out when its turn comes.
        let waits = |job_id: &&JobId| {
            let state = jobs.state_of(job_id);
            matches!(state, Some(JobState::Queued | JobState::Running | JobState::Paused))
        };
        Line {
            waiting: jobs.turns.waiting().filter(waits).cloned().collect(),
            holds_up: match (at_work, kept) {
                (Some(entry), _) => Some((entry.id().clone(), entry.state())),
                (None, Some(job_id)) => Some((job_id.clone(), JobState::Paused)),
                (None, None) => None,
            },
        }
    }

    /// A job by its id.
    pub fn get(&self, job_id: &JobId) -> Option<Arc<JobEntry>> {
        lock(&self.jobs).by_id.get(job_id).cloned()
    }

    /// Removes a job that is over. Its files are left to delete, which may take minutes, and its name is free only once
    /// [`is_forgotten`](Self::is_forgotten) says so.
    ///
    /// # Errors
    /// If it is not over or in use, holds models that are to stay, or the disk refuses.
    pub fn remove(&self, entry: &Arc<JobEntry>, with_models: bool) -> Result<RemovedJob, RemoveError> {
        // So that nobody resumes it meanwhile.
        let turn = lock(&self.turn);
        let (models, aside) = entry.remove(|| {
            let models = models_of(entry.directory())?;
            if !models.is_empty() && !with_models {
                return Err(RemoveError::HasModels {
                    id: entry.id().clone(),
                    models,
                });
            }
            Ok((models, set_aside(entry.directory())?))
        })?;
        let mut jobs = lock(&self.jobs);
        jobs.by_id.remove(entry.id());
        jobs.leaving.insert(entry.id().clone());
        jobs.by_request.retain(|_, job_id| job_id != entry.id());
        drop(jobs);
        drop(turn);
        info!(job_id = %entry.id(), ?models, "removed a job");
        self.count();
        Ok(RemovedJob::new(models, aside))
    }

    /// Nothing is left of a removed job outside of its files, so that another job may have its name.
    pub fn is_forgotten(&self, job_id: &JobId) {
        lock(&self.jobs).leaving.remove(job_id);
    }

    /// All jobs, newest first, and by id where they are of the same time.
    pub fn list(&self) -> Vec<Arc<JobEntry>> {
        let mut entries: Vec<Arc<JobEntry>> = lock(&self.jobs).by_id.values().cloned().collect();
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.created()), entry.id().clone()));
        entries
    }

    /// The next job whose turn it is; waits for one.
    pub async fn next(&self) -> Arc<JobEntry> {
        loop {
            // `notify_one` keeps its permit for a waiter that comes later: nothing is missed in between.
            let submitted = self.submitted.notified();
            let turn = lock(&self.jobs).next(Instant::now());
            match turn {
                Turn::Run(entry) => return entry,
                Turn::WaitUntil(time) => {
                    tokio::select! {
                        () = submitted => {}
                        () = tokio::time::sleep_until(time.into()) => {}
                    }
                }
                Turn::Wait => submitted.await,
            }
        }
    }

    /// The thread of jobs has begun with this one.
    pub(super) fn begun(&self, job_id: &JobId) {
        lock(&self.jobs).turns.begun(job_id);
    }

    /// Tries a paused job again after this time.
    pub(super) fn try_again(&self, job_id: &JobId, pause: Duration) {
        lock(&self.jobs).turns.try_again(job_id.clone(), pause, Instant::now());
    }

    /// Lets a failed or paused job wait for its turn again.
    ///
    /// # Errors
    /// If it has ended for good, its settings cannot change now, or another job writes its model to the same place.
    pub fn resume(&self, entry: &Arc<JobEntry>, spec: Option<v1::JobSpec>) -> Result<(), ResumeError> {
        // So that two calls queue the job once.
        let turn = lock(&self.turn);
        let output = match &spec {
            Some(spec) => spec
                .checkpoint
                .as_ref()
                .and_then(|checkpoint| checkpoint.output.clone()),
            None => entry.output(),
        };
        lock(&self.jobs).check_output(&self.places, output.as_deref(), Some(entry.id()))?;
        if entry.resume(spec)? {
            // A retry that was due meanwhile may have begun with it, and then it has had its turn.
            let mut jobs = lock(&self.jobs);
            if entry.state() == JobState::Queued {
                jobs.turns.wait(entry.id().clone(), entry.priority());
            }
            drop(jobs);
            info!(job_id = %entry.id(), "a job is resumed");
        }
        drop(turn);
        self.count();
        self.submitted.notify_one();
        Ok(())
    }

    /// Notes that the process was told to end, so that the job that runs is not counted as having ended it.
    pub fn note_shutdown(&self) {
        for entry in self.list() {
            if entry.state() == JobState::Running {
                entry.suspend();
            }
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
            JobState::Paused,
        ] {
            let count = states.iter().filter(|other| **other == state).count();
            gauge!(LEARNER_JOBS, "state" => state.short_name()).set(count as f64);
        }
    }
}

impl Jobs {
    /// Refuses two jobs with one place for their models. Without this the second would find out when it starts, hours
    /// later, or even when it has trained. A failed job does not count until it is resumed.
    fn check_output(&self, places: &Places, output: Option<&str>, own: Option<&JobId>) -> Result<(), InvalidSetting> {
        let Some((output, place)) = output.and_then(|output| Some((output, places.resolve(output)?))) else {
            return Ok(());
        };
        for entry in self.by_id.values().filter(|entry| Some(entry.id()) != own) {
            let state = entry.state();
            let is_alive = matches!(state, JobState::Queued | JobState::Running | JobState::Paused);
            let theirs = if is_alive { entry.output() } else { None };
            let Some(theirs) = theirs.and_then(|theirs| places.resolve(&theirs)) else {
                continue;
            };
            if theirs.starts_with(&place) || place.starts_with(&theirs) {
                let reason = format!(
                    "it must not be, hold or lie in the place where another job writes its model, and job {}, which is \
                     {}, writes to {}; choose another place, or cancel that job",
                    entry.id(),
                    state.short_name(),
                    theirs.display()
                );
                return Err(InvalidSetting::new("checkpoint.output", output, reason));
            }
        }
        Ok(())
    }

    fn state_of(&self, job_id: &JobId) -> Option<JobState> {
        self.by_id.get(job_id).map(|entry| entry.state())
    }

    /// The job whose turn it is.
    fn next(&mut self, now: Instant) -> Turn<Arc<JobEntry>> {
        let by_id = &self.by_id;
        let is_paused = |job_id: &JobId| by_id.get(job_id).is_some_and(|entry| entry.state() == JobState::Paused);
        loop {
            match self.turns.next(now, is_paused) {
                Turn::Run(job_id) => {
                    if let Some(entry) = by_id.get(&job_id) {
                        return Turn::Run(entry.clone());
                    }
                }
                Turn::WaitUntil(time) => return Turn::WaitUntil(time),
                Turn::Wait => return Turn::Wait,
            }
        }
    }

    fn insert(&mut self, entry: Arc<JobEntry>) {
        if !entry.request_id().is_empty() {
            self.by_request
                .insert(entry.request_id().to_owned(), entry.id().clone());
        }
        self.by_id.insert(entry.id().clone(), entry);
    }
}
