//! Weights that leave the trainer: as a Hugging Face directory, and as a version for actors to fetch.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anytime_policy::{ModelConfig, Weights};
use anytime_proto::WeightsVersion;
use bytes::Bytes;
use tch::{Device, Kind, Tensor, no_grad};

use crate::weights::published::{PublishedTensor, PublishedWeights};

/// Writes the weights in `kind` as a Hugging Face checkpoint, with tokenizer and templates from the model's directory.
/// Whatever stood at `target` is replaced in one step.
///
/// # Errors
/// If the disk does not take it.
pub fn export(
    target: &Path,
    config: &ModelConfig,
    weights: &Weights,
    kind: Kind,
    assets_from: &Path,
) -> anyhow::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    anytime_policy::write_checkpoint(target, config, weights, kind, assets_from)
        .with_context(|| format!("checkpoint {}", target.display()))
}

/// A snapshot of the weights in `kind`, with the files of the model's directory that an actor needs beside them.
///
/// # Errors
/// A file that cannot be read.
pub fn publishable(
    version: WeightsVersion,
    weights: &Weights,
    kind: Kind,
    assets_from: &Path,
) -> anyhow::Result<PublishedWeights> {
    let mut assets = Vec::new();
    for path in anytime_policy::asset_files(assets_from) {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        let data = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        assets.push((name, Bytes::from(data)));
    }
    let mut tensors = Vec::with_capacity(weights.len());
    for (name, tensor) in weights {
        tensors.push(PublishedTensor {
            name: name.clone(),
            dtype: if kind == Kind::BFloat16 { "BF16" } else { "F32" }.to_owned(),
            shape: tensor.size().iter().map(|size| *size as u64).collect(),
            data: tensor_bytes(tensor, kind),
        });
    }
    Ok(PublishedWeights {
        version,
        assets,
        tensors,
    })
}

/// The elements in `kind`, little-endian as every machine that libtorch runs on.
fn tensor_bytes(tensor: &Tensor, kind: Kind) -> Bytes {
    let on_host = no_grad(|| tensor.detach().to_kind(kind).to_device(Device::Cpu).contiguous());
    let elements = on_host.numel();
    let mut data = vec![0_u8; elements * kind.elt_size_in_bytes()];
    on_host.copy_data_u8(&mut data, elements);
    Bytes::from(data)
}
