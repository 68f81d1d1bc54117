//! The models that the cases run on: a checkpoint's weights, or random ones of a named shape.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use anytime_policy::{Decoder, ModelConfig, Tokenizer, Weights, expected_tensors, read_weights};
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// A model that exists only as a shape, with random weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Small enough for tests.
    Tiny,
    /// SmolLM2-135M, as its config.json has it.
    #[value(name = "smollm2-135m")]
    SmolLm2,
    /// DeepSeek-R1-Distill-Qwen-1.5B, as its config.json has it.
    #[value(name = "r1-distill-qwen-1.5b")]
    R1DistillQwen,
}

impl Shape {
    /// The `config.json` of the shape.
    pub fn config_json(self) -> serde_json::Value {
        match self {
            Shape::Tiny => json!({
                "model_type": "qwen2", "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
                "num_attention_heads": 3, "num_key_value_heads": 1, "vocab_size": 96, "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0, "max_position_embeddings": 4096, "tie_word_embeddings": true,
                "eos_token_id": 0,
            }),
            Shape::SmolLm2 => json!({
                "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
                "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49_152, "rms_norm_eps": 1e-5,
                "rope_theta": 100_000.0, "max_position_embeddings": 8192, "tie_word_embeddings": true,
                "eos_token_id": 0,
            }),
            Shape::R1DistillQwen => json!({
                "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
                "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151_936, "rms_norm_eps": 1e-6,
                "rope_theta": 10000.0, "max_position_embeddings": 131_072, "tie_word_embeddings": false,
                "use_sliding_window": false, "eos_token_id": 0,
            }),
        }
    }
}

/// A model that the cases run on: weights, `config.json` and tokenizer.
pub struct LoadedModel {
    /// The model's `config.json`.
    pub config: ModelConfig,
    /// The parameters by their names in the checkpoint, all of one kind on one device.
    pub weights: Weights,
    /// The engine carries one; the cases decode no text.
    pub tokenizer: Arc<Tokenizer>,
}

impl LoadedModel {
    /// Reads a Hugging Face model directory, in `kind`.
    ///
    /// # Errors
    /// A file is missing or not what the decoder can run.
    pub fn checkpoint(directory: &Path, kind: Kind, device: Device) -> anyhow::Result<Self> {
        let name = || format!("checkpoint {}", directory.display());
        let config = ModelConfig::load(directory).with_context(name)?;
        let weights = read_weights(directory, &config, kind, device).with_context(name)?;
        let tokenizer = Arc::new(Tokenizer::load(directory).with_context(name)?);
        Ok(Self {
            config,
            weights,
            tokenizer,
        })
    }

    /// Draws random weights on the device, because a large model takes minutes on one core of the host.
    ///
    /// # Errors
    /// The temporary directory of the tokenizer cannot be written.
    pub fn random(shape: Shape, seed: i64, kind: Kind, device: Device) -> anyhow::Result<Self> {
        let config_json = shape.config_json().to_string();
        let config = ModelConfig::from_json(&config_json)?;
        tch::manual_seed(seed);
        let mut weights = Weights::new();
        for (name, size) in expected_tensors(&config) {
            let tensor = if name.ends_with("norm.weight") {
                Tensor::ones(size, (kind, device))
            } else {
                Tensor::randn(size, (kind, device)) * config.initializer_range
            };
            weights.insert(name, tensor);
        }
        Ok(Self {
            config,
            weights,
            tokenizer: Arc::new(numbers_tokenizer(&config_json)?),
        })
    }

    /// The same model with weights of another kind or on another device.
    pub fn converted(&self, kind: Kind, device: Device) -> Self {
        let convert = |tensor: &Tensor| tensor.to_device(device).to_kind(kind);
        Self {
            config: self.config.clone(),
            weights: self
                .weights
                .iter()
                .map(|(name, tensor)| (name.clone(), convert(tensor)))
                .collect(),
            tokenizer: Arc::clone(&self.tokenizer),
        }
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.weights.values().next().map_or(Device::Cpu, Tensor::device)
    }

    /// A decoder over the weights.
    ///
    /// # Errors
    /// The weights do not fit the configuration.
    pub fn decoder(&self) -> anyhow::Result<Decoder> {
        Ok(Decoder::new(&self.config, &self.weights)?.for_generation())
    }

    /// Multiply-adds, two operations each, that one token costs in all linear layers and in the head.
    pub fn flop_per_token(&self) -> f64 {
        let config = &self.config;
        let (body, head) = (self.layer_parameters(), config.vocab_size * config.hidden_size);
        2.0 * (body + head) as f64
    }

    /// Parameters of all linear layers, the head left out.
    pub fn layer_parameters(&self) -> i64 {
        let is_linear = |name: &str| name.ends_with("_proj.weight");
        self.weights
            .iter()
            .filter(|(name, _)| is_linear(name))
            .map(|(_, tensor)| tensor.numel() as i64)
            .sum()
    }
}

/// The kind that a `--dtype` names.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Float => "f32",
        Kind::BFloat16 => "bf16",
        Kind::Double => "f64",
        _ => "other",
    }
}

/// A tokenizer over two words: no case decodes text, but a model is not complete without one.
fn numbers_tokenizer(config_json: &str) -> anyhow::Result<Tokenizer> {
    let directory = tempfile::tempdir()?;
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"zero": 0, "one": 1}, "unk_token": "zero"},
    });
    std::fs::write(directory.path().join("tokenizer.json"), tokenizer.to_string())?;
    std::fs::write(directory.path().join("config.json"), config_json)?;
    Ok(Tokenizer::load(directory.path())?)
}

/// The prompt with this number, the same ids as in `bench/speed/peers.py`.
pub fn prompt_ids(number: usize, length: usize, vocabulary: i64) -> Vec<u32> {
    let range = vocabulary as usize - FIRST_ORDINARY_ID;
    let id = |place: usize| FIRST_ORDINARY_ID + (7919 * (number + 1) + 104_729 * place + 31 * place * place) % range;
    (0..length).map(|place| id(place) as u32).collect()
}

/// Ids below are special in the tokenizers of the checkpoints used here.
const FIRST_ORDINARY_ID: usize = 20;
