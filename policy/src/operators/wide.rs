//! Products of bf16 whose sums stay in f32, over a packed weight on the CPU. `wide.cpp` computes them.

// FFI: pointers to live tensors.
#![allow(unsafe_code)]

use std::ffi::c_char;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::call::{in_kind, owned};
use super::linear::{NARROW_ROWS, Then, multiplies_bf16, narrow_linear};

unsafe extern "C" {
    fn anytime_pack_wide(weight: *const C_tensor, packed: *mut *mut C_tensor) -> *mut c_char;
    fn anytime_wide_linear(
        input: *const C_tensor,
        packed: *const C_tensor,
        outputs: i64,
        product: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// A bf16 weight without a bias, whose products are in f32.
#[derive(Debug)]
pub(crate) struct WideLinear {
    /// In its original order, for products of few rows.
    plain: Tensor,
    packed: Tensor,
}

impl WideLinear {
    /// Packs a copy of `weight` [outputs, inputs]. `None` where there is no such product: for other kinds than bf16, on
    /// other devices than the CPU, and on processors without instructions for it.
    pub(crate) fn try_new(weight: &Tensor) -> Option<Self> {
        if weight.device() != Device::Cpu || weight.kind() != Kind::BFloat16 || !multiplies_bf16() {
            return None;
        }
        let plain = weight.detach().contiguous();
        // SAFETY: the weight lives through the call, and the result is a tensor of its own.
        let packed = unsafe { owned(|output| anytime_pack_wide(plain.as_ptr(), output)) }.ok()?;
        let wide = Self { plain, packed };
        // Packing succeeds on machines where the product fails.
        let probe = Tensor::zeros([NARROW_ROWS + 1, wide.plain.size()[1]], (Kind::BFloat16, Device::Cpu));
        wide.try_apply(&probe).is_ok().then_some(wide)
    }

    /// [rows, inputs] to [rows, outputs] in f32. No gradient reaches the weight.
    ///
    /// # Panics
    /// As tensor operations do, where shapes do not fit or memory is short.
    pub(crate) fn apply(&self, input: &Tensor) -> Tensor {
        match self.try_apply(input) {
            Ok(product) => product,
            Err(problem) => panic!("libtorch: {problem}"),
        }
    }

    fn try_apply(&self, input: &Tensor) -> Result<Tensor, String> {
        if input.size()[0] <= NARROW_ROWS {
            return narrow_linear(input, &self.plain, None, Then::Nothing);
        }
        let input = in_kind(input, Kind::BFloat16).contiguous();
        let outputs = self.plain.size()[0];
        // SAFETY: all tensors live through the call, and the result is a tensor of its own.
        unsafe { owned(|product| anytime_wide_linear(input.as_ptr(), self.packed.as_ptr(), outputs, product)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn random(size: &[i64]) -> Tensor {
        Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16)
    }

    /// `None` where this processor has no products of bf16.
    fn packed(weight: &Tensor) -> Option<WideLinear> {
        let wide = WideLinear::try_new(weight);
        assert!(
            wide.is_some() || !cfg!(target_arch = "x86_64") || !multiplies_bf16(),
            "a processor with products of bf16 has no wide ones"
        );
        wide
    }

    #[test]
    fn sums_are_those_of_f32() {
        let _guard = tch::no_grad_guard();
        // Less than a block, a block, blocks and a rest; inputs that fill no tile.
        for (outputs, inputs) in [(40, 24), (64, 576), (130, 34), (640, 896), (1, 2)] {
            let weight = random(&[outputs, inputs]);
            let Some(wide) = packed(&weight) else { return };
            for rows in [1, 4, 5, 16, 63, 64, 130] {
                let input = random(&[rows, inputs]);
                let found = wide.apply(&input);
                let expected = input
                    .to_kind(Kind::Double)
                    .matmul(&weight.to_kind(Kind::Double).transpose(0, 1));
                assert_eq!((found.kind(), found.size()), (Kind::Float, vec![rows, outputs]));
                let largest = (found - expected).abs().max().double_value(&[]);
                // Sums in f32 err by some units in the last place for the root of their length; rounded to bf16 they
                // would by hundredths.
                let allowed = 1e-5 * (inputs as f64).sqrt().max(10.0);
                assert!(largest < allowed, "[{rows}, {inputs}] to {outputs}: {largest}");
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_those_beside_it() {
        let _guard = tch::no_grad_guard();
        let weight = random(&[200, 96]);
        let Some(wide) = packed(&weight) else { return };
        let input = random(&[300, 96]);
        let whole = wide.apply(&input);
        for (first, rows) in [(0, 5), (7, 16), (40, 65), (100, 200)] {
            let part = wide.apply(&input.narrow(0, first, rows));
            assert!(part.equal(&whole.narrow(0, first, rows)), "{rows} rows from {first}");
        }
    }

    #[test]
    fn other_weights_are_left_to_other_products() {
        assert!(WideLinear::try_new(&Tensor::ones([8, 8], (Kind::Float, Device::Cpu))).is_none());
        // An odd number of inputs has no pairs.
        assert!(WideLinear::try_new(&random(&[8, 7])).is_none());
    }
}
