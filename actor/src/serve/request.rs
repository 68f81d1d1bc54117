//! A request for an answer, checked where it comes in: what it asks for, with every default filled in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::anytime::{PruneRule, StopRule, budgets, read_anytime};
use super::error::ApiError;
use super::fields::{Fields, whole_of};
use super::settings::Served;

/// Fields that clients send and that cannot change an answer here.
const PASSED_OVER: &[&str] = &[
    "user",
    "metadata",
    "store",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "verbosity",
    "include_reasoning",
];

/// The most texts of `stop`, as OpenAI has it.
const MOST_STOPS: usize = 4;

/// Longest text of `stop`, in bytes.
const LONGEST_STOP: usize = 256;

/// One message of the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// `system`, `user` or `assistant`.
    pub(crate) role: &'static str,
    pub(crate) text: String,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    pub(crate) messages: Vec<Message>,
    /// Values for names of the chat template, as JSON.
    pub(crate) template_arguments: BTreeMap<String, String>,
    pub(crate) budgets: Vec<u32>,
    pub(crate) summaries: u32,
    pub(crate) summary_tokens: u32,
    pub(crate) stop: Option<StopRule>,
    /// How many traces think.
    pub(crate) branches: u32,
    /// As soon as so many have ended, the others are stopped.
    pub(crate) finish_first: u32,
    pub(crate) prune: Option<PruneRule>,
    /// The answer whose trace goes on.
    pub(crate) continues: Option<String>,
    /// None of each: the model's own, or that of the trace that goes on.
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) top_k: Option<u32>,
    pub(crate) seed: Option<u64>,
    pub(crate) stops: Vec<String>,
    pub(crate) streams: bool,
    pub(crate) includes_usage: bool,
    /// Whether it has an `anytime` object, so that it is told of every budget.
    pub(crate) is_anytime: bool,
}

/// The fields of a body.
///
/// # Errors
/// Where it is no JSON object.
pub(crate) fn read_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body).map_err(ApiError::malformed)? {
        Value::Object(object) => Ok(object),
        _ => Err(ApiError::malformed("it is something else")),
    }
}

impl Ask {
    /// Reads a request's fields.
    ///
    /// # Errors
    /// The first field that is wrong, or not served.
    pub(crate) fn try_new(object: &Map<String, Value>, served: &Served) -> Result<Self, ApiError> {
        let mut fields = Fields::new(object, "");
        if let Some(model) = fields.text("model")?
            && model != served.name
        {
            return Err(ApiError::no_model(model, &served.name));
        }
        let anytime = fields.object("anytime")?;
        let of_anytime = anytime.map(|object| read_anytime(object, served)).transpose()?;
        let of_anytime = of_anytime.unwrap_or_default();
        let continues = of_anytime.continues.clone();
        let messages = match fields.get("messages") {
            // A trace that goes on has its prompt already.
            _ if continues.is_some() => Vec::new(),
            None => return Err(ApiError::missing("messages", "it must be a list of messages")),
            Some(Value::Array(messages)) => read_messages(messages)?,
            Some(_) => return Err(fields.wrong("messages", "it must be a list of messages")),
        };
        let streams = fields.flag("stream")?.unwrap_or(false);
        let includes_usage = includes_usage(&mut fields)?;
        let stops = stops(&mut fields)?;
        let asked = budget_field(&mut fields, served)?;
        let most = completion_limit(&mut fields)?;
        let (mut budgets, summary_tokens) = budgets(&of_anytime, anytime.is_some(), asked, most, served)?;
        if let Some(prune) = &of_anytime.prune {
            budgets = prune.checkpoints(budgets.last().copied().unwrap_or(1))?;
        }
        let template_arguments = match fields.object("chat_template_kwargs")? {
            Some(values) => values
                .iter()
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect(),
            None => BTreeMap::new(),
        };
        let ask = Self {
            messages,
            template_arguments,
            budgets,
            summaries: of_anytime.summaries.unwrap_or(1),
            summary_tokens,
            stop: of_anytime.stop,
            branches: of_anytime.branches.unwrap_or(1),
            finish_first: of_anytime.finish_first.or(of_anytime.branches).unwrap_or(1),
            prune: of_anytime.prune,
            continues,
            temperature: fields.number("temperature", 0.0, 100.0)?.map(|number| number as f32),
            top_p: top_p(&mut fields)?,
            top_k: top_k(&mut fields)?,
            seed: seed(&mut fields)?,
            stops,
            streams,
            includes_usage,
            is_anytime: anytime.is_some(),
        };
        refuse_what_is_not_served(&mut fields)?;
        fields.pass_over(PASSED_OVER);
        fields.nothing_else()?;
        Ok(ask)
    }
}

