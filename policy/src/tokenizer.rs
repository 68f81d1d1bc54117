//! Text to token ids and back, end-of-sequence ids, and the chat template of a model directory.

use std::path::Path;

use serde_json::Value;

use crate::chat::{ChatTemplate, special_token};
use crate::error::PolicyError;

/// The tokenizer of a model directory: text to token ids and back, the ids that end a sequence, and the chat template.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    vocabulary_size: u32,
    eos_ids: Vec<u32>,
    chat_template: Option<ChatTemplate>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where present, `tokenizer_config.json`, `generation_config.json`, `config.json` and
    /// `chat_template.jinja` of a model directory.
    ///
    /// # Errors
    /// A file cannot be read or parsed, the chat template does not compile, or no end-of-sequence token is named.
    pub fn load(dir: &Path) -> Result<Self, PolicyError> {
        let path = dir.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(|source| PolicyError::read(&path, source))?;
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| refuse(format!("{}: {error}", path.display())))?;
        // The file may ask for truncation and padding, which would change texts.
        inner.with_truncation(None).map_err(|error| refuse(error.to_string()))?;
        inner.with_padding(None);
        let vocabulary_size = inner.get_vocab(true).values().max().map_or(0, |id| id + 1);
        let settings = optional_json(dir, "tokenizer_config.json")?;
        let eos_ids = eos_ids(dir, &settings, &inner)?;
        let chat_template = ChatTemplate::load(dir, &settings)?;
        Ok(Tokenizer {
            inner,
            vocabulary_size,
            eos_ids,
            chat_template,
        })
    }

    /// The ids of a text. No special tokens are added around it; special tokens written in the text become their ids,
    /// so a text from [`Tokenizer::render_chat`] that starts with a beginning-of-sequence token has it once.
    ///
    /// # Errors
    /// [`PolicyError::Tokenizer`] if the tokenizer cannot represent the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, PolicyError> {
        match self.inner.encode_fast(text, false) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(refuse(error.to_string())),
        }
    }

    /// The text of ids, special tokens included.
    ///
    /// A model's embedding may have more rows than the tokenizer has tokens, and a policy can sample such an id; it
    /// becomes U+FFFD, since losing a whole sequence over it would be worse.
    ///
    /// # Errors
    /// [`PolicyError::Tokenizer`] if the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, PolicyError> {
        let mut text = String::new();
        for (index, known) in ids.split(|&id| self.inner.id_to_token(id).is_none()).enumerate() {
            if index > 0 {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            if known.is_empty() {
                continue;
            }
            text.push_str(
                &self
                    .inner
                    .decode(known, false)
                    .map_err(|error| refuse(error.to_string()))?,
            );
        }
        Ok(text)
    }

    /// The highest id of the tokenizer, added tokens included, plus one. The model's `vocab_size` may be larger.
    pub fn vocabulary_size(&self) -> u32 {
        self.vocabulary_size
    }

    /// Ids that end a sequence, at least one: of `generation_config.json`, failing that of `config.json`, failing
    /// that of the `eos_token` in `tokenizer_config.json`.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// Whether the model directory has a chat template.
    pub fn has_chat_template(&self) -> bool {
        self.chat_template.is_some()
    }

    /// The prompt of one user message, up to where the assistant begins. Give it to [`Tokenizer::encode`].
    ///
    /// # Errors
    /// [`PolicyError::ChatTemplate`] if there is no template, or it refuses the message.
    pub fn render_chat(&self, user: &str) -> Result<String, PolicyError> {
        match &self.chat_template {
            Some(template) => template.render(user),
            None => Err(PolicyError::ChatTemplate {
                problem: "the model directory has none".to_owned(),
            }),
        }
    }
}

/// Generated ids without the end of sequence that ended them: what is decoded to text and graded.
pub fn without_eos<'a>(ids: &'a [u32], eos_ids: &[u32]) -> &'a [u32] {
    match ids.split_last() {
        Some((last, rest)) if eos_ids.contains(last) => rest,
        _ => ids,
    }
}

fn refuse(problem: String) -> PolicyError {
    PolicyError::Tokenizer { problem }
}

/// A JSON file of the directory, or null where there is none.
fn optional_json(dir: &Path, name: &str) -> Result<Value, PolicyError> {
    let path = dir.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| PolicyError::json(&path, source)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(source) => Err(PolicyError::read(&path, source)),
    }
}

fn eos_ids(dir: &Path, settings: &Value, inner: &tokenizers::Tokenizer) -> Result<Vec<u32>, PolicyError> {
    for name in ["generation_config.json", "config.json"] {
        let file = optional_json(dir, name)?;
        let field = &file["eos_token_id"];
        let ids = match field {
            Value::Null => continue,
            Value::Array(ids) => ids.iter().map(token_id).collect(),
            id => token_id(id).map(|id| vec![id]),
        };
        match ids {
            Some(ids) if !ids.is_empty() => return Ok(ids),
            _ => {
                return Err(refuse(format!(
                    "{name}: eos_token_id is {field}; it must be a token id or a list of them"
                )));
            }
        }
    }
    let Some(token) = special_token(settings, "eos_token") else {
        let places = "eos_token_id in generation_config.json and config.json, eos_token in tokenizer_config.json";
        return Err(refuse(format!(
            "no end-of-sequence token is named; one of these must name it: {places}"
        )));
    };
    match inner.token_to_id(&token) {
        Some(id) => Ok(vec![id]),
        None => Err(refuse(format!(
            "tokenizer_config.json: eos_token {token} is not in tokenizer.json"
        ))),
    }
}

fn token_id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_end_of_sequence_is_left_out() {
        assert_eq!(without_eos(&[9, 3, 9], &[9]), [9, 3]);
        assert_eq!(without_eos(&[9, 3], &[9]), [9, 3]);
        assert!(without_eos(&[], &[9]).is_empty());
    }
}
