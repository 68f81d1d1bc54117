//! Linear layers over weights that oneDNN has packed into its own order. Products of few rows are our own
//! (`narrow.cpp`).

// FFI: pointers to live tensors.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr::null;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::call::{in_kind, owned};

unsafe extern "C" {
    fn anytime_pack_linear(weight: *const C_tensor, rows: i64, packed: *mut *mut C_tensor) -> *mut c_char;
    fn anytime_packed_linear(
        input: *const C_tensor,
        packed: *const C_tensor,
        bias: *const C_tensor,
        after: *const c_char,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn anytime_packed_linear_with(
        input: *const C_tensor,
        other: *const C_tensor,
        packed: *const C_tensor,
        bias: *const C_tensor,
        after: *const c_char,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn anytime_narrow_linear(
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        other: *const C_tensor,
        after: i64,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// How many rows a weight is packed for. oneDNN uses the same order for other numbers of rows too, but a weight that is
/// packed for one row is slow with many.
const PACKED_FOR_ROWS: i64 = 64;

/// Up to this many rows a product is our own and reads the weight in its original order: see `narrow.cpp`.
pub(super) const NARROW_ROWS: i64 = 4;

/// What follows a product within the same operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then<'a> {
    Nothing,
    /// x · sigmoid(x).
    Silu,
    /// Times a tensor of the output's shape.
    Times(&'a Tensor),
    /// Plus a tensor of the output's shape.
    Plus(&'a Tensor),
}

/// A linear layer that holds its weight twice: in the order in which oneDNN's product reads it, and for products of few
/// rows in the original order.
#[derive(Debug)]
pub(crate) struct PackedLinear {
    plain: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    /// The kind that the product is computed in, which is that of the packed weight.
    kind: Kind,
}

impl PackedLinear {
    /// Copies `weight` [outputs, inputs] into the packed order, and keeps the original beside it. `None` where this
    /// machine's oneDNN has no such product: on other devices than the CPU, for f64. Where the processor has no
    /// products of bf16, the packed copy of a bf16 weight is in f32, which holds the same values in twice the memory:
    /// emulated products take three times as long as those in f32 do.
    pub(crate) fn try_new(weight: &Tensor, bias: Option<&Tensor>) -> Option<Self> {
        Self::try_in(packed_kind(weight.kind()), weight, bias)
    }

    /// As [`PackedLinear::try_new`], with products in f32 also where the weight is bf16. On processors with products of
    /// bf16, `WideLinear` needs half the memory and a fifth of the time.
    pub(crate) fn try_wide(weight: &Tensor, bias: Option<&Tensor>) -> Option<Self> {
        Self::try_in(Kind::Float, weight, bias)
    }

    fn try_in(kind: Kind, weight: &Tensor, bias: Option<&Tensor>) -> Option<Self> {
        if weight.device() != Device::Cpu || !matches!(weight.kind(), Kind::Float | Kind::BFloat16) {
            return None;
        }
        let original = weight.detach().contiguous();
        let plain = in_kind(&original, kind);
        // SAFETY: the weight lives through the call, and the result is a tensor of its own.
        let weight = unsafe { owned(|output| anytime_pack_linear(plain.as_ptr(), PACKED_FOR_ROWS, output)) }.ok()?;
        let bias = bias.map(|bias| bias.detach().to_kind(kind).copy());
        let packed = Self {
            plain: original,
            weight,
            bias,
            kind,
        };
        // Packing may succeed on a machine where the product fails.
        let probe = Tensor::zeros([NARROW_ROWS + 1, plain.size()[1]], (plain.kind(), Device::Cpu));
        packed.try_apply(&probe, Then::Nothing).is_ok().then_some(packed)
    }

    /// [rows, inputs] to [rows, outputs], in the input's kind. No gradient reaches the weight.
    ///
    /// # Panics
    /// As tensor operations do, where shapes do not fit or memory is short.
    pub(crate) fn apply(&self, input: &Tensor, then: Then<'_>) -> Tensor {
        in_kind(&self.apply_as_computed(input, then), input.kind())
    }

    /// As [`PackedLinear::apply`], but the output stays in the kind of the product, for the next product.
    pub(crate) fn apply_as_computed(&self, input: &Tensor, then: Then<'_>) -> Tensor {
        match self.try_apply(input, then) {
            Ok(output) => output,
            Err(problem) => panic!("libtorch: {problem}"),
        }
    }

    fn try_apply(&self, input: &Tensor, then: Then<'_>) -> Result<Tensor, String> {
        if input.size()[0] <= NARROW_ROWS {
            let product = narrow_linear(input, &self.plain, self.bias.as_ref(), then)?;
            return Ok(in_kind(&product, self.kind));
        }
        let input = in_kind(input, self.kind).contiguous();
        let bias = self.bias.as_ref().map_or(null(), Tensor::as_ptr);
        let (text, other) = match then {
            Then::Nothing => (c"none", None),
            Then::Silu => (c"swish", None),
            Then::Times(other) => (c"mul", Some(other)),
            Then::Plus(other) => (c"add", Some(other)),
        };
        let (input, weight, text) = (input.as_ptr(), self.weight.as_ptr(), text.as_ptr());
        match other {
            // SAFETY: all tensors live through the call, and the result is a tensor of its own.
            None => unsafe { owned(|output| anytime_packed_linear(input, weight, bias, text, output)) },
            Some(other) => {
                let other = in_kind(other, self.kind).contiguous();
                // SAFETY: as above.
                unsafe { owned(|output| anytime_packed_linear_with(input, other.as_ptr(), weight, bias, text, output)) }
            }
        }
    }
}

/// The product of few rows, in f32, over a weight [outputs, inputs] in its original order.
pub(super) fn narrow_linear(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    then: Then<'_>,
) -> Result<Tensor, String> {
    let (after, other) = match then {
        Then::Nothing => (0, null()),
        Then::Silu => (1, null()),
        Then::Times(other) => (2, other.as_ptr()),
        Then::Plus(other) => (3, other.as_ptr()),
    };
    let bias = bias.map_or(null(), Tensor::as_ptr);
    let (input, weight) = (input.as_ptr(), weight.as_ptr());
    // SAFETY: all tensors live through the call, and the result is a tensor of its own.
    unsafe { owned(|output| anytime_narrow_linear(input, weight, bias, other, after, output)) }
}

/// The kind of the packed copy of a weight of this kind.
fn packed_kind(kind: Kind) -> Kind {
    match kind {
        Kind::BFloat16 if !multiplies_bf16() => Kind::Float,
        given => given,
    }
}

/// Bytes of one number in the copy of a weight of this kind that generation on the CPU keeps beside the weight.
pub fn packed_element_bytes(kind: Kind) -> usize {
    packed_kind(kind).elt_size_in_bytes()
}

/// As [`packed_element_bytes`], for the head. Its sums are in f32, so it is kept in bf16 only where the processor has
/// products of bf16.
pub fn packed_head_element_bytes(kind: Kind) -> usize {
    let kind = match kind {
        Kind::BFloat16 if !(cfg!(target_arch = "x86_64") && multiplies_bf16()) => Kind::Float,
        given => given,
    };
    kind.elt_size_in_bytes()
}

/// Whether the processor has instructions for products of bf16.
pub(super) fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    // On other processors oneDNN finds out by itself.
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn packed_weights_give_the_same_products() {
        let _guard = tch::no_grad_guard();
        let weight = Tensor::randn([40, 24], (Kind::Float, Device::Cpu));
        let bias = Tensor::randn([40], (Kind::Float, Device::Cpu));
        let packed = PackedLinear::try_new(&weight, Some(&bias)).unwrap();
        for rows in [1, 4, 5, 64, 130] {
            let input = Tensor::randn([rows, 24], (Kind::Float, Device::Cpu));
            let other = Tensor::randn([rows, 40], (Kind::Float, Device::Cpu));
            let product = input.linear(&weight, Some(&bias));
            for (expected, then) in [
                (product.shallow_clone(), Then::Nothing),
                (product.silu(), Then::Silu),
                (&product * &other, Then::Times(&other)),
                (&product + &other, Then::Plus(&other)),
            ] {
                let difference = (packed.apply(&input, then) - expected).abs().max();
                assert!(difference.double_value(&[]) < 1e-5, "{rows} rows, {then:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "libtorch")]
    fn a_refusal_is_a_panic_with_its_reason() {
        let packed = PackedLinear::try_new(&Tensor::ones([4, 4], (Kind::Float, Device::Cpu)), None).unwrap();
        let _ = packed.apply(&Tensor::ones([2, 5], (Kind::Float, Device::Cpu)), Then::Nothing);
    }
}
