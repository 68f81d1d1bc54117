//! The errors of this process as gRPC statuses. No other file makes a status out of an error.

use anytime_proto::generations::LookupError;
use anytime_proto::settings::{InvalidSetting, further_refused};
use anytime_proto::{ErrorReason, JobId, Refusal, WeightsVersion, invalid_setting_status, refused_settings_status, v1};
use tonic::{Code, Status};

use crate::jobs::export_request::ExportError;
use crate::jobs::fork::ForkError;
use crate::jobs::pauses::ResumeError;
use crate::jobs::registry::CreateError;
use crate::jobs::removal::RemoveError;
use crate::queue::redis::RedisUnavailable;
use crate::rollouts::broker::LeaseError;
use crate::rollouts::push::PushError;

/// What `google.rpc.ResourceInfo` calls a job.
const JOB: &str = "anytime.v1.Job";

/// A setting of a specification cannot work. The others that cannot are named beside it.
pub(crate) fn refused_spec(spec: &v1::JobSpec, setting: &InvalidSetting) -> Status {
    refused_settings_status(setting, &further_refused(spec, setting))
}

/// A field of a request cannot be.
pub(crate) fn bad_argument(field: &str, message: impl Into<String>) -> Status {
    Refusal::of_argument(field, message).into_status()
}

pub(crate) fn spec_is_missing() -> Status {
    bad_argument("spec", "spec is missing")
}

pub(crate) fn redis_unavailable(error: &RedisUnavailable) -> Status {
    Refusal::of_redis(error.to_string()).into_status()
}

pub(crate) fn lease(error: &LeaseError) -> Status {
    match error {
        LeaseError::Redis(unavailable) => redis_unavailable(unavailable),
        LeaseError::ShuttingDown => shutting_down(),
    }
}

pub(crate) fn push(error: &PushError) -> Status {
    let refused = |reason, sentence: String| Refusal::new(Code::InvalidArgument, reason, sentence).into_status();
    match error {
        PushError::Invalid(invalid) => refused(ErrorReason::GroupRefused, invalid.to_string()),
        PushError::Outdated(invalid) => refused(ErrorReason::GroupOutdated, invalid.to_string()),
        PushError::Unavailable(unavailable) => redis_unavailable(unavailable),
    }
}

pub(crate) fn unreadable_group(error: &prost::DecodeError) -> Status {
    let message = format!("group cannot be read: {error}");
    Refusal::new(Code::InvalidArgument, ErrorReason::GroupRefused, message).into_status()
}

pub(crate) fn wrong_lease_token() -> Status {
    let message = "lease_token is not that of a lease of this group";
    Refusal::new(Code::PermissionDenied, ErrorReason::LeaseTokenWrong, message).into_status()
}

pub(crate) fn unknown_job(job_id: &JobId) -> Status {
    let message = format!("job `{job_id}` does not exist");
    Refusal::new(Code::NotFound, ErrorReason::JobUnknown, message)
        .about("job_id", job_id.as_str())
        .resource(JOB, job_id.as_str())
        .into_status()
}

pub(crate) fn no_dead_letter(job_id: &JobId, sequence: u64) -> Status {
    let message = format!("job `{job_id}` has no dead letter of group {sequence}");
    Refusal::new(Code::NotFound, ErrorReason::DeadLetterUnknown, message)
        .about("job_id", job_id.as_str())
        .about("sequence", sequence.to_string())
        .resource("anytime.v1.DeadLetter", sequence.to_string())
        .into_status()
}

pub(crate) fn does_not_train(job_id: &JobId) -> Status {
    let message = format!("job `{job_id}` does not train now: dead letters can be replayed while it does");
    precondition(ErrorReason::JobNotTraining, message, job_id.as_str())
}

pub(crate) fn weights_not_held(job_id: &JobId, version: WeightsVersion) -> Status {
    let message = format!("version {version} of job `{job_id}` is not held");
    Refusal::new(Code::NotFound, ErrorReason::WeightsNotHeld, message)
        .about("job_id", job_id.as_str())
        .about("version", version.to_string())
        .into_status()
}

