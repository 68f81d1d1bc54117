//! What `config.json` may say, and how each refusal names file, field, value and what is allowed.

use anytime_policy::{ModelConfig, ModelType, PolicyError, RopeScaling, expected_tensors, initialise_weights};
use serde_json::{Value, json};
use tch::{Device, Kind};

fn base() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 128,
    })
}

fn with(changes: Value) -> Result<ModelConfig, PolicyError> {
    let mut fields = base();
    for (name, value) in changes.as_object().unwrap() {
        fields[name] = value.clone();
    }
    ModelConfig::from_json(&fields.to_string())
}

fn refusal(changes: Value) -> String {
    with(changes).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = with(json!({})).unwrap();
    assert_eq!(config.model_type, ModelType::Llama);
    assert_eq!((config.num_key_value_heads, config.head_dim), (4, 8));
    assert_eq!(
        (config.rms_norm_eps, config.rope_theta, config.initializer_range),
        (1e-6, 10000.0, 0.02)
    );
    assert_eq!(config.rope_scaling, RopeScaling::None);
    assert!(!config.tie_word_embeddings && !config.has_qkv_bias() && !config.has_qk_norm());
    assert_eq!(with(json!({"model_type": "qwen3"})).unwrap().head_dim, 128);
    assert!(with(json!({"model_type": "qwen2"})).unwrap().has_qkv_bias());
    // Written out as null by some exporters.
    with(json!({"head_dim": null, "rope_scaling": null, "num_key_value_heads": null})).unwrap();
}

#[test]
fn rope_in_its_old_and_new_layout() {
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let mut new_layout = llama3.clone();
    new_layout["rope_theta"] = json!(5e5);
    let old = with(json!({"rope_theta": 5e5, "rope_scaling": llama3})).unwrap();
    let new = with(json!({"rope_parameters": new_layout})).unwrap();
    assert_eq!((old.rope_theta, old.rope_scaling), (new.rope_theta, new.rope_scaling));
    assert_eq!(new.rope_theta, 5e5);
    let linear = with(json!({"rope_scaling": {"type": "linear", "factor": 2}})).unwrap();
    assert_eq!(linear.rope_scaling, RopeScaling::Linear { factor: 2.0 });
    let default = with(json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}})).unwrap();
    assert_eq!((default.rope_theta, default.rope_scaling), (1e6, RopeScaling::None));
}

#[test]
fn refusals_name_field_value_and_what_is_allowed() {
    let cases = [
        (
            json!({"model_type": "gpt2"}),
            r#"config.json: model_type is "gpt2"; it must be qwen2, llama or qwen3"#,
        ),
        (
            json!({"hidden_size": null}),
            "config.json: hidden_size is null; it must be a whole number above 0",
        ),
        (
            json!({"vocab_size": -1}),
            "config.json: vocab_size is -1; it must be a whole number above 0",
        ),
        (
            json!({"num_key_value_heads": 3}),
            "num_key_value_heads is 3; it must be a divisor of num_attention_heads (4)",
        ),
        (
            json!({"head_dim": 7}),
            "config.json: head_dim is 7; it must be an even number",
        ),
        (
            json!({"hidden_act": "gelu"}),
            r#"config.json: hidden_act is "gelu"; it must be silu"#,
        ),
        (
            json!({"mlp_bias": true}),
            "config.json: mlp_bias is true; it must be false",
        ),
        (
            json!({"tie_word_embeddings": 1}),
            "config.json: tie_word_embeddings is 1; it must be true or false",
        ),
        (
            json!({"rms_norm_eps": 0}),
            "config.json: rms_norm_eps is 0; it must be a number above 0",
        ),
        (
            json!({"quantization_config": {"bits": 4}}),
            "config.json: quantization_config is {\"bits\":4}; it must be absent",
        ),
        (
            json!({"model_type": "qwen2", "use_sliding_window": true}),
            "config.json: use_sliding_window is true; it must be false",
        ),
        (
            json!({"layer_types": ["full_attention", "sliding_attention"]}),
            "layer_types is [\"full_attention\",\"sliding_attention\"]; it must be full_attention for every layer",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
            r#"config.json: rope_scaling.rope_type is "yarn"; it must be default, linear or llama3"#,
        ),
        (
            json!({"rope_scaling": {"type": "linear"}}),
            "config.json: rope_scaling.factor is missing; it must be a number above 0",
        ),
        (
            json!({"rope_scaling": 3}),
            "config.json: rope_scaling is 3; it must be an object or null",
        ),
    ];
    for (changes, expected) in cases {
        let error = refusal(changes);
        assert!(error.contains(expected), "{error}");
    }
    let error = ModelConfig::from_json("{}").unwrap_err().to_string();
    assert_eq!(
        error,
        "config.json: model_type is missing; it must be qwen2, llama or qwen3"
    );
    assert!(matches!(ModelConfig::from_json("{"), Err(PolicyError::Json { .. })));
}

#[test]
fn a_missing_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = ModelConfig::load(dir.path()).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot read {}", dir.path().join("config.json").display())),
        "{error}"
    );
}

#[test]
fn fresh_weights_depend_on_the_seed_alone() {
    let config = with(json!({"attention_bias": true, "initializer_range": 0.05})).unwrap();
    let weights = initialise_weights(&config, 7, Device::Cpu);
    tch::manual_seed(99);
    let again = initialise_weights(&config, 7, Device::Cpu);
    let other = initialise_weights(&config, 8, Device::Cpu);
    assert_eq!(weights.len(), expected_tensors(&config).len());
    for (name, shape) in expected_tensors(&config) {
        let tensor = &weights[&name];
        assert_eq!((tensor.size(), tensor.kind()), (shape, Kind::Float), "{name}");
        assert!(tensor.equal(&again[&name]), "{name}");
        if name.ends_with("norm.weight") {
            assert!(tensor.equal(&tensor.ones_like()), "{name}");
        } else if name.ends_with("bias") {
            assert!(tensor.equal(&tensor.zeros_like()), "{name}");
        } else {
            assert!(!tensor.equal(&other[&name]), "{name}");
            let (mean, deviation) = (tensor.mean(Kind::Float), tensor.std(true));
            assert!(mean.double_value(&[]).abs() < 0.01, "{name}");
            assert!((deviation.double_value(&[]) / 0.05 - 1.0).abs() < 0.1, "{name}");
        }
    }
    let (query, key) = (
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.k_proj.weight",
    );
    assert!(!weights[query].equal(&weights[key]));
}
