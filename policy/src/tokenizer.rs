//! Text to token ids and back, the ids that end a sequence, and the chat template of a model directory.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use serde_json::Value;
use tokenizers::AddedToken;

use crate::adapter_config::{model_directory, tokenizer_directory};
use crate::chat::{Chat, ChatMessage, ChatTemplate, TemplateArguments};
use crate::error::{Origin, PolicyError};
use crate::model_files;

/// The tokenizer of a model directory: text to token ids and back, the ids that end a sequence, and the chat template.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    vocabulary_size: u32,
    eos_ids: Vec<u32>,
    /// The id of `eos_token`, or the first that ends a sequence.
    completion_end: u32,
    chat_template: Option<ChatTemplate>,
    notes: Vec<String>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where present, `tokenizer_config.json`, `special_tokens_map.json`,
    /// `added_tokens.json`, `generation_config.json`, `config.json` and `chat_template.jinja` of a model directory.
    ///
    /// # Errors
    /// A file cannot be read or parsed, an added token has another id than the one that is listed, the chat template
    /// does not compile, no end-of-sequence token is named, or one that is named is not among the tokenizer's ids.
    pub fn load(dir: &Path) -> Result<Self, PolicyError> {
        let model = model_directory(dir)?;
        let dir = &tokenizer_directory(dir)?;
        let mut inner = open(dir)?;
        let names = SpecialTokens {
            settings: model_files::optional_json(&dir.join("tokenizer_config.json"))?,
            map: model_files::optional_json(&dir.join("special_tokens_map.json"))?,
        };
        let mut notes = Vec::new();
        add_listed_tokens(dir, &names.settings, &mut inner, &mut notes)?;
        let vocabulary_size = inner
            .get_vocab(true)
            .values()
            .max()
            .map_or(0, |id| id.saturating_add(1));
        let ends = SequenceEnds::read([dir, &model], &names, &inner, vocabulary_size, &mut notes)?;
        let chat_template = ChatTemplate::load(dir, &names.settings, |name| names.get(name), names.extra())?;
        let is_written = chat_template
            .as_ref()
            .is_some_and(|template| template.names("bos_token"));
        if let Some(token) = names.get("bos_token").filter(|_| is_written)
            && inner.token_to_id(&token).is_none()
        {
            notes.push(format!(
                "bos_token {token:?} is not in tokenizer.json, and the chat template writes it as a text of several tokens"
            ));
        }
        Ok(Tokenizer {
            inner,
            vocabulary_size,
            eos_ids: ends.ids,
            completion_end: ends.completion_end,
            chat_template,
            notes,
        })
    }

    /// The ids of a text. No special tokens are added around it; special tokens written in the text become their ids,
    /// so a text from [`Tokenizer::render_chat`] that starts with a beginning-of-sequence token has it once.
    ///
    /// # Errors
    /// [`PolicyError::Tokenizer`] if the tokenizer cannot represent the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, PolicyError> {
        self.encode_with(text, false)
    }

    /// The ids of a text that begins a sequence and that no chat template has made: [`Tokenizer::encode`], behind what
    /// the post-processor of `tokenizer.json` puts before every text, such as a beginning-of-sequence token. What it puts
    /// behind texts is left out, because the text goes on.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_raw_prompt(&self, text: &str) -> Result<Vec<u32>, PolicyError> {
        let ids = self.encode(text)?;
        let whole = self.encode_with(text, true)?;
        let added = whole.len().saturating_sub(ids.len());
        let start = (0..=added).find(|&start| whole[start..].starts_with(&ids)).unwrap_or(0);
        let prefix = &whole[..start];
        if ids.starts_with(prefix) {
            return Ok(ids);
        }
        Ok([prefix, &ids].concat())
    }

    fn encode_with(&self, text: &str, special_tokens: bool) -> Result<Vec<u32>, PolicyError> {
        let encoding = guarded(|| self.inner.encode_fast(text, special_tokens)).map_err(refuse)?;
        Ok(encoding.get_ids().to_vec())
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
            text.push_str(&guarded(|| self.inner.decode(known, false)).map_err(refuse)?);
        }
        Ok(text)
    }

    /// The highest id of the tokenizer, added tokens included, plus one. The model's `vocab_size` may be larger.
    pub fn vocabulary_size(&self) -> u32 {
        self.vocabulary_size
    }

    /// Whether a token is an added one, which is matched before a text is cut into pieces and so always has the same
    /// id. Other tokens can merge with the text beside them.
    pub fn is_added_token(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        added.get_added_tokens_decoder().contains_key(&id)
    }

    /// Ids that end a sequence, at least one: those of `generation_config.json` and `config.json`, and `eos_token` of
    /// `tokenizer_config.json`.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// The id that the completions of supervised training end in: `eos_token`, which ends a turn, or where none is
    /// named the first of [`Tokenizer::eos_ids`].
    pub fn completion_end(&self) -> u32 {
        self.completion_end
    }

    /// What a user should know about how the directory was read, a sentence each: files that disagree, and names of
    /// tokens that do not exist.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A token that only models trained on chats have, such as `<|im_start|>`.
    pub fn chat_token(&self) -> Option<String> {
        const PARTS: [&str; 8] = [
            "im_start",
            "header_id",
            "of_turn",
            "of_role",
            "user",
            "assistant",
            "[inst]",
            "eot_id",
        ];
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        let mut tokens: Vec<&str> = added.values().map(|token| token.content.as_str()).collect();
        tokens.sort_unstable();
        let is_of_chat = |token: &&str| PARTS.iter().any(|part| token.to_lowercase().contains(part));
        tokens.into_iter().find(is_of_chat).map(str::to_owned)
    }

    /// Whether the model directory has a chat template.
    pub fn has_chat_template(&self) -> bool {
        self.chat_template.is_some()
    }

    /// Where the chat template was found.
    pub fn chat_template_origin(&self) -> Option<&Origin> {
        self.chat_template.as_ref().map(ChatTemplate::origin)
    }

    /// Whether the chat template has this name in it, as it must for an argument of that name to matter.
    pub fn chat_template_names(&self, name: &str) -> bool {
        self.chat_template.as_ref().is_some_and(|template| template.names(name))
    }

    /// The prompt of a chat, up to where the assistant begins. Give it to [`Tokenizer::encode`].
    ///
    /// # Errors
    /// [`PolicyError::ChatTemplate`] if there is no template, or it refuses the message.
    pub fn render_chat(&self, chat: &Chat<'_>) -> Result<String, PolicyError> {
        match &self.chat_template {
            Some(template) => template.render(chat),
            None => Err(refuse("the model directory has no chat template".to_owned())),
        }
    }

    /// The prompt of a chat of several turns, up to where the assistant begins.
    ///
    /// # Errors
    /// As [`Tokenizer::render_chat`].
    pub fn render_messages(
        &self,
        messages: &[ChatMessage<'_>],
        arguments: &TemplateArguments,
    ) -> Result<String, PolicyError> {
        match &self.chat_template {
            Some(template) => template.render_messages(messages, arguments),
            None => Err(refuse("the model directory has no chat template".to_owned())),
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

/// Calls the library that reads tokenizers, which panics on some files that it cannot make sense of.
fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    // What a panic left half done is not used again: the file is refused, or the text.
    match std::panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err("it makes no sense to the tokenizers library, which panicked".to_owned()),
    }
}

fn open(dir: &Path) -> Result<tokenizers::Tokenizer, PolicyError> {
    let path = dir.join("tokenizer.json");
    let others = ["tokenizer.model", "vocab.json", "vocab.txt"];
    let other = others.into_iter().find(|name| dir.join(name).is_file());
    if let Some(other) = other.filter(|_| !path.exists()) {
        return Err(refuse(format!(
            "{} is missing and {other} is not read; AutoTokenizer.from_pretrained(…).save_pretrained(…) of transformers \
             writes it",
            path.display()
        )));
    }
    let bytes = model_files::bytes(&path)?;
    let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(bytes))
        .map_err(|error| refuse(format!("{}: {error}", path.display())))?;
    // The file may ask for truncation and padding, which would change texts.
    inner.with_truncation(None).map_err(|error| refuse(error.to_string()))?;
    inner.with_padding(None);
    Ok(inner)
}

