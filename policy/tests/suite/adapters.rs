//! Directories of adapters: those of PEFT compute what PEFT computes, ours are read back, and what is not known is refused.

use std::path::Path;

use anytime_policy::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, AdapterDirectory, Decoder, ModelConfig, asset_files, check_values, check_weights,
    read_weights, write_adapters,
};
use serde_json::{Value, json};
use tch::{Device, Kind};

use crate::common::{difference, fixture, fixture_model, token_by_token};
use crate::transformers::{expected, report};

/// A copy of a fixture of adapters that names its base by an absolute path, with fields of its configuration changed.
fn copy(name: &str, base: &str, change: Value) -> tempfile::TempDir {
    let target = tempfile::tempdir().unwrap();
    let text = std::fs::read(fixture(name).join(ADAPTER_CONFIG)).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    config["base_model_name_or_path"] = fixture(base).to_str().unwrap().into();
    for (field, value) in change.as_object().unwrap() {
        config[field] = value.clone();
    }
    std::fs::write(target.path().join(ADAPTER_CONFIG), config.to_string()).unwrap();
    std::fs::copy(fixture(name).join(ADAPTER_WEIGHTS), target.path().join(ADAPTER_WEIGHTS)).unwrap();
    target
}

fn read(directory: &Path) -> Result<(), String> {
    let config = ModelConfig::load(directory).map_err(|error| error.to_string())?;
    let read = read_weights(directory, &config, Kind::Float, Device::Cpu);
    read.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn adapters_of_peft_compute_what_peft_computes() {
    for (name, base) in [("lora-qwen2", "qwen2"), ("lora-llama", "llama")] {
        let (config, weights) = fixture_model(name, Kind::Float);
        let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
        let (ids, expected) = expected(name);
        let logits = decoder.logits(&token_by_token(&decoder, &config, &ids));
        report(name, "token by token", &logits, &expected);
        let (_, of_base) = fixture_model(base, Kind::Float);
        let bare = Decoder::new(&config, &of_base).unwrap().for_generation();
        let bare = bare.logits(&token_by_token(&bare, &config, &ids));
        assert!(difference(&bare, &expected) > 0.1, "the adapters do something");
        check_weights(&fixture(name), &config).unwrap();
        check_values(&fixture(name), &config, Kind::BFloat16).unwrap();
    }
}

#[test]
fn what_is_written_is_read_back() {
    for (name, base) in [("lora-qwen2", "qwen2"), ("lora-llama", "llama")] {
        let (config, weights) = fixture_model(name, Kind::Float);
        let directory = AdapterDirectory::open(&fixture(name)).unwrap().unwrap();
        let adapters = directory.read(&config, Device::Cpu).unwrap();
        let target = tempfile::tempdir().unwrap();
        let base = fixture(base);
        write_adapters(target.path(), &config, &adapters, base.to_str().unwrap(), 0.1).unwrap();
        let again = AdapterDirectory::open(target.path()).unwrap().unwrap();
        assert_eq!(
            (again.lora.rank, &again.lora.targets),
            (directory.lora.rank, &directory.lora.targets)
        );
        assert!((again.lora.scale - directory.lora.scale).abs() < 1e-12);
        let read = read_weights(target.path(), &config, Kind::Float, Device::Cpu).unwrap();
        for (name, weight) in &read {
            assert!(difference(weight, &weights[name]) < 1e-6, "{name}");
        }
        // The configuration is the base's, whatever stands beside the adapters.
        std::fs::write(target.path().join("config.json"), "{}").unwrap();
        assert_eq!(ModelConfig::load(target.path()).unwrap().json(), config.json());
        let assets = asset_files(target.path());
        assert!(assets.contains(&base.join("config.json")), "{assets:?}");
        // Files of a tokenizer without the tokenizer are not a tokenizer.
        std::fs::write(target.path().join("tokenizer_config.json"), "{}").unwrap();
        let own =
            |assets: Vec<std::path::PathBuf>| assets.iter().filter(|path| path.starts_with(target.path())).count();
        assert_eq!(own(asset_files(target.path())), 0);
        std::fs::write(target.path().join("tokenizer.json"), "{}").unwrap();
        assert_eq!(own(asset_files(target.path())), 2);
        // A model beside adapters is the model.
        std::fs::copy(base.join("model.safetensors"), target.path().join("model.safetensors")).unwrap();
        assert_eq!(AdapterDirectory::open(target.path()).unwrap(), None);
    }
}

#[test]
fn adapters_of_another_kind_are_refused_by_the_field() {
    let none = json!({});
    assert_eq!(read(copy("lora-qwen2", "qwen2", none).path()), Ok(()));
    for (change, says) in [
        (
            json!({ "peft_type": "IA3" }),
            "peft_type is \"IA3\"; it must be \"LORA\"",
        ),
        (json!({ "use_dora": true }), "use_dora is true; it must be false"),
        (
            json!({ "bias": "lora_only" }),
            "bias is \"lora_only\"; it must be \"none\"",
        ),
        (
            json!({ "modules_to_save": ["lm_head"] }),
            "modules_to_save is [\"lm_head\"]; it must be empty",
        ),
        (
            json!({ "rank_pattern": { "q_proj": 8 } }),
            "rank_pattern is {\"q_proj\":8}; it must be empty",
        ),
        (json!({ "alpha_pattern": { "q_proj": 8 } }), "alpha_pattern is"),
        (
            json!({ "layers_to_transform": [0] }),
            "layers_to_transform is [0]; it must be empty",
        ),
        (
            json!({ "init_lora_weights": "pissa" }),
            "init_lora_weights is \"pissa\"",
        ),
        (json!({ "r": 0 }), "r is 0; it must be a whole number, 1 or more"),
        (json!({ "r": 8 }), "has shape [4, 32], the configuration says [8, 32]"),
        (
            json!({ "lora_alpha": null }),
            "lora_alpha is missing; it must be a number above 0",
        ),
        (
            json!({ "target_modules": ["lm_head"] }),
            "target_modules is [\"lm_head\"]; it must be a list of some of q_proj",
        ),
        (json!({ "target_modules": ".*_proj" }), "target_modules is \".*_proj\""),
        (
            json!({ "target_modules": ["q_proj"] }),
            "does not belong to a qwen2 model of this configuration",
        ),
        (
            json!({ "base_model_name_or_path": "Qwen/Qwen3-4B" }),
            "fetch the model, and write its directory there",
        ),
        (
            json!({ "base_model_name_or_path": null }),
            "base_model_name_or_path is missing",
        ),
    ] {
        let refused = read(copy("lora-qwen2", "qwen2", change.clone()).path()).unwrap_err();
        assert!(refused.contains(says), "{change}: {refused}");
    }
    // The sum is no number, though all its parts are.
    let refused = read(copy("lora-qwen2", "qwen2", json!({ "lora_alpha": 1e308 })).path()).unwrap_err();
    assert!(refused.contains("are NaN or infinite"), "{refused}");
    let another = read(copy("lora-qwen2", "llama", json!({})).path()).unwrap_err();
    assert!(
        another.contains("adapter_model.safetensors: tensor base_model.model.model.layers"),
        "{another}"
    );
    let chain = copy("lora-qwen2", "qwen2", json!({}));
    let second = copy(
        "lora-qwen2",
        "qwen2",
        json!({ "base_model_name_or_path": chain.path() }),
    );
    assert!(read(second.path()).unwrap_err().contains("base_model_name_or_path"));
    // Nobody writes into these.
    for name in [ADAPTER_CONFIG, ADAPTER_WEIGHTS] {
        let waiting = copy("lora-qwen2", "qwen2", json!({}));
        let path = waiting.path().join(name);
        std::fs::remove_file(&path).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        assert!(
            read(waiting.path()).unwrap_err().contains("it is no regular file"),
            "{name}"
        );
    }
    let empty = copy("lora-qwen2", "qwen2", json!({}));
    std::fs::remove_file(empty.path().join(ADAPTER_WEIGHTS)).unwrap();
    assert!(read(empty.path()).unwrap_err().contains("cannot read"));
}

#[test]
fn a_tensor_that_is_missing_or_no_number_is_named() {
    let (config, _) = fixture_model("lora-qwen2", Kind::Float);
    let directory = AdapterDirectory::open(&fixture("lora-qwen2")).unwrap().unwrap();
    let adapters = directory.read(&config, Device::Cpu).unwrap();
    let target = copy("lora-qwen2", "qwen2", json!({}));
    let path = target.path().join(ADAPTER_WEIGHTS);
    let mut tensors: Vec<(String, tch::Tensor)> = adapters.tensors.into_iter().collect();
    let (name, last) = tensors.pop().unwrap();
    let write = |tensors: &[(String, tch::Tensor)]| tch::Tensor::write_safetensors(tensors, &path).unwrap();
    write(&tensors);
    let refused = read(target.path()).unwrap_err();
    assert!(refused.contains(&format!("tensor {name} is missing")), "{refused}");
    tensors.push((name.clone(), last * f64::NAN));
    write(&tensors);
    let refused = read(target.path()).unwrap_err();
    assert!(refused.contains(&name) && refused.contains("NaN"), "{refused}");
}
