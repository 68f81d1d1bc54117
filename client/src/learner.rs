//! Calls the learner's job service: every call has a deadline, and every error an exit code.

use std::time::Duration;

use anyhow::anyhow;
use anytime_proto::limits::{CALL_TIMEOUT, MAX_MESSAGE_BYTES};
use anytime_proto::settings::HubReference;
use anytime_proto::v1::diagnosis_service_client::DiagnosisServiceClient;
use anytime_proto::v1::job_service_client::JobServiceClient;
use anytime_proto::{StatusDetails, setting_of_status, v1};
use anytime_service::channel::{Backoff, PeerChannel, lazy_channel};
use anytime_service::exit::{self, ExitError};
use anytime_service::peer::with_deadline;
use anytime_service::security::CallSecurity;
use tonic::{Code, Status, Streaming};

use crate::arguments::{LearnerArgs, SecurityArgs};

/// Deadline of a submission: the learner reads the model's files, and the data for a bounded time, before it answers;
/// other submissions may come first.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(300);

/// Deadline of a submission that names something of the Hugging Face hub, which the learner fetches first.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3600);

/// Deadline of a look-up of generations: the learner reads a file that may hold gigabytes.
const GENERATIONS_TIMEOUT: Duration = Duration::from_secs(120);

/// Deadline of an export: the learner reads and writes a whole model.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(1800);

/// How often a submission is tried; the request id makes repeating it harmless.
const SUBMIT_TRIES: usize = 3;

/// The longest pause before the next try that a busy learner may ask for.
const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(10);

/// A connection to the learner.
#[derive(Clone, Debug)]
pub struct Learner {
    client: JobServiceClient<PeerChannel>,
    diagnosis: DiagnosisServiceClient<PeerChannel>,
    address: String,
}

impl Learner {
    /// The learner that the arguments name; connects on first use.
    ///
    /// # Errors
    /// As [`Learner::at`].
    pub fn try_new(arguments: &LearnerArgs) -> Result<Self, ExitError> {
        Self::at(&arguments.learner, &arguments.security)
    }

