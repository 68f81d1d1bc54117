//! `anytime-learner merge`: a model with the adapters of a directory added to its weights.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use anytime_policy::{AdapterDirectory, ModelConfig};
use anytime_service::exit::ExitError;
use serde_json::json;
use tch::{Device, Kind};

use crate::args::{MergeArgs, MergedType};
use crate::checkpoint::ASKING_FILE;

/// `anytime-learner merge`. The sum is computed in f32.
///
/// # Errors
/// [`ExitError`] with the configuration code where there are no adapters, they cannot be read, or something is at the output
/// already.
pub fn merge(args: &MergeArgs) -> anyhow::Result<()> {
    let (directory, output) = (&args.adapters, &args.output);
    let refuse = |error: &dyn std::fmt::Display| ExitError::configuration(format!("{}: {error}", directory.display()));
    if !is_free(output).with_context(|| format!("reading {}", output.display()))? {
        let message = format!(
            "--output {}: it is not empty, and nothing is replaced",
            output.display()
        );
        return Err(ExitError::configuration(message).into());
    }
    let adapters = AdapterDirectory::open(directory).map_err(|error| refuse(&error))?;
    let Some(adapters) = adapters else {
        return Err(refuse(&"it is no directory of adapters (adapter_config.json, adapter_model.safetensors)").into());
    };
    let config = ModelConfig::load(&adapters.base).map_err(|error| refuse(&error))?;
    let weights = anytime_policy::read_weights(directory, &config, Kind::Float, Device::Cpu);
    let weights = weights.map_err(|error| refuse(&error))?;
    let kind = match args.dtype {
        MergedType::Auto => kind_of_base(&config),
        MergedType::F32 => Kind::Float,
        MergedType::Bf16 => Kind::BFloat16,
        MergedType::F16 => Kind::Half,
    };
    anytime_policy::write_checkpoint(output, &config, &weights, kind, directory)?;
    // How the model is asked, which is the same.
    let asking = directory.join(ASKING_FILE);
    if asking.is_file() {
        let target = output.join(ASKING_FILE);
        std::fs::copy(&asking, &target).with_context(|| format!("writing {}", target.display()))?;
    }
    let text = if args.json {
        format!(
            "{:#}",
            json!({ "directory": output, "base": adapters.base, "rank": adapters.lora.rank })
        )
    } else {
        format!("{}: {} with its adapters", output.display(), adapters.base.display())
    };
    writeln!(std::io::stdout(), "{text}").context("standard output")
}

/// Whether nothing stands there, or an empty directory.
fn is_free(output: &Path) -> std::io::Result<bool> {
    match std::fs::read_dir(output) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// The type that the base says its weights are in; f32 where it says none.
fn kind_of_base(config: &ModelConfig) -> Kind {
    let fields = config.json();
    let named = fields.get("dtype").or_else(|| fields.get("torch_dtype"));
    match named.and_then(|name| name.as_str()) {
        Some("bfloat16") => Kind::BFloat16,
        Some("float16") => Kind::Half,
        _ => Kind::Float,
    }
}
