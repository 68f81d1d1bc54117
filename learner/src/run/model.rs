//! The model that a job names: its directory, opened and checked, and the markers in its tokens.

use std::path::{Path, PathBuf};

use anytime_policy::{ADAPTER_CONFIG, AdapterDirectory, ModelConfig, Tokenizer};
use anytime_proto::settings::{InvalidSetting, JobSettings, reason_that_no_model_is_there};
use anytime_proto::v1;

use super::adapted::shown;
use crate::train::lora_of;

/// A model to be drawn anew with more parameters than this is a typing error, and drawing it would end the process.
const MOST_DRAWN_PARAMETERS: f64 = 1e11;

/// What is read of a model before its weights.
pub(super) struct OpenModel {
    /// Where it was found.
    pub(super) directory: PathBuf,
    pub(super) config: ModelConfig,
    pub(super) tokenizer: Tokenizer,
}

/// Opens the model's directory, whose path is relative to `root`, and checks that its files are there and fit together.
///
/// # Errors
/// `model.path`, with the file at fault.
pub(super) fn open_model(settings: &JobSettings, root: &Path) -> Result<OpenModel, InvalidSetting> {
    if let (Some(job), true) = (&settings.model.from_job, settings.model.path.is_empty()) {
        let reason = "no learner is asked here, which would have that job; `anytime export` writes its checkpoint as a model, \
                      which model.path can name";
        return Err(InvalidSetting::new("model.from_job", job, reason));
    }
    let directory = &root.join(&settings.model.path);
    let refuse = |error: &dyn std::fmt::Display| unusable(directory, error);
    if let Some(reason) = reason_that_no_model_is_there(root, &settings.model.path) {
        return Err(refuse(&reason));
    }
    if let Some(name) = irregular_file(directory) {
        return Err(refuse(&format!("{name} in it is no regular file")));
    }
    let adapters = AdapterDirectory::open(directory).map_err(|error| refuse(&error))?;
    if let Some(name) = adapters.as_ref().and_then(|adapters| irregular_file(&adapters.base)) {
        return Err(refuse(&format!("{name} of the adapters' base is no regular file")));
    }
    let config = ModelConfig::load(directory).map_err(|error| refuse(&error))?;
    let tokenizer = Tokenizer::load(directory).map_err(|error| refuse(&error))?;
    if settings.model.initialise {
        refuse_giants(&config).map_err(|reason| refuse(&reason))?;
    } else {
        anytime_policy::check_weights(directory, &config).map_err(|error| refuse(&error))?;
    }
    if let Some(adapters) = adapters {
        refuse_other_adapters(settings, &config, directory, &adapters)?;
    }
    let is_beyond = |id: &&u32| i64::from(**id) >= config.vocab_size;
    if let Some(id) = tokenizer.eos_ids().iter().find(is_beyond) {
        return Err(refuse(&format!(
            "a sequence ends at the id {id}; it must be below vocab_size in config.json, which is {}",
            config.vocab_size
        )));
    }
    Ok(OpenModel {
        directory: directory.clone(),
        config,
        tokenizer,
    })
}

/// A job that trains adapters and starts from some goes on with them, and so they must be of the size that it names.
fn refuse_other_adapters(
    settings: &JobSettings,
    config: &ModelConfig,
    directory: &Path,
    adapters: &AdapterDirectory,
) -> Result<(), InvalidSetting> {
    if settings.model.initialise {
        let reason = "it must be false for adapters, which nothing is drawn of";
        return Err(InvalidSetting::new("model.initialise", true, reason));
    }
    let Some(lora) = settings.training.lora.as_ref() else {
        return Ok(());
    };
    let wanted = lora_of(lora);
    if settings.kind == v1::JobKind::Evaluate || adapters.lora.is_like(&wanted, config) {
        return Ok(());
    }
    let reason = format!(
        "it must be that of the adapters in {}, which the job goes on with: {}; to train new ones on their sum, merge \
         them first (anytime merge)",
        directory.display(),
        shown(&adapters.lora)
    );
    Err(InvalidSetting::new("training.lora", shown(&wanted), reason))
}

/// Why a directory is no model.
pub(super) fn unusable(directory: &Path, error: &dyn std::fmt::Display) -> InvalidSetting {
    let reason = format!("it must be a Hugging Face checkpoint directory: {error}");
    InvalidSetting::new("model.path", directory.display().to_string(), reason)
}

