//! The one place where errors of the domain become gRPC statuses, and back. A status has a sentence for people, and beside
//! it, for programs, the standard details of `google.rpc` (trailer `grpc-status-details-bin`).
//!
//! Whoever is refused may have chosen the texts, and a client drops an answer whose headers are too long: 8 KiB in gRPC's
//! own libraries. So all of them are cut here.

use std::collections::HashMap;
use std::time::Duration;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt as _};

use crate::reasons::ErrorReason;
use crate::settings::InvalidSetting;

/// `domain` of every `google.rpc.ErrorInfo` of this project.
pub const ERROR_DOMAIN: &str = "anytime";

/// Metadata key that carries the name of the setting at fault.
const SETTING_KEY: &str = "anytime-setting";

/// Bytes that are kept at the start and at the end of a long message. It travels twice: as a percent-encoded header, which
/// takes up to three bytes for each, and in the details, which are base64.
const MESSAGE_ENDS: [usize; 2] = [500, 250];

/// The same of a name: a setting, a job, a problem.
const NAME_ENDS: [usize; 2] = [96, 28];

/// The same of what is said of a further setting, beside the one that the message is about.
const FURTHER_ENDS: [usize; 2] = [200, 100];

/// Bytes of all violations together. Settings beyond that are left out: they are named when these are right.
const VIOLATION_BYTES: usize = 1600;

/// When a call that found no place should come again.
const WHEN_BUSY: Duration = Duration::from_secs(2);

/// When a call should come again whose server is shutting down, or has lost Redis.
const WHEN_AWAY: Duration = Duration::from_secs(5);

/// A refusal on its way to become a [`Status`].
///
/// ```
/// # use anytime_proto::{ErrorReason, Refusal};
/// # use tonic::Code;
/// let status = Refusal::new(Code::NotFound, ErrorReason::JobUnknown, "job `a` does not exist")
///     .about("job_id", "a")
///     .resource("anytime.v1.Job", "a")
///     .into_status();
/// assert_eq!(status.message(), "job `a` does not exist");
/// ```
#[derive(Debug)]
pub struct Refusal {
    code: Code,
    message: String,
    reason: ErrorReason,
    metadata: HashMap<String, String>,
    violations: Vec<FieldViolation>,
    details: ErrorDetails,
    trailers: MetadataMap,
}

impl Refusal {
    /// A refusal with its sentence, which is shortened in the middle where it is long.
    pub fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        Self {
            code,
            message: cut(message.into(), MESSAGE_ENDS),
            reason,
            metadata: HashMap::new(),
            violations: Vec::new(),
            details: ErrorDetails::new(),
            trailers: MetadataMap::new(),
        }
    }

    /// INVALID_ARGUMENT about a field of the request; the message is what is wrong with it.
    pub fn of_argument(field: &str, message: impl Into<String>) -> Self {
        let refusal = Self::new(Code::InvalidArgument, ErrorReason::ArgumentRefused, message);
        let message = refusal.message.clone();
        refusal.violation(field, message)
    }

    /// UNAVAILABLE because the server is shutting down.
    pub fn of_shutdown(message: &str) -> Self {
        Self::new(Code::Unavailable, ErrorReason::ShuttingDown, message).retry_after(WHEN_AWAY)
    }

    /// UNAVAILABLE because Redis is away.
    pub fn of_redis(message: String) -> Self {
        Self::new(Code::Unavailable, ErrorReason::RedisUnavailable, message).retry_after(WHEN_AWAY)
    }

    /// RESOURCE_EXHAUSTED because as many as are taken at a time are there already.
    pub fn of_crowd(message: String) -> Self {
        Self::new(Code::ResourceExhausted, ErrorReason::Busy, message).retry_after(WHEN_BUSY)
    }

    /// Adds a name that the sentence is about, such as the job's: `metadata` of `ErrorInfo`.
    pub fn about(mut self, key: &'static str, name: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), cut(name.into(), NAME_ENDS));
        self
    }

    /// Adds a field at fault: `BadRequest`.
    pub fn violation(mut self, field: &str, description: String) -> Self {
        let field = cut(field.to_owned(), NAME_ENDS);
        self.violations.push(FieldViolation::new(field, description));
        self
    }

    /// What is not there: `ResourceInfo`, with the sentence.
    pub fn resource(mut self, kind: &'static str, name: impl Into<String>) -> Self {
        let name = cut(name.into(), NAME_ENDS);
        self.details.set_resource_info(kind, name, "", "");
        self
    }

    /// What would have to be otherwise: `PreconditionFailure`, with the sentence.
    pub fn precondition(mut self, subject: impl Into<String>) -> Self {
        let subject = cut(subject.into(), NAME_ENDS);
        let violation = PreconditionViolation::new(self.reason.name(), subject, self.message.clone());
        self.details.set_precondition_failure(vec![violation]);
        self
    }

    /// When the same call may succeed: `RetryInfo`.
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.details.set_retry_info(Some(pause));
        self
    }

    /// The status.
    pub fn into_status(mut self) -> Status {
        self.details
            .set_error_info(self.reason.name(), ERROR_DOMAIN, self.metadata);
        if !self.violations.is_empty() {
            self.details.set_bad_request(within_bounds(self.violations));
        }
        Status::with_error_details_and_metadata(self.code, self.message, self.details, self.trailers)
    }
}

