//! Between gRPC and what requests are checked as: a message becomes the fields that a body has over HTTP, so that both are
//! read and refused by the same lines, and a refusal becomes a status that calls the field by its name in the message.

use std::time::Duration;

use anytime_proto::v1::{MessageRole, ReasonMessage, ReasonRequest};
use anytime_proto::{ErrorReason, Refusal};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use super::error::ApiError;

/// Names over HTTP that are others over gRPC, where `stop` and `continue` are taken: by another field, and by the languages
/// that clients are written in.
const OTHER_NAMES: [(&str, &str); 3] = [
    ("anytime.continue", "continues"),
    ("anytime.stop", "stop_rule"),
    ("anytime.", ""),
];

/// The fields of a message as the object that a body holds over HTTP.
///
/// # Errors
/// What only a message can have wrong.
pub(crate) fn object_of(request: &ReasonRequest) -> Result<Map<String, Value>, ApiError> {
    let mut anytime = Map::new();
    let mut stop_rule = Map::new();
    if let Some(rule) = &request.stop_rule {
        put(&mut stop_rule, "agreement", rule.agreement.map(number));
        put(&mut stop_rule, "rounds", rule.rounds.map(Value::from));
        anytime.insert("stop".to_owned(), stop_rule.into());
    }
    if !request.budgets.is_empty() {
        anytime.insert("budgets".to_owned(), request.budgets.clone().into());
    }
    put(&mut anytime, "summaries", request.summaries.map(Value::from));
    put(&mut anytime, "continue", text(&request.continues));
    put(&mut anytime, "branches", request.branches.map(Value::from));
    put(&mut anytime, "finish_first", request.finish_first.map(Value::from));
    if let Some(rule) = &request.prune {
        let mut prune = Map::new();
        prune.insert("every".to_owned(), rule.every.into());
        put(&mut prune, "threshold", rule.threshold.map(number));
        put(&mut prune, "most", rule.most.map(Value::from));
        put(&mut prune, "by", text(&rule.by));
        anytime.insert("prune".to_owned(), prune.into());
    }

    let mut object = Map::new();
    object.insert("anytime".to_owned(), anytime.into());
    put(&mut object, "model", text(&request.model));
    put(&mut object, "messages", messages_of(request)?);
    put(&mut object, "temperature", request.temperature.map(number));
    put(&mut object, "top_p", request.top_p.map(number));
    put(&mut object, "top_k", request.top_k.map(Value::from));
    put(&mut object, "seed", request.seed.map(Value::from));
    if !request.stop.is_empty() {
        object.insert("stop".to_owned(), request.stop.clone().into());
    }
    let most = request.max_completion_tokens.map(Value::from);
    put(&mut object, "max_completion_tokens", most);
    if !request.chat_template_kwargs.is_empty() {
        let mut values = Map::new();
        for (name, value) in &request.chat_template_kwargs {
            let read = serde_json::from_str(value).map_err(|error| {
                let field = format!("chat_template_kwargs.{name}");
                ApiError::field(&field, format!("{value:?}"), format!("it must be JSON ({error})"))
            })?;
            values.insert(name.clone(), read);
        }
        object.insert("chat_template_kwargs".to_owned(), values.into());
    }
    Ok(object)
}

fn put(object: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    object.extend(value.map(|value| (name.to_owned(), value)));
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| text.into())
}

/// A number that JSON does not have becomes a text, which is refused as no number.
fn number(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}

fn messages_of(request: &ReasonRequest) -> Result<Option<Value>, ApiError> {
    match (request.prompt.is_empty(), request.messages.is_empty()) {
        (true, true) if request.continues.is_empty() => {
            Err(ApiError::missing("prompt", "it must be there, or messages"))
        }
        (true, true) => Ok(None),
        (false, true) => Ok(Some(json!([{ "role": "user", "content": request.prompt }]))),
        (true, false) => Ok(Some(request.messages.iter().map(message_of).collect())),
        (false, false) => {
            let reason = "messages are given as well; leave one of them out";
            Err(ApiError::field("prompt", "given", reason))
        }
    }
}

fn message_of(message: &ReasonMessage) -> Value {
    let role = match MessageRole::try_from(message.role) {
        Ok(MessageRole::System) => "system".to_owned(),
        Ok(MessageRole::User) => "user".to_owned(),
        Ok(MessageRole::Assistant) => "assistant".to_owned(),
        // Refused where it is read.
        Ok(MessageRole::Unspecified) => "not set".to_owned(),
        Err(_) => message.role.to_string(),
    };
    json!({ "role": role, "content": message.content })
}

/// A refusal as the status of a call, with the standard details.
pub(crate) fn status_of(error: &ApiError) -> Status {
    let (field, message) = own_words(error);
    let refusal = match (error.status, error.code) {
        (404, "trace_not_found") => {
            Refusal::new(Code::NotFound, ErrorReason::TraceUnknown, message.clone()).violation(&field, message)
        }
        (429, _) => Refusal::of_crowd(message),
        (503, _) => Refusal::of_shutdown(&message),
        (504, _) => Refusal::new(Code::DeadlineExceeded, ErrorReason::AnswerTooLate, message),
        (status, _) if status < 500 => Refusal::of_argument(&field, message),
        _ => Refusal::new(Code::Internal, ErrorReason::Fault, message),
    };
    match error.retry_after {
        Some(seconds) => refusal.retry_after(Duration::from_secs(seconds)).into_status(),
        None => refusal.into_status(),
    }
}

