//! `config.json` of a Hugging Face model directory, with its field names.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::PolicyError;

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

/// How rotary positions are stretched beyond the length of pre-training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Positions are not stretched.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// The divisor, at least 1.
        factor: f64,
    },
    /// As in Llama 3.1: low frequencies are divided by `factor`, high ones are kept, and those between follow a ramp.
    Llama3 {
        /// The divisor of low frequencies, at least 1.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are high frequencies.
        high_freq_factor: f64,
        /// The length of pre-training, in tokens.
        original_max_position_embeddings: f64,
    },
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
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| PolicyError::read(&path, source))?;
        Fields::parse(path, &text)?.config()
    }

    /// Reads the text of a `config.json`; errors call the file `config.json`.
    ///
    /// # Errors
    /// As for [`ModelConfig::load`].
    pub fn from_json(text: &str) -> Result<Self, PolicyError> {
        Fields::parse(PathBuf::from("config.json"), text)?.config()
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

    /// Query heads per key and value head.
    pub(crate) fn query_group(&self) -> i64 {
        self.num_attention_heads / self.num_key_value_heads
    }
}

/// The fields of one file, read one by one with errors that name them.
struct Fields {
    path: PathBuf,
    json: Map<String, Value>,
}

impl Fields {
    fn parse(path: PathBuf, text: &str) -> Result<Self, PolicyError> {
        match serde_json::from_str(text) {
            Ok(json) => Ok(Fields { path, json }),
            Err(source) => Err(PolicyError::json(&path, source)),
        }
    }

    fn config(self) -> Result<ModelConfig, PolicyError> {
        let model_type = self.model_type()?;
        self.refuse_what_the_decoder_lacks(model_type)?;
        let hidden_size = self.count("hidden_size", None)?;
        let num_attention_heads = self.count("num_attention_heads", None)?;
        let num_key_value_heads = self.count("num_key_value_heads", Some(num_attention_heads))?;
        if num_attention_heads % num_key_value_heads != 0 {
            let allowed = format!("a divisor of num_attention_heads ({num_attention_heads})");
            return Err(self.refuse("num_key_value_heads", &allowed));
        }
        let usual_head_dim = match model_type {
            ModelType::Qwen3 => 128,
            ModelType::Qwen2 | ModelType::Llama => hidden_size / num_attention_heads,
        };
        let head_dim = self.count("head_dim", Some(usual_head_dim))?;
        if head_dim % 2 != 0 {
            return Err(self.refuse("head_dim", "an even number"));
        }
        let (rope_theta, rope_scaling) = self.rope()?;
        let max_position_embeddings = self.count("max_position_embeddings", None)? as usize;
        Ok(ModelConfig {
            model_type,
            hidden_size,
            intermediate_size: self.count("intermediate_size", None)?,
            num_hidden_layers: self.count("num_hidden_layers", None)? as usize,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            vocab_size: self.count("vocab_size", None)?,
            max_position_embeddings,
            rms_norm_eps: self.positive(&self.json, "", "rms_norm_eps", Some(1e-6))?,
            rope_theta,
            rope_scaling,
            tie_word_embeddings: self.flag("tie_word_embeddings", false)?,
            attention_bias: model_type != ModelType::Qwen2 && self.flag("attention_bias", false)?,
            initializer_range: self.positive(&self.json, "", "initializer_range", Some(0.02))?,
            json: self.json,
        })
    }

    fn model_type(&self) -> Result<ModelType, PolicyError> {
        match self.json.get("model_type").and_then(Value::as_str) {
            Some("qwen2") => Ok(ModelType::Qwen2),
            Some("llama") => Ok(ModelType::Llama),
            Some("qwen3") => Ok(ModelType::Qwen3),
            _ => Err(self.refuse("model_type", "qwen2, llama or qwen3")),
        }
    }

    /// A model that needs one of these would run and give wrong numbers, which is worse than an error.
    fn refuse_what_the_decoder_lacks(&self, model_type: ModelType) -> Result<(), PolicyError> {
        if self.json.get("hidden_act").is_some_and(|value| value != "silu") {
            return Err(self.refuse("hidden_act", "silu"));
        }
        if model_type != ModelType::Llama && self.flag("use_sliding_window", false)? {
            return Err(self.refuse("use_sliding_window", "false"));
        }
        if self.flag("mlp_bias", false)? {
            return Err(self.refuse("mlp_bias", "false"));
        }
        if self
            .json
            .get("quantization_config")
            .is_some_and(|value| !value.is_null())
        {
            return Err(self.refuse("quantization_config", "absent"));
        }
        if self
            .json
            .get("partial_rotary_factor")
            .is_some_and(|value| value.as_f64() != Some(1.0))
        {
            return Err(self.refuse("partial_rotary_factor", "1"));
        }
        let Some(layer_types) = self.json.get("layer_types").and_then(Value::as_array) else {
            return Ok(());
        };
        if layer_types.iter().any(|layer_type| layer_type != "full_attention") {
            return Err(self.refuse("layer_types", "full_attention for every layer"));
        }
        Ok(())
    }

