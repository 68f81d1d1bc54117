//! Asks a server over HTTP. Every wait has an end; what may pass (no connection, 429, 5xx) is asked again.

use std::time::Duration;

use anytime_hub::{bearer_of_file, http_client};
use anytime_proto::settings::JobSettings;
use anytime_service::exit::{ExitError, UNAVAILABLE};
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde_json::{Map, Value, json};

use super::reply::{Answer, Completion, Model, Models, Sample};
use crate::args::MeasureArgs;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How often a question is asked before it is given up.
const TRIES: u32 = 5;

/// The pause after the first try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The most bytes of an answer.
const LARGEST_ANSWER: usize = 64 << 20;

/// The most characters of what a server says that are shown.
const LONGEST_SHOWN: usize = 400;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server refuses, and would refuse again.
    Refused(String),
    /// It is away, or its answer is none.
    Lost(String),
}

/// One sample of a problem.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) text: &'a str,
    pub(super) seed: u64,
}

/// A server and how it is asked.
pub(super) struct Endpoint {
    client: Client,
    /// Ends in a slash.
    base: Url,
    key: Option<HeaderValue>,
    timeout: Duration,
    model: Model,
    /// Fields of every request.
    common: Map<String, Value>,
    budgets: Vec<u32>,
    summaries: u32,
    summary_tokens: u32,
    budget_field: Vec<String>,
}

impl Endpoint {
    /// Asks which model answers.
    ///
    /// # Errors
    /// [`ExitError`]: configuration where the arguments do not go with the server, unavailable where it does not answer.
    pub(super) async fn open(args: &MeasureArgs, settings: &JobSettings) -> Result<Self, ExitError> {
        let refuse = |reason: String| ExitError::configuration(format!("--endpoint {}: {reason}", args.endpoint));
        let base = base(&args.endpoint).map_err(refuse)?;
        let evaluation = &settings.evaluation;
        let mut common = Map::new();
        common.insert("messages".to_owned(), Value::Null);
        common.insert("temperature".to_owned(), json!(evaluation.temperature));
        common.insert("top_p".to_owned(), json!(evaluation.top_p));
        if evaluation.top_k > 0 {
            // No field of OpenAI's own.
            common.insert("top_k".to_owned(), json!(evaluation.top_k));
        }
        let mut endpoint = Self {
            client: http_client(CONNECT).map_err(|reason| refuse(format!("no client of HTTP: {reason}")))?,
            base,
            key: args.key_file.as_deref().map(key).transpose()?,
            timeout: Duration::from_secs(args.timeout),
            model: Model {
                id: String::new(),
                anytime: None,
            },
            common,
            budgets: evaluation.budgets.clone(),
            summaries: evaluation.summaries,
            summary_tokens: settings.rollout.max_summary_tokens,
            budget_field: args.budget_field.split('.').map(str::to_owned).collect(),
        };
        let asked = endpoint.get("models");
        let text = endpoint.answered(&|| asked.try_clone(), "v1/models").await;
        let text = text.map_err(|failure| match failure {
            Failure::Refused(reason) => refuse(reason),
            Failure::Lost(reason) => ExitError {
                code: UNAVAILABLE,
                message: format!("--endpoint {}: {reason}", args.endpoint),
            },
        })?;
        let models: Models =
            serde_json::from_str(&text).map_err(|error| refuse(format!("v1/models is no list of models: {error}")))?;
        endpoint.model = choose(models.data, args.endpoint_model.as_deref()).map_err(refuse)?;
        endpoint.check().map_err(refuse)?;
        let model = endpoint.model.id.clone();
        endpoint.common.insert("model".to_owned(), model.into());
        Ok(endpoint)
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let how = match &self.model.anytime {
            Some(_) => "one request has all budgets",
            None => "a request for each budget",
        };
        format!("{:?}: {how}", self.model.id)
    }

    /// The answers of one sample at all budgets.
    ///
    /// # Errors
    /// That there are none.
    pub(super) async fn ask(&self, asking: &Asking<'_>) -> Result<Sample, Failure> {
        if self.model.anytime.is_some() {
            let mut fields = self.fields(asking);
            fields.insert(
                "anytime".to_owned(),
                json!({ "budgets": self.budgets, "summaries": self.summaries }),
            );
            return self
                .complete(&fields)
                .await?
                .into_sample(self.budgets.len())
                .map_err(Failure::Lost);
        }
        let mut answers: Vec<Answer> = Vec::with_capacity(self.budgets.len());
        for &budget in &self.budgets {
            let mut fields = self.fields(asking);
            put(&mut fields, &self.budget_field, budget.into());
            let most = u64::from(budget) + u64::from(self.summary_tokens);
            fields.insert("max_tokens".to_owned(), most.into());
            answers.push(
                self.complete(&fields)
                    .await?
                    .into_answer(budget)
                    .map_err(Failure::Lost)?,
            );
        }
        Ok(Sample { answers })
    }

