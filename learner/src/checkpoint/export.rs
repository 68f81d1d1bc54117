//! Weights that leave the trainer: as a Hugging Face directory, and as a version for actors to fetch.

use std::path::Path;

use anyhow::Context as _;
use anytime_files::replace_directory;
use anytime_policy::{ADAPTER_CONFIG, Adapters, ModelConfig, TensorShape, Weights};
use anytime_proto::{JobId, WeightsVersion};
use bytes::Bytes;
use tch::{Kind, Tensor};

use super::assets::Assets;
use super::base::FrozenBase;
use super::card::Described;
use super::tensors::{published_tensor, published_tensors};
use crate::outputs::{Marker, Owner};
use crate::train::Parameters;
use crate::weights::published::{HeldVersion, PublishedWeights};

/// A model that is to be written.
#[derive(Clone, Copy)]
pub struct Export<'a> {
    /// Its configuration.
    pub config: &'a ModelConfig,
    /// Its weights.
    pub weights: Exported<'a>,
    /// The files beside them.
    pub assets: &'a Assets,
    /// Its card, and how it is asked.
    pub card: Option<&'a Described>,
    /// The job whose model it is.
    pub owner: &'a Owner,
    /// The job's last finished step.
    pub step: u64,
    /// The accuracy for which it is kept as one of the best.
    pub score: Option<f64>,
}

/// The weights of an export.
#[derive(Clone, Copy)]
pub enum Exported<'a> {
    /// All of a model, in this element type.
    Whole(&'a Weights, Kind),
    /// Adapters for PEFT, with the share of inputs that was dropped and the directory of their base.
    Adapters(&'a Adapters, f64, &'a Path),
}

impl<'a> Exported<'a> {
    /// What a trainer's parameters are exported as: adapters alone, unless they are to be merged. `whole` are all weights of the
    /// model ([`Trainer::whole_model`](crate::train::Trainer::whole_model)).
    pub fn of(
        parameters: &'a Parameters,
        whole: &'a Weights,
        base: Option<&'a FrozenBase>,
        is_merged: bool,
        kind: Kind,
    ) -> Self {
        match (parameters.adapters(), base) {
            (Some((adapters, dropout)), Some(base)) if !is_merged => {
                Self::Adapters(adapters, dropout, base.directory())
            }
            _ => Self::Whole(whole, kind),
        }
    }
}

/// Writes a Hugging Face checkpoint. An earlier one at `target` is replaced in one step. `check` is asked right before
/// that whether it may.
///
/// # Errors
/// The error of `check`, or the disk's; what stood at `target` is still there then.
pub fn export(target: &Path, model: &Export<'_>, check: &dyn Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let Export {
        config,
        weights,
        assets,
        card,
        owner,
        step,
        score,
    } = *model;
    let fill = |part: &Path| -> anyhow::Result<()> {
        assets.write_beside_config(part, card)?;
        match weights {
            Exported::Whole(weights, kind) => anytime_policy::write_model(part, config, weights, kind)?,
            Exported::Adapters(adapters, dropout, base) => {
                let base = base.to_string_lossy();
                anytime_policy::write_adapters(part, config, adapters, &base, dropout)?;
            }
        }
        Marker::write(part, owner, step, score)?;
        check()
    };
    replace_directory(target, fill).with_context(|| format!("checkpoint {}", target.display()))
}

/// The weights of a model, one at a time: ranks may have a part of each.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// Their shapes.
    pub shapes: &'a [TensorShape],
    /// Gives one of them.
    pub weight: &'a dyn Fn(&TensorShape) -> anyhow::Result<Tensor>,
}

/// Weights as actors get them.
#[derive(Clone, Copy)]
pub enum Published<'a> {
    /// All of a model, in this element type.
    Whole(Model<'a>, Kind),
    /// Adapters beside the base that they are added to, whose weights are given.
    Adapters(&'a Adapters, &'a FrozenBase, &'a Weights),
}

impl<'a> Published<'a> {
    /// What actors get of a trainer's parameters, of which `whole` are all weights of the model.
    pub fn of(parameters: &'a Parameters, whole: &Model<'a>, base: Option<&'a FrozenBase>, kind: Kind) -> Self {
        match (parameters.adapters(), base, parameters.base()) {
            (Some((adapters, _)), Some(base), Some(weights)) => Self::Adapters(adapters, base, weights),
            _ => Self::Whole(*whole, kind),
        }
    }
}

/// A snapshot of the weights, with the files that an actor needs beside them.
///
/// # Errors
/// A weight that is not given.
pub fn publishable(
    version: WeightsVersion,
    weights: Published<'_>,
    assets: &Assets,
) -> anyhow::Result<PublishedWeights> {
    let mut files = assets.files().to_vec();
    let tensors = match weights {
        Published::Whole(Model { shapes, weight }, kind) => {
            let one = |shape: &TensorShape| Ok(published_tensor(&shape.name, &weight(shape)?, kind));
            shapes.iter().map(one).collect::<anyhow::Result<_>>()?
        }
        Published::Adapters(adapters, base, weights) => {
            // The base travels along, so that its directory says nothing, and differs between hosts.
            let config = anytime_policy::adapter_config(&adapters.lora, "", 0.0);
            files.push((ADAPTER_CONFIG.to_owned(), Bytes::from(config.to_string())));
            let mut tensors = base.tensors(weights).to_vec();
            tensors.extend(published_tensors(&adapters.tensors, Kind::Float));
            tensors
        }
    };
    Ok(PublishedWeights {
        version,
        assets: files,
        tensors,
        traceparent: String::new(),
        asking: String::new(),
    })
}

/// The checksum by which events name these weights: that of the manifest that actors would fetch them by.
///
/// # Errors
/// As [`publishable`].
pub fn version_checksum(
    job_id: &JobId,
    version: WeightsVersion,
    weights: Published<'_>,
    assets: &Assets,
) -> anyhow::Result<String> {
    Ok(HeldVersion::new(job_id.clone(), publishable(version, weights, assets)?).manifest_checksum)
}
