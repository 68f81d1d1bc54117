//! What a trainer takes for granted of its model.

use anyhow::Context as _;
use anytime_policy::{Decoder, ModelConfig, Weights};
use anytime_proto::v1;
use tch::{Device, Kind};

/// The type that the job asks for, else the one that suits the device.
pub fn compute_kind(dtype: v1::Dtype, device: Device) -> Kind {
    match dtype {
        v1::Dtype::F32 => Kind::Float,
        v1::Dtype::Bf16 => Kind::BFloat16,
        v1::Dtype::Auto | v1::Dtype::Unspecified => anytime_policy::device::default_kind(device),
    }
}

/// Checks that the weights make a model, before a job relies on it.
///
/// # Errors
/// The decoder's error.
pub(crate) fn check_model(config: &ModelConfig, weights: &Weights) -> anyhow::Result<()> {
    Decoder::new(config, weights)
        .map(|_| ())
        .context("the weights do not fit config.json")
}
