//! Tensors as bytes, as they are published.

use anytime_policy::Weights;
use bytes::Bytes;
use tch::{Device, Kind, Tensor, no_grad};

use crate::weights::published::PublishedTensor;

/// Tensors in `kind`, f32 or bf16.
pub(super) fn published_tensors(weights: &Weights, kind: Kind) -> Vec<PublishedTensor> {
    let all = weights.iter();
    all.map(|(name, tensor)| published_tensor(name, tensor, kind)).collect()
}

/// One of them.
pub(super) fn published_tensor(name: &str, tensor: &Tensor, kind: Kind) -> PublishedTensor {
    PublishedTensor {
        name: name.to_owned(),
        dtype: if kind == Kind::BFloat16 { "BF16" } else { "F32" }.to_owned(),
        shape: tensor.size().iter().map(|size| *size as u64).collect(),
        data: tensor_bytes(tensor, kind),
        checksum: None,
    }
}

/// The elements in `kind`, little-endian as every machine that libtorch runs on.
fn tensor_bytes(tensor: &Tensor, kind: Kind) -> Bytes {
    let on_host = no_grad(|| tensor.detach().to_kind(kind).to_device(Device::Cpu).contiguous());
    let elements = on_host.numel();
    let mut data = vec![0_u8; elements * kind.elt_size_in_bytes()];
    on_host.copy_data_u8(&mut data, elements);
    Bytes::from(data)
}
