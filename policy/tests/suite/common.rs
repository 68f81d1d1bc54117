//! What the tests share: small models of each family and comparisons.

use std::path::PathBuf;

use anytime_policy::{Decoder, Extension, KvCache, ModelConfig, Weights, initialise_weights, read_weights};
use tch::{Device, Kind, Tensor};

/// A directory that `fixtures/make.py` made.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// One thread per test: the tests themselves run side by side.
pub(crate) fn single_thread() {
    tch::set_num_threads(1);
}

/// A fixture's configuration and weights.
pub(crate) fn fixture_model(name: &str, kind: Kind) -> (ModelConfig, Weights) {
    single_thread();
    let dir = fixture(name);
    let config = ModelConfig::load(&dir).unwrap();
    let weights = read_weights(&dir, &config, kind, Device::Cpu).unwrap();
    (config, weights)
}

/// Fresh weights of a fixture's configuration in another kind, taking part in a gradient graph.
pub(crate) fn trainable(name: &str, kind: Kind) -> (ModelConfig, Weights) {
    let (config, weights) = fixture_model(name, kind);
    let weights = weights
        .into_iter()
        .map(|(name, tensor)| (name, tensor.set_requires_grad(true)))
        .collect();
    (config, weights)
}

/// A small model that needs no file.
pub(crate) fn small_model(seed: u64) -> (ModelConfig, Weights) {
    single_thread();
    let config = ModelConfig::from_json(
        r#"{"model_type": "qwen2", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
            "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 50,
            "max_position_embeddings": 512, "initializer_range": 0.2}"#,
    )
    .unwrap();
    let weights = initialise_weights(&config, seed, Device::Cpu);
    (config, weights)
}

/// The largest absolute difference.
pub(crate) fn difference(one: &Tensor, other: &Tensor) -> f64 {
    assert_eq!(one.size(), other.size());
    if one.numel() == 0 {
        return 0.0;
    }
    let difference = (one.to_kind(Kind::Double) - other.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[]);
    assert!(difference.is_finite(), "not a number");
    difference
}

/// Ids that look random, below `vocab`, the same at each run.
pub(crate) fn ids(seed: u32, count: usize, vocab: u32) -> Vec<u32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % vocab
    };
    (0..count).map(|_| next()).collect()
}

/// Hidden states after each token of `tokens`, fed one at a time in a cache of its own: [tokens, hidden].
pub(crate) fn token_by_token(decoder: &Decoder, config: &ModelConfig, tokens: &[u32]) -> Tensor {
    let mut cache = KvCache::new(config, 1, tokens.len(), decoder.kind(), decoder.device());
    let mut states = Vec::new();
    for position in 0..tokens.len() {
        let row = Extension {
            slot: 0,
            start: position,
            ids: &tokens[position..=position],
            prefix: None,
        };
        states.push(decoder.extend(&mut cache, &[row]));
    }
    Tensor::cat(&states, 0)
}
