//! Chat templates: the Jinja text of a model directory, rendered as transformers renders it.
//!
//! minijinja runs them. Where Jinja2 with transformers' extensions behaves differently, the submodules make up for it:
//! `source` changes the text of a template, `python` the behaviour of values, `percent` formats texts, `texts`, `numbers`,
//! `json` and `strftime` provide filters, methods and functions. Steps, values and output are bounded, since anyone may
//! have written the template: `rewrite` puts the checks of `bounds` into what `compiled` compiles.

mod bounds;
mod compiled;
mod json;
mod methods;
mod numbers;
mod percent;
mod python;
mod rewrite;
mod source;
mod strftime;
mod texts;

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind};

use compiled::Compiled;

use crate::error::{Origin, PolicyError};
use crate::model_files;

/// Steps of one rendering: about a tenth of a second. The longest published templates take some thousand.
const MOST_STEPS: u64 = 2_000_000;

const FILE: &str = "chat_template.jinja";
const SPECIAL_TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// Values for names that a chat template reads, such as `enable_thinking`. Their objects keep their order.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct TemplateArguments(BTreeMap<String, Value>);

impl TemplateArguments {
    /// Reads values that are written as JSON, by their names.
    ///
    /// # Errors
    /// The first that is no JSON.
    pub fn from_json(values: &BTreeMap<String, String>) -> Result<Self, serde_json::Error> {
        let read = |(name, json): (&String, &String)| Ok((name.clone(), serde_json::from_str(json)?));
        values.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The names that have values.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// What a chat template is rendered with: one user message, after which the assistant's turn begins.
#[derive(Clone, Copy, Debug)]
pub struct Chat<'a> {
    /// A system message before it.
    pub system: Option<&'a str>,
    /// The user's message.
    pub user: &'a str,
    /// Values for names that the template reads.
    pub arguments: &'a TemplateArguments,
}

/// One message of a chat of several turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatMessage<'a> {
    /// `system`, `user` or `assistant`.
    pub role: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// A compiled chat template with the special tokens that it may name.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    compiled: Compiled,
    special_tokens: Vec<(String, String)>,
    source: String,
    origin: Origin,
}

impl ChatTemplate {
    /// The template of a model directory: `chat_template.jinja` or, failing that, `chat_template` of
    /// `tokenizer_config.json` (given as `settings`), a text, or named texts with one called `default`, as a list or an
    /// object.
    /// `special_token` returns the text of a special token by its name (`bos_token`); `extra_tokens` are further names
    /// with their texts.
    pub(crate) fn load(
        dir: &Path,
        settings: &serde_json::Value,
        special_token: impl Fn(&str) -> Option<String>,
        extra_tokens: Vec<(String, String)>,
    ) -> Result<Option<Self>, PolicyError> {
        let path = dir.join(FILE);
        let (source, origin) = match model_files::optional_text(&path)? {
            Some(source) => (source, Origin::file(&path)),
            None => {
                let origin = Origin::field(&dir.join("tokenizer_config.json"), "chat_template");
                match source_in_settings(&settings["chat_template"], &origin)? {
                    Some(source) => (source, origin),
                    None => return Ok(None),
                }
            }
        };
        let mut special_tokens = extra_tokens;
        for name in SPECIAL_TOKENS {
            special_tokens.extend(special_token(name).map(|token| (name.to_owned(), token)));
        }
        Self::compile(&source, special_tokens, origin).map(Some)
    }

    fn compile(source: &str, special_tokens: Vec<(String, String)>, origin: Origin) -> Result<Self, PolicyError> {
        let source = source::translate(source);
        let mut environment = Environment::new();
        environment.set_fuel(Some(MOST_STEPS));
        python::adopt(&mut environment);
        percent::adopt(&mut environment);
        texts::adopt(&mut environment);
        methods::adopt(&mut environment);
        numbers::adopt(&mut environment);
        bounds::adopt(&mut environment);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime::strftime_now);
        let compiled = match Compiled::new(&source) {
            Ok(compiled) => compiled,
            Err(error) => return Err(refuse(&origin, &error)),
        };
        Ok(ChatTemplate {
            environment,
            compiled,
            special_tokens,
            source,
            origin,
        })
    }

    /// Where the template was found.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the template has this name in it.
    pub(crate) fn names(&self, name: &str) -> bool {
        source::has_word(&self.source, name)
    }

    /// The messages, followed by what opens the assistant's turn.
    pub(crate) fn render(&self, chat: &Chat<'_>) -> Result<String, PolicyError> {
        let system = chat.system.map(|text| ChatMessage { role: "system", text });
        let user = ChatMessage {
            role: "user",
            text: chat.user,
        };
        let messages: Vec<ChatMessage<'_>> = system.into_iter().chain([user]).collect();
        self.render_messages(&messages, chat.arguments)
    }

    /// The same for the messages of several turns.
    pub(crate) fn render_messages(
        &self,
        messages: &[ChatMessage<'_>],
        arguments: &TemplateArguments,
    ) -> Result<String, PolicyError> {
        let message = |of: &ChatMessage<'_>| Value::from_iter([("role", of.role), ("content", of.text)]);
        let messages: Vec<Value> = messages.iter().map(message).collect();
        let mut variables: BTreeMap<&str, Value> = BTreeMap::new();
        // transformers passes these as None where a caller gives none, and templates test for it.
        variables.insert("tools", Value::from(()));
        variables.insert("documents", Value::from(()));
        for (name, token) in &self.special_tokens {
            variables.insert(name, Value::from(token.as_str()));
        }
        for (name, value) in &arguments.0 {
            variables.insert(name, value.clone());
        }
        variables.insert("messages", Value::from(messages));
        variables.insert("add_generation_prompt", Value::from(true));
        let rendered = self
            .compiled
            .render(&self.environment, Value::from_serialize(&variables));
        rendered.map_err(|error| refuse(&self.origin, &error))
    }
}

fn source_in_settings(field: &serde_json::Value, origin: &Origin) -> Result<Option<String>, PolicyError> {
    match field {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(source) => Ok(Some(source.clone())),
        serde_json::Value::Array(templates) => {
            let default = templates.iter().find(|template| template["name"] == "default");
            match default.and_then(|template| template["template"].as_str()) {
                Some(source) => Ok(Some(source.to_owned())),
                None => Err(problem(origin, "the list has no template called default; name one so")),
            }
        }
        serde_json::Value::Object(templates) => match templates.get("default").and_then(serde_json::Value::as_str) {
            Some(source) => Ok(Some(source.to_owned())),
            None => Err(problem(
                origin,
                "the object has no template called default; name one so",
            )),
        },
        _ => Err(problem(
            origin,
            "it is neither a text nor a list or an object of named texts",
        )),
    }
}

fn problem(origin: &Origin, text: impl Into<String>) -> PolicyError {
    PolicyError::ChatTemplate {
        origin: origin.clone(),
        problem: text.into(),
    }
}

/// What minijinja says, in one line and with the line of the template.
fn refuse(origin: &Origin, error: &Error) -> PolicyError {
    let said = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("it takes more than {MOST_STEPS} steps, as a loop does that never ends"),
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    let said = source::one_line(&said);
    match error.line() {
        Some(line) => problem(origin, format!("{said} (line {line})")),
        None => problem(origin, said),
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(
        ErrorKind::InvalidOperation,
        format!("it refuses the messages: {message}"),
    ))
}
