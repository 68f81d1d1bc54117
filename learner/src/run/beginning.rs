//! What a run of a job begins with: the parameters of its recovery checkpoint or of its model.

use anyhow::Context as _;
use anytime_policy::Weights;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use tch::{Device, Kind};

use super::adapted::AdaptedStart;
use super::prepare::Prepared;
use crate::checkpoint::{self, FrozenBase, KeptAdapters};
use crate::jobs::context::JobContext;
use crate::outputs::Marker;
use crate::train::{Parameters, Trainer, compute_kind, lora_of};

/// What a job trains, and beside what.
pub(super) struct Beginning {
    pub(super) parameters: Parameters,
    pub(super) base: Option<FrozenBase>,
}

/// The parameters that a run begins with: those of its recovery checkpoint, where there is one, else the model's.
pub(super) fn beginning(
    context: &JobContext,
    prepared: &Prepared,
    device: Device,
    recovered: Option<Weights>,
) -> anyhow::Result<Beginning> {
    let settings = context.settings();
    let lora = settings
        .training
        .lora
        .as_ref()
        .filter(|_| settings.kind != v1::JobKind::Evaluate);
    let Some(lora) = lora else {
        let weights = match recovered {
            Some(weights) => weights,
            None => first_weights(context, prepared, device)?,
        };
        let parameters = weights.into();
        return Ok(Beginning { parameters, base: None });
    };
    if let Some(fork) = context.job().forked_from {
        checkpoint::check_start(&prepared.model_directory, &fork.checksum)?;
    }
    let start = AdaptedStart {
        model: &prepared.model_directory,
        config: &prepared.config,
        lora: lora_of(lora),
        dropout: lora.dropout,
        seed: settings.model.seed,
        kind: compute_kind(settings.model.dtype, device),
        device,
    };
    let (parameters, base) = start.load(recovered)?;
    if base.directory().starts_with(context.directory()) && !lora.merge {
        // The exports name it, and so it stays as other models of the job do.
        Marker::write(base.directory(), &context.owner(), 0, None)?;
    }
    Ok(Beginning {
        parameters,
        base: Some(base),
    })
}

/// What the recovery checkpoint says of the adapters that it holds; None where all weights are trained.
pub(super) fn kept_adapters(settings: &JobSettings, trainer: &Trainer, base: &FrozenBase) -> Option<KeptAdapters> {
    let (adapters, dropout) = trainer.parameters().adapters()?;
    let lora = &adapters.lora;
    Some(KeptAdapters {
        rank: lora.rank,
        scale: lora.scale,
        targets: lora.targets.clone(),
        dropout,
        is_merged: settings.training.lora.as_ref().is_some_and(|lora| lora.merge),
        base: base.directory().to_path_buf(),
        base_checksum: base.checksum().to_owned(),
    })
}

fn first_weights(context: &JobContext, prepared: &Prepared, device: Device) -> anyhow::Result<Weights> {
    let model = &context.settings().model;
    if model.initialise {
        return Ok(anytime_policy::initialise_weights(&prepared.config, model.seed, device));
    }
    if let Some(fork) = context.job().forked_from {
        // They may have lain for weeks since the submission.
        checkpoint::check_start(&prepared.model_directory, &fork.checksum)?;
    }
    anytime_policy::read_weights(&prepared.model_directory, &prepared.config, Kind::Float, device)
        .with_context(|| format!("model {}", prepared.model_directory.display()))
}
