//! Model directories: what is written is read back, and what is damaged is refused by name.

use std::path::Path;

use anytime_policy::{
    Decoder, ModelConfig, PolicyError, Weights, asset_files, check_weights, initialise_weights, read_weights,
    write_checkpoint,
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::common::{difference, fixture, fixture_model, single_thread};

/// Reads a directory's weights. The check of the headers alone has to come to the same verdict.
fn read(dir: &Path) -> Result<Weights, PolicyError> {
    let config = ModelConfig::load(dir)?;
    let checked = check_weights(dir, &config).map_err(|error| error.to_string());
    let weights = read_weights(dir, &config, Kind::Float, Device::Cpu);
    assert_eq!(checked.err(), weights.as_ref().err().map(ToString::to_string));
    weights
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// A copy of a fixture with its tensors changed, written by the safetensors crate.
fn changed(name: &str, change: impl FnOnce(&mut Weights)) -> tempfile::TempDir {
    let (_, mut weights) = fixture_model(name, Kind::Float);
    change(&mut weights);
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture(name).join("config.json"), dir.path().join("config.json")).unwrap();
    let entries: Vec<(&String, &Tensor)> = weights.iter().collect();
    Tensor::write_safetensors(&entries, dir.path().join("model.safetensors")).unwrap();
    dir
}

#[test]
fn round_trip_in_each_kind() {
    for (kind, dtype, tolerance) in [
        (Kind::Float, "float32", 0.0),
        (Kind::BFloat16, "bfloat16", 0.01),
        (Kind::Half, "float16", 0.002),
    ] {
        let (config, weights) = fixture_model("qwen2", Kind::Float);
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("deep/export");
        write_checkpoint(&dir, &config, &weights, kind, &fixture("tokenizer-r1")).unwrap();
        let expected = [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ];
        assert_eq!(names(&dir), expected);
        assert_eq!(asset_files(&dir).len(), 3);
        let mode = |name: &str| std::fs::metadata(dir.join(name)).unwrap().permissions();
        assert_eq!(mode("model.safetensors"), mode("config.json"));

        let written: Value = serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
        assert_eq!(written["dtype"], dtype);
        // A field that this crate does not read.
        assert_eq!(written["attention_dropout"], 0.0);

        let again = read(&dir).unwrap();
        assert_eq!(again.len(), weights.len());
        for (name, tensor) in &weights {
            let largest = tensor.abs().max().double_value(&[]);
            assert!(difference(tensor, &again[name]) <= tolerance * largest, "{name}");
        }
        Decoder::new(&config, &again).unwrap();
    }
}

#[test]
fn an_existing_directory_is_replaced_whole() {
    let (config, weights) = fixture_model("llama", Kind::Float);
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("export");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("stale.txt"), "old").unwrap();
    write_checkpoint(&dir, &config, &weights, Kind::Float, &fixture("llama")).unwrap();
    assert_eq!(
        names(&dir),
        ["config.json", "generation_config.json", "model.safetensors"]
    );
    // Assets may come from the directory that is replaced.
    let other = initialise_weights(&config, 3, Device::Cpu);
    write_checkpoint(&dir, &config, &other, Kind::Float, &dir).unwrap();
    assert!(read(&dir).unwrap()["model.norm.weight"].equal(&other["model.norm.weight"]));
    assert!(dir.join("generation_config.json").exists());
    assert_eq!(names(parent.path()), ["export"]);
}

#[test]
fn a_failed_export_leaves_the_old_one() {
    let (config, mut weights) = fixture_model("llama", Kind::Float);
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("export");
    write_checkpoint(&dir, &config, &weights, Kind::Float, &fixture("llama")).unwrap();
    let error = write_checkpoint(&dir, &config, &weights, Kind::Double, &fixture("llama")).unwrap_err();
    assert!(error.to_string().contains("cannot be written as Double"), "{error}");
    weights.remove("model.norm.weight");
    let error = write_checkpoint(&dir, &config, &weights, Kind::Float, &fixture("llama")).unwrap_err();
    assert_eq!(error.to_string(), "weights: tensor model.norm.weight is missing");
    read(&dir).unwrap();
    assert_eq!(names(parent.path()), ["export"]);
}

#[test]
fn what_may_be_there_without_being_used() {
    let extra = changed("qwen2-tied", |weights| {
        let head = weights["model.embed_tokens.weight"].copy();
        weights.insert("lm_head.weight".to_owned(), head);
        let frequencies = Tensor::ones([4], (Kind::Float, Device::Cpu));
        weights.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), frequencies);
    });
    assert!(!read(extra.path()).unwrap().contains_key("lm_head.weight"));
}

#[test]
fn wrong_tensors_are_named() {
    single_thread();
    let refusal = |change: &dyn Fn(&mut Weights)| read(changed("llama", change).path()).unwrap_err().to_string();
    let error = refusal(&|weights| drop(weights.remove("lm_head.weight")));
    assert!(
        error.ends_with("model.safetensors: tensor lm_head.weight is missing"),
        "{error}"
    );
    let error = refusal(&|weights| drop(weights.insert("model.extra".to_owned(), Tensor::from(1.0_f32))));
    assert!(
        error.ends_with("tensor model.extra does not belong to a llama model of this configuration"),
        "{error}"
    );
    let error = refusal(&|weights| {
        let norm = Tensor::ones([31], (Kind::Float, Device::Cpu));
        weights.insert("model.norm.weight".to_owned(), norm);
    });
    assert!(
        error.ends_with("tensor model.norm.weight has shape [31], the configuration says [32]"),
        "{error}"
    );
    let error = refusal(&|weights| {
        let norm = Tensor::ones([32], (Kind::Double, Device::Cpu));
        weights.insert("model.norm.weight".to_owned(), norm);
    });
    assert!(
        error.ends_with("tensor model.norm.weight is F64; it must be F32, BF16 or F16"),
        "{error}"
    );
}

#[test]
fn damaged_files_are_named() {
    let dir = changed("llama", |_| {});
    let path = dir.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let refusal = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        error
    };
    assert!(refusal(b"").contains("too short"));
    assert!(refusal(&whole[..100]).contains("the header claims"));
    assert!(refusal(&whole[..whole.len() - 1]).contains("the header describes"));
    assert!(refusal(&[&8_u64.to_le_bytes()[..], b"not json"].concat()).contains("is not valid json"));
    std::fs::remove_file(&path).unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {}", path.display())), "{error}");
}

#[test]
fn decoders_check_what_they_are_given() {
    let (config, mut weights) = fixture_model("qwen3", Kind::Float);
    let name = "model.layers.1.self_attn.q_norm.weight";
    let tensor = weights.remove(name).unwrap();
    let refusal = |weights: &Weights| Decoder::new(&config, weights).err().unwrap().to_string();
    assert_eq!(refusal(&weights), format!("weights: tensor {name} is missing"));
    weights.insert(name.to_owned(), tensor.to_kind(Kind::Double));
    assert!(
        refusal(&weights).contains("is Double on Cpu; it must be Float on Cpu"),
        "{}",
        refusal(&weights)
    );
    weights.insert(name.to_owned(), tensor.narrow(0, 0, 3));
    assert!(refusal(&weights).contains("has shape [3], the configuration says [16]"));
    weights.insert(name.to_owned(), tensor);
    weights.insert("lm_head.weight".to_owned(), Tensor::from(1.0_f32));
    assert!(refusal(&weights).contains("tensor lm_head.weight does not belong to a qwen3 model"));
}
