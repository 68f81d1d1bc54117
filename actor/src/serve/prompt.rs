//! From messages to the ids that the model sees: instruction, chat template, and the marker that opens the thinking.

use anytime_policy::{ChatMessage, TemplateArguments};

use super::error::ApiError;
use super::request::Ask;
use super::settings::Served;

/// The prompt of a request. Long chats take milliseconds: not for an async thread.
///
/// # Errors
/// A chat that the model's template refuses, a text that its tokenizer cannot spell, or a prompt that is too long.
pub(crate) fn prompt_ids(ask: &Ask, served: &Served) -> Result<Vec<u32>, ApiError> {
    let mut messages = ask.messages.clone();
    let asked = served.instruction.trim();
    if let Some(last) = messages.last_mut()
        && (asked.is_empty() || !last.text.trim_end().ends_with(asked))
    {
        last.text.push_str(&served.instruction);
    }
    let ids = if served.uses_template {
        by_template(
            ask,
            served,
            &messages
                .iter()
                .map(|message| ChatMessage {
                    role: message.role,
                    text: &message.text,
                })
                .collect::<Vec<_>>(),
        )?
    } else {
        let [only] = messages.as_slice() else {
            let reason = "the model has no chat template, so that it must be one message of the user";
            return Err(ApiError::field(
                "messages",
                format!("{} messages", messages.len()),
                reason,
            ));
        };
        if !ask.template_arguments.is_empty() {
            return Err(ApiError::unsupported(
                "chat_template_kwargs",
                "the model has no chat template that could read it",
            ));
        }
        served
            .tokenizer
            .encode_raw_prompt(&only.text)
            .map_err(|error| unspelled(&error))?
    };
    let ids = [ids, served.open.clone()].concat();
    if ids.is_empty() {
        return Err(ApiError::field(
            "messages",
            "a prompt without tokens",
            "it must have some",
        ));
    }
    if let Some(id) = ids.iter().find(|&&id| id >= served.vocabulary) {
        let reason = "it has one that is beyond the model's embedding";
        return Err(ApiError::field(
            "messages",
            format!("a prompt with the token {id}"),
            reason,
        ));
    }
    let limits = &served.limits;
    if ids.len() > limits.prompt {
        return Err(ApiError::too_long(
            ids.len(),
            limits.prompt,
            "--max-prompt-tokens, or the model's length",
        ));
    }
    check_length(ids.len(), ask, served)?;
    Ok(ids)
}

/// Whether prompt, largest budget and summary fit into the model's sequences.
///
/// # Errors
/// Where they do not.
pub(crate) fn check_length(prompt: usize, ask: &Ask, served: &Served) -> Result<(), ApiError> {
    let limits = &served.limits;
    let budget = ask.budgets.last().copied().unwrap_or(0) as usize;
    let behind = budget + limits.inserted + ask.summary_tokens as usize;
    if prompt + behind > limits.context {
        let why = format!(
            "the model's sequences have {} tokens, and budget and answer take {behind} of them",
            limits.context
        );
        return Err(ApiError::too_long(prompt, limits.context.saturating_sub(behind), &why));
    }
    Ok(())
}

fn by_template(ask: &Ask, served: &Served, messages: &[ChatMessage<'_>]) -> Result<Vec<u32>, ApiError> {
    let arguments = TemplateArguments::from_json(&ask.template_arguments).map_err(|error| unspelled(&error))?;
    for name in arguments.names() {
        if !served.tokenizer.chat_template_names(name) {
            let reason = "the model's chat template reads no such name; leave it out";
            return Err(ApiError::unsupported(&format!("chat_template_kwargs.{name}"), reason));
        }
    }
    let text = served
        .tokenizer
        .render_messages(messages, &arguments)
        .map_err(|error| ApiError::field("messages", "a chat that the model's template refuses", error))?;
    served.tokenizer.encode(&text).map_err(|error| unspelled(&error))
}

fn unspelled(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::field("messages", "a text that the model's tokenizer cannot spell", error)
}