/// The texts of special tokens. Older checkpoints have them in `special_tokens_map.json`. As in transformers, that file
/// goes before a `tokenizer_config.json` that lists no added tokens. Beside one that lists them it only fills in names
/// that are missing there.
struct SpecialTokens {
    settings: Value,
    map: Value,
}

impl SpecialTokens {
    /// The text of a token by its name. The file has the text itself, or an object with the text in `content`.
    fn get(&self, name: &str) -> Option<String> {
        let text = |token: &Value| token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned);
        let (settings, map) = (text(&self.settings[name]), text(&self.map[name]));
        match self.settings["added_tokens_decoder"] {
            Value::Object(_) => settings.or(map),
            _ => map.or(settings),
        }
    }

    /// The names and texts of tokens that only this model has, which transformers gives to templates beside the common
    /// ones: `extra_special_tokens`, an object of names and texts.
    fn extra(&self) -> Vec<(String, String)> {
        let text = |token: &Value| token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned);
        let extra = self.settings["extra_special_tokens"].as_object();
        let named = extra.into_iter().flatten();
        named
            .filter_map(|(name, token)| Some((name.clone(), text(token)?)))
            .collect()
    }

    /// Refuses a token that is named by something other than its text.
    fn check(&self, name: &str) -> Result<(), PolicyError> {
        for (file, values) in [
            ("tokenizer_config.json", &self.settings),
            ("special_tokens_map.json", &self.map),
        ] {
            let token = &values[name];
            let is_token = token.is_null() || token.is_string() || token["content"].is_string();
            if !is_token {
                return Err(refuse(format!(
                    "{file}: {name} is {token}; it must be the text of a token"
                )));
            }
        }
        Ok(())
    }
}

