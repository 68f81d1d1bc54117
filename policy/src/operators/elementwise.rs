//! The steps between the products of a decoding step on the CPU: normalising, rotating and storing; `elementwise.cpp`
//! does the arithmetic.

// FFI: pointers to live tensors; shapes are checked here, kinds and contiguity there.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr::null;

use tch::Tensor;
use torch_sys::C_tensor;

use super::call::checked;

unsafe extern "C" {
    fn anytime_rms_norm(
        input: *const C_tensor,
        weight: *const C_tensor,
        epsilon: f64,
        output: *const C_tensor,
    ) -> *mut c_char;
    fn anytime_rotate_and_store(
        projected: *const C_tensor,
        query_norm: *const C_tensor,
        key_norm: *const C_tensor,
        epsilon: f64,
        cosine: *const C_tensor,
        sine: *const C_tensor,
        rows: *const C_tensor,
        keys: *const C_tensor,
        values: *const C_tensor,
        queries: *const C_tensor,
    ) -> *mut c_char;
}

/// Root-mean-square normalisation of the last axis, in f32: `input` [*, width] and `weight` `[width]`, f32 or bf16.
///
/// # Panics
/// If shapes or kinds do not fit.
pub(crate) fn rms_norm(input: &Tensor, weight: &Tensor, epsilon: f64) -> Tensor {
    let input = input.contiguous();
    let output = input.empty_like();
    // SAFETY: the tensors live through the call, which checks kinds and sizes and writes `output` only.
    let outcome = unsafe {
        checked(anytime_rms_norm(
            input.as_ptr(),
            weight.as_ptr(),
            epsilon,
            output.as_ptr(),
        ))
    };
    if let Err(problem) = outcome {
        panic!("libtorch: {problem}");
    }
    output
}

/// How the heads of a token are normalised before they turn, where the family does that.
#[derive(Clone, Copy)]
pub(crate) struct HeadNorms<'a> {
    /// The weights that normalise queries, `[head_dim]`.
    pub(crate) query: &'a Tensor,
    /// The weights that normalise keys, `[head_dim]`.
    pub(crate) key: &'a Tensor,
    pub(crate) epsilon: f64,
}

/// The keys and values of a layer, [rows, head_dim] each, and the rows to write to, [tokens * kv_heads] int64.
#[derive(Clone, Copy)]
pub(crate) struct Store<'a> {
    pub(crate) keys: &'a Tensor,
    pub(crate) values: &'a Tensor,
    pub(crate) rows: &'a Tensor,
}

/// Turns the queries and keys of `projected` [tokens, heads + 2 * kv_heads, head_dim] by `cosine` and `sine`
/// [tokens, 1, head_dim] f32, stores keys and values, and returns the queries [tokens, heads, head_dim].
///
/// # Panics
/// If shapes or kinds do not fit, or a row lies outside the store.
pub(crate) fn rotate_and_store(
    projected: &Tensor,
    norms: Option<HeadNorms<'_>>,
    cosine: &Tensor,
    sine: &Tensor,
    store: Store<'_>,
    kv_heads: i64,
) -> Tensor {
    let (tokens, all_heads, head_dim) = projected.size3().expect("projected heads have three axes");
    let heads = all_heads - 2 * kv_heads;
    assert!(heads > 0, "{all_heads} heads with {kv_heads} key heads");
    for tensor in [cosine, sine] {
        assert_eq!(tensor.size(), [tokens, 1, head_dim]);
    }
    assert_eq!(store.rows.size(), [tokens * kv_heads]);
    for tensor in [store.keys, store.values] {
        assert_eq!(tensor.size()[1], head_dim);
    }
    let epsilon = norms.map_or(0.0, |norms| norms.epsilon);
    let (query_norm, key_norm) = norms.map_or((null(), null()), |norms| (norms.query.as_ptr(), norms.key.as_ptr()));
    let queries = Tensor::empty([tokens, heads, head_dim], (projected.kind(), projected.device()));
    // SAFETY: all tensors live through the call, which checks kinds; sizes are checked above, and the rows are those of
    // an `ExtensionPlan`, which checks that they lie within the cache.
    let outcome = unsafe {
        checked(anytime_rotate_and_store(
            projected.as_ptr(),
            query_norm,
            key_norm,
            epsilon,
            cosine.as_ptr(),
            sine.as_ptr(),
            store.rows.as_ptr(),
            store.keys.as_ptr(),
            store.values.as_ptr(),
            queries.as_ptr(),
        ))
    };
    if let Err(problem) = outcome {
        panic!("libtorch: {problem}");
    }
    queries
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn normalisation_equals_libtorchs() {
        for (kind, tolerance) in [(Kind::Float, 4e-6), (Kind::BFloat16, 4e-2)] {
            for (rows, width) in [(1, 7), (3, 64), (40, 576)] {
                let input = (Tensor::randn([rows, width], (Kind::Float, Device::Cpu)) * 3.0).to_kind(kind);
                let weight = Tensor::randn([width], (Kind::Float, Device::Cpu)).to_kind(kind);
                let expected = input.rms_norm([width], Some(&weight), 1e-5);
                let difference = (rms_norm(&input, &weight, 1e-5) - expected).abs().max();
                assert!(difference.double_value(&[]) <= tolerance, "{kind:?} {rows} x {width}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "one kind")]
    fn kinds_are_not_mixed() {
        let input = Tensor::ones([2, 4], (Kind::Float, Device::Cpu));
        let _ = rms_norm(&input, &Tensor::ones([4], (Kind::BFloat16, Device::Cpu)), 1e-5);
    }
}
