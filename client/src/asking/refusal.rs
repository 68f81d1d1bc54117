//! Why there is no answer: what the server says, as one line, with the exit code that it has.

use anytime_service::exit::{CONFIGURATION, ExitError, FAILED, UNAVAILABLE};
use serde_json::Value;

use crate::show::one_line;

/// Longest refusal that is shown, in characters.
const LONGEST: usize = 600;

/// What a server's error document says: `{"error": {"message", "type", "code"}}`. None where it is no such document.
pub(super) fn of_document(address: &str, document: &Value) -> Option<ExitError> {
    let error = document.get("error")?;
    let message = error["message"].as_str()?;
    let code = match (error["type"].as_str(), error["code"].as_str()) {
        (Some("invalid_request_error" | "authentication_error" | "permission_error"), _) => CONFIGURATION,
        (_, Some("internal_error")) => FAILED,
        _ => UNAVAILABLE,
    };
    Some(refusal(code, address, message))
}

/// An answer that no server of answers gives.
pub(super) fn of_stranger(address: &str, what: &str) -> ExitError {
    let message = format!("{what}, which is not how `anytime serve` answers");
    refusal(CONFIGURATION, address, &message)
}

/// An answer that breaks off.
pub(super) fn of_break(address: &str, why: &str) -> ExitError {
    refusal(UNAVAILABLE, address, &format!("the answer broke off: {why}"))
}

/// Nothing hostile reaches the terminal by way of an error.
fn refusal(code: u8, address: &str, message: &str) -> ExitError {
    ExitError {
        code,
        message: one_line(&format!("{address}: {message}"), LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_says_is_one_harmless_line_with_its_exit_code() {
        let said = |kind: &str, code: Option<&str>| {
            let document = json!({ "error": { "message": "no\n\u{1b}[2Jway", "type": kind, "code": code } });
            of_document("http://h:1", &document).expect("an error")
        };
        let refused = said("invalid_request_error", Some("invalid_value"));
        assert_eq!((refused.code, refused.message.as_str()), (64, "http://h:1: no ␛[2Jway"));
        assert_eq!(said("permission_error", None).code, 64);
        assert_eq!(said("rate_limit_error", Some("server_full")).code, 69);
        assert_eq!(said("server_error", Some("unavailable")).code, 69);
        assert_eq!(said("server_error", Some("internal_error")).code, 70);
        assert!(of_document("h", &json!({ "error": "none" })).is_none());
        assert!(of_document("h", &json!([])).is_none());
    }
}