fn read_messages(messages: &[Value]) -> Result<Vec<Message>, ApiError> {
    let read: Result<Vec<Message>, ApiError> = messages.iter().enumerate().map(read_message).collect();
    let read = read?;
    match read.last() {
        None => Err(ApiError::field("messages", "[]", "it must hold at least one message")),
        Some(last) if last.role != "user" => Err(ApiError::field(
            "messages",
            format!("a chat that ends with the {}", last.role),
            "its last message must be the \
             user's",
        )),
        Some(_) => Ok(read),
    }
}

fn read_message((index, message): (usize, &Value)) -> Result<Message, ApiError> {
    let place = format!("messages[{index}]");
    let Value::Object(message) = message else {
        return Err(ApiError::field(&place, "no object", "it must have role and content"));
    };
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    let role = match role {
        // What OpenAI calls the system since its models reason.
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        "tool" | "function" => {
            return Err(ApiError::unsupported(
                &format!("{place}.role"),
                "tools are not served here",
            ));
        }
        other => {
            let reason = "it must be system, developer, user or assistant";
            return Err(ApiError::field(&format!("{place}.role"), format!("{other:?}"), reason));
        }
    };
    let is_there = |name: &str| message.get(name).is_some_and(|value| !value.is_null());
    for tool in ["tool_calls", "function_call", "audio"] {
        if is_there(tool) {
            return Err(ApiError::unsupported(
                &format!("{place}.{tool}"),
                "texts alone are served here",
            ));
        }
    }
    let place = format!("{place}.content");
    let text = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Option<Vec<&str>> = parts.iter().map(text_of_part).collect();
            texts
                .ok_or_else(|| ApiError::unsupported(&place, "parts of type text alone are served here"))?
                .concat()
        }
        _ => return Err(ApiError::missing(&place, "it must be a text or a list of texts")),
    };
    Ok(Message { role, text })
}

fn text_of_part(part: &Value) -> Option<&str> {
    (part["type"] == "text").then(|| part["text"].as_str())?
}

fn includes_usage(fields: &mut Fields<'_>) -> Result<bool, ApiError> {
    let Some(options) = fields.object("stream_options")? else {
        return Ok(false);
    };
    let mut options = Fields::new(options, "stream_options.");
    let includes = options.flag("include_usage")?.unwrap_or(false);
    options.pass_over(&["include_obfuscation"]);
    options.nothing_else()?;
    Ok(includes)
}

fn stops(fields: &mut Fields<'_>) -> Result<Vec<String>, ApiError> {
    let reason =
        format!("it must be a text or a list of at most {MOST_STOPS} texts, each of 1 to {LONGEST_STOP} bytes");
    let texts = match fields.get("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(texts)) => {
            let texts: Option<Vec<String>> = texts.iter().map(|text| text.as_str().map(str::to_owned)).collect();
            texts.ok_or_else(|| fields.wrong("stop", &reason))?
        }
        Some(_) => return Err(fields.wrong("stop", &reason)),
    };
    let is_good = |text: &String| (1..=LONGEST_STOP).contains(&text.len());
    if texts.len() > MOST_STOPS || !texts.iter().all(is_good) {
        return Err(fields.wrong("stop", &reason));
    }
    Ok(texts)
}

/// The budget that a field names which other servers have, too, with that field's name.
fn budget_field(fields: &mut Fields<'_>, served: &Served) -> Result<Option<(String, u32)>, ApiError> {
    let most = u64::from(served.limits.thinking);
    let mut named: Vec<(String, u32)> = Vec::new();
    for name in ["thinking_token_budget", "thinking_budget_tokens"] {
        let budget = fields.whole(name, 1, most)?;
        named.extend(budget.map(|budget| (name.to_owned(), budget as u32)));
    }
    if let Some(thinking) = fields.object("thinking")? {
        let mut thinking = Fields::new(thinking, "thinking.");
        let kind = thinking.text("type")?;
        if !matches!(kind, None | Some("enabled")) {
            return Err(thinking.wrong(
                "type",
                "it must be enabled: this model always thinks, at least one token",
            ));
        }
        let budget = thinking.whole("budget_tokens", 1, most)?;
        named.extend(budget.map(|budget| ("thinking.budget_tokens".to_owned(), budget as u32)));
        thinking.nothing_else()?;
    }
    if let Some(effort) = fields.text("reasoning_effort")? {
        let largest = served.budgets.last().copied().unwrap_or(1);
        let budget = match effort {
            "none" | "minimal" => largest.div_ceil(16),
            "low" => largest.div_ceil(4),
            "medium" => largest.div_ceil(2),
            "high" | "xhigh" => largest,
            _ => {
                return Err(fields.wrong(
                    "reasoning_effort",
                    "it must be none, minimal, low, medium, high or xhigh",
                ));
            }
        };
        named.push(("reasoning_effort".to_owned(), budget));
    }
    let mut named = named.into_iter();
    let first = named.next();
    if let (Some((first, budget)), Some((other, another))) = (
        &first,
        named.find(|(_, budget)| first.as_ref().is_some_and(|(_, first)| first != budget)),
    ) {
        let reason = format!("{first} asks for another budget, {budget}; leave one of them out");
        return Err(ApiError::field(&other, another, reason));
    }
    Ok(first)
}

