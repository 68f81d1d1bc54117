//! Writes a recovery checkpoint of a job as a Hugging Face directory. This works for failed jobs too, and without the
//! directory of the model, because the job has kept the files beside the weights.

use std::path::PathBuf;

use anyhow::Context as _;
use anytime_policy::{Adapters, ModelConfig};
use anytime_proto::settings::InvalidSetting;
use tch::Device;
use tracing::info;

use crate::checkpoint::{self, Assets, Export, Exported};
use crate::jobs::entry::owner_of;
use crate::jobs::export_request::{ExportError, ExportRequest};
use crate::outputs::{EXPORTS_DIRECTORY, Places};

/// Writes the checkpoint, on the CPU. Gives its step and the directory.
///
/// # Errors
/// If there is no such checkpoint, it must not be written there, or a file cannot be read or written.
pub fn export_recovery(request: &ExportRequest, places: &Places) -> Result<(u64, PathBuf), ExportError> {
    let job = &request.job;
    let owner = owner_of(job);
    let chosen = request.output.as_ref().filter(|output| !output.is_empty());
    let check_place = |output: &String| {
        let place = places.check_export(output, &owner);
        place.map_err(|reason| InvalidSetting::new("output", output, reason))
    };
    let chosen = match chosen {
        Some(output) => Some((output, check_place(output)?)),
        None => None,
    };
    let steps = checkpoint::recovery_steps(&request.directory)?;
    let is_there = request.step.map_or(!steps.is_empty(), |step| steps.contains(&step));
    if !is_there {
        let named: Vec<String> = steps.iter().map(u64::to_string).collect();
        let there = match named.as_slice() {
            [] => "it has none".to_owned(),
            _ => format!("it has those of {}", named.join(", ")),
        };
        let wanted = request.step.map(|step| format!(" of step {step}")).unwrap_or_default();
        return Err(ExportError::NotFound {
            job: job.id.clone(),
            reason: format!("there is no recovery checkpoint{wanted}; {there}"),
        });
    }
    let recovered = checkpoint::load_step(&request.directory, request.step, Device::Cpu)?;
    let step = recovered.state.step;
    let (assets, config) = assets_and_config(request, places)?;
    let target = match &chosen {
        Some((_, place)) => place.clone(),
        None => request
            .directory
            .join(EXPORTS_DIRECTORY)
            .join(format!("step-{step:08}")),
    };
    let card = assets.card(job, step);
    let kind = recovered.state.compute.into();
    let kept = recovered.state.adapters.as_ref();
    let adapters = match kept {
        Some(kept) if !kept.is_merged => Some(Adapters {
            lora: kept.lora(),
            tensors: recovered
                .weights
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
                .collect(),
        }),
        _ => None,
    };
    let whole = match kept {
        Some(kept) if kept.is_merged => kept.merge(recovered.weights, &config, kind)?,
        _ => recovered.weights,
    };
    let model = Export {
        config: &config,
        weights: match (&adapters, kept) {
            (Some(adapters), Some(kept)) => Exported::Adapters(adapters, kept.dropout, &kept.base),
            _ => Exported::Whole(&whole, kind),
        },
        assets: &assets,
        card: card.as_ref(),
        owner: &owner,
        step,
        score: None,
    };
    checkpoint::export(&target, &model, &|| match &chosen {
        Some((output, _)) => check_place(output).map(drop).map_err(Into::into),
        None => Ok(()),
    })?;
    info!(job_id = job.id, step, directory = %target.display(), "exported a recovery checkpoint");
    Ok((step, target))
}

/// The files that the job has kept. Jobs of earlier versions kept none.
fn assets_and_config(request: &ExportRequest, places: &Places) -> anyhow::Result<(Assets, ModelConfig)> {
    let kept = Assets::directory_of_job(&request.directory);
    if let Ok(assets) = Assets::of_job(&request.directory) {
        return Ok((assets, ModelConfig::load(&kept)?));
    }
    let model = request.job.spec.as_ref().and_then(|spec| spec.model.as_ref());
    let path = model
        .and_then(|model| model.path.as_ref())
        .context("the job names no model")?;
    let directory = places.root.join(path);
    let config = ModelConfig::load(&directory).context("the job has kept no configuration of its own")?;
    Ok((Assets::read(&directory)?, config))
}