/// The first violation, and of the others as many as there is room for.
fn within_bounds(violations: Vec<FieldViolation>) -> Vec<FieldViolation> {
    let mut bytes = 0;
    let fits = |violation: &FieldViolation| {
        bytes += violation.field.len() + violation.description.len();
        bytes <= VIOLATION_BYTES
    };
    violations.into_iter().take_while(fits).collect()
}

/// INVALID_ARGUMENT with the setting's name beside the message, so that a client need not read prose.
pub fn invalid_setting_status(error: &InvalidSetting) -> Status {
    refused_settings_status(error, &[])
}

/// The same where more settings cannot work: each is a violation of its own, and the message is about the first.
pub fn refused_settings_status(error: &InvalidSetting, others: &[InvalidSetting]) -> Status {
    let mut refusal = Refusal::new(Code::InvalidArgument, ErrorReason::SettingRefused, error.to_string());
    let message = refusal.message.clone();
    let field = cut(error.field.clone(), NAME_ENDS);
    if let Ok(value) = MetadataValue::try_from(field.as_str()) {
        refusal.trailers.insert(SETTING_KEY, value);
    }
    refusal = refusal.violation(&field, message).about("setting", field);
    for other in others {
        refusal = refusal.violation(&other.field, cut(other.to_string(), FURTHER_ENDS));
    }
    refusal.into_status()
}

/// A text whose middle is left out where it is longer than its two ends. Characters stay whole.
fn cut(text: String, ends: [usize; 2]) -> String {
    let [start, end] = ends;
    if text.len() <= start + end {
        return text;
    }
    let whole = |place: &usize| text.is_char_boundary(*place);
    let start = (0..=start).rev().find(whole).unwrap_or_default();
    let end = (text.len() - end..text.len()).find(whole).unwrap_or(text.len());
    format!("{} … {}", &text[..start], &text[end..])
}

/// The name of the setting that a server refused, if that is what the status says.
pub fn setting_of_status(status: &Status) -> Option<String> {
    if status.code() != Code::InvalidArgument {
        return None;
    }
    let value = status.metadata().get(SETTING_KEY)?;
    value.to_str().ok().map(str::to_owned)
}

/// What a status says to programs, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusDetails {
    /// The name of an [`ErrorReason`], perhaps of one that a later server has; empty where there is none.
    pub reason: String,
    /// Names that the sentence is about.
    pub metadata: HashMap<String, String>,
    /// Fields at fault, each with the sentence that says why.
    pub violations: Vec<(String, String)>,
    /// Kind and name of what is not there.
    pub resource: Option<(String, String)>,
    /// What would have to be otherwise, as an [`ErrorReason`], and of what.
    pub precondition: Option<(String, String)>,
    /// When the same call may succeed.
    pub retry_after: Option<Duration>,
}

