//! `JobService`, which clients call. Longer than 500 lines because it has every method of the service.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anytime_proto::generations::{Kept, LookupError, ProblemHead};
use anytime_proto::settings::{InvalidSetting, JobSettings, check_resumed, with_defaults};
use anytime_proto::v1::job_service_server::JobService;
use anytime_proto::{JobId, checkpoint_accounts, invalid_setting_status, v1};
use anytime_service::security::connection_is_old;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::info;

use super::pages::page;
use super::status;
use super::stream::{ReplyStream, reply_stream};
use super::submissions::{Submissions, check_size};
use super::who;
use crate::hub::{self, Ears, HubSource};
use crate::jobs::checked::CheckedJob;
use crate::jobs::deletion::{self, count_deletion};
use crate::jobs::entry::JobEntry;
use crate::jobs::export_request::{ExportJob, ExportRequest};
use crate::jobs::fork::{self, TakeStart};
use crate::jobs::forking;
use crate::jobs::registry::JobRegistry;
use crate::queue::dead_letters::ListedLetter;
use crate::rollouts::broker::RolloutBroker;

/// How many events are read at once for a watcher.
const EVENTS_PER_READ: usize = 500;

/// How many events may wait for a watcher's connection.
const EVENTS_AHEAD: usize = 64;

/// How many checks and exports read files at the same time. Others wait their turn, without a thread.
const CHECKS_AT_ONCE: usize = 4;

/// How many submissions and checks fetch from the Hugging Face hub at the same time. Others wait, without a thread, and hold
/// up no check of files that are here.
const FETCHES_AT_ONCE: usize = 2;

/// How many checks and exports are under way or wait. Further ones are refused.
const MOST_CHECKS: usize = 1024;

/// How many watchers there are at a time. Further ones are refused.
const MOST_WATCHERS: usize = 4096;

/// Checks a specification against the files that it names (relative paths start at the last argument) and against what was
/// fetched of the Hugging Face hub, and fills its defaults in.
pub type Validate =
    Arc<dyn Fn(&v1::JobSpec, &[v1::HubInput], &Path) -> Result<CheckedJob, InvalidSetting> + Send + Sync>;

/// What the rest of the process does for requests about jobs.
pub struct JobWork {
    /// Checks a specification.
    pub validate: Validate,
    /// Writes a recovery checkpoint as a model.
    pub export: ExportJob,
    /// Makes the start of another job of one.
    pub take_start: TakeStart,
    /// Where jobs run, for those that wait.
    pub device: String,
    /// Where the Hugging Face hub is.
    pub hub: HubSource,
}

/// `JobService` over the registry: it submits, lists, cancels and watches jobs, and reads what evaluations generated.
pub struct JobsRpc {
    registry: Arc<JobRegistry>,
    broker: Arc<RolloutBroker>,
    validate: Validate,
    export: ExportJob,
    take_start: TakeStart,
    device: String,
    hub: HubSource,
    root: PathBuf,
    shutdown: CancellationToken,
    fetches: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    /// One permit for each check or export that runs or waits.
    admitted_checks: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    submissions: Submissions,
}

