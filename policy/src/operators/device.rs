//! What libtorch does on devices and tch has no binding for; `device.cpp` calls it.

// FFI: numbers, and pointers to live tensors.
#![allow(unsafe_code)]

use std::ffi::c_char;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use super::call::{in_kind, owned};

unsafe extern "C" {
    fn anytime_disable_cudnn_attention();
    fn anytime_uses_cudnn_attention() -> bool;
    fn anytime_cuda_wide_product(
        left: *const C_tensor,
        right: *const C_tensor,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// Forbids libtorch cuDNN's attention, for the whole process.
pub(crate) fn disable_cudnn_attention() {
    // SAFETY: sets a flag of libtorch's context, which may be done at any time.
    unsafe { anytime_disable_cudnn_attention() };
}

/// Whether libtorch may choose cuDNN's attention.
pub(crate) fn uses_cudnn_attention() -> bool {
    // SAFETY: reads a flag.
    unsafe { anytime_uses_cudnn_attention() }
}

/// `left` · `right`, [.., n, k] and [.., k, m] with the same first axes. Of bf16 tensors the product is in f32, with
/// sums in f32; of other kinds it is in their own kind. No gradient.
///
/// # Panics
/// As tensor operations do, where shapes do not fit or memory is short.
pub(crate) fn wide_product(left: &Tensor, right: &Tensor) -> Tensor {
    if left.kind() != Kind::BFloat16 {
        return left.matmul(right);
    }
    if !left.device().is_cuda() {
        // libtorch's CPU half has no such product. Every product of two bf16 numbers is exact in f32.
        return in_kind(left, Kind::Float).matmul(&in_kind(right, Kind::Float));
    }
    let (left_size, right_size) = (left.size(), right.size());
    let axes = left_size.len();
    let flat = |tensor: &Tensor, size: &[i64]| match axes {
        2 | 3 => tensor.shallow_clone(),
        _ => tensor.reshape([-1, size[axes - 2], size[axes - 1]]),
    };
    let (flat_left, flat_right) = (flat(left, &left_size), flat(right, &right_size));
    // SAFETY: both tensors live through the call, and the result is a tensor of its own.
    let product = unsafe { owned(|output| anytime_cuda_wide_product(flat_left.as_ptr(), flat_right.as_ptr(), output)) };
    match product {
        Ok(product) => {
            let mut size = left_size;
            size[axes - 1] = right_size[axes - 1];
            product.view(size.as_slice())
        }
        Err(problem) => panic!("libtorch: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn products_of_bf16_are_those_of_f32() {
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16);
        for (left, right) in [
            (random(&[5, 70]), random(&[70, 9])),
            (random(&[2, 3, 5, 70]), random(&[2, 3, 70, 9])),
        ] {
            let found = wide_product(&left, &right);
            let expected = left.to_kind(Kind::Double).matmul(&right.to_kind(Kind::Double));
            assert_eq!((found.kind(), found.size()), (Kind::Float, expected.size()));
            let largest = (found - expected).abs().max().double_value(&[]);
            assert!(largest < 1e-4, "{largest}");
        }
    }
}