pub(crate) fn lookup(job_id: &JobId, error: &LookupError) -> Status {
    if error.is_of_the_disk() {
        return fault(error.to_string());
    }
    Refusal::new(Code::NotFound, ErrorReason::GenerationsUnknown, error.to_string())
        .about("job_id", job_id.as_str())
        .into_status()
}

pub(crate) fn create(error: &CreateError) -> Status {
    match error {
        CreateError::Refused(setting) => invalid_setting_status(setting),
        CreateError::Disk(error) => internal(error),
    }
}

pub(crate) fn fork(spec: &v1::JobSpec, error: &ForkError) -> Status {
    match error {
        ForkError::Refused(setting) => refused_spec(spec, setting),
        ForkError::Failed(failure) => internal(failure),
    }
}

pub(crate) fn resume(job_id: &JobId, error: ResumeError) -> Status {
    let reason = match &error {
        ResumeError::Disk(error) => return internal(error),
        ResumeError::Refused(setting) => return invalid_setting_status(setting),
        ResumeError::IsGone(_) => return unknown_job(job_id),
        ResumeError::HasEnded { .. } => ErrorReason::JobOver,
        ResumeError::IsHeld { .. } => ErrorReason::JobAtWork,
        ResumeError::OtherFormat(_) => ErrorReason::JobOfOtherVersion,
        ResumeError::Unreadable(_) => ErrorReason::JobUnreadable,
    };
    precondition(reason, error.to_string(), job_id.as_str())
}

pub(crate) fn too_many(what: &str, most: usize) -> Status {
    let message = format!("there are {most} {what} already, and no more are taken at a time");
    Refusal::of_crowd(message).into_status()
}

pub(crate) fn remove(job_id: &JobId, error: &RemoveError) -> Status {
    let reason = match error {
        RemoveError::Disk(error) => return internal(error),
        RemoveError::IsGone(_) => return unknown_job(job_id),
        RemoveError::IsInUse(_) => ErrorReason::JobInUse,
        RemoveError::IsNotOver { .. } => ErrorReason::JobNotOver,
        RemoveError::HasModels { .. } => ErrorReason::JobHasModels,
    };
    precondition(reason, error.to_string(), job_id.as_str())
}

pub(crate) fn export(error: &ExportError) -> Status {
    match error {
        ExportError::NotFound { job, .. } => {
            Refusal::new(Code::NotFound, ErrorReason::CheckpointUnknown, error.to_string())
                .about("job_id", job)
                .into_status()
        }
        ExportError::Refused(setting) => invalid_setting_status(setting),
        ExportError::Failed(failure) => internal(failure),
    }
}

pub(crate) fn shutting_down() -> Status {
    Refusal::of_shutdown("the learner is shutting down").into_status()
}

pub(crate) fn old_connection() -> Status {
    let message = "the connection is old (--max-connection-age); open the stream again, over another one";
    Refusal::new(Code::Unavailable, ErrorReason::ConnectionOld, message).into_status()
}

pub(crate) fn peer_is_gone() -> Status {
    // Nobody is left to read more.
    Status::cancelled("the peer is gone")
}

pub(crate) fn peer_is_stuck() -> Status {
    let message = "the peer took nothing for too long";
    Refusal::new(Code::DeadlineExceeded, ErrorReason::ReaderTooSlow, message).into_status()
}

/// A fault of this process, with the whole chain of its causes for people to read.
pub(crate) fn internal(error: &anyhow::Error) -> Status {
    fault(format!("{error:#}"))
}

fn fault(message: String) -> Status {
    Refusal::new(Code::Internal, ErrorReason::Fault, message).into_status()
}

/// FAILED_PRECONDITION: a job is not in the state that this takes.
fn precondition(reason: ErrorReason, message: String, job_id: &str) -> Status {
    Refusal::new(Code::FailedPrecondition, reason, message)
        .about("job_id", job_id)
        .precondition(job_id)
        .into_status()
}