impl StatusDetails {
    /// The details of a status. One that has none, or that is no message of this kind, has empty ones.
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let violations = details.bad_request().map(|found| found.field_violations.clone());
        let resource = details.resource_info();
        let precondition = details
            .precondition_failure()
            .and_then(|found| found.violations.first());
        Self {
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            violations: violations
                .unwrap_or_default()
                .into_iter()
                .map(|violation| (violation.field, violation.description))
                .collect(),
            resource: resource.map(|found| (found.resource_type.clone(), found.resource_name.clone())),
            precondition: precondition.map(|found| (found.r#type.clone(), found.subject.clone())),
            retry_after: details.retry_info().and_then(|found| found.retry_delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client of gRPC's own libraries takes, of which other headers need some.
    const HEADER_BYTES: usize = 7 << 10;

    /// The bytes of a status in the headers of its answer.
    fn header_bytes(status: Status) -> usize {
        let response = status.into_http::<()>();
        let headers = response.headers().iter();
        headers
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum()
    }

    /// Texts that take as much room as may be, in characters and in bytes.
    fn long_texts() -> [String; 4] {
        [
            "\u{1F914}".repeat(100_000),
            "%".repeat(100_000),
            "ä\n".repeat(100_000),
            "x".repeat(100_000),
        ]
    }

    #[test]
    fn a_setting_is_named_beside_its_sentence() {
        let status = invalid_setting_status(&InvalidSetting::because("data.path", "short"));
        assert_eq!(status.message(), "data.path: short");
        assert_eq!(setting_of_status(&status).as_deref(), Some("data.path"));
        let details = StatusDetails::of(&status);
        assert_eq!(details.reason, "SETTING_REFUSED");
        assert_eq!(details.metadata["setting"], "data.path");
        let violation = ("data.path".to_owned(), "data.path: short".to_owned());
        assert_eq!(details.violations, [violation]);
        assert_eq!((details.resource, details.retry_after), (None, None));
    }

    #[test]
    fn whatever_is_refused_fits_the_headers() {
        for text in long_texts() {
            let setting = InvalidSetting::because(&text, format!("{text}the end"));
            let others = vec![setting.clone(); 100];
            let status = refused_settings_status(&setting, &others);
            assert!(status.message().ends_with("the end"));
            let details = StatusDetails::of(&status);
            assert!(details.violations.len() > 1, "there is room for more than one");
            assert_eq!(details.violations[0].1, status.message());
            assert!(header_bytes(status) < HEADER_BYTES);

            let everything = Refusal::new(Code::FailedPrecondition, ErrorReason::GroupOutdated, text.clone())
                .about("job_id", text.clone())
                .about("state", text.clone())
                .resource("job", text.clone())
                .precondition(text.clone())
                .retry_after(Duration::MAX);
            assert!(header_bytes(everything.into_status()) < HEADER_BYTES);
        }
    }

    #[test]
    fn further_settings_are_violations_as_far_as_there_is_room() {
        let first = InvalidSetting::new("training.batch", 0, "it must be 1 or more");
        let others: Vec<InvalidSetting> = (0..100)
            .map(|number| InvalidSetting::new(&format!("training.x{number}"), number, "it must be less"))
            .collect();
        let status = refused_settings_status(&first, &others[..2]);
        assert_eq!(status.message(), "training.batch is 0; it must be 1 or more");
        let fields: Vec<String> = StatusDetails::of(&status)
            .violations
            .into_iter()
            .map(|(field, _)| field)
            .collect();
        assert_eq!(fields, ["training.batch", "training.x0", "training.x1"]);
        let status = refused_settings_status(&first, &others);
        let count = StatusDetails::of(&status).violations.len();
        assert!((10..101).contains(&count), "{count}");
        assert!(header_bytes(status) < HEADER_BYTES);
    }

    #[test]
    fn a_status_of_somebody_else_has_no_details() {
        let plain = Status::not_found("nothing");
        assert_eq!(StatusDetails::of(&plain), StatusDetails::default());
        let garbage = Status::with_details(Code::NotFound, "nothing", bytes::Bytes::from_static(b"\xff\x01garbage"));
        assert_eq!(StatusDetails::of(&garbage), StatusDetails::default());
        let foreign = Status::with_error_details(
            Code::NotFound,
            "nothing",
            ErrorDetails::with_error_info("STOCKOUT", "example.org", HashMap::new()),
        );
        assert_eq!(StatusDetails::of(&foreign).reason, "");
    }

    #[test]
    fn characters_stay_whole() {
        for length in 740..770 {
            let text = "ä€\u{1F914}x".repeat(length / 10 + 1);
            let kept = cut(text.clone(), MESSAGE_ENDS);
            assert!(kept == text || kept.contains(" … "));
            assert!(kept.len() <= 750 + " … ".len());
        }
    }
}
