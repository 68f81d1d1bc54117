//! A job service that plays a script instead of training.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anytime_proto::generations::{Kept, ProblemHead};
use anytime_proto::settings::{InvalidSetting, JobSettings, with_defaults};
use anytime_proto::v1::job_event::Event;
use anytime_proto::v1::job_service_server::{JobService, JobServiceServer};
use anytime_proto::{Refusal, invalid_setting_status, refused_settings_status, v1};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status};

/// What the fake does with every job it gets.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The events that every watch sends, from the number asked for.
    pub(crate) events: Vec<v1::JobEvent>,
    /// Evaluations of the job once it has ended.
    pub(crate) evaluations: Vec<v1::EvaluationResult>,
    /// The state in which the job ends; a job that is running never ends unless it is cancelled.
    pub(crate) end: v1::JobState,
    /// After how many events each of the first watches breaks.
    pub(crate) breaks: VecDeque<usize>,
    /// What the first watches are refused with; the last one holds for all further watches.
    pub(crate) refusals: VecDeque<Option<Code>>,
    /// The number of the last event, as the account of a job says.
    pub(crate) last_event: u64,
    /// How many steps were undone, as the account of a job says.
    pub(crate) undone_steps: u64,
    /// How many submissions are refused because too many others are there.
    pub(crate) busy: usize,
    /// Whether submissions are not answered in time; they are made all the same.
    pub(crate) is_late: bool,
    /// The job directory whose kept generations every job has.
    pub(crate) job_directory: PathBuf,
}

impl Default for Script {
    fn default() -> Self {
        let evaluations = vec![evaluation(0, &[0.25, 0.5]), evaluation(2, &[0.75, 1.0])];
        let mut events = vec![
            Event::State(v1::StateChanged {
                state: v1::JobState::Running.into(),
                ..Default::default()
            }),
            Event::Evaluation(evaluations[0].clone()),
        ];
        events.extend((1..=2).map(|number| Event::Step(step(number))));
        events.push(Event::Evaluation(evaluations[1].clone()));
        let numbered = events.into_iter().zip(1..);
        let events = numbered
            .map(|(event, number)| v1::JobEvent {
                number,
                time: None,
                event: Some(event),
            })
            .collect();
        Self {
            events,
            evaluations,
            end: v1::JobState::Succeeded,
            breaks: VecDeque::new(),
            refusals: VecDeque::new(),
            last_event: 0,
            undone_steps: 0,
            busy: 0,
            is_late: false,
            job_directory: PathBuf::new(),
        }
    }
}

fn step(number: u64) -> v1::StepMetrics {
    v1::StepMetrics {
        step: number,
        reward_per_budget: vec![0.5, 0.75],
        generated_tokens_per_second: 100.0 * number as f64,
        step_seconds: 2.0,
        ..Default::default()
    }
}

fn evaluation(step: u64, accuracy: &[f64]) -> v1::EvaluationResult {
    v1::EvaluationResult {
        step,
        budgets: (1..=accuracy.len() as u32).map(|number| number * 6).collect(),
        accuracy: accuracy.to_vec(),
        ci95: vec![0.05; accuracy.len()],
        accuracy_low: accuracy.iter().map(|mean| mean - 0.04).collect(),
        accuracy_high: accuracy.iter().map(|mean| (mean + 0.02).min(1.0)).collect(),
        anytime: accuracy.iter().sum::<f64>() / accuracy.len() as f64,
        anytime_ci95: 0.04,
        anytime_low: 0.25,
        anytime_high: 0.9,
        r#final: *accuracy.last().unwrap(),
        mean_thinking_tokens: 10.0,
        problems: 32,
        samples: 4,
        seconds: 2.0,
        generated_tokens: 500,
        ..Default::default()
    }
}

#[derive(Debug, Default)]
struct State {
    jobs: Vec<v1::Job>,
    request_ids: Vec<String>,
    submissions: usize,
    watched_after: Vec<u64>,
    listed: Vec<v1::ListJobsRequest>,
}

#[derive(Clone)]
pub(crate) struct FakeLearner {
    script: Arc<Mutex<Script>>,
    state: Arc<Mutex<State>>,
    /// `host:port`
    pub(crate) address: String,
}

impl FakeLearner {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fake = Self {
            script: Arc::new(Mutex::new(script)),
            state: Arc::default(),
            address,
        };
        let server = tonic::transport::Server::builder().add_service(JobServiceServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        fake
    }

