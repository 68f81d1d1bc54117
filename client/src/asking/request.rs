//! What is asked: the messages so far, and the options of the command line.

use std::time::Duration;

use anytime_service::exit::ExitError;
use serde_json::{Map, Value, json};

use crate::arguments::AskingArgs;

/// The longest wait that can be asked for.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Checks what the server is never told, or cannot be told in JSON; all else the server checks.
///
/// # Errors
/// [`ExitError`] with the configuration code that names the option, its value and what it must be.
pub(crate) fn check(asking: &AskingArgs) -> Result<(), ExitError> {
    let numbers = [
        ("--agreement", asking.agreement),
        ("--temperature", asking.temperature),
        ("--top-p", asking.top_p),
    ];
    for (name, number) in numbers {
        if let Some(number) = number.filter(|number| !number.is_finite()) {
            let message = format!("{name} {number}: it must be a finite number");
            return Err(ExitError::configuration(message));
        }
    }
    if asking.timeout.is_zero() || asking.timeout > LONGEST_TIMEOUT {
        let timeout = humantime::format_duration(asking.timeout);
        let message = format!("--timeout {timeout}: it must be above 0s and at most 365d");
        return Err(ExitError::configuration(message));
    }
    Ok(())
}

/// The messages so far, with what every question is asked with.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    options: Map<String, Value>,
    messages: Vec<Value>,
    /// How many messages stand before the first question.
    opening: usize,
}

impl Conversation {
    /// A conversation without a question yet.
    pub(crate) fn new(asking: &AskingArgs) -> Self {
        let mut anytime = Map::new();
        let mut set = |name: &str, value: Value| anytime.insert(name.to_owned(), value);
        set("summaries", asking.summaries.into());
        if !asking.budgets.is_empty() {
            set("budgets", asking.budgets.clone().into());
        }
        if let Some(agreement) = asking.agreement {
            let rounds = asking.rounds.unwrap_or(1);
            set("stop", json!({ "agreement": agreement, "rounds": rounds }));
        }
        let given = [
            ("thinking_token_budget", asking.budget.map(Value::from)),
            ("temperature", asking.temperature.map(Value::from)),
            ("top_p", asking.top_p.map(Value::from)),
            ("top_k", asking.top_k.map(Value::from)),
            ("seed", asking.seed.map(Value::from)),
        ];
        let mut options = Map::new();
        options.insert("stream".to_owned(), true.into());
        options.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        options.insert("anytime".to_owned(), anytime.into());
        for (name, value) in given {
            options.extend(value.map(|value| (name.to_owned(), value)));
        }
        let system = asking.system.iter();
        let messages: Vec<Value> = system
            .map(|text| json!({ "role": "system", "content": text }))
            .collect();
        Self {
            options,
            opening: messages.len(),
            messages,
        }
    }

    /// Adds a question.
    pub(crate) fn ask(&mut self, text: &str) {
        self.messages.push(json!({ "role": "user", "content": text }));
    }

    /// Adds the answer to the last question.
    pub(crate) fn answered(&mut self, text: &str) {
        self.messages.push(json!({ "role": "assistant", "content": text }));
    }

    /// Takes the last question back, which has no answer.
    pub(crate) fn withdraw(&mut self) {
        self.messages.pop();
    }

    /// Forgets every question and answer.
    pub(crate) fn forget(&mut self) {
        self.messages.truncate(self.opening);
    }

    /// The body of the request.
    pub(crate) fn body(&self) -> String {
        let mut body = self.options.clone();
        body.insert("messages".to_owned(), self.messages.clone().into());
        Value::from(body).to_string()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Cli, Command};

    fn asking(options: &[&str]) -> AskingArgs {
        let line = ["anytime", "chat", "--server", "h:1"].iter().chain(options);
        match Cli::try_parse_from(line).expect("good options").command {
            Command::Chat(arguments) => arguments.asking,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_conversation_is_sent_whole_with_every_option() {
        let options = asking(&[
            "--system",
            "Be brief.",
            "--budgets",
            "4,8",
            "--summaries",
            "3",
            "--agreement",
            "0.5",
            "--seed",
            "7",
            "--temperature",
            "0",
        ]);
        let mut conversation = Conversation::new(&options);
        conversation.ask("1+1?");
        conversation.answered("2");
        conversation.ask("wrong");
        conversation.withdraw();
        conversation.ask("2+2?");
        let body: Value = serde_json::from_str(&conversation.body()).expect("JSON");
        let roles: Vec<&str> = body["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .filter_map(|message| message["role"].as_str())
            .collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert_eq!(
            body["anytime"],
            json!({ "budgets": [4, 8], "summaries": 3, "stop": { "agreement": 0.5, "rounds": 1 } })
        );
        assert_eq!((&body["seed"], &body["temperature"]), (&json!(7), &json!(0.0)));
        assert_eq!(body.get("thinking_token_budget"), None);
        conversation.forget();
        assert_eq!(conversation.messages.len(), 1, "what it was told before stays");
    }

    #[test]
    fn numbers_that_json_does_not_have_are_refused_by_name() {
        let refused = |options: &[&str]| check(&asking(options)).expect_err("refused").message;
        assert_eq!(
            refused(&["--temperature", "nan"]),
            "--temperature NaN: it must be a finite number"
        );
        assert_eq!(
            refused(&["--timeout", "0s"]),
            "--timeout 0s: it must be above 0s and at most 365d"
        );
        assert!(refused(&["--timeout", "9999y"]).contains("at most 365d"));
        assert!(check(&asking(&["--budget", "9"])).is_ok());
    }
}