/// Adds the tokens that `tokenizer.json` lacks or has with other flags, as transformers does. They are listed in
/// `added_tokens_decoder` of `tokenizer_config.json` or, where that is missing, in `added_tokens.json`.
fn add_listed_tokens(
    dir: &Path,
    settings: &Value,
    inner: &mut tokenizers::Tokenizer,
    notes: &mut Vec<String>,
) -> Result<(), PolicyError> {
    let (origin, listed) = match settings.get("added_tokens_decoder") {
        Some(Value::Object(decoder)) => {
            let origin = Origin::field(&dir.join("tokenizer_config.json"), "added_tokens_decoder");
            let mut listed = BTreeMap::new();
            for (id, token) in decoder {
                let parsed = id.parse::<u32>().ok().zip(listed_token(token));
                let (id, token) =
                    parsed.ok_or_else(|| refuse(format!("{origin}: {id:?} is {token}; it must be a token")))?;
                listed.insert(id, token);
            }
            (origin, listed)
        }
        Some(Value::Null) | None => {
            let path = dir.join("added_tokens.json");
            let origin = Origin::file(&path);
            let mut listed = BTreeMap::new();
            for (text, id) in model_files::optional_json(&path)?.as_object().into_iter().flatten() {
                let id =
                    token_id(id).ok_or_else(|| refuse(format!("{origin}: {text:?} is {id}; it must be a token id")))?;
                listed.insert(id, AddedToken::from(text.as_str(), false));
            }
            (origin, listed)
        }
        Some(other) => {
            let path = dir.join("tokenizer_config.json");
            let problem = format!("added_tokens_decoder is {other}; it must be an object of ids and tokens");
            return Err(refuse(format!("{}: {problem}", path.display())));
        }
    };
    for (id, token) in listed {
        let text = token.content.to_string();
        let known = inner.token_to_id(&text);
        if known.is_some_and(|known| known != id) {
            let known = known.unwrap_or_default();
            notes.push(format!(
                "{} gives {text:?} the id {id}, tokenizer.json {known}: {known} is used",
                origin.short()
            ));
            continue;
        }
        inner
            .add_tokens([token])
            .map_err(|error| refuse(format!("{origin}: {text:?}: {error}")))?;
        let given = inner.token_to_id(&text);
        if given != Some(id) {
            return Err(refuse(format!(
                "{origin}: {text:?} has the id {id} and is not in tokenizer.json, where the next id is {}; save the \
                 tokenizer again with all its tokens",
                given.unwrap_or_default()
            )));
        }
    }
    Ok(())
}

