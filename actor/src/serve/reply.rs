//! What OpenAI's clients read: answers, chunks of a stream, and the list of models, as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use anytime_proto::JobId;
use anytime_service::program;
use serde_json::{Map, Value, json};

use super::answer::{Checkpoint, Ended, Update, Usage};
use super::settings::Served;
use crate::config::ReasoningField;

/// The replies to one request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// What the answer is called, and so its trace.
    pub(crate) id: String,
    model: String,
    created: u64,
    reasoning: ReasoningField,
    /// The job whose weights answer, where they follow one.
    job: Option<JobId>,
    includes_usage: bool,
}

impl Reply {
    pub(crate) fn new(id: String, served: &Served, includes_usage: bool) -> Self {
        Self {
            id,
            model: served.name.clone(),
            created: now(),
            reasoning: served.reasoning,
            job: served.follows.then(|| served.job_id.clone()),
            includes_usage,
        }
    }

    /// The whole answer.
    pub(crate) fn whole(&self, ended: &Ended) -> Value {
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        message.insert("content".to_owned(), ended.content.as_str().into());
        message.insert("refusal".to_owned(), Value::Null);
        for name in self.reasoning.names() {
            message.insert((*name).to_owned(), ended.reasoning.as_str().into());
        }
        let mut anytime = self.end(ended);
        anytime["budgets"] = ended.checkpoints.iter().map(checkpoint_json).collect();
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "system_fingerprint": fingerprint(),
            "choices": [{
                "index": 0, "message": message, "logprobs": null, "finish_reason": ended.finish_reason(),
            }],
            "usage": usage_json(&ended.usage),
            "anytime": anytime,
        })
    }

    /// The lines of a stream that tell of an update; empty where there is nothing to tell.
    pub(crate) fn lines(&self, update: &Update) -> String {
        match update {
            Update::Started => self.line(&self.chunk(json!({ "role": "assistant", "content": "" }), None)),
            Update::Reasoning(text) => {
                let fields = self.reasoning.names().iter();
                let delta: Map<String, Value> = fields.map(|name| ((*name).to_owned(), text.as_str().into())).collect();
                self.line(&self.chunk(delta.into(), None))
            }
            Update::Checkpoint(checkpoint) => {
                self.line(&self.chunk(json!({ "anytime": checkpoint_json(checkpoint) }), None))
            }
            Update::Content(text) => self.line(&self.chunk(json!({ "content": text }), None)),
            Update::Ended(ended) => {
                let mut last = self.chunk(json!({}), Some(ended.finish_reason()));
                last["anytime"] = self.end(ended);
                let mut lines = self.line(&last);
                if self.includes_usage {
                    let mut usage = self.chunk(Value::Null, None);
                    usage["choices"] = json!([]);
                    usage["usage"] = usage_json(&ended.usage);
                    lines.push_str(&self.line(&usage));
                }
                lines.push_str("data: [DONE]\n\n");
                lines
            }
            Update::Failed(error) => self.line(&error.to_json()),
        }
    }

    fn line(&self, value: &Value) -> String {
        format!("data: {value}\n\n")
    }

    fn chunk(&self, delta: Value, finish_reason: Option<&str>) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "system_fingerprint": fingerprint(),
            "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason }],
        });
        if self.includes_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// Why the thinking ended, and by which name it goes on.
    fn end(&self, ended: &Ended) -> Value {
        // Several traces do not go on.
        let trace = ended.ended_branches.is_none().then_some(&self.id);
        let mut end = json!({
            "trace": trace, "ended": ended.why.name(), "thinking_tokens": ended.thinking_tokens,
            "computed_prompt_tokens": ended.usage.computed,
            "agreement": ended.checkpoints.last().map(|last| last.agreement),
            "answer": ended.checkpoints.last().and_then(|last| last.answer.as_deref()),
        });
        if let (Some(job), Some(versions)) = (&self.job, ended.versions) {
            end["weights"] = json!({
                "job": job.as_str(), "first_version": versions.first.0, "version": versions.last.0,
            });
        }
        if let Some(branches) = ended.ended_branches {
            end["ended_branches"] = branches.into();
        }
        if let Some(branches) = ended.pruned_branches {
            end["pruned_branches"] = branches.into();
        }
        if let Some(looks) = ended.unscored_looks {
            end["unscored_looks"] = looks.into();
        }
        end
    }
}

/// The list of models: the one that is served.
pub(crate) fn models(served: &Served, created: u64) -> Value {
    json!({ "object": "list", "data": [model(served, created)] })
}

/// One model, with what a request may ask of it.
pub(crate) fn model(served: &Served, created: u64) -> Value {
    json!({
        "id": served.name, "object": "model", "created": created, "owned_by": "anytime",
        "anytime": {
            "budgets": served.budgets, "max_thinking": served.limits.thinking, "max_summaries": served.limits.summaries,
        },
    })
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn checkpoint_json(checkpoint: &Checkpoint) -> Value {
    json!({
        "budget": checkpoint.budget, "thinking_tokens": checkpoint.thinking_tokens, "answer": checkpoint.answer,
        "content": checkpoint.content, "agreement": checkpoint.agreement,
    })
}

fn usage_json(usage: &Usage) -> Value {
    let completion = usage.reasoning + usage.summaries;
    json!({
        "prompt_tokens": usage.prompt, "completion_tokens": completion, "total_tokens": usage.prompt + completion,
        "prompt_tokens_details": { "cached_tokens": usage.cached },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
    })
}

/// Which program answers: what it generates may differ between versions.
fn fingerprint() -> String {
    format!("anytime-{}", program::VERSION)
}