    /// What the server cannot do of what is asked.
    fn check(&self) -> Result<(), String> {
        match &self.model.anytime {
            Some(anytime) => {
                let largest = self.budgets.last().copied().unwrap_or(0);
                if largest > anytime.max_thinking {
                    return Err(format!(
                        "it thinks for at most {} tokens; --budgets ends in {largest}",
                        anytime.max_thinking
                    ));
                }
                if self.summaries > anytime.max_summaries {
                    let (most, asked) = (anytime.max_summaries, self.summaries);
                    return Err(format!("at most {most} summaries vote there; --summaries is {asked}"));
                }
            }
            None if self.summaries > 1 => {
                let asked = self.summaries;
                return Err(format!(
                    "it answers once at each budget; --summaries is {asked} and must be 1"
                ));
            }
            None => {}
        }
        Ok(())
    }

    fn fields(&self, asking: &Asking<'_>) -> Map<String, Value> {
        let mut fields = self.common.clone();
        fields.insert(
            "messages".to_owned(),
            json!([{ "role": "user", "content": asking.text }]),
        );
        // Some servers read seeds as signed numbers of 64 bits.
        fields.insert("seed".to_owned(), (asking.seed >> 1).into());
        fields
    }

    async fn complete(&self, fields: &Map<String, Value>) -> Result<Completion, Failure> {
        let url = self.url("chat/completions");
        let request = || {
            let request = self.client.post(url.clone()).json(fields);
            Some(self.with_key(request))
        };
        let text = self.answered(&request, "v1/chat/completions").await?;
        serde_json::from_str(&text).map_err(|error| Failure::Lost(format!("an answer is none: {error}")))
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.with_key(self.client.get(self.url(path)))
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.header(AUTHORIZATION, key.clone()),
            None => request,
        }
    }

    /// The body of a good answer.
    async fn answered(&self, request: &impl Fn() -> Option<RequestBuilder>, path: &str) -> Result<String, Failure> {
        let mut pause = FIRST_PAUSE;
        let mut tried = 0;
        loop {
            let request = request().ok_or_else(|| Failure::Lost("the request cannot be made again".to_owned()))?;
            let answer = tokio::time::timeout(self.timeout, self.once(request)).await;
            let (reason, wait) = match answer {
                Ok(Ok(text)) => return Ok(text),
                Ok(Err(Once::Refused(reason))) => return Err(Failure::Refused(format!("{path}: {reason}"))),
                Ok(Err(Once::Passing(reason, wait))) => (reason, wait),
                Err(_) => (format!("no answer within {} s", self.timeout.as_secs()), None),
            };
            tried += 1;
            if tried >= TRIES {
                return Err(Failure::Lost(format!("{path}: {reason}")));
            }
            tokio::time::sleep(wait.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause *= 2;
        }
    }

    async fn once(&self, request: RequestBuilder) -> Result<String, Once> {
        let passing = |error: &reqwest::Error| Once::Passing(reason(error), None);
        let mut response = request.send().await.map_err(|error| passing(&error))?;
        let status = response.status();
        let wait = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|wait| wait.to_str().ok()?.trim().parse().ok());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| passing(&error))? {
            if body.len() + piece.len() > LARGEST_ANSWER {
                return Err(Once::Refused(format!("an answer of more than {LARGEST_ANSWER} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() {
            return Ok(text);
        }
        let says = format!("{status}: {}", said(&text));
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error()
        {
            return Err(Once::Passing(says, wait.map(Duration::from_secs)));
        }
        Err(Once::Refused(says))
    }
}

/// Why one try has no answer.
enum Once {
    Refused(String),
    /// It may pass, after the pause that the server asks for.
    Passing(String, Option<Duration>),
}

/// The address that paths are appended to: with `/v1/` behind it where it does not end so already.
fn base(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("it must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must hold no password; --key-file names a file with the key".to_owned());
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
    url.set_path(&format!("{path}/v1/"));
    Ok(url)
}

/// The header with the key of a file.
fn key(path: &std::path::Path) -> Result<HeaderValue, ExitError> {
    bearer_of_file(path).map_err(|reason| ExitError::configuration(format!("--key-file {}: {reason}", path.display())))
}

/// The model that is asked for by name, or the only one.
fn choose(models: Vec<Model>, name: Option<&str>) -> Result<Model, String> {
    let names = models
        .iter()
        .map(|model| model.id.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    match name {
        Some(name) => {
            let found = models.into_iter().find(|model| model.id == name);
            found.ok_or_else(|| format!("--endpoint-model {name} is none of its models: {names}"))
        }
        None if models.len() == 1 => models.into_iter().next().ok_or_else(String::new),
        None if models.is_empty() => Err("it has no model".to_owned()),
        None => Err(format!(
            "it has several models, of which --endpoint-model must name one: {names}"
        )),
    }
}

/// Sets a field below its path.
fn put(fields: &mut Map<String, Value>, path: &[String], value: Value) {
    let [name, rest @ ..] = path else { return };
    if rest.is_empty() {
        fields.insert(name.clone(), value);
        return;
    }
    let inner = fields.entry(name.clone()).or_insert_with(|| json!({}));
    if let Some(inner) = inner.as_object_mut() {
        put(inner, rest, value);
    }
}

/// What a body says is wrong: OpenAI's message where it has one. In one line without what would steer a terminal.
fn said(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let message = parsed.as_ref().and_then(|value| {
        let error = value.get("error").unwrap_or(value);
        error.get("message").or(error.get("detail")).unwrap_or(error).as_str()
    });
    let text = message.unwrap_or(body);
    let plain = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(LONGEST_SHOWN).collect::<String>().trim().to_owned()
}

/// The innermost cause, which says more than "error sending request".
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_version_once() {
        let of = |text: &str| base(text).map(|url| url.to_string());
        for text in [
            "http://a:1",
            "http://a:1/",
            "http://a:1/v1",
            "http://a:1/v1/",
            "http://a:1/v1?x=2#y",
        ] {
            assert_eq!(of(text).as_deref(), Ok("http://a:1/v1/"), "{text}");
        }
        assert_eq!(of("https://a/openai/v1").as_deref(), Ok("https://a/openai/v1/"));
        for text in ["a:1", "file:///x", "", "http://"] {
            assert!(of(text).is_err(), "{text}");
        }
        let error = of("http://u:secret@a").expect_err("a password");
        assert!(!error.contains("secret") && error.contains("--key-file"), "{error}");
    }

    #[test]
    fn a_budget_stands_where_the_server_reads_it() {
        let of = |path: &str| {
            let mut fields = Map::new();
            fields.insert("chat_template_kwargs".to_owned(), json!({ "a": 1 }));
            put(
                &mut fields,
                &path.split('.').map(str::to_owned).collect::<Vec<_>>(),
                7.into(),
            );
            Value::from(fields)
        };
        assert_eq!(of("thinking_token_budget")["thinking_token_budget"], 7);
        assert_eq!(of("thinking.budget_tokens")["thinking"], json!({ "budget_tokens": 7 }));
        let both = of("chat_template_kwargs.thinking_budget");
        assert_eq!(both["chat_template_kwargs"], json!({ "a": 1, "thinking_budget": 7 }));
    }

    #[test]
    fn a_model_is_named_where_there_are_several() {
        let models = |names: &[&str]| -> Vec<Model> {
            let model = |name: &&str| Model {
                id: (*name).to_owned(),
                anytime: None,
            };
            names.iter().map(model).collect()
        };
        let chosen = |names: &[&str], name: Option<&str>| choose(models(names), name).map(|model| model.id);
        assert_eq!(chosen(&["a"], None).as_deref(), Ok("a"));
        assert_eq!(chosen(&["a", "b"], Some("b")).as_deref(), Ok("b"));
        assert!(chosen(&["a", "b"], None).expect_err("several").ends_with("a, b"));
        assert!(
            chosen(&["a"], Some("c"))
                .expect_err("none of them")
                .contains("none of its models: a")
        );
        assert!(chosen(&[], None).is_err());
    }

    #[test]
    fn a_refusal_is_shown_in_one_line() {
        assert_eq!(said(r#"{"error": {"message": "no\u001b[31m\nway"}}"#), "no [31m way");
        assert_eq!(said(r#"{"error": "plain"}"#), "plain");
        assert_eq!(said(r#"{"detail": "fast"}"#), "fast");
        assert_eq!(said("<html>"), "<html>");
        assert_eq!(said(&"x".repeat(9999)).len(), LONGEST_SHOWN);
    }
}
