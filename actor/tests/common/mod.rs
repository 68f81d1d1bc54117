//! A tiny random model with its directory, and plans and requests for it.
// Every test binary has its own copy and uses part of it.
#![allow(dead_code, unreachable_pub)]

pub mod fakes;

use std::path::Path;
use std::sync::Arc;

use anytime_actor::engine::{GroupRequest, Model, ModelId};
use anytime_actor::plan::Plan;
use anytime_policy::{Decoder, ModelConfig, Tokenizer, Weights, initialise_weights};
use anytime_proto::{JobId, WeightsVersion, v1};
use tch::Device;

/// Rows of the embedding; the tokenizer has two less.
pub const VOCABULARY: u32 = 30;
pub const EOS: u32 = 1;
pub const END: u32 = 2;

pub fn config_json(hidden: usize, layers: usize, vocabulary: u32) -> String {
    serde_json::json!({
        "model_type": "qwen2", "hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": vocabulary,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
        // Large, so that the distributions are far from uniform.
        "initializer_range": 0.3, "eos_token_id": EOS,
    })
    .to_string()
}

pub fn tokenizer_json() -> String {
    let mut vocabulary = serde_json::Map::new();
    for id in 0..VOCABULARY - 2 {
        vocabulary.insert(format!("t{id}"), id.into());
    }
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
    })
    .to_string()
}

pub fn write_model_directory(directory: &Path) {
    std::fs::write(directory.join("config.json"), config_json(32, 2, VOCABULARY)).unwrap();
    std::fs::write(directory.join("tokenizer.json"), tokenizer_json()).unwrap();
}

pub fn tokenizer() -> Tokenizer {
    let directory = tempfile::tempdir().unwrap();
    write_model_directory(directory.path());
    Tokenizer::load(directory.path()).unwrap()
}

pub fn config() -> ModelConfig {
    ModelConfig::from_json(&config_json(32, 2, VOCABULARY)).unwrap()
}

pub fn weights(seed: u64) -> Weights {
    initialise_weights(&config(), seed, Device::Cpu)
}

pub fn job() -> JobId {
    JobId("job".to_owned())
}

/// Weights drawn from the version's number.
pub fn model(version: u64) -> Model {
    model_of(config(), version)
}

/// The same for another configuration.
pub fn model_of(config: ModelConfig, version: u64) -> Model {
    let decoder = Decoder::new(&config, &initialise_weights(&config, version, Device::Cpu)).unwrap();
    let config = Arc::new(config);
    let manifest_checksum = format!("checksum-{version}");
    let id = ModelId {
        job_id: job(),
        version: WeightsVersion(version),
        manifest_checksum,
    };
    Model {
        id,
        config,
        tokenizer: Arc::new(tokenizer()),
        decoder,
    }
}

pub fn plan_message() -> v1::RolloutPlan {
    v1::RolloutPlan {
        budgets: vec![4, 8, 16],
        traces: 3,
        summaries: 2,
        max_summary_tokens: 6,
        sampling: Some(v1::Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
        }),
        markers: Some(v1::MarkerIds {
            end: vec![END],
            cut: vec![3],
            summary: vec![4, 5],
            end_text: String::new(),
        }),
        eos_ids: vec![EOS],
        vocabulary: VOCABULARY - 2,
        cache_policy: v1::CachePolicy::Keep.into(),
        extraction: v1::Extraction::Anytime.into(),
        conventions: None,
        no_thinking_traces: 0,
        max_prompt_tokens: 8,
        deterministic: false,
    }
}

/// Thinks for exactly `tokens` tokens: its end marker is outside the vocabulary, and nothing is an end of sequence.
pub fn endless_plan(tokens: u32) -> v1::RolloutPlan {
    v1::RolloutPlan {
        budgets: vec![tokens / 2, tokens],
        markers: Some(v1::MarkerIds {
            end: vec![VOCABULARY - 1],
            cut: vec![3],
            summary: vec![4, 5],
            end_text: String::new(),
        }),
        eos_ids: Vec::new(),
        ..plan_message()
    }
}

pub fn request(number: u64, plan: &v1::RolloutPlan) -> GroupRequest {
    GroupRequest {
        number,
        job_id: job(),
        min_version: WeightsVersion(0),
        manifest_checksum: None,
        seed: 1000 + number,
        prompt_ids: vec![6, 7, 8, (number % 20) as u32 + 6],
        plan: Arc::new(Plan::try_new(plan).unwrap()),
    }
}