impl JobsRpc {
    /// The service over a registry; relative paths of specifications start at `root`.
    pub fn new(
        registry: Arc<JobRegistry>,
        broker: Arc<RolloutBroker>,
        work: JobWork,
        root: PathBuf,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            registry,
            broker,
            validate: work.validate,
            export: work.export,
            take_start: work.take_start,
            device: work.device,
            hub: work.hub,
            root,
            shutdown,
            fetches: Arc::new(Semaphore::new(FETCHES_AT_ONCE)),
            checks: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            admitted_checks: Arc::new(Semaphore::new(MOST_CHECKS)),
            watchers: Arc::new(Semaphore::new(MOST_WATCHERS)),
            submissions: Submissions::default(),
        }
    }

    /// A place among those that check, export or fetch, or wait for their turn.
    fn admission(&self) -> Result<OwnedSemaphorePermit, Status> {
        let admitted = self.admitted_checks.clone().try_acquire_owned();
        admitted.map_err(|_| status::too_many("checks of job files and exports", MOST_CHECKS))
    }

    /// Fetches what a specification takes from the Hugging Face hub, and writes the commits into it. What `known` has is
    /// not asked for again. A fetch goes on where the client has gone: its next try finds what was fetched.
    async fn fetch(&self, spec: &mut v1::JobSpec, known: Vec<v1::HubInput>) -> Result<Vec<v1::HubInput>, Status> {
        let settings = JobSettings::try_new(spec).map_err(|error| status::refused_spec(spec, &error))?;
        if !hub::is_needed(&settings) {
            return Ok(Vec::new());
        }
        let admitted = self.admission()?;
        let permit = self.fetches.clone().acquire_owned().await;
        let permit = permit.map_err(|error| status::internal(&anyhow::Error::new(error)))?;
        let (source, shutdown) = (self.hub.clone(), self.shutdown.clone());
        let fetch = move || {
            let _permits = (admitted, permit);
            let ears = Ears {
                stop: &|| shutdown.is_cancelled(),
                say: &|text| info!("{text}"),
            };
            hub::fetch(&source, &settings, &known, &ears)
        };
        let inputs = blocking(fetch).await?;
        if self.shutdown.is_cancelled() {
            return Err(status::shutting_down());
        }
        let inputs = inputs.map_err(|error| status::refused_spec(spec, &error))?;
        hub::pin(spec, &inputs);
        Ok(inputs)
    }

    /// The right to check one specification, or to export one model, now. Waits for it, unless too many wait already.
    async fn check_permit(&self) -> Result<[OwnedSemaphorePermit; 2], Status> {
        let admitted = self.admission()?;
        let permit = self.checks.clone().acquire_owned().await;
        let permit = permit.map_err(|error| status::internal(&anyhow::Error::new(error)))?;
        Ok([admitted, permit])
    }

    /// A job as a client is told of it.
    fn told(&self, entry: &JobEntry) -> v1::Job {
        let mut job = entry.job();
        if job.state() == v1::JobState::Queued {
            self.registry.line().tell(&mut job, &self.device);
        }
        job
    }

    fn entry(&self, job_id: String) -> Result<Arc<JobEntry>, Status> {
        let job_id = JobId(job_id);
        self.registry.get(&job_id).ok_or_else(|| status::unknown_job(&job_id))
    }
}

#[tonic::async_trait]
impl JobService for JobsRpc {
    type WatchStream = ReplyStream<v1::JobEvent>;

    async fn submit(&self, request: Request<v1::SubmitJobRequest>) -> Result<Response<v1::Job>, Status> {
        let request = request.into_inner();
        who::check_id("request_id", &request.request_id)?;
        check_size(request.spec.as_ref())?;
        // A client that lost its connection asks again while the first check is still under way.
        let turn = self.submissions.of(&request.request_id).lock_owned().await;
        if let Some(entry) = self.registry.of_request(&request.request_id) {
            return Ok(Response::new(self.told(&entry)));
        }
        let mut spec = request.spec.ok_or_else(status::spec_is_missing)?;
        let inputs = self.fetch(&mut spec, Vec::new()).await?;
        let (registry, validate, root) = (self.registry.clone(), self.validate.clone(), self.root.clone());
        let take_start = self.take_start.clone();
        // The check reads the model and the data. It goes on where the client has gone: its next try finds the job.
        let permit = self.check_permit().await?;
        let submit = move || {
            let _turn_and_permit = (turn, permit);
            let fork = forking::take(&registry, &take_start, &mut spec, true);
            let fork = fork.map_err(|error| status::fork(&spec, &error))?;
            let checked = forking::check(fork, &spec, |spec| validate(spec, &inputs, &root));
            let checked = checked.map_err(|error| status::refused_spec(&spec, &error))?;
            let entry = registry.create(&request.request_id, &spec, &checked);
            entry.map_err(|error| status::create(&error))
        };
        let entry = blocking(submit).await??;
        Ok(Response::new(self.told(&entry)))
    }