/// An entry of the directory whose reading could wait for ever, such as a FIFO.
fn irregular_file(directory: &Path) -> Option<String> {
    let entries = std::fs::read_dir(directory).ok()?;
    let is_irregular = |path: &Path| std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    let mut irregular = entries.flatten().filter(|entry| is_irregular(&entry.path()));
    irregular
        .next()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Refuses a model that is too large to be drawn anew: no file of weights bounds its size.
fn refuse_giants(config: &ModelConfig) -> Result<(), String> {
    let tensors = anytime_policy::expected_tensors(config);
    let sizes = tensors
        .iter()
        .map(|(_, shape)| shape.iter().map(|&size| size as f64).product::<f64>());
    let parameters: f64 = sizes.sum();
    if parameters <= MOST_DRAWN_PARAMETERS {
        return Ok(());
    }
    Err(format!(
        "the sizes in config.json make {parameters:.1e} parameters, more than are drawn anew ({MOST_DRAWN_PARAMETERS:.0e}); \
         correct them"
    ))
}

/// The ids of the marker that opens the thinking, and those of the other markers. An sft job has only the first,
/// because supervised rows already hold the others.
///
/// # Errors
/// The first marker that the model's tokenizer cannot spell, or that contains another.
pub(super) fn markers(settings: &JobSettings, model: &OpenModel) -> Result<(Vec<u32>, v1::MarkerIds), InvalidSetting> {
    let open = marker_ids(model, "markers.open", &settings.markers.open)?;
    if settings.kind == v1::JobKind::Sft {
        return Ok((open, v1::MarkerIds::default()));
    }
    let end = marker_ids(model, "markers.end", &settings.markers.end)?;
    let markers = v1::MarkerIds {
        end_text: text_of_end(&model.tokenizer, &settings.markers.end, &end),
        end,
        cut: marker_ids(model, "markers.cut", &settings.markers.cut)?,
        summary: marker_ids(model, "markers.summary", &settings.markers.summary)?,
    };
    check_marker_ids(settings, &open, &markers)?;
    Ok((open, markers))
}

fn marker_ids(model: &OpenModel, field: &str, text: &str) -> Result<Vec<u32>, InvalidSetting> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |what: &str| InvalidSetting::new(field, text, format!("it must be a text that {what}"));
    let ids = model
        .tokenizer
        .encode(text)
        .map_err(|error| refuse(&format!("the model's vocabulary can spell ({error})")))?;
    if ids.is_empty() {
        return Err(refuse("has tokens, and the model's tokenizer makes none of this one"));
    }
    let size = model.config.vocab_size;
    match ids.iter().find(|&&id| i64::from(id) >= size) {
        Some(id) => Err(refuse(&format!(
            "the model has tokens for, and its token {id} is beyond the embedding's {size} rows (vocab_size in config.json)"
        ))),
        None => Ok(ids),
    }
}

/// The text by which the end marker is found in what a model writes. It is empty for a token that was added to the
/// vocabulary, which its id finds. Ordinary tokens merge with the text before them, so that the marker's ids alone
/// would miss it.
fn text_of_end(tokenizer: &Tokenizer, marker: &str, ids: &[u32]) -> String {
    if let [id] = ids
        && tokenizer.is_added_token(*id)
    {
        return String::new();
    }
    let spelled = tokenizer.decode(ids).unwrap_or_default();
    if spelled.contains(marker) {
        return marker.to_owned();
    }
    // Some tokenizers change the text that they read, and the model can only write what decoding gives.
    spelled.trim().to_owned()
}

/// Compares the markers by their ids, which is what the model sees: different strings may have the same ids.
fn check_marker_ids(settings: &JobSettings, open: &[u32], markers: &v1::MarkerIds) -> Result<(), InvalidSetting> {
    let named = [
        ("markers.open", &settings.markers.open, open),
        ("markers.end", &settings.markers.end, &markers.end),
        ("markers.cut", &settings.markers.cut, &markers.cut),
        ("markers.summary", &settings.markers.summary, &markers.summary),
    ];
    for (field, text, ids) in named {
        for (other_field, _, other) in named {
            let contains = !other.is_empty() && ids.windows(other.len()).any(|window| window == other);
            if field != other_field && contains {
                let reason = format!("its tokens {ids:?} must not contain those of {other_field}, {other:?}");
                return Err(InvalidSetting::new(field, text, reason));
            }
        }
    }
    Ok(())
}

/// The chat template for the prompts, as a sentence.
pub(super) fn template_in_use(settings: &JobSettings, tokenizer: &Tokenizer) -> String {
    match (tokenizer.chat_template_origin(), settings.data.chat_template) {
        (Some(_), Some(false)) => "prompts are the problems themselves, because data.chat_template is false".to_owned(),
        (Some(origin), _) => format!("prompts go through the chat template {}", origin.short()),
        (None, _) => "prompts are the problems themselves, because the model's directory has no chat template \
                      (chat_template.jinja, or chat_template in tokenizer_config.json)"
            .to_owned(),
    }
}

/// What a user should know about how the model's files were read: where they disagree, and a template that may be lost.
pub(super) fn model_notes(settings: &JobSettings, model: &OpenModel) -> Vec<String> {
    let OpenModel { config, tokenizer, .. } = model;
    let mut notes = Vec::new();
    if let Some(token) = tokenizer.chat_token()
        && !tokenizer.has_chat_template()
        && settings.data.chat_template.is_none()
    {
        notes.push(format!(
            "{}; its tokenizer has the token {token:?} of a chat, so that the template may have been lost; where it is \
             meant to have none, say data.chat_template = false",
            template_in_use(settings, tokenizer)
        ));
    }
    notes.extend(tokenizer.notes().iter().cloned());
    if settings.kind == v1::JobKind::Train
        && let Some(lora) = settings.training.lora.as_ref().filter(|lora| lora.dropout > 0.0)
    {
        notes.push(format!(
            "training.lora.dropout is {}: the policy that is trained is not the one that actors run, and the gap between \
             their log-probabilities says so; 0 makes them one",
            lora.dropout
        ));
    }
    let directory = &model.directory;
    if directory.join(ADAPTER_CONFIG).exists() && matches!(AdapterDirectory::open(directory), Ok(None)) {
        notes.push(format!(
            "the model's directory has weights of its own and adapters ({ADAPTER_CONFIG}): the adapters are not used; put them \
             into a directory of their own to start from them"
        ));
    }
    if i64::from(tokenizer.vocabulary_size()) > config.vocab_size {
        notes.push(format!(
            "the tokenizer has {} ids and the embedding {} rows (vocab_size in config.json): the ids beyond them are never \
             generated, and a prompt that holds one is refused",
            tokenizer.vocabulary_size(),
            config.vocab_size
        ));
    }
    notes
}
