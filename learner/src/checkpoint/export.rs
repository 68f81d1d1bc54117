//! Weights that leave the trainer: as a Hugging Face directory, and as a version for actors to fetch.

use std::path::Path;

use anyhow::Context as _;
use anytime_files::replace_directory;
use anytime_policy::{ModelConfig, Weights};
use anytime_proto::{JobId, WeightsVersion};
use bytes::Bytes;
use tch::{Device, Kind, Tensor, no_grad};

use super::assets::Assets;
use super::card::Described;
use crate::outputs::{Marker, Owner};
use crate::weights::published::{HeldVersion, PublishedTensor, PublishedWeights};

/// A model that is to be written.
#[derive(Clone, Copy)]
pub struct Export<'a> {
    /// Its configuration.
    pub config: &'a ModelConfig,
    /// Its weights.
    pub weights: &'a Weights,
    /// The element type in which they are written.
    pub kind: Kind,
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

/// Writes a Hugging Face checkpoint. An earlier one at `target` is replaced in one step. `check` is asked right before
/// that whether it may.
///
/// # Errors
/// The error of `check`, or the disk's; what stood at `target` is still there then.
pub fn export(target: &Path, model: &Export<'_>, check: &dyn Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let Export {
        config,
        weights,
        kind,
        assets,
        card,
        owner,
        step,
        score,
    } = *model;
    let fill = |part: &Path| -> anyhow::Result<()> {
        assets.write_beside_config(part, card)?;
        anytime_policy::write_model(part, config, weights, kind)?;
        Marker::write(part, owner, step, score)?;
        check()
    };
    replace_directory(target, fill).with_context(|| format!("checkpoint {}", target.display()))
}

/// A snapshot of the weights in `kind`, with the files that an actor needs beside them.
pub fn publishable(version: WeightsVersion, weights: &Weights, kind: Kind, assets: &Assets) -> PublishedWeights {
    let mut tensors = Vec::with_capacity(weights.len());
    for (name, tensor) in weights {
        tensors.push(PublishedTensor {
            name: name.clone(),
            dtype: if kind == Kind::BFloat16 { "BF16" } else { "F32" }.to_owned(),
            shape: tensor.size().iter().map(|size| *size as u64).collect(),
            data: tensor_bytes(tensor, kind),
        });
    }
    PublishedWeights {
        version,
        assets: assets.files().to_vec(),
        tensors,
        traceparent: String::new(),
        asking: String::new(),
    }
}

/// The checksum by which events name these weights: that of the manifest that actors would fetch them by.
pub fn version_checksum(
    job_id: &JobId,
    version: WeightsVersion,
    weights: &Weights,
    kind: Kind,
    assets: &Assets,
) -> String {
    HeldVersion::new(job_id.clone(), publishable(version, weights, kind, assets)).manifest_checksum
}

/// The elements in `kind`, little-endian as every machine that libtorch runs on.
fn tensor_bytes(tensor: &Tensor, kind: Kind) -> Bytes {
    let on_host = no_grad(|| tensor.detach().to_kind(kind).to_device(Device::Cpu).contiguous());
    let elements = on_host.numel();
    let mut data = vec![0_u8; elements * kind.elt_size_in_bytes()];
    on_host.copy_data_u8(&mut data, elements);
    Bytes::from(data)
}
