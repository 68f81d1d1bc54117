//! `config.json` of a Hugging Face model directory, with its field names: `fields` reads single ones, `rope` those of
//! rotary positions.

mod fields;
mod rope;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::fields::Fields;
pub use self::rope::RopeScaling;
use crate::adapter_config::model_directory;
use crate::error::PolicyError;
use crate::model_files;

/// The model families that [`crate::Decoder`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelType {
    /// Qwen 2 and 2.5: biases on the query, key and value projections.
    Qwen2,
    /// Llama 2 and 3 and what shares their layout (SmolLM2, for one).
    Llama,
    /// Qwen 3: normalised queries and keys.
    Qwen3,
}

impl ModelType {
    /// The name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            ModelType::Qwen2 => "qwen2",
            ModelType::Llama => "llama",
            ModelType::Qwen3 => "qwen3",
        }
    }
}

/// The `config.json` of a Hugging Face model directory: the checked fields that [`crate::Decoder`] needs, under their
/// names in the file, and the whole JSON that they were read from.
///
/// The JSON is kept, so that an export carries fields that this crate knows nothing about.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub model_type: ModelType,
    /// Width of the residual stream.
    pub hidden_size: i64,
    /// Width of the feed-forward layer.
    pub intermediate_size: i64,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: i64,
    /// Number of key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: i64,
    /// Width of a head; even.
    pub head_dim: i64,
    /// Rows of the embedding, which may exceed the tokenizer's vocabulary.
    pub vocab_size: i64,
    /// The longest sequence, in tokens, that the model was made for.
    pub max_position_embeddings: usize,
    /// Added to the mean square in each normalisation.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Stretching of the rotary positions.
    pub rope_scaling: RopeScaling,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether all four attention projections have biases. False for qwen2, where three of them always have.
    pub attention_bias: bool,
    /// Standard deviation of freshly drawn weights.
    pub initializer_range: f64,
    json: Map<String, Value>,
}

impl ModelConfig {
    /// Reads `config.json` in a model directory.
    ///
    /// # Errors
    /// The file cannot be read, is not JSON, or [`PolicyError::ConfigField`] for a field with a value that is not
    /// supported.
    pub fn load(dir: &Path) -> Result<Self, PolicyError> {
        let path = model_directory(dir)?.join("config.json");
        let text = model_files::text(&path)?;
        read(Fields::parse(path, &text)?)
    }

    /// Reads the text of a `config.json`; errors call the file `config.json`.
    ///
    /// # Errors
    /// As for [`ModelConfig::load`].
    pub fn from_json(text: &str) -> Result<Self, PolicyError> {
        read(Fields::parse(PathBuf::from("config.json"), text)?)
    }

    /// The JSON that this configuration was read from, all fields included.
    pub fn json(&self) -> &Map<String, Value> {
        &self.json
    }

    /// Whether the query, key and value projections have biases.
    pub fn has_qkv_bias(&self) -> bool {
        self.model_type == ModelType::Qwen2 || self.attention_bias
    }

    /// Whether queries and keys are normalised per head.
    pub fn has_qk_norm(&self) -> bool {
        self.model_type == ModelType::Qwen3
    }

    /// The longest sequence, in tokens, that the model can be run on: `max_position_embeddings`, or with YaRN the
    /// stretched length where that is longer, as for Qwen's models, whose field keeps the length of pre-training.
    pub fn longest_sequence(&self) -> usize {
        let stretched = match self.rope_scaling {
            RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                ..
            } => (factor * original_max_position_embeddings) as usize,
            _ => 0,
        };
        self.max_position_embeddings.max(stretched)
    }

    /// Query heads per key and value head.
    pub(crate) fn query_group(&self) -> i64 {
        self.num_attention_heads / self.num_key_value_heads
    }
}

/// A `config.json` with more layers than any model has is wrong, and would cost a list of that many names.
const MOST_LAYERS: i64 = 4096;
/// The same bound for widths and numbers of heads.
const WIDEST: i64 = 1 << 20;
/// The same bound for rows of the embedding.
const LARGEST_VOCABULARY: i64 = 1 << 24;
const LONGEST: i64 = i32::MAX as i64;

