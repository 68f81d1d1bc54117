//! `adapter_config.json`, by which PEFT says what adapters a directory holds and what they are added to. What such a directory
//! lacks of a model's files is its base's.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::PolicyError;
use crate::model_files;

/// The file of the configuration.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";

/// The projections of a layer that may have adapters.
pub const TARGETS: [&str; 7] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

/// Which projections have adapters, and of what size.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// The rank of what is added.
    pub rank: i64,
    /// What B·A is multiplied by.
    pub scale: f64,
    /// The projections: some of [`TARGETS`], or names of modules that end in one, as `layers.0.self_attn.q_proj`.
    pub targets: Vec<String>,
}

/// The base and the size of the adapters of a directory; None where it is a model's own.
///
/// # Errors
/// A configuration that cannot be read, or of adapters that this crate does not know; a base that is not there.
pub(crate) fn read_config(dir: &Path) -> Result<Option<(PathBuf, Lora)>, PolicyError> {
    let path = dir.join(ADAPTER_CONFIG);
    if is_model(dir) || path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let fields = model_files::json(&path)?;
    let base = base_of(dir, &path, &fields)?;
    Ok(Some((base, lora_of(&path, &fields)?)))
}

/// The directory of the model that a directory holds or holds adapters of. Its configuration counts, whatever stands beside the
/// adapters: they are added to its weights.
pub(crate) fn model_directory(dir: &Path) -> Result<PathBuf, PolicyError> {
    Ok(read_config(dir)?.map_or_else(|| dir.to_path_buf(), |(base, _)| base))
}

/// The directory whose tokenizer belongs to a model's directory: its own, or its base's where it holds adapters and no
/// `tokenizer.json`.
pub(crate) fn tokenizer_directory(dir: &Path) -> Result<PathBuf, PolicyError> {
    match has_tokenizer(dir) {
        true => Ok(dir.to_path_buf()),
        false => model_directory(dir),
    }
}

/// Whether a directory has a tokenizer of its own.
pub(crate) fn has_tokenizer(dir: &Path) -> bool {
    dir.join("tokenizer.json").symlink_metadata().is_ok()
}

/// `adapter_config.json` as PEFT reads it.
pub fn adapter_config(lora: &Lora, base: &str, dropout: f64) -> Value {
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.scale * lora.rank as f64,
        "lora_dropout": dropout,
        "target_modules": lora.targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "modules_to_save": null,
        "use_rslora": false,
    })
}

/// The size of adapters by the text of an `adapter_config.json`; `origin` is what errors call it.
///
/// # Errors
/// JSON that cannot be read, or adapters that this crate does not know.
pub fn lora_of_json(text: &[u8], origin: &Path) -> Result<Lora, PolicyError> {
    let fields = serde_json::from_slice(text).map_err(|source| PolicyError::json(origin, source))?;
    lora_of(origin, &fields)
}

/// Whether a directory has weights of its own.
fn is_model(dir: &Path) -> bool {
    dir.join("model.safetensors").exists() || dir.join("model.safetensors.index.json").exists()
}

fn refuse(path: &Path, field: &str, value: &Value, allowed: &str) -> PolicyError {
    PolicyError::ConfigField {
        path: path.to_path_buf(),
        field: field.to_owned(),
        value: if value.is_null() {
            "missing".to_owned()
        } else {
            value.to_string()
        },
        allowed: allowed.to_owned(),
    }
}

fn lora_of(path: &Path, fields: &Value) -> Result<Lora, PolicyError> {
    let refuse = |field: &str, allowed: &str| refuse(path, field, &fields[field], allowed);
    if fields["peft_type"] != "LORA" {
        return Err(refuse("peft_type", "\"LORA\""));
    }
    if !matches!(&fields["bias"], Value::Null) && fields["bias"] != "none" {
        return Err(refuse("bias", "\"none\""));
    }
    for field in ["use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "use_bdlora"] {
        if fields[field] == true {
            return Err(refuse(field, "false"));
        }
    }
    // Each of these would make some adapters others than the rest, or train something else beside them.
    const EMPTY: [&str; 13] = [
        "modules_to_save",
        "rank_pattern",
        "alpha_pattern",
        "layers_to_transform",
        "target_parameters",
        "trainable_token_indices",
        "exclude_modules",
        "layer_replication",
        "megatron_config",
        "alora_invocation_tokens",
        "arrow_config",
        "kasa_config",
        "monteclora_config",
    ];
    for field in EMPTY {
        let is_empty = match &fields[field] {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(table) => table.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if !is_empty {
            return Err(refuse(field, "empty"));
        }
    }
    // Others change the base too, which is not in the directory.
    let init = &fields["init_lora_weights"];
    let is_plain =
        init.is_null() || init.is_boolean() || ["gaussian", "orthogonal", "eva"].iter().any(|name| init == name);
    if !is_plain {
        return Err(refuse(
            "init_lora_weights",
            "one that leaves the base as it is, such as true or \"gaussian\"",
        ));
    }
    let Some(rank) = fields["r"].as_i64().filter(|rank| (1..=1 << 16).contains(rank)) else {
        return Err(refuse("r", "a whole number, 1 or more"));
    };
    let alpha = fields["lora_alpha"]
        .as_f64()
        .filter(|alpha| alpha.is_finite() && *alpha > 0.0);
    let Some(alpha) = alpha else {
        return Err(refuse("lora_alpha", "a number above 0"));
    };
    let by = if fields["use_rslora"] == true {
        (rank as f64).sqrt()
    } else {
        rank as f64
    };
    Ok(Lora {
        rank,
        scale: alpha / by,
        targets: targets_of(&fields["target_modules"]).ok_or_else(|| {
            let allowed = format!("a list of some of {}, or \"all-linear\"", TARGETS.join(", "));
            refuse("target_modules", &allowed)
        })?,
    })
}

/// The targets, those of [`TARGETS`] in their order, as PEFT's own is none.
fn targets_of(value: &Value) -> Option<Vec<String>> {
    let all = || TARGETS.iter().map(|target| (*target).to_owned());
    match value {
        Value::String(text) if text == "all-linear" => Some(all().collect()),
        Value::Array(list) if !list.is_empty() => {
            let mut names: Vec<String> = list
                .iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect::<Option<_>>()?;
            let place = |name: &String| {
                TARGETS
                    .iter()
                    .position(|target| name.rsplit('.').next() == Some(target))
            };
            if names.iter().any(|name| place(name).is_none()) {
                return None;
            }
            names.sort_by_key(|name| (place(name), name.clone()));
            Some(names)
        }
        _ => None,
    }
}

/// The base that a configuration names: a directory, relative to that of the adapters where it is there, else to where the
/// process runs, as PEFT has it.
fn base_of(dir: &Path, path: &Path, fields: &Value) -> Result<PathBuf, PolicyError> {
    const FIELD: &str = "base_model_name_or_path";
    let named = fields[FIELD].as_str().unwrap_or_default();
    let places = [dir.join(named), PathBuf::from(named)];
    let found = places
        .into_iter()
        .find(|place| !named.is_empty() && place.join("config.json").is_file());
    let Some(base) = found else {
        let allowed = "the directory of the model that the adapters are added to, which has a config.json; fetch the model, \
                       and write its directory there";
        return Err(refuse(path, FIELD, &fields[FIELD], allowed));
    };
    if base.join(ADAPTER_CONFIG).exists() && !is_model(&base) {
        return Err(refuse(
            path,
            FIELD,
            &fields[FIELD],
            "a model, and no directory of adapters itself",
        ));
    }
    Ok(base)
}