    /// What lists were asked for.
    pub(crate) fn listed(&self) -> Vec<v1::ListJobsRequest> {
        self.state.lock().unwrap().listed.clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often a job was submitted.
    pub(crate) fn submissions(&self) -> usize {
        self.state.lock().unwrap().submissions
    }

    pub(crate) fn jobs(&self) -> Vec<v1::Job> {
        self.state.lock().unwrap().jobs.clone()
    }

    pub(crate) fn add_job(&self, job: v1::Job) {
        self.state.lock().unwrap().jobs.push(job);
    }

    /// The `after` of every watch request so far.
    pub(crate) fn watched_after(&self) -> Vec<u64> {
        self.state.lock().unwrap().watched_after.clone()
    }

    fn job(&self, id: &str) -> Result<v1::Job, Status> {
        let found = self.jobs().into_iter().find(|job| job.id == id);
        found.ok_or_else(|| Status::not_found(format!("job {id} is unknown")))
    }

    /// What the next watch is refused with.
    fn refusal(&self) -> Option<Code> {
        let refusals = &mut self.script.lock().unwrap().refusals;
        if refusals.len() > 1 {
            return refusals.pop_front().flatten();
        }
        refusals.front().copied().flatten()
    }

    fn change(&self, id: &str, state: v1::JobState) {
        let mut guard = self.state.lock().unwrap();
        let job = guard.jobs.iter_mut().find(|job| job.id == id).unwrap();
        if job.state() != v1::JobState::Running && job.state() != v1::JobState::Queued {
            return;
        }
        job.set_state(state);
        if state == v1::JobState::Succeeded {
            job.step = 2;
            job.seconds = 4.0;
            job.checkpoint = "somewhere/final".to_owned();
            job.evaluations = self.script.lock().unwrap().evaluations.clone();
        }
        if state == v1::JobState::Failed {
            job.error = "the loss is not finite".to_owned();
        }
    }
}

type EventStream = Pin<Box<dyn Stream<Item = Result<v1::JobEvent, Status>> + Send>>;

/// The encoded group of the one dead letter.
const DEAD_GROUP: &[u8] = b"a group";

fn dead_letter() -> v1::DeadLetter {
    v1::DeadLetter {
        sequence: 7,
        problem_id: "p\x1b[2J7".to_owned(),
        actor_id: "a".to_owned(),
        reason: "traces[1].thinking: token id 10\nis too large".to_owned(),
        deliveries: 3,
        left_out_at: Some(std::time::UNIX_EPOCH.into()),
        group_bytes: DEAD_GROUP.len() as u64,
    }
}

#[tonic::async_trait]
impl JobService for FakeLearner {
    async fn submit(&self, request: Request<v1::SubmitJobRequest>) -> Result<Response<v1::Job>, Status> {
        let request = request.into_inner();
        self.state.lock().unwrap().submissions += 1;
        let spec = request.spec.unwrap_or_default();
        JobSettings::try_new(&spec).map_err(|error| invalid_setting_status(&error))?;
        if spec.model.as_ref().unwrap().path() == "missing" {
            let error = InvalidSetting::new("model.path", "missing", "it must be a directory");
            let other = InvalidSetting::new("training.clip", 0.25, "it must be less here");
            return Err(refused_settings_status(&error, &[other]));
        }
        let mut script = self.script.lock().unwrap();
        let is_late = script.is_late;
        if script.busy > 0 {
            script.busy -= 1;
            return Err(Refusal::of_crowd("there are 1024 checks already".to_owned())
                .retry_after(Duration::from_millis(20))
                .into_status());
        }
        let mut state = self.state.lock().unwrap();
        if let Some(index) = state.request_ids.iter().position(|id| *id == request.request_id) {
            return Ok(Response::new(state.jobs[index].clone()));
        }
        state.request_ids.push(request.request_id);
        let job = v1::Job {
            id: format!("{}-{}", spec.name(), state.jobs.len() + 1),
            spec: Some(with_defaults(&spec)),
            state: v1::JobState::Running.into(),
            total_steps: 2,
            ..Default::default()
        };
        state.jobs.push(job.clone());
        if is_late {
            return Err(Status::deadline_exceeded("no answer within 300 s"));
        }
        Ok(Response::new(job))
    }

    async fn check(&self, request: Request<v1::CheckJobRequest>) -> Result<Response<v1::JobCheck>, Status> {
        let spec = request.into_inner().spec.unwrap_or_default();
        JobSettings::try_new(&spec).map_err(|error| invalid_setting_status(&error))?;
        let path = spec.model.unwrap_or_default().path().to_owned();
        if path == "missing" {
            let error = InvalidSetting::new("model.path", "missing", "it must be a directory");
            return Err(invalid_setting_status(&error));
        }
        Ok(Response::new(v1::JobCheck {
            prompt_text: format!("a prompt of {path}"),
            prompt_ids: vec![3, 4],
            ..Default::default()
        }))
    }