fn read(fields: Fields) -> Result<ModelConfig, PolicyError> {
    let model_type = model_type(&fields)?;
    refuse_what_the_decoder_lacks(&fields)?;
    let hidden_size = fields.count("hidden_size", None, WIDEST)?;
    let num_attention_heads = fields.count("num_attention_heads", None, WIDEST)?;
    let num_key_value_heads = fields.count("num_key_value_heads", Some(num_attention_heads), WIDEST)?;
    if num_attention_heads % num_key_value_heads != 0 {
        let allowed = format!("a divisor of num_attention_heads ({num_attention_heads})");
        return Err(fields.refuse("num_key_value_heads", &allowed));
    }
    let usual_head_dim = match model_type {
        ModelType::Qwen3 => 128,
        ModelType::Qwen2 | ModelType::Llama => hidden_size / num_attention_heads,
    };
    let head_dim = fields.count("head_dim", Some(usual_head_dim), WIDEST)?;
    if head_dim % 2 != 0 || head_dim == 0 {
        let allowed = "an even number; without it, hidden_size divided by num_attention_heads must be one";
        return Err(fields.refuse_value("head_dim", head_dim, allowed));
    }
    let max_position_embeddings = fields.count("max_position_embeddings", None, LONGEST)? as usize;
    let (rope_theta, rope_scaling) = rope::read(&fields, max_position_embeddings)?;
    let config = ModelConfig {
        model_type,
        hidden_size,
        intermediate_size: fields.count("intermediate_size", None, WIDEST)?,
        num_hidden_layers: fields.count("num_hidden_layers", None, MOST_LAYERS)? as usize,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        vocab_size: fields.count("vocab_size", None, LARGEST_VOCABULARY)?,
        max_position_embeddings,
        rms_norm_eps: fields.positive(&fields.json, "", "rms_norm_eps", Some(1e-6))?,
        rope_theta,
        rope_scaling,
        tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
        attention_bias: model_type != ModelType::Qwen2 && fields.flag("attention_bias", false)?,
        initializer_range: fields.positive(&fields.json, "", "initializer_range", Some(0.02))?,
        json: Map::new(),
    };
    refuse_sliding_windows(&fields, &config)?;
    Ok(ModelConfig {
        json: fields.json,
        ..config
    })
}

fn model_type(fields: &Fields) -> Result<ModelType, PolicyError> {
    match fields.json.get("model_type").and_then(Value::as_str) {
        Some("qwen2") => Ok(ModelType::Qwen2),
        Some("llama") => Ok(ModelType::Llama),
        Some("qwen3") => Ok(ModelType::Qwen3),
        _ => Err(fields.refuse("model_type", "qwen2, llama or qwen3")),
    }
}

/// A model that needs one of these would run and give wrong numbers, which is worse than an error.
fn refuse_what_the_decoder_lacks(fields: &Fields) -> Result<(), PolicyError> {
    let is_written = |name: &str| fields.json.get(name).is_some_and(|value| !value.is_null());
    // One function under two names.
    if is_written("hidden_act") && fields.json["hidden_act"] != "silu" && fields.json["hidden_act"] != "swish" {
        return Err(fields.refuse("hidden_act", "silu"));
    }
    if fields.flag("mlp_bias", false)? {
        return Err(fields.refuse("mlp_bias", "false"));
    }
    if is_written("quantization_config") {
        return Err(fields.refuse("quantization_config", "absent"));
    }
    if is_written("partial_rotary_factor") && fields.json["partial_rotary_factor"].as_f64() != Some(1.0) {
        return Err(fields.refuse("partial_rotary_factor", "1"));
    }
    Ok(())
}

/// Refuses a model with a layer that attends to a sliding window only: `layer_types` says so, or where that is missing
/// the two fields of Qwen's older files.
fn refuse_sliding_windows(fields: &Fields, config: &ModelConfig) -> Result<(), PolicyError> {
    let layers = config.num_hidden_layers;
    match fields.json.get("layer_types") {
        None | Some(Value::Null) => {}
        Some(Value::Array(types)) if types.len() == layers => {
            if types.iter().all(|layer_type| layer_type == "full_attention") {
                return Ok(());
            }
            return Err(fields.refuse("layer_types", "full_attention for every layer"));
        }
        Some(_) => {
            let allowed = format!("a list with one type for each of the {layers} layers (num_hidden_layers)");
            return Err(fields.refuse("layer_types", &allowed));
        }
    }
    if config.model_type == ModelType::Llama || !fields.flag("use_sliding_window", false)? {
        return Ok(());
    }
    let has_window = fields.json.get("sliding_window").is_none_or(|window| !window.is_null());
    // The first layers see everything. transformers takes 28 of them where the field is missing.
    let first_sliding = match fields.json.get("max_window_layers") {
        None => 28,
        Some(number) => number.as_u64().unwrap_or(0),
    };
    if has_window && first_sliding < layers as u64 {
        let allowed =
            format!("false, or max_window_layers {layers} or more (num_hidden_layers), so that no layer slides");
        return Err(fields.refuse("use_sliding_window", &allowed));
    }
    Ok(())
}