    /// The learner at an address; connects on first use. Needs a runtime.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code if the address is no URI, or if a certificate or token cannot be used.
    pub fn at(address: &str, security: &SecurityArgs) -> Result<Self, ExitError> {
        let security = CallSecurity::load(&security.identity, &security.calling)?;
        let channel = lazy_channel("learner", address, &security)?;
        for warning in security.warnings() {
            eprintln!("warning: {warning}");
        }
        let diagnosis = DiagnosisServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let client = JobServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self {
            client,
            diagnosis,
            address: address.to_owned(),
        })
    }

    /// Submits a job.
    ///
    /// # Errors
    /// What the learner refuses has the configuration code. A learner that does not answer has the code of
    /// unavailability.
    pub async fn submit(&mut self, request_id: &str, spec: &v1::JobSpec) -> anyhow::Result<v1::Job> {
        let deadline = deadline_of(spec);
        let mut backoff = Backoff::default();
        let mut tries = 1;
        loop {
            let request = v1::SubmitJobRequest {
                request_id: request_id.to_owned(),
                spec: Some(spec.clone()),
            };
            match with_deadline(deadline, self.client.submit(request)).await {
                Ok(response) => return Ok(response),
                // The learner may still be reading; another submission would only add to its work.
                Err(status) if is_late(&status) => return Err(self.late(deadline, request_id).into()),
                Err(status) if is_unavailable(&status) && tries < SUBMIT_TRIES => {
                    tries += 1;
                    tokio::time::sleep(backoff.pause()).await;
                }
                // Many others submit just now.
                Err(status) if status.code() == Code::ResourceExhausted && tries < SUBMIT_TRIES => {
                    let Some(pause) = StatusDetails::of(&status).retry_after else {
                        return Err(self.explain(&status));
                    };
                    tries += 1;
                    tokio::time::sleep(pause.min(LONGEST_RETRY_PAUSE)).await;
                }
                Err(status) => return Err(self.explain(&status)),
            }
        }
    }

    /// What the files of a job hold, as the learner sees them.
    ///
    /// # Errors
    /// As [`Learner::submit`].
    pub async fn check(&mut self, spec: &v1::JobSpec) -> anyhow::Result<v1::JobCheck> {
        let request = v1::CheckJobRequest {
            spec: Some(spec.clone()),
        };
        let response = with_deadline(deadline_of(spec), self.client.check(request)).await;
        response.map_err(|status| self.explain(&status))
    }

    /// One job.
    ///
    /// # Errors
    /// An unknown job has the configuration code.
    pub async fn get(&mut self, job_id: &str) -> anyhow::Result<v1::Job> {
        let job = self.try_get(job_id).await;
        job.map_err(|status| self.explain(&status))
    }

    /// The same with the bare status, because the caller decides which errors it survives.
    pub(crate) async fn try_get(&mut self, job_id: &str) -> Result<v1::Job, Status> {
        let request = v1::GetJobRequest {
            job_id: job_id.to_owned(),
        };
        with_deadline(CALL_TIMEOUT, self.client.get(request)).await
    }

    /// All jobs, newest first.
    ///
    /// # Errors
    /// If the learner does not answer.
    pub async fn list(&mut self) -> anyhow::Result<Vec<v1::Job>> {
        self.list_some(v1::ListJobsRequest::default(), usize::MAX).await
    }

    /// The newest jobs that `asked` lets through, no more than `most`.
    ///
    /// # Errors
    /// If the learner does not answer, or `asked` has what no job can have.
    pub async fn list_some(&mut self, mut asked: v1::ListJobsRequest, most: usize) -> anyhow::Result<Vec<v1::Job>> {
        let mut jobs = Vec::new();
        loop {
            // 0 stands for as many as a page can have.
            asked.page_size = u32::try_from(most - jobs.len()).unwrap_or(0);
            let response = with_deadline(CALL_TIMEOUT, self.client.list(asked.clone())).await;
            let page = response.map_err(|status| self.explain(&status))?;
            jobs.extend(page.jobs);
            // An earlier version of the learner passes over what it does not know.
            jobs.truncate(most);
            asked.page_token = page.next_page_token;
            if asked.page_token.is_empty() || jobs.len() >= most {
                return Ok(jobs);
            }
        }
    }

    /// Removes a job that is over, and returns the models that went with it.
    ///
    /// # Errors
    /// A job that is not there, is not over, or has models that are to stay, has the configuration code.
    pub async fn delete(&mut self, job_id: &str, with_models: bool) -> anyhow::Result<Vec<String>> {
        let request = v1::DeleteJobRequest {
            job_id: job_id.to_owned(),
            with_models,
        };
        let response = with_deadline(CALL_TIMEOUT, self.client.delete(request)).await;
        response
            .map(|response| response.models)
            .map_err(|status| self.explain(&status))
    }

    /// Ends a job.
    ///
    /// # Errors
    /// An unknown job has the configuration code.
    pub async fn cancel(&mut self, job_id: &str) -> anyhow::Result<v1::Job> {
        let request = v1::CancelJobRequest {
            job_id: job_id.to_owned(),
        };
        let response = with_deadline(CALL_TIMEOUT, self.client.cancel(request)).await;
        response.map_err(|status| self.explain(&status))
    }

    /// Lets a failed or paused job go on, with changed settings where `spec` has some.
    ///
    /// # Errors
    /// A job that is not there or cannot go on, or a setting that cannot change, has the configuration code.
    pub async fn resume(&mut self, job_id: &str, spec: Option<v1::JobSpec>) -> anyhow::Result<v1::Job> {
        let deadline = spec.as_ref().map_or(SUBMIT_TIMEOUT, deadline_of);
        let request = v1::ResumeJobRequest {
            job_id: job_id.to_owned(),
            spec,
        };
        let response = with_deadline(deadline, self.client.resume(request)).await;
        response.map_err(|status| self.explain(&status))
    }

    /// Has the learner write a recovery checkpoint as a Hugging Face directory.
    ///
    /// # Errors
    /// A job or step that is not there, or a place that cannot be written, has the configuration code.
    pub async fn export(
        &mut self,
        job_id: &str,
        step: Option<u64>,
        output: Option<&str>,
    ) -> anyhow::Result<v1::ExportJobResponse> {
        let request = v1::ExportJobRequest {
            job_id: job_id.to_owned(),
            step,
            output: output.map(str::to_owned),
        };
        let response = with_deadline(EXPORT_TIMEOUT, self.client.export(request)).await;
        response.map_err(|status| self.explain(&status))
    }

    /// Where the job's training groups are, beside what its events say.
    ///
    /// # Errors
    /// A job that is not there has the configuration code.
    pub async fn account(&mut self, job_id: &str) -> anyhow::Result<v1::JobAccount> {
        let request = v1::AccountRequest {
            job_id: job_id.to_owned(),
        };
        let response = with_deadline(CALL_TIMEOUT, self.client.account(request)).await;
        response.map_err(|status| self.explain(&status))
    }

    /// The groups of the job that could not be trained, the oldest first.
    ///
    /// # Errors
    /// A job that is not there has the configuration code.
    pub async fn dead_letters(&mut self, job_id: &str) -> anyhow::Result<Vec<v1::DeadLetter>> {
        let request = v1::ListDeadLettersRequest {
            job_id: job_id.to_owned(),
        };
        let response = with_deadline(CALL_TIMEOUT, self.client.list_dead_letters(request)).await;
        Ok(response.map_err(|status| self.explain(&status))?.letters)
    }

    /// The encoded group of a dead letter as it was delivered last; empty where none was.
    ///
    /// # Errors
    /// A job or a letter that is not there has the configuration code.
    pub async fn dead_group(&mut self, job_id: &str, sequence: u64) -> anyhow::Result<Vec<u8>> {
        let request = v1::GetDeadLetterRequest {
            job_id: job_id.to_owned(),
            sequence,
        };
        let response = with_deadline(CALL_TIMEOUT, self.client.get_dead_letter(request)).await;
        Ok(response.map_err(|status| self.explain(&status))?.group)
    }

    /// Has the problems of dead letters generated and trained after all.
    ///
    /// # Errors
    /// A job that is not there, or that does not train now, has the configuration code.
    pub async fn replay(&mut self, job_id: &str, sequences: Vec<u64>) -> anyhow::Result<v1::ReplayDeadLettersResponse> {
        let request = v1::ReplayDeadLettersRequest {
            job_id: job_id.to_owned(),
            sequences,
        };
        let response = with_deadline(CALL_TIMEOUT, self.client.replay_dead_letters(request)).await;
        response.map_err(|status| self.explain(&status))
    }

    /// Looks up what an evaluation of the job generated: the line of one problem, or the list of all problems.
    ///
    /// # Errors
    /// A job, step or problem that is not there has the configuration code.
    pub async fn generations(
        &mut self,
        job_id: &str,
        step: Option<u64>,
        problem: Option<&str>,
    ) -> anyhow::Result<v1::GenerationsResponse> {
        let request = v1::GenerationsRequest {
            job_id: job_id.to_owned(),
            step,
            problem: problem.map(str::to_owned),
        };
        let response = with_deadline(GENERATIONS_TIMEOUT, self.client.generations(request)).await;
        response.map_err(|status| self.explain(&status))
    }

    /// How the learner and everything around it stand, with one job or with those that are not over.
    ///
    /// # Errors
    /// A job that is not there, or a learner of an earlier version, has the configuration code.
    pub async fn diagnose(&mut self, job_id: Option<&str>) -> anyhow::Result<v1::Diagnosis> {
        let request = v1::DiagnoseRequest {
            job_id: job_id.unwrap_or_default().to_owned(),
        };
        match with_deadline(CALL_TIMEOUT, self.diagnosis.diagnose(request)).await {
            Ok(diagnosis) => Ok(diagnosis),
            Err(status) if status.code() == Code::Unimplemented => Err(ExitError::configuration(format!(
                "the learner at {} is of an earlier version, which does not say how it fares",
                self.address
            ))
            .into()),
            Err(status) => Err(self.explain(&status)),
        }
    }

    /// Opens the stream of a job's events. It returns the bare status, because the caller decides which errors it
    /// survives.
    pub(crate) async fn watch(&mut self, job_id: &str, after: u64) -> Result<Streaming<v1::JobEvent>, Status> {
        let request = v1::WatchJobRequest {
            job_id: job_id.to_owned(),
            after,
        };
        with_deadline(CALL_TIMEOUT, self.client.watch(request)).await
    }

    fn late(&self, deadline: Duration, request_id: &str) -> ExitError {
        ExitError::unavailable(format!(
            "learner at {} has not answered within {} s and may still be reading the job's files; `anytime list` shows \
             whether the job came to be, and the same submission with --request-id {request_id} waits for it again",
            self.address,
            deadline.as_secs()
        ))
    }

    /// A status as the error of a command, with its exit code.
    pub(crate) fn explain(&self, status: &Status) -> anyhow::Error {
        if setting_of_status(status).is_some() {
            return ExitError::configuration(all_refused(status)).into();
        }
        if is_late(status) {
            let message = format!("learner at {}: {}", self.address, status.message());
            return ExitError::unavailable(message).into();
        }
        if is_unavailable(status) {
            let detail = root_cause(status);
            return ExitError::unavailable(format!("learner at {} cannot be reached: {detail}", self.address)).into();
        }
        match status.code() {
            Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition => {
                ExitError::configuration(status.message()).into()
            }
            Code::Unauthenticated | Code::PermissionDenied => ExitError::configuration(format!(
                "learner at {} refuses this: {}",
                self.address,
                status.message()
            ))
            .into(),
            code => match StatusDetails::of(status).retry_after {
                Some(pause) => anyhow!(
                    "learner: {} ({code:?}); it asks to be tried again in {} s",
                    status.message(),
                    pause.as_secs_f64()
                ),
                None => anyhow!("learner: {} ({code:?})", status.message()),
            },
        }
    }
}

