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
    // Where both are written, rope_scaling replaces rope_parameters, as in transformers 5.
    let parameters = json!({"rope_type": "default", "rope_theta": 5e5});
    for both in [
        json!({"rope_theta": 5e5, "rope_parameters": parameters, "rope_scaling": llama3}),
        json!({"rope_parameters": parameters, "rope_scaling": new_layout}),
        json!({"rope_parameters": {}, "rope_theta": 5e5, "rope_scaling": llama3}),
        json!({"rope_parameters": new_layout, "rope_scaling": {}}),
    ] {
        let both = with(both).unwrap();
        assert_eq!((both.rope_theta, both.rope_scaling), (5e5, new.rope_scaling));
    }
    let linear = with(json!({"rope_scaling": {"type": "linear", "factor": 2}})).unwrap();
    assert_eq!(linear.rope_scaling, RopeScaling::Linear { factor: 2.0 });
    let default = with(json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}})).unwrap();
    assert_eq!((default.rope_theta, default.rope_scaling), (1e6, RopeScaling::None));
}

#[test]
fn yarn_with_the_defaults_of_transformers() {
    let yarn = |fields: Value| with(json!({"max_position_embeddings": 32768, "rope_scaling": fields})).unwrap();
    let qwen = yarn(json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}));
    // YaRN's equation 22: 0.1 ln(s) + 1.
    assert_eq!(
        qwen.rope_scaling,
        RopeScaling::Yarn {
            factor: 4.0,
            attention_factor: 0.1 * 4.0_f64.ln() + 1.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_max_position_embeddings: 8192.0,
            truncate: true,
        }
    );
    assert_eq!(qwen.longest_sequence(), 32768);
    let of = |fields: Value| {
        let mut all = json!({"rope_type": "yarn", "factor": 4.0});
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        let config = yarn(all);
        let RopeScaling::Yarn {
            attention_factor,
            beta_fast,
            beta_slow,
            original_max_position_embeddings,
            truncate,
            ..
        } = config.rope_scaling
        else {
            panic!("yarn");
        };
        let longest = config.longest_sequence();
        (
            attention_factor,
            beta_fast,
            beta_slow,
            original_max_position_embeddings,
            truncate,
            longest,
        )
    };
    let usual = 0.1 * 4.0_f64.ln() + 1.0;
    // Without the length of pre-training it is max_position_embeddings, as in the files of Qwen 2.5.
    assert_eq!(of(json!({})), (usual, 32.0, 1.0, 32768.0, true, 131_072));
    assert_eq!(
        of(json!({"attention_factor": 1.5, "beta_fast": 16, "beta_slow": 2, "truncate": false})),
        (1.5, 16.0, 2.0, 32768.0, false, 131_072)
    );
    // A 0 counts as left out; a scale alone does nothing.
    assert_eq!(of(json!({"beta_fast": 0, "beta_slow": null, "mscale": 0.7})).0, usual);
    assert_eq!(of(json!({"mscale": 1.0, "mscale_all_dim": 1.0})).0, 1.0);
    let both = (0.0707 * 4.0_f64.ln() + 1.0) / (0.05 * 4.0_f64.ln() + 1.0);
    assert!((of(json!({"mscale": 0.707, "mscale_all_dim": 0.5})).0 - both).abs() < 1e-12);
    assert_eq!(of(json!({"factor": 1.0})).0, 1.0);
}

