//! Model directories: what is written is read back, and what is damaged is refused by name.

use std::path::Path;

use anytime_policy::{
    Decoder, ModelConfig, PolicyError, Weights, asset_files, check_values, check_weights, initialise_weights,
    read_weights, write_checkpoint,
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
fn a_head_beside_tied_embeddings_is_a_copy_or_refused() {
    let with_head = |change: &dyn Fn(&Tensor) -> Tensor| {
        let dir = changed("qwen2-tied", |weights| {
            let head = change(&weights["model.embed_tokens.weight"]);
            weights.insert("lm_head.weight".to_owned(), head);
        });
        read(dir.path()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(with_head(&Tensor::copy), Ok(()));
    // A copy in another kind holds the same numbers where the kind can.
    let rounded = changed("qwen2-tied", |weights| {
        let head = weights["model.embed_tokens.weight"].to_kind(Kind::BFloat16);
        weights.insert("model.embed_tokens.weight".to_owned(), head.to_kind(Kind::Float));
        weights.insert("lm_head.weight".to_owned(), head);
    });
    read(rounded.path()).unwrap();
    let one_number = |embedding: &Tensor| {
        let head = embedding.copy();
        let last = head.numel() as i64 - 1;
        let _ = head.view(-1).narrow(0, last, 1).fill_(7.5);
        head
    };
    let others: [&dyn Fn(&Tensor) -> Tensor; 3] = [
        &one_number,
        &|embedding| embedding.to_kind(Kind::BFloat16),
        &|embedding| embedding.narrow(0, 0, 3),
    ];
    for other in others {
        let error = with_head(other).unwrap_err();
        let says = "tensor lm_head.weight differs from model.embed_tokens.weight, though tie_word_embeddings in \
                    config.json is true; set that to false to keep the head, or remove the tensor";
        assert!(error.ends_with(says), "{error}");
    }
}

/// A model in two shards with an index; `change` may put other tensors into the second one.
fn sharded(change: impl FnOnce(&mut Weights, &mut Value)) -> (tempfile::TempDir, Weights) {
    let (_, weights) = fixture_model("llama", Kind::Float);
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("llama").join("config.json"), dir.path().join("config.json")).unwrap();
    let mut index = serde_json::json!({"weight_map": {}});
    let (mut first, mut second) = (Weights::new(), Weights::new());
    for (number, (name, tensor)) in weights.iter().enumerate() {
        let (shard, file) = if number % 2 == 0 {
            (&mut first, "a.safetensors")
        } else {
            (&mut second, "b.safetensors")
        };
        shard.insert(name.clone(), tensor.copy());
        index["weight_map"][name] = file.into();
    }
    change(&mut second, &mut index);
    for (shard, file) in [(&first, "a.safetensors"), (&second, "b.safetensors")] {
        let entries: Vec<(&String, &Tensor)> = shard.iter().collect();
        Tensor::write_safetensors(&entries, dir.path().join(file)).unwrap();
    }
    std::fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    (dir, weights)
}

#[test]
fn of_a_tensor_in_two_shards_the_index_decides() {
    // The first tensor by name is in the first shard.
    let name = "lm_head.weight";
    let overlay = |second: &mut Weights, _: &mut Value| {
        let zeros = Tensor::zeros([97, 32], (Kind::Float, Device::Cpu));
        second.insert(name.to_owned(), zeros);
    };
    let (dir, weights) = sharded(overlay);
    assert!(read(dir.path()).unwrap()[name].equal(&weights[name]));
    let (dir, _) = sharded(|second, index| {
        overlay(second, index);
        index["weight_map"][name] = "b.safetensors".into();
    });
    assert_eq!(read(dir.path()).unwrap()[name].abs().max().double_value(&[]), 0.0);
    // An index that is wrong about a tensor's only shard does no harm. One that names neither of two shards is refused.
    let (dir, weights) = sharded(|_, index| index["weight_map"][name] = "b.safetensors".into());
    assert!(read(dir.path()).unwrap()[name].equal(&weights[name]));
    let (dir, _) = sharded(|second, index| {
        overlay(second, index);
        index["weight_map"].as_object_mut().unwrap().remove(name);
    });
    let error = read(dir.path()).unwrap_err().to_string();
    let says = "b.safetensors: tensor lm_head.weight is also in a.safetensors, and the index names neither";
    assert!(error.contains(says), "{error}");
}

#[test]
fn weights_of_another_make_are_named() {
    let dir = changed("llama", |_| {});
    let refusal = || read(dir.path()).unwrap_err().to_string();
    let single = dir.path().join("model.safetensors");
    let rename = |name: &str| std::fs::rename(&single, dir.path().join(name)).unwrap();
    rename("model-00001-of-00002.safetensors");
    assert!(
        refusal().ends_with(
            "there is neither model.safetensors nor model.safetensors.index.json, which says what is in the files beside it \
             such as model-00001-of-00002.safetensors; fetch it, or save the model again"
        ),
        "{}",
        refusal()
    );
    std::fs::rename(dir.path().join("model-00001-of-00002.safetensors"), &single).unwrap();
    for (name, says) in [
        (
            "pytorch_model.bin",
            "there is no model.safetensors, and pytorch_model.bin is not read; AutoModelForCausalLM",
        ),
        (
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00001-of-00002.bin is not read",
        ),
        (
            "pytorch_model.bin.index.json",
            "pytorch_model.bin.index.json is not read",
        ),
        ("model.Q4_K.gguf", "model.Q4_K.gguf is not read"),
        (
            "adapter_model.safetensors",
            "there are adapters (adapter_model.safetensors) and neither a model nor adapter_config.json",
        ),
    ] {
        rename(name);
        assert!(refusal().contains(says), "{}", refusal());
        std::fs::rename(dir.path().join(name), &single).unwrap();
    }
    std::fs::write(
        &single,
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    )
    .unwrap();
    let says =
        "model.safetensors: the file is a pointer of git-lfs and not the content; fetch that with `git lfs pull`";
    assert!(refusal().ends_with(says), "{}", refusal());
    std::fs::remove_file(&single).unwrap();
    std::fs::create_dir(&single).unwrap();
    assert!(
        refusal().starts_with(&format!("cannot read {}", single.display())),
        "{}",
        refusal()
    );
}

#[test]
fn names_of_tensors_say_how_a_model_was_saved() {
    single_thread();
    let renamed = |rename: &dyn Fn(&str) -> String| {
        let change = |weights: &mut Weights| {
            *weights = std::mem::take(weights)
                .into_iter()
                .map(|(name, tensor)| (rename(&name), tensor))
                .collect();
        };
        read(changed("llama", change).path()).unwrap_err().to_string()
    };
    let without_model = |name: &str| name.strip_prefix("model.").unwrap_or(name).to_owned();
    type Rename<'a> = &'a dyn Fn(&str) -> String;
    let cases: [(Rename<'_>, &str); 6] = [
        (
            &without_model,
            "it lacks the prefix \"model.\": save the model as AutoModelForCausalLM",
        ),
        (
            &|name| format!("base_model.model.{name}"),
            "without the prefix \"base_model.model.\" it would: save the model",
        ),
        (
            &|name| format!("_orig_mod.{name}"),
            "without the prefix \"_orig_mod.\" it would",
        ),
        (
            &|name| format!("module.{name}"),
            "without the prefix \"module.\" it would",
        ),
        (
            &|name| {
                name.replace("self_attn", "self_attn._orig_mod")
                    .replace("mlp", "mlp._orig_mod")
            },
            "without \"_orig_mod.\" it would: save the model that torch.compile holds",
        ),
        (
            &|name| name.replace("q_proj.weight", "q_proj.lora_A.weight"),
            "adapters are read from a directory of their own",
        ),
    ];
    for (rename, says) in cases {
        let error = renamed(rename);
        assert!(
            error.contains(" does not belong to a llama model of this configuration; ") && error.contains(says),
            "{error}"
        );
    }
    let extra = |name: &'static str| {
        let change = |weights: &mut Weights| drop(weights.insert(name.to_owned(), Tensor::from(1.0_f32)));
        read(changed("llama", change).path()).unwrap_err().to_string()
    };
    let error = extra("model.layers.2.mlp.up_proj.weight");
    assert!(
        error.ends_with("of this configuration; num_hidden_layers in config.json is 2"),
        "{error}"
    );
    let error = extra("model.layers.0.self_attn.q_proj.bias");
    assert!(
        error.ends_with("of this configuration; attention_bias in config.json is not true"),
        "{error}"
    );
}

#[test]
fn wrong_tensors_are_named() {
    single_thread();
    let refusal = |change: &dyn Fn(&mut Weights)| read(changed("llama", change).path()).unwrap_err().to_string();
    let error = refusal(&|weights| drop(weights.remove("lm_head.weight")));
    assert!(
        error.ends_with(
            "model.safetensors: tensor lm_head.weight is missing; tie_word_embeddings in config.json does not tie it to the \
             embedding: set that to true if the model has no head of its own"
        ),
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
fn weights_that_are_not_finite_are_named() {
    single_thread();
    let refusal = |kind: Kind, value: f64| {
        let dir = changed("llama", |weights| {
            let norm = weights["model.norm.weight"].copy();
            let _ = norm.get(3).fill_(value);
            weights.insert("model.norm.weight".to_owned(), norm);
        });
        let config = ModelConfig::load(dir.path()).unwrap();
        check_weights(dir.path(), &config).unwrap();
        let read = read_weights(dir.path(), &config, kind, Device::Cpu).map_err(|error| error.to_string());
        let checked = check_values(dir.path(), &config, kind).map_err(|error| error.to_string());
        assert_eq!(checked, read.as_ref().map(|_| ()).map_err(Clone::clone));
        read
    };
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = refusal(Kind::Float, value).unwrap_err();
        assert!(
            error.contains("1 of the 32 values of tensor model.norm.weight are NaN or infinite as Float"),
            "{error}"
        );
    }
    // The largest values of f32 are none of bf16.
    assert!(refusal(Kind::Float, f64::from(f32::MAX)).is_ok());
    let error = refusal(Kind::BFloat16, f64::from(f32::MAX)).unwrap_err();
    assert!(error.contains("NaN or infinite as BFloat16"), "{error}");
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