/// Whether a call that failed may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Healing {
    /// The same call fails in the same way.
    Never,
    /// Once a file of tokens or certificates changes, here or there.
    WhereFilesChange,
    /// The learner is away, too busy, or has a fault.
    InTime,
}

/// What becomes of a call that is made again.
pub(crate) fn healing(status: &Status) -> Healing {
    if is_unavailable(status) {
        return Healing::InTime;
    }
    match status.code() {
        Code::Unauthenticated => Healing::WhereFilesChange,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => Healing::Never,
        _ => Healing::InTime,
    }
}

/// How long a learner may take to read what a job names, and to fetch it.
fn deadline_of(spec: &v1::JobSpec) -> Duration {
    let model = spec.model.iter().flat_map(|model| &model.path);
    let data = spec.data.iter().flat_map(|data| &data.path);
    let evaluation = spec.evaluation.iter().flat_map(|evaluation| &evaluation.path);
    let is_fetched = model
        .chain(data)
        .chain(evaluation)
        .any(|path| HubReference::is_one(path));
    if is_fetched { FETCH_TIMEOUT } else { SUBMIT_TIMEOUT }
}

/// What is wrong with the setting that was refused, and in further lines with the others that cannot work.
fn all_refused(status: &Status) -> String {
    let mut text = status.message().to_owned();
    for (_, sentence) in StatusDetails::of(status).violations.iter().skip(1) {
        text.push_str("\nalso: ");
        text.push_str(sentence);
    }
    text
}

/// Whether an error means that the learner could not be reached in time.
pub fn is_unreachable(error: &anyhow::Error) -> bool {
    exit::exit_code(error) == exit::UNAVAILABLE
}

/// A transport that broke in the middle of a call surfaces as UNKNOWN or CANCELLED with the cause attached.
fn is_unavailable(status: &Status) -> bool {
    let is_transport = std::error::Error::source(status).is_some();
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) || is_transport
}

/// Whether the deadline came before the answer: the learner may be at work, and may be unreachable, too.
fn is_late(status: &Status) -> bool {
    status.code() == Code::DeadlineExceeded && std::error::Error::source(status).is_none()
}

/// The innermost cause of an error, because "connection refused" says more than "transport error".
fn root_cause(status: &Status) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
