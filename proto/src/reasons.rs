//! Why a call was refused, in one word for programs: `reason` of `google.rpc.ErrorInfo`.

/// A reason. Clients branch on its name, so that a name that was sent once stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorReason {
    /// A setting of a job, or a field of a grading request, cannot work.
    SettingRefused,
    /// A field of the request itself cannot be.
    ArgumentRefused,
    /// A pushed group breaks an invariant.
    GroupRefused,
    /// A pushed group was right when it was leased, and is not any more: the learner undid the weights that generated it, or
    /// a replay moved it to a later step.
    GroupOutdated,
    /// A message is larger than may be.
    MessageTooLarge,
    /// There is no such job.
    JobUnknown,
    /// The job has no such dead letter.
    DeadLetterUnknown,
    /// This version of the weights is not held, or not any more.
    WeightsNotHeld,
    /// The job has no such recovery checkpoint.
    CheckpointUnknown,
    /// There are no such generations.
    GenerationsUnknown,
    /// The trace to go on from is not kept, or not any more.
    TraceUnknown,
    /// The job does not train now.
    JobNotTraining,
    /// The job has succeeded or was cancelled.
    JobOver,
    /// The job is not over.
    JobNotOver,
    /// The job is at work, or waits for it, with the settings that it has.
    JobAtWork,
    /// The job has models that are to stay.
    JobHasModels,
    /// Another call is at work on the job, such as an export.
    JobInUse,
    /// The job was written by another version of the learner.
    JobOfOtherVersion,
    /// The files of the job cannot be read.
    JobUnreadable,
    /// As many as are taken at a time are there already.
    Busy,
    /// Redis is away.
    RedisUnavailable,
    /// The server is shutting down.
    ShuttingDown,
    /// The connection is old, and the stream is to be opened over another one.
    ConnectionOld,
    /// The caller took nothing of a stream for too long.
    ReaderTooSlow,
    /// The answer took longer than a request may.
    AnswerTooLate,
    /// A fault of the server, such as a disk that refuses.
    Fault,
    /// Neither a token nor a certificate is shown.
    CredentialsMissing,
    /// The token, or the name of the certificate, is not one that the server knows.
    CredentialsUnknown,
    /// The role of the token or certificate does not allow this.
    RoleNotAllowed,
    /// A push does not show the token of its lease.
    LeaseTokenWrong,
    /// The server has no such method.
    MethodUnknown,
}

impl ErrorReason {
    /// All reasons.
    pub const ALL: [Self; 31] = [
        Self::SettingRefused,
        Self::ArgumentRefused,
        Self::GroupRefused,
        Self::GroupOutdated,
        Self::MessageTooLarge,
        Self::JobUnknown,
        Self::DeadLetterUnknown,
        Self::WeightsNotHeld,
        Self::CheckpointUnknown,
        Self::GenerationsUnknown,
        Self::TraceUnknown,
        Self::JobNotTraining,
        Self::JobOver,
        Self::JobNotOver,
        Self::JobAtWork,
        Self::JobHasModels,
        Self::JobInUse,
        Self::JobOfOtherVersion,
        Self::JobUnreadable,
        Self::Busy,
        Self::RedisUnavailable,
        Self::ShuttingDown,
        Self::ConnectionOld,
        Self::ReaderTooSlow,
        Self::AnswerTooLate,
        Self::Fault,
        Self::CredentialsMissing,
        Self::CredentialsUnknown,
        Self::RoleNotAllowed,
        Self::LeaseTokenWrong,
        Self::MethodUnknown,
    ];

    /// As it is sent.
    pub fn name(self) -> &'static str {
        match self {
            Self::SettingRefused => "SETTING_REFUSED",
            Self::ArgumentRefused => "ARGUMENT_REFUSED",
            Self::GroupRefused => "GROUP_REFUSED",
            Self::GroupOutdated => "GROUP_OUTDATED",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::JobUnknown => "JOB_UNKNOWN",
            Self::DeadLetterUnknown => "DEAD_LETTER_UNKNOWN",
            Self::WeightsNotHeld => "WEIGHTS_NOT_HELD",
            Self::CheckpointUnknown => "CHECKPOINT_UNKNOWN",
            Self::GenerationsUnknown => "GENERATIONS_UNKNOWN",
            Self::TraceUnknown => "TRACE_UNKNOWN",
            Self::JobNotTraining => "JOB_NOT_TRAINING",
            Self::JobOver => "JOB_OVER",
            Self::JobNotOver => "JOB_NOT_OVER",
            Self::JobAtWork => "JOB_AT_WORK",
            Self::JobHasModels => "JOB_HAS_MODELS",
            Self::JobInUse => "JOB_IN_USE",
            Self::JobOfOtherVersion => "JOB_OF_OTHER_VERSION",
            Self::JobUnreadable => "JOB_UNREADABLE",
            Self::Busy => "BUSY",
            Self::RedisUnavailable => "REDIS_UNAVAILABLE",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::ConnectionOld => "CONNECTION_OLD",
            Self::ReaderTooSlow => "READER_TOO_SLOW",
            Self::AnswerTooLate => "ANSWER_TOO_LATE",
            Self::Fault => "FAULT",
            Self::CredentialsMissing => "CREDENTIALS_MISSING",
            Self::CredentialsUnknown => "CREDENTIALS_UNKNOWN",
            Self::RoleNotAllowed => "ROLE_NOT_ALLOWED",
            Self::LeaseTokenWrong => "LEASE_TOKEN_WRONG",
            Self::MethodUnknown => "METHOD_UNKNOWN",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_its_line_in_the_guide() {
        let names: BTreeSet<&str> = ErrorReason::ALL.into_iter().map(ErrorReason::name).collect();
        assert_eq!(names.len(), ErrorReason::ALL.len());
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md");
        let guide = std::fs::read_to_string(guide).expect("the guide of the clients");
        for name in names {
            let is_upper_snake = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            // google.rpc.ErrorInfo asks for it.
            assert!(is_upper_snake && name.len() <= 63, "{name}");
            assert!(
                guide.contains(&format!("`{name}`")),
                "docs/clients.md does not have {name}"
            );
        }
    }
}