    async fn check(&self, request: Request<v1::CheckJobRequest>) -> Result<Response<v1::JobCheck>, Status> {
        let spec = request.into_inner().spec;
        check_size(spec.as_ref())?;
        let mut spec = spec.ok_or_else(status::spec_is_missing)?;
        let inputs = self.fetch(&mut spec, Vec::new()).await?;
        let (registry, validate, root) = (self.registry.clone(), self.validate.clone(), self.root.clone());
        let take_start = self.take_start.clone();
        let permit = self.check_permit().await?;
        let check = move || {
            let _permit = permit;
            let fork = forking::take(&registry, &take_start, &mut spec, false);
            let fork = fork.map_err(|error| status::fork(&spec, &error))?;
            let checked = forking::check(fork, &spec, |spec| validate(spec, &inputs, &root)).and_then(|checked| {
                registry.check_output(&checked.settings)?;
                Ok(checked)
            });
            let checked = checked.map_err(|error| status::refused_spec(&spec, &error))?;
            Ok::<_, Status>(checked.found)
        };
        Ok(Response::new(blocking(check).await??))
    }

    async fn get(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::Job>, Status> {
        let entry = self.entry(request.into_inner().job_id)?;
        Ok(Response::new(self.told(&entry)))
    }

    async fn list(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let line = self.registry.line();
        let told = |mut job: v1::Job| {
            line.tell(&mut job, &self.device);
            job
        };
        let page = page(&self.registry.list(), &request.into_inner(), told);
        page.map(Response::new)
            .map_err(|(field, sentence)| status::bad_argument(field, sentence))
    }

    async fn delete(&self, request: Request<v1::DeleteJobRequest>) -> Result<Response<v1::DeleteJobResponse>, Status> {
        let request = request.into_inner();
        let entry = self.entry(request.job_id)?;
        // A task of its own goes on where the caller's deadline passes. The answer waits for the queue, because the id is
        // free again then, and not for the files.
        let removal = deletion::delete(
            self.registry.clone(),
            self.broker.clone(),
            entry.clone(),
            request.with_models,
        );
        let removed = tokio::spawn(removal)
            .await
            .map_err(|error| status::internal(&anyhow::Error::new(error)))?;
        let models = removed.map_err(|error| status::remove(entry.id(), &error))?;
        count_deletion("request");
        Ok(Response::new(v1::DeleteJobResponse { models }))
    }

    async fn cancel(&self, request: Request<v1::CancelJobRequest>) -> Result<Response<v1::Job>, Status> {
        let entry = self.entry(request.into_inner().job_id)?;
        let registry = self.registry.clone();
        let cancelled = entry.clone();
        let cancel = move || {
            // Its queue is deleted by its name, which is another job's once this one is removed.
            let in_use = (cancelled.in_use()).ok_or_else(|| status::unknown_job(cancelled.id()))?;
            let keeps_queue = cancelled.cancel().map_err(|error| status::internal(&error))?;
            registry.count();
            Ok::<_, Status>((keeps_queue, in_use))
        };
        // One that its thread works on is cleared by the thread.
        let (keeps_queue, _in_use) = blocking(cancel).await??;
        if keeps_queue {
            self.broker.delete_queue(entry.id()).await;
        }
        Ok(Response::new(self.told(&entry)))
    }

    async fn resume(&self, request: Request<v1::ResumeJobRequest>) -> Result<Response<v1::Job>, Status> {
        let request = request.into_inner();
        check_size(request.spec.as_ref())?;
        let entry = self.entry(request.job_id)?;
        let (registry, validate, root) = (self.registry.clone(), self.validate.clone(), self.root.clone());
        let resumed = entry.clone();
        // Changed settings are checked against the model and the data, as those of a submission are.
        let (mut inputs, mut permit) = (Vec::new(), None);
        let mut spec = request.spec;
        if let Some(spec) = &mut spec {
            let known = entry.job().hub;
            // The job's own file names a branch, and means the commit that this was.
            hub::pin(spec, &known);
            fork::pin(spec, &entry.job().spec.unwrap_or_default());
            let changed = changed_spec(&entry, spec).map_err(|error| invalid_setting_status(&error))?;
            if changed.is_some() {
                inputs = self.fetch(spec, known).await?;
            }
            permit = Some(self.check_permit().await?);
        }
        let resume = move || {
            let _permit = permit;
            let changed = match &spec {
                Some(spec) => changed_spec(&resumed, spec).map_err(|error| invalid_setting_status(&error))?,
                None => None,
            };
            if let Some(spec) = &changed {
                let check = |placed: &v1::JobSpec| validate(placed, &inputs, &root);
                forking::check_again(spec, resumed.directory(), check)
                    .map_err(|error| status::refused_spec(spec, &error))?;
            }
            let outcome = registry.resume(&resumed, changed);
            outcome.map_err(|error| status::resume(resumed.id(), error))
        };
        blocking(resume).await??;
        Ok(Response::new(self.told(&entry)))
    }

    async fn export(&self, request: Request<v1::ExportJobRequest>) -> Result<Response<v1::ExportJobResponse>, Status> {
        let request = request.into_inner();
        let entry = self.entry(request.job_id)?;
        let export = self.export.clone();
        // An export holds a whole model in memory.
        let permit = self.check_permit().await?;
        let work = move || {
            let _permit = permit;
            let _in_use = entry.in_use().ok_or_else(|| status::unknown_job(entry.id()))?;
            let exported = export(&ExportRequest {
                job: entry.job(),
                directory: entry.directory().to_owned(),
                step: request.step,
                output: request.output,
            });
            exported.map_err(|error| status::export(&error))
        };
        let (step, directory) = blocking(work).await??;
        Ok(Response::new(v1::ExportJobResponse {
            step,
            directory: directory.display().to_string(),
        }))
    }

    async fn watch(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let is_old = connection_is_old(&request);
        let request = request.into_inner();
        let entry = self.entry(request.job_id)?;
        let shutdown = self.shutdown.clone();
        let place = self.watchers.clone().try_acquire_owned();
        let place = place.map_err(|_| status::too_many("watchers of jobs", MOST_WATCHERS))?;
        let events = reply_stream(EVENTS_AHEAD, |sender| async move {
            let _place = place;
            tokio::select! {
                outcome = send_events(&entry, request.after, &sender) => outcome,
                () = shutdown.cancelled() => Err(status::shutting_down()),
                () = is_old => Err(status::old_connection()),
            }
        });
        Ok(Response::new(events))
    }

    async fn account(&self, request: Request<v1::AccountRequest>) -> Result<Response<v1::JobAccount>, Status> {
        let entry = self.entry(request.into_inner().job_id)?;
        // The queue is read first. A group that is trained meanwhile then shows in both, where the other order could
        // miss it.
        let queue = self.broker.account(entry.id());
        let read = move || {
            let checkpoints = checkpoint_accounts(entry.directory())?;
            let (undone_steps, damaged_bytes) = entry.undone_and_damaged();
            Ok::<_, std::io::Error>(v1::JobAccount {
                last_event: entry.last_event(),
                checkpoints: checkpoints.into_iter().map(v1::CheckpointAccount::from).collect(),
                queue,
                undone_steps,
                damaged_bytes,
            })
        };
        let account = blocking(read).await?;
        Ok(Response::new(account.map_err(|error| status::internal(&error.into()))?))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let entry = self.entry(request.into_inner().job_id)?;
        let letters = self.broker.dead_letters(entry.id()).await;
        let letters = letters.map_err(|error| status::redis_unavailable(&error))?;
        Ok(Response::new(v1::ListDeadLettersResponse {
            letters: letters.iter().map(dead_letter).collect(),
        }))
    }

    async fn get_dead_letter(
        &self,
        request: Request<v1::GetDeadLetterRequest>,
    ) -> Result<Response<v1::GetDeadLetterResponse>, Status> {
        let request = request.into_inner();
        let entry = self.entry(request.job_id)?;
        let found = self.broker.dead_letter(entry.id(), request.sequence).await;
        let found = found.map_err(|error| status::redis_unavailable(&error))?;
        let (letter, group) = found.ok_or_else(|| status::no_dead_letter(entry.id(), request.sequence))?;
        Ok(Response::new(v1::GetDeadLetterResponse {
            letter: Some(dead_letter(&letter)),
            group,
        }))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<v1::ReplayDeadLettersRequest>,
    ) -> Result<Response<v1::ReplayDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let entry = self.entry(request.job_id)?;
        let answer = self.broker.replay(entry.id(), &request.sequences).await;
        let answer = answer.map_err(|error| status::redis_unavailable(&error))?;
        answer
            .map(Response::new)
            .ok_or_else(|| status::does_not_train(entry.id()))
    }

