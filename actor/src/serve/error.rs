//! What a request is told that cannot be served: one sentence with field, value and reason, in the shape that OpenAI's
//! clients read.

use serde_json::{Value, json};

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The sort of error, as OpenAI's clients know it.
    pub(crate) kind: &'static str,
    /// The sentence.
    pub(crate) message: String,
    /// The field at fault.
    pub(crate) param: Option<String>,
    /// A word for programs.
    pub(crate) code: &'static str,
    /// After how many seconds another try makes sense.
    pub(crate) retry_after: Option<u64>,
}

impl ApiError {
    /// A field with a value that it must not have.
    pub(crate) fn field(param: &str, value: impl std::fmt::Display, reason: impl std::fmt::Display) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..Self::of(
                400,
                "invalid_request_error",
                "invalid_value",
                format!("{param} is {value}: {reason}"),
            )
        }
    }

    /// A field that must be there.
    pub(crate) fn missing(param: &str, reason: impl std::fmt::Display) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..Self::of(
                400,
                "invalid_request_error",
                "missing_value",
                format!("{param} is missing: {reason}"),
            )
        }
    }

    /// A field that this server does not know or does not serve.
    pub(crate) fn unsupported(param: &str, reason: impl std::fmt::Display) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..Self::of(
                400,
                "invalid_request_error",
                "unsupported_parameter",
                format!("{param} is not served: {reason}"),
            )
        }
    }

    /// A request that is no request.
    pub(crate) fn malformed(problem: impl std::fmt::Display) -> Self {
        let message = format!("the body is no JSON object: {problem}");
        Self::of(400, "invalid_request_error", "invalid_json", message)
    }

    /// A body whose end never came.
    pub(crate) fn broken_off(problem: impl std::fmt::Display) -> Self {
        let message = format!("the body breaks off: {problem}");
        Self::of(400, "invalid_request_error", "body_incomplete", message)
    }

    /// A body that trickles.
    pub(crate) fn too_slow(seconds: u64) -> Self {
        let message = format!("the body has not come whole within {seconds} s");
        Self::of(408, "invalid_request_error", "body_too_slow", message)
    }

    /// A body of more bytes than are read.
    pub(crate) fn too_large(most: usize) -> Self {
        let message = format!("the body is larger than {most} bytes, which --max-body-bytes allows");
        Self::of(413, "invalid_request_error", "body_too_large", message)
    }

    /// A prompt of more tokens than are served.
    pub(crate) fn too_long(tokens: usize, most: usize, why: &str) -> Self {
        Self {
            param: Some("messages".to_owned()),
            ..Self::of(
                400,
                "invalid_request_error",
                "context_length_exceeded",
                format!("messages is a prompt of {tokens} tokens: it must be at most {most} ({why})"),
            )
        }
    }

    /// A trace that is not kept any more.
    pub(crate) fn gone(trace: &str) -> Self {
        Self {
            param: Some("anytime.continue".to_owned()),
            ..Self::of(
                404,
                "invalid_request_error",
                "trace_not_found",
                format!(
                    "anytime.continue is {trace:?}: this server does not keep that trace, or not any more; ask again from the \
                     beginning"
                ),
            )
        }
    }

    /// Nothing is at this path.
    pub(crate) fn no_path(path: &str) -> Self {
        let message =
            format!("{path} is not there: POST /v1/chat/completions, GET /, /v1/models, /health and /metrics are");
        Self::of(404, "invalid_request_error", "not_found", message)
    }

    /// Another method than the path is asked with.
    pub(crate) fn wrong_method(path: &str, method: &str) -> Self {
        let message = format!("{path} is asked with {method}, not otherwise");
        Self::of(405, "invalid_request_error", "method_not_allowed", message)
    }

    /// Another model than the one that is served.
    pub(crate) fn no_model(model: &str, served: &str) -> Self {
        Self {
            param: Some("model".to_owned()),
            ..Self::of(
                404,
                "invalid_request_error",
                "model_not_found",
                format!("model is {model:?}: this server has {served:?} alone"),
            )
        }
    }

    /// Too many requests are there already.
    pub(crate) fn full(waiting: usize, retry_after: u64) -> Self {
        let message = format!(
            "{waiting} requests are under way or wait already, as many as --max-requests allows; try again in {retry_after} s"
        );
        Self {
            retry_after: Some(retry_after),
            ..Self::of(429, "rate_limit_error", "server_full", message)
        }
    }

    /// The time that a request may take is over.
    pub(crate) fn deadline(seconds: u64) -> Self {
        let message = format!("the answer took longer than the {seconds} s that --request-timeout allows");
        Self::of(504, "timeout_error", "deadline_exceeded", message)
    }

    /// The server ends, or its engine has.
    pub(crate) fn unavailable(reason: impl std::fmt::Display) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::of(503, "server_error", "unavailable", reason.to_string())
        }
    }

    /// A fault of the server.
    pub(crate) fn fault(reason: impl std::fmt::Display) -> Self {
        Self::of(500, "server_error", "internal_error", reason.to_string())
    }

    /// A request that is over and was told nothing.
    pub(crate) fn without_answer() -> Self {
        Self::fault("the request ended without an answer")
    }

    fn of(status: u16, kind: &'static str, code: &'static str, message: String) -> Self {
        Self {
            status,
            kind,
            message,
            param: None,
            code,
            retry_after: None,
        }
    }

    /// `{"error": {"message", "type", "param", "code"}}`.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        } })
    }
}