/// Field and sentence, with the name that the field has over gRPC.
fn own_words(error: &ApiError) -> (String, String) {
    let Some(param) = &error.param else {
        return (String::new(), error.message.clone());
    };
    let renamed = OTHER_NAMES.iter().find_map(|(over_http, own)| {
        let rest = param.strip_prefix(over_http)?;
        Some(format!("{own}{rest}"))
    });
    let field = renamed.unwrap_or_else(|| param.clone());
    // Every sentence about a field begins with its name.
    let message = match error.message.strip_prefix(param.as_str()) {
        Some(rest) => format!("{field}{rest}"),
        None => error.message.clone(),
    };
    (field, message)
}

#[cfg(test)]
mod tests {
    use anytime_proto::StatusDetails;
    use anytime_proto::v1::StopRule;

    use super::*;

    #[test]
    fn a_message_becomes_the_fields_of_a_body() {
        let request = ReasonRequest {
            prompt: "1+1?".to_owned(),
            budgets: vec![4, 8],
            summaries: Some(3),
            stop_rule: Some(StopRule {
                agreement: Some(0.7),
                rounds: None,
            }),
            temperature: Some(0.1),
            top_p: Some(f64::NAN),
            seed: Some(u64::MAX),
            stop: vec!["x".to_owned()],
            chat_template_kwargs: [("deep".to_owned(), "true".to_owned())].into(),
            ..ReasonRequest::default()
        };
        let object = object_of(&request).expect("good fields");
        let expected = json!({
            "messages": [{ "role": "user", "content": "1+1?" }], "temperature": 0.1, "top_p": "NaN", "seed": u64::MAX,
            "stop": ["x"], "chat_template_kwargs": { "deep": true },
            "anytime": { "budgets": [4, 8], "summaries": 3, "stop": { "agreement": 0.7 } },
        });
        assert_eq!(Value::from(object), expected);
        // Zero is a value that was given.
        let zero = ReasonRequest {
            continues: "t".to_owned(),
            top_k: Some(0),
            summaries: Some(0),
            ..ReasonRequest::default()
        };
        let object = object_of(&zero).expect("good fields");
        assert_eq!(
            Value::from(object),
            json!({ "top_k": 0, "anytime": { "summaries": 0, "continue": "t" } })
        );
    }

    #[test]
    fn a_refusal_calls_the_field_by_its_own_name() {
        let said = |error: &ApiError| {
            let status = status_of(error);
            let details = StatusDetails::of(&status);
            (status.code(), status.message().to_owned(), details)
        };
        let (code, message, details) = said(&ApiError::field("anytime.stop.agreement", 0, "it must be above 0"));
        assert_eq!(
            (code, message.as_str()),
            (Code::InvalidArgument, "stop_rule.agreement is 0: it must be above 0")
        );
        assert_eq!(details.violations, [("stop_rule.agreement".to_owned(), message)]);
        assert_eq!(details.reason, "ARGUMENT_REFUSED");
        let (code, message, details) = said(&ApiError::gone("x"));
        assert!(
            code == Code::NotFound && message.starts_with("continues is \"x\": "),
            "{message}"
        );
        assert_eq!(details.reason, "TRACE_UNKNOWN");
        let (_, message, _) = said(&ApiError::field("anytime.budgets", "[]", "no"));
        assert_eq!(message, "budgets is []: no");
        let (code, _, details) = said(&ApiError::full(9, 7));
        assert_eq!(
            (code, details.retry_after),
            (Code::ResourceExhausted, Some(Duration::from_secs(7)))
        );
        assert_eq!(said(&ApiError::deadline(600)).2.reason, "ANSWER_TOO_LATE");
        assert_eq!(said(&ApiError::unavailable("away")).2.reason, "SHUTTING_DOWN");
        assert_eq!(said(&ApiError::fault("broken")).0, Code::Internal);
    }

    #[test]
    fn what_only_a_message_can_have_wrong_is_refused() {
        let refused = |request: ReasonRequest| object_of(&request).expect_err("refused").message;
        assert_eq!(
            refused(ReasonRequest::default()),
            "prompt is missing: it must be there, or messages"
        );
        let both = ReasonRequest {
            prompt: "a".to_owned(),
            messages: vec![ReasonMessage::default()],
            ..ReasonRequest::default()
        };
        assert_eq!(
            refused(both),
            "prompt is given: messages are given as well; leave one of them out"
        );
        let no_json = ReasonRequest {
            prompt: "a".to_owned(),
            chat_template_kwargs: [("deep".to_owned(), "yes".to_owned())].into(),
            ..ReasonRequest::default()
        };
        assert!(refused(no_json).starts_with("chat_template_kwargs.deep is \"yes\": it must be JSON ("));
    }
}