    async fn get(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::Job>, Status> {
        self.job(&request.into_inner().job_id).map(Response::new)
    }

    async fn list(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        self.state.lock().unwrap().listed.push(request.into_inner());
        let jobs = self.jobs().into_iter().rev().collect();
        Ok(Response::new(v1::ListJobsResponse {
            jobs,
            next_page_token: String::new(),
        }))
    }

    async fn cancel(&self, request: Request<v1::CancelJobRequest>) -> Result<Response<v1::Job>, Status> {
        let id = request.into_inner().job_id;
        self.job(&id)?;
        self.change(&id, v1::JobState::Cancelled);
        self.job(&id).map(Response::new)
    }

    async fn resume(&self, request: Request<v1::ResumeJobRequest>) -> Result<Response<v1::Job>, Status> {
        let request = request.into_inner();
        let mut job = self.job(&request.job_id)?;
        let own = job.spec.clone().unwrap_or_default();
        let wanted = request.spec.unwrap_or_else(|| own.clone());
        anytime_proto::settings::check_resumed(&own, &wanted).map_err(|error| invalid_setting_status(&error))?;
        if !matches!(job.state(), v1::JobState::Failed | v1::JobState::Paused) {
            return Err(Status::failed_precondition(format!("job {} has not stopped", job.id)));
        }
        job.set_state(v1::JobState::Running);
        job.spec = Some(wanted);
        job.error.clear();
        let mut state = self.state.lock().unwrap();
        let place = state.jobs.iter().position(|known| known.id == job.id).unwrap();
        state.jobs[place] = job.clone();
        Ok(Response::new(job))
    }

    async fn export(&self, request: Request<v1::ExportJobRequest>) -> Result<Response<v1::ExportJobResponse>, Status> {
        let request = request.into_inner();
        self.job(&request.job_id)?;
        let step = request.step.unwrap_or(2);
        let directory = request.output.unwrap_or_else(|| format!("exports/step-{step:08}"));
        Ok(Response::new(v1::ExportJobResponse { step, directory }))
    }

    async fn account(&self, request: Request<v1::AccountRequest>) -> Result<Response<v1::JobAccount>, Status> {
        self.job(&request.into_inner().job_id)?;
        let script = self.script.lock().unwrap();
        Ok(Response::new(v1::JobAccount {
            last_event: script.last_event,
            undone_steps: script.undone_steps,
            ..v1::JobAccount::default()
        }))
    }

    async fn delete(&self, request: Request<v1::DeleteJobRequest>) -> Result<Response<v1::DeleteJobResponse>, Status> {
        let request = request.into_inner();
        self.job(&request.job_id)?;
        if !request.with_models {
            return Err(Status::failed_precondition(
                "the directory of the job holds models (final)",
            ));
        }
        Ok(Response::new(v1::DeleteJobResponse {
            models: vec!["final".to_owned()],
        }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        self.job(&request.into_inner().job_id)?;
        Ok(Response::new(v1::ListDeadLettersResponse {
            letters: vec![dead_letter()],
        }))
    }

    async fn get_dead_letter(
        &self,
        request: Request<v1::GetDeadLetterRequest>,
    ) -> Result<Response<v1::GetDeadLetterResponse>, Status> {
        self.job(&request.into_inner().job_id)?;
        Ok(Response::new(v1::GetDeadLetterResponse {
            letter: Some(dead_letter()),
            group: DEAD_GROUP.to_vec(),
        }))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<v1::ReplayDeadLettersRequest>,
    ) -> Result<Response<v1::ReplayDeadLettersResponse>, Status> {
        let request = request.into_inner();
        self.job(&request.job_id)?;
        let (replayed, others) = request.sequences.into_iter().partition(|sequence| *sequence == 7);
        let others: Vec<u64> = others;
        Ok(Response::new(v1::ReplayDeadLettersResponse {
            replayed,
            not_replayed: others
                .into_iter()
                .map(|sequence| v1::NotReplayed {
                    sequence,
                    reason: "the job has no dead letter of it".to_owned(),
                })
                .collect(),
        }))
    }

    async fn generations(
        &self,
        request: Request<v1::GenerationsRequest>,
    ) -> Result<Response<v1::GenerationsResponse>, Status> {
        let request = request.into_inner();
        self.job(&request.job_id)?;
        let directory = self.script.lock().unwrap().job_directory.clone();
        let not_found = |error: anytime_proto::generations::LookupError| Status::not_found(error.to_string());
        let kept = Kept::find(&directory, request.step).map_err(not_found)?;
        let (line, problems) = match &request.problem {
            Some(problem) => (kept.line(problem).map_err(not_found)?, Vec::new()),
            None => {
                let heads = kept.problems().map_err(not_found)?;
                (String::new(), heads.iter().map(ProblemHead::to_json).collect())
            }
        };
        let step = kept.step;
        Ok(Response::new(v1::GenerationsResponse { step, line, problems }))
    }

    type WatchStream = EventStream;

    async fn watch(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<EventStream>, Status> {
        let request = request.into_inner();
        self.job(&request.job_id)?;
        self.state.lock().unwrap().watched_after.push(request.after);
        if let Some(code) = self.refusal() {
            return Err(Status::new(code, "not this way"));
        }
        let (mut events, end, breaks_after) = {
            let mut script = self.script.lock().unwrap();
            (script.events.clone(), script.end, script.breaks.pop_front())
        };
        events.retain(|event| event.number > request.after);
        if let Some(count) = breaks_after {
            events.truncate(count);
            let broken = tokio_stream::once(Err(Status::unavailable("the learner went away")));
            return Ok(Response::new(Box::pin(
                tokio_stream::iter(events).map(Ok).chain(broken),
            )));
        }
        if end != v1::JobState::Running {
            self.change(&request.job_id, end);
            return Ok(Response::new(Box::pin(tokio_stream::iter(events).map(Ok))));
        }
        let never = tokio_stream::pending();
        Ok(Response::new(Box::pin(tokio_stream::iter(events).map(Ok).chain(never))))
    }
}