/// A token as `tokenizer_config.json` writes it.
fn listed_token(token: &Value) -> Option<AddedToken> {
    let flag = |name: &str| token[name].as_bool();
    let special = flag("special").unwrap_or(false);
    let text = token["content"].as_str()?;
    Some(
        AddedToken::from(text, special)
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}

/// The ids that end a sequence.
struct SequenceEnds {
    ids: Vec<u32>,
    completion_end: u32,
}

impl SequenceEnds {
    /// The union of what the files name: for each file there is a published checkpoint in which only that file is
    /// right.
    fn read(
        [dir, model]: [&Path; 2],
        names: &SpecialTokens,
        inner: &tokenizers::Tokenizer,
        vocabulary_size: u32,
        notes: &mut Vec<String>,
    ) -> Result<Self, PolicyError> {
        let mut named: Vec<(&str, Vec<u32>)> = Vec::new();
        for file in ["generation_config.json", "config.json"] {
            // Those of the configuration are the model's; the others come with the tokenizer, where it has some.
            let own = dir.join(file);
            let is_own = file != "config.json" && own.symlink_metadata().is_ok();
            let path = if is_own { own } else { model.join(file) };
            let ids = eos_ids_of(&path)?;
            if let Some(id) = ids.iter().find(|&&id| id >= vocabulary_size) {
                return Err(refuse(format!(
                    "{}: eos_token_id is {id}, and the tokenizer has the ids 0 to {}, so that nothing would ever end; \
                     correct it",
                    path.display(),
                    vocabulary_size.saturating_sub(1)
                )));
            }
            named.push((file, ids));
        }
        names.check("eos_token")?;
        let token = names.get("eos_token");
        let of_tokenizer = token.as_deref().and_then(|token| inner.token_to_id(token));
        named.push(("eos_token of the tokenizer", of_tokenizer.into_iter().collect()));
        named.retain(|(_, ids)| !ids.is_empty());
        let mut ids: Vec<u32> = Vec::new();
        for id in named.iter().flat_map(|(_, ids)| ids) {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        match (ids.first(), &token) {
            (Some(_), Some(token)) if of_tokenizer.is_none() => {
                notes.push(format!(
                    "eos_token {token:?} is not in tokenizer.json and ends no sequence"
                ));
            }
            (Some(_), _) => {}
            (None, Some(token)) => {
                return Err(refuse(format!(
                    "tokenizer_config.json: eos_token {token} is not in tokenizer.json"
                )));
            }
            (None, None) => {
                let places =
                    "eos_token_id in generation_config.json and config.json, eos_token in tokenizer_config.json";
                return Err(refuse(format!(
                    "no end-of-sequence token is named; one of these must name it: {places}"
                )));
            }
        }
        if named.iter().any(|(_, of_one)| of_one.len() < ids.len()) && named.len() > 1 {
            let spelled = |id: &u32| format!("{id} ({:?})", inner.id_to_token(*id).unwrap_or_default());
            let each = named.iter().map(|(place, of_one)| {
                let of_one: Vec<String> = of_one.iter().map(spelled).collect();
                format!("{place} names {}", of_one.join(", "))
            });
            let each: Vec<String> = each.collect();
            notes.push(format!(
                "a sequence ends at any of the ids that are named: {}",
                each.join("; ")
            ));
        }
        Ok(Self {
            completion_end: of_tokenizer.unwrap_or(ids[0]),
            ids,
        })
    }
}

fn eos_ids_of(path: &Path) -> Result<Vec<u32>, PolicyError> {
    let file = model_files::optional_json(path)?;
    let field = &file["eos_token_id"];
    let ids = match field {
        Value::Null => return Ok(Vec::new()),
        Value::Array(ids) => ids.iter().map(token_id).collect(),
        id => token_id(id).map(|id| vec![id]),
    };
    match ids {
        Some(ids) if !ids.is_empty() => Ok(ids),
        _ => Err(refuse(format!(
            "{}: eos_token_id is {field}; it must be a token id or a list of them",
            path.display()
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