    async fn generations(
        &self,
        request: Request<v1::GenerationsRequest>,
    ) -> Result<Response<v1::GenerationsResponse>, Status> {
        let request = request.into_inner();
        let entry = self.entry(request.job_id)?;
        let job_id = entry.id().clone();
        let read = move || {
            let kept = Kept::find(entry.directory(), request.step)?;
            let mut response = v1::GenerationsResponse {
                step: kept.step,
                ..Default::default()
            };
            match &request.problem {
                Some(problem) => response.line = kept.line(problem)?,
                None => response.problems = kept.problems()?.iter().map(ProblemHead::to_json).collect(),
            }
            Ok::<_, LookupError>(response)
        };
        let response = blocking(read).await?;
        Ok(Response::new(
            response.map_err(|error| status::lookup(&job_id, &error))?,
        ))
    }
}

fn dead_letter(listed: &ListedLetter) -> v1::DeadLetter {
    let letter = listed.letter.clone();
    v1::DeadLetter {
        sequence: letter.sequence,
        problem_id: letter.problem_id,
        actor_id: letter.actor_id,
        reason: letter.reason,
        deliveries: letter.deliveries,
        left_out_at: Some((UNIX_EPOCH + Duration::from_millis(listed.unix_ms)).into()),
        group_bytes: listed.group_bytes,
    }
}