#[test]
fn one_thing_under_two_names_is_read() {
    assert!(with(json!({"hidden_act": "swish"})).is_ok());
    let both = with(json!({"rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 2}})).unwrap();
    assert_eq!(both.rope_scaling, RopeScaling::Linear { factor: 2.0 });
}

#[test]
fn sliding_windows_that_no_layer_has_are_none() {
    for fields in [
        json!({"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 2}),
        json!({"use_sliding_window": true, "sliding_window": 4096}),
        json!({"use_sliding_window": true, "sliding_window": null, "max_window_layers": 0}),
        json!({"use_sliding_window": true, "sliding_window": 16, "max_window_layers": 0,
            "layer_types": ["full_attention", "full_attention"]}),
        json!({"use_sliding_window": false, "sliding_window": 16, "max_window_layers": 0}),
    ] {
        for model_type in ["qwen2", "qwen3"] {
            let mut fields = fields.clone();
            fields["model_type"] = json!(model_type);
            with(fields.clone()).unwrap_or_else(|error| panic!("{fields}: {error}"));
        }
    }
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
            "config.json: hidden_size is null; it must be a whole number from 1 to 1048576",
        ),
        (
            json!({"vocab_size": -1}),
            "config.json: vocab_size is -1; it must be a whole number from 1 to 16777216",
        ),
        (
            json!({"num_key_value_heads": 3}),
            "num_key_value_heads is 3; it must be a divisor of num_attention_heads (4)",
        ),
        (
            json!({"head_dim": 7}),
            "config.json: head_dim is 7; it must be an even number; without it, hidden_size divided by",
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
            json!({"model_type": "qwen2", "use_sliding_window": true, "max_window_layers": 1}),
            "config.json: use_sliding_window is true; it must be false, or max_window_layers 2 or more (num_hidden_layers)",
        ),
        (
            json!({"model_type": "qwen2", "num_hidden_layers": 29, "use_sliding_window": true}),
            "config.json: use_sliding_window is true; it must be false, or max_window_layers 29 or more",
        ),
        (
            json!({"layer_types": ["full_attention"]}),
            "layer_types is [\"full_attention\"]; it must be a list with one type for each of the 2 layers",
        ),
        (
            json!({"hidden_size": 3, "num_attention_heads": 4}),
            "config.json: head_dim is 0; it must be an even number",
        ),
        (
            json!({"vocab_size": 1_000_000_000_000_u64}),
            "config.json: vocab_size is 1000000000000; it must be a whole number from 1 to 16777216",
        ),
        (
            json!({"num_hidden_layers": 1_000_000_000}),
            "config.json: num_hidden_layers is 1000000000; it must be a whole number from 1 to 4096",
        ),
        (
            json!({"num_attention_heads": 2_147_483_647}),
            "config.json: num_attention_heads is 2147483647; it must be a whole number from 1 to 1048576",
        ),
        (
            json!({"max_position_embeddings": 1e30}),
            "config.json: max_position_embeddings is 1e+30; it must be a whole number from 1 to 2147483647",
        ),
        (
            json!({"intermediate_size": "64"}),
            "config.json: intermediate_size is \"64\"; it must be a whole number",
        ),
        (
            json!({"layer_types": ["full_attention", "sliding_attention"]}),
            "layer_types is [\"full_attention\",\"sliding_attention\"]; it must be full_attention for every layer",
        ),
        (
            json!({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}),
            "config.json: rope_scaling.rope_type is \"dynamic\"; it must be default, linear, llama3 or yarn: with this one the \
             frequencies depend on the length of each sequence",
        ),
        (
            // The type goes before the fields that only this type has.
            json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}}),
            "config.json: rope_scaling.type is \"longrope\"; it must be default, linear, llama3 or yarn: with this one",
        ),
        (
            json!({"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}),
            r#"rope_scaling.type is "mrope"; it must be default, linear, llama3 or yarn: this one has positions of images"#,
        ),
        (
            json!({"rope_scaling": {"rope_type": "default", "type": "yarn", "factor": 4.0}}),
            r#"config.json: rope_scaling.type is "yarn"; it must be left out, or rope_type ("default"): the two names are"#,
        ),
        (
            json!({"rope_scaling": {"factor": 4.0}}),
            "config.json: rope_scaling.rope_type is missing; it must be default, linear, llama3 or yarn",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn"}}),
            "config.json: rope_scaling.factor is missing; it must be a number above 0",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 0.5}}),
            "config.json: rope_scaling.factor is 0.5; it must be 1 or more",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 4, "beta_fast": 1, "beta_slow": 2}}),
            "config.json: rope_scaling.beta_fast is 1; it must be beta_slow (2) or more",
        ),
        (
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 4, "truncate": 1}}),
            "config.json: rope_scaling.truncate is 1; it must be true or false",
        ),
        (
            json!({"rope_theta": 1.0, "rope_scaling": {"rope_type": "yarn", "factor": 4}}),
            "config.json: rope_scaling.rope_theta is 1; it must be more than 1 with yarn",
        ),
        (
            json!({"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e6}}}),
            "config.json: rope_parameters.full_attention is {\"rope_type\":\"default\",\"rope_theta\":1000000.0}; it must \
             be left out",
        ),
        (
            json!({"rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24]}}),
            "config.json: rope_parameters.mrope_section is [16,24,24]; it must be left out",
        ),
        (
            json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
            "config.json: rope_parameters.partial_rotary_factor is 0.5; it must be 1",
        ),
        (
            json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, "rope_scaling":
                {"rope_type": "linear", "factor": 4.0}}),
            "config.json: rope_parameters.rope_theta is 1000000; it must be 10000, which is the base beside rope_scaling, or \
             written as rope_scaling.rope_theta",
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
fn what_a_directory_holds_instead_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let load = || {
        ModelConfig::load(dir.path())
            .map(drop)
            .map_err(|error| error.to_string())
    };
    std::fs::write(&path, format!("\u{feff}{}", base())).unwrap();
    assert_eq!(load(), Ok(()));
    for (content, says) in [
        (&b""[..], "is not valid json"),
        (b"[]", "is not valid json"),
        (b"null", "is not valid json"),
        (b"\xff\xfe{\0", "the file is not in UTF-8"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a pointer of git-lfs",
        ),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = load().unwrap_err();
        assert!(
            error.starts_with(&path.display().to_string()) && error.contains(says),
            "{error}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("config.json", &path).unwrap();
    let error = load().unwrap_err();
    assert!(error.contains("config.json"), "{error}");
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