/// The most tokens of thinking and summary together.
fn completion_limit(fields: &mut Fields<'_>) -> Result<Option<u32>, ApiError> {
    let mut limit = None;
    for name in ["max_completion_tokens", "max_tokens"] {
        let reason = "it must be a whole number from 2 on: a token of thinking, and one of the answer";
        let Some(value) = fields.get(name) else { continue };
        let whole = whole_of(value).filter(|&whole| whole >= 2);
        let whole = whole.ok_or_else(|| fields.wrong(name, reason))?;
        let whole = u32::try_from(whole).unwrap_or(u32::MAX);
        limit = Some(limit.map_or(whole, |other: u32| other.min(whole)));
    }
    Ok(limit)
}

fn top_p(fields: &mut Fields<'_>) -> Result<Option<f32>, ApiError> {
    let top_p = fields.number("top_p", 0.0, 1.0)?;
    match top_p {
        Some(0.0) => Err(fields.wrong("top_p", "it must be above 0 and at most 1")),
        other => Ok(other.map(|number| (number as f32).max(f32::MIN_POSITIVE))),
    }
}

/// −1 and 0 keep all tokens, as elsewhere.
fn top_k(fields: &mut Fields<'_>) -> Result<Option<u32>, ApiError> {
    if fields.get("top_k").and_then(Value::as_i64) == Some(-1) {
        return Ok(Some(0));
    }
    Ok(fields.whole("top_k", 0, u64::from(u32::MAX))?.map(|whole| whole as u32))
}

fn seed(fields: &mut Fields<'_>) -> Result<Option<u64>, ApiError> {
    let Some(value) = fields.get("seed") else {
        return Ok(None);
    };
    let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
    seed.map(Some)
        .ok_or_else(|| fields.wrong("seed", "it must be a whole number of 64 bits"))
}

/// Fields that would change the answer, and that nothing here obeys.
fn refuse_what_is_not_served(fields: &mut Fields<'_>) -> Result<(), ApiError> {
    let is = |wanted: f64| move |value: &Value| value.as_f64() == Some(wanted);
    let is_empty =
        |value: &Value| value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
    let tools = "tools are not served here";
    fields.only("tools", is_empty, tools)?;
    fields.only("functions", is_empty, tools)?;
    fields.only("tool_choice", |value| value == "none" || value == "auto", tools)?;
    fields.only("function_call", |value| value == "none" || value == "auto", tools)?;
    fields.only("parallel_tool_calls", Value::is_boolean, tools)?;
    let format = "answers are texts; JSON modes are not served here";
    fields.only("response_format", |value| value["type"] == "text", format)?;
    fields.only(
        "n",
        is(1.0),
        "one answer is given to a request; anytime.summaries has several vote on it",
    )?;
    fields.only(
        "best_of",
        is(1.0),
        "anytime.summaries has several summaries vote on the answer",
    )?;
    fields.only("logprobs", |value| value == false, "log-probabilities are not sent")?;
    fields.only("top_logprobs", is(0.0), "log-probabilities are not sent")?;
    fields.only("logit_bias", is_empty, "tokens are drawn as the model has them")?;
    for penalty in ["presence_penalty", "frequency_penalty"] {
        fields.only(penalty, is(0.0), "tokens are drawn as the model has them")?;
    }
    fields.only("repetition_penalty", is(1.0), "tokens are drawn as the model has them")?;
    fields.only("min_p", is(0.0), "temperature, top_p and top_k shape the draws here")?;
    fields.only(
        "modalities",
        |value| *value == serde_json::json!(["text"]),
        "texts alone are served here",
    )?;
    for other in ["audio", "prediction", "web_search_options"] {
        fields.only(other, |_| false, "texts alone are served here")?;
    }
    Ok(())
}