/// The specification that a job is resumed with; none where nothing differs from its own.
fn changed_spec(entry: &JobEntry, spec: &v1::JobSpec) -> Result<Option<v1::JobSpec>, InvalidSetting> {
    let own = entry.job().spec.unwrap_or_default();
    let wanted = with_defaults(spec);
    let has_changed = check_resumed(&own, &wanted)?;
    Ok(has_changed.then_some(wanted))
}

/// Sends the events after a number, then new ones, until the job has ended or the watcher is gone. The watcher's pace
/// does not matter: what it has not seen is read again, in the end from disk.
async fn send_events(entry: &Arc<JobEntry>, mut after: u64, sender: &mpsc::Sender<v1::JobEvent>) -> Result<(), Status> {
    let mut progress = entry.subscribe();
    loop {
        let seen = *progress.borrow_and_update();
        while after < seen.last_event {
            let reader = entry.clone();
            let read = move || {
                let events = reader.events_after(after, EVENTS_PER_READ);
                let was_removed = if events.is_err() {
                    reader.was_removed()
                } else {
                    reader.is_removed()
                };
                (events, was_removed)
            };
            let (events, was_removed) = blocking(read).await?;
            // What was read may be another job's of the same name, if anything.
            if was_removed {
                return Err(status::unknown_job(entry.id()));
            }
            let events = events.map_err(|error| status::internal(&error))?;
            let Some(last) = events.last() else {
                break;
            };
            after = last.number;
            for event in events {
                if sender.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
        if seen.ended {
            return Ok(());
        }
        tokio::select! {
            // The sender lives in the entry.
            _ = progress.changed() => {}
            () = sender.closed() => return Ok(()),
        }
    }
}

/// Runs work that waits for the disk on a thread where it holds no other request up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| status::internal(&anyhow::Error::new(error)))
}
