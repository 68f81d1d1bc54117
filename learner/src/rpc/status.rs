//! The errors of this process as gRPC statuses. No other file makes a status out of an error.

use anytime_proto::generations::LookupError;
use anytime_proto::{JobId, WeightsVersion, invalid_setting_status};
use tonic::Status;

use crate::jobs::export_request::ExportError;
use crate::jobs::pauses::ResumeError;
use crate::jobs::registry::CreateError;
use crate::jobs::removal::RemoveError;
use crate::queue::redis::RedisUnavailable;
use crate::rollouts::broker::LeaseError;
use crate::rollouts::push::PushError;

pub(crate) fn redis_unavailable(error: &RedisUnavailable) -> Status {
    Status::unavailable(error.to_string())
}

pub(crate) fn lease(error: &LeaseError) -> Status {
    match error {
        LeaseError::Redis(unavailable) => redis_unavailable(unavailable),
        LeaseError::ShuttingDown => shutting_down(),
    }
}

pub(crate) fn push(error: &PushError) -> Status {
    match error {
        PushError::Invalid(invalid) | PushError::Outdated(invalid) => Status::invalid_argument(invalid.to_string()),
        PushError::Unavailable(unavailable) => redis_unavailable(unavailable),
    }
}

pub(crate) fn unknown_job(job_id: &JobId) -> Status {
    Status::not_found(format!("job `{job_id}` does not exist"))
}

pub(crate) fn no_dead_letter(job_id: &JobId, sequence: u64) -> Status {
    Status::not_found(format!("job `{job_id}` has no dead letter of group {sequence}"))
}

pub(crate) fn does_not_train(job_id: &JobId) -> Status {
    Status::failed_precondition(format!(
        "job `{job_id}` does not train now: dead letters can be replayed while it does"
    ))
}

pub(crate) fn weights_not_held(job_id: &JobId, version: WeightsVersion) -> Status {
    Status::not_found(format!("version {version} of job `{job_id}` is not held"))
}

pub(crate) fn lookup(error: &LookupError) -> Status {
    if error.is_of_the_disk() {
        return Status::internal(error.to_string());
    }
    Status::not_found(error.to_string())
}

pub(crate) fn create(error: &CreateError) -> Status {
    match error {
        CreateError::Refused(setting) => invalid_setting_status(setting),
        CreateError::Disk(error) => internal(error),
    }
}

pub(crate) fn resume(error: ResumeError) -> Status {
    match error {
        ResumeError::Disk(error) => internal(&error),
        ResumeError::Refused(setting) => invalid_setting_status(&setting),
        ResumeError::IsGone(_) => Status::not_found(error.to_string()),
        ResumeError::HasEnded { .. }
        | ResumeError::IsHeld { .. }
        | ResumeError::OtherFormat(_)
        | ResumeError::Unreadable(_) => Status::failed_precondition(error.to_string()),
    }
}

pub(crate) fn too_many(what: &str, most: usize) -> Status {
    Status::resource_exhausted(format!(
        "there are {most} {what} already, and no more are taken at a time"
    ))
}

pub(crate) fn remove(error: &RemoveError) -> Status {
    match error {
        RemoveError::Disk(error) => internal(error),
        RemoveError::IsGone(_) => Status::not_found(error.to_string()),
        RemoveError::IsNotOver { .. } | RemoveError::IsInUse(_) | RemoveError::HasModels { .. } => {
            Status::failed_precondition(error.to_string())
        }
    }
}

pub(crate) fn export(error: &ExportError) -> Status {
    match error {
        ExportError::NotFound { .. } => Status::not_found(error.to_string()),
        ExportError::Refused(setting) => invalid_setting_status(setting),
        ExportError::Failed(failure) => internal(failure),
    }
}

pub(crate) fn shutting_down() -> Status {
    Status::unavailable("the learner is shutting down")
}

pub(crate) fn old_connection() -> Status {
    Status::unavailable("the connection is old (--max-connection-age); open the stream again, over another one")
}

pub(crate) fn peer_is_gone() -> Status {
    Status::cancelled("the peer is gone")
}

pub(crate) fn peer_is_stuck() -> Status {
    Status::deadline_exceeded("the peer took nothing for too long")
}

/// A fault of this process, with the whole chain of its causes for people to read.
pub(crate) fn internal(error: &anyhow::Error) -> Status {
    Status::internal(format!("{error:#}"))
}