    /// Rotary base and scaling: two fields in older files, one object (`rope_parameters`) in newer ones.
    fn rope(&self) -> Result<(f64, RopeScaling), PolicyError> {
        let parameters = self.object("rope_parameters")?;
        let theta = match parameters {
            Some(object) if object.contains_key("rope_theta") => {
                self.positive(object, "rope_parameters.", "rope_theta", None)?
            }
            _ => self.positive(&self.json, "", "rope_theta", Some(10000.0))?,
        };
        if let Some(object) = parameters {
            return Ok((theta, self.rope_scaling(object, "rope_parameters.")?));
        }
        match self.object("rope_scaling")? {
            Some(object) => Ok((theta, self.rope_scaling(object, "rope_scaling.")?)),
            None => Ok((theta, RopeScaling::None)),
        }
    }

    fn rope_scaling(&self, object: &Map<String, Value>, prefix: &str) -> Result<RopeScaling, PolicyError> {
        // Older files call the field `type`.
        let key = if object.contains_key("rope_type") {
            "rope_type"
        } else {
            "type"
        };
        let Some(kind) = object.get(key) else {
            return Ok(RopeScaling::None);
        };
        let number = |name: &str| self.positive(object, prefix, name, None);
        match kind.as_str() {
            Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: number("factor")?,
            }),
            Some("llama3") => {
                let low_freq_factor = number("low_freq_factor")?;
                let high_freq_factor = number("high_freq_factor")?;
                if high_freq_factor <= low_freq_factor {
                    let allowed = format!("more than low_freq_factor ({low_freq_factor})");
                    return Err(self.refuse_value(&format!("{prefix}high_freq_factor"), high_freq_factor, &allowed));
                }
                Ok(RopeScaling::Llama3 {
                    factor: number("factor")?,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings: number("original_max_position_embeddings")?,
                })
            }
            _ => Err(self.refuse_value(&format!("{prefix}{key}"), kind, "default, linear or llama3")),
        }
    }

    fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, PolicyError> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(self.refuse(name, "an object or null")),
        }
    }

    /// A whole number from 1 to 2³¹; null counts as absent, as it does for transformers.
    fn count(&self, name: &str, otherwise: Option<i64>) -> Result<i64, PolicyError> {
        match (self.json.get(name), otherwise) {
            (None | Some(Value::Null), Some(value)) => Ok(value),
            (Some(value), _) => match value.as_i64() {
                Some(number) if (1..=i64::from(i32::MAX)).contains(&number) => Ok(number),
                _ => Err(self.refuse(name, "a whole number above 0")),
            },
            (None, None) => Err(self.refuse(name, "a whole number above 0")),
        }
    }

    fn positive(
        &self,
        object: &Map<String, Value>,
        prefix: &str,
        name: &str,
        otherwise: Option<f64>,
    ) -> Result<f64, PolicyError> {
        match (object.get(name), otherwise) {
            (None | Some(Value::Null), Some(value)) => Ok(value),
            (Some(value), _) if value.as_f64().is_some_and(|number| number > 0.0 && number.is_finite()) => {
                Ok(value.as_f64().expect("the guard has just read a number"))
            }
            (Some(value), _) => Err(self.refuse_value(&format!("{prefix}{name}"), value, "a number above 0")),
            (None, None) => Err(self.refuse_value(&format!("{prefix}{name}"), "missing", "a number above 0")),
        }
    }

    fn flag(&self, name: &str, otherwise: bool) -> Result<bool, PolicyError> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(otherwise),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.refuse(name, "true or false")),
        }
    }

    fn refuse(&self, field: &str, allowed: &str) -> PolicyError {
        match self.json.get(field) {
            Some(value) => self.refuse_value(field, value, allowed),
            None => self.refuse_value(field, "missing", allowed),
        }
    }

    fn refuse_value(&self, field: &str, value: impl std::fmt::Display, allowed: &str) -> PolicyError {
        PolicyError::ConfigField {
            path: self.path.clone(),
            field: field.to_owned(),
            value: value.to_string(),
            allowed: allowed.to_owned(),
        }
    }
}
