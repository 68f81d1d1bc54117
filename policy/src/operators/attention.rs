//! Attention of single tokens over the key-value cache on the CPU; `attention.cpp` does the arithmetic.

// FFI: pointers to live tensors and to a slice that outlives the call.
#![allow(unsafe_code)]

use std::ffi::c_char;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::call::checked;

unsafe extern "C" {
    fn anytime_attend_reads(
        queries: *const C_tensor,
        keys: *const C_tensor,
        values: *const C_tensor,
        reads: *const i64,
        read_count: i64,
        prefix_stride: i64,
        branch_stride: i64,
        kv_heads: i64,
        output: *const C_tensor,
    ) -> *mut c_char;
}

/// What one token sees, in rows of a layer's cache seen as [rows, head_dim], for key head 0.
///
/// `attention.cpp` reads this memory as five numbers in this order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// Index of the token among the queries.
    pub(crate) token: i64,
    /// The first key of the prefix.
    pub(crate) prefix_row: i64,
    /// Keys of the prefix that it sees.
    pub(crate) prefix_keys: i64,
    /// The first key of its branch.
    pub(crate) branch_row: i64,
    /// Keys of the branch that it sees, its own included; 0 without a branch.
    pub(crate) branch_keys: i64,
}

/// Rows of the cache from one key head to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strides {
    pub(crate) prefix: i64,
    pub(crate) branch: i64,
}

/// Whether [`attend_reads`] works with tensors of this kind, device and head width.
pub(crate) fn can_attend_reads(kind: Kind, device: Device) -> bool {
    device == Device::Cpu && matches!(kind, Kind::Float | Kind::BFloat16)
}

/// Attention of `queries` [tokens, heads, head_dim] over `keys` and `values` [rows, head_dim] of `kv_heads` key heads.
/// `reads` has each token once, in the order of prefix rows. Returns [tokens, heads * head_dim].
///
/// # Panics
/// If a read leaves the cache, or the tensors are not of one kind that [`can_attend_reads`] allows.
pub(crate) fn attend_reads(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    reads: &[Read],
    strides: Strides,
    kv_heads: i64,
) -> Tensor {
    let (tokens, heads, head_dim) = queries.size3().expect("queries have three axes");
    let rows = keys.size()[0];
    let last_head = kv_heads - 1;
    for read in reads {
        let prefix_end = read.prefix_row + last_head * strides.prefix + read.prefix_keys;
        let branch_end = read.branch_row + last_head * strides.branch + read.branch_keys;
        let starts_inside = read.prefix_row >= 0 && read.branch_row >= 0 && (0..tokens).contains(&read.token);
        assert!(
            starts_inside && prefix_end <= rows && branch_end <= rows && read.prefix_keys + read.branch_keys > 0,
            "{read:?} leaves the {rows} rows of the cache or the {tokens} tokens"
        );
    }
    assert_eq!(keys.size(), [rows, head_dim]);
    assert_eq!(values.size(), [rows, head_dim]);
    let queries = queries.contiguous();
    let output = queries.empty_like();
    // SAFETY: all tensors and the slice live through the call, which writes `output` only; every read lies within the
    // cache (asserted above), and five `i64` are what a `Read` is.
    let outcome = unsafe {
        checked(anytime_attend_reads(
            queries.as_ptr(),
            keys.as_ptr(),
            values.as_ptr(),
            reads.as_ptr().cast(),
            reads.len() as i64,
            strides.prefix,
            strides.branch,
            kv_heads,
            output.as_ptr(),
        ))
    };
    if let Err(problem) = outcome {
        panic!("libtorch: {problem}");
    }
    output.view([tokens, heads * head_dim])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Softmax attention of one token by libtorch's plain operators.
    fn expected(query: &Tensor, keys: &[Tensor], values: &[Tensor]) -> Tensor {
        let (keys, values) = (Tensor::cat(keys, 0), Tensor::cat(values, 0));
        let scores = query.matmul(&keys.transpose(0, 1)) / (query.size()[1] as f64).sqrt();
        scores.softmax(-1, Kind::Double).matmul(&values)
    }

    #[test]
    fn tokens_see_their_prefix_and_their_branch() {
        tch::manual_seed(1);
        for (kind, tolerance) in [(Kind::Float, 2e-6), (Kind::BFloat16, 2e-2)] {
            for (kv_heads, shared, head_dim) in [(3, 3, 64), (2, 6, 128), (1, 2, 24)] {
                let (prefix_length, branch_length) = (150, 70);
                let strides = Strides {
                    prefix: prefix_length,
                    branch: branch_length,
                };
                let prefixes = 2 * kv_heads * prefix_length;
                let rows = prefixes + 3 * kv_heads * branch_length;
                let on_cpu = (Kind::Float, Device::Cpu);
                let keys = Tensor::randn([rows, head_dim], on_cpu).to_kind(kind);
                let values = Tensor::randn([rows, head_dim], on_cpu).to_kind(kind);
                let cases = [
                    (0, 150, 0, 0),
                    (0, 1, 0, 0),
                    (0, 64, 1, 70),
                    (1, 65, 0, 1),
                    (1, 0, 2, 66),
                ];
                let queries = Tensor::randn([5, kv_heads * shared, head_dim], on_cpu).to_kind(kind);
                let reads: Vec<Read> = cases
                    .iter()
                    .enumerate()
                    .map(|(token, &(prefix, prefix_keys, branch, branch_keys))| Read {
                        token: token as i64,
                        prefix_row: prefix * kv_heads * prefix_length,
                        prefix_keys,
                        branch_row: prefixes + branch * kv_heads * branch_length,
                        branch_keys,
                    })
                    .collect();
                let attended = attend_reads(&queries, &keys, &values, &reads, strides, kv_heads)
                    .view([5, kv_heads * shared, head_dim])
                    .to_kind(Kind::Double);
                for read in &reads {
                    for head in 0..kv_heads * shared {
                        let kv_head = head / shared;
                        let part = |tensor: &Tensor| {
                            let tensor = tensor.to_kind(Kind::Double);
                            [
                                tensor.narrow(0, read.prefix_row + kv_head * strides.prefix, read.prefix_keys),
                                tensor.narrow(0, read.branch_row + kv_head * strides.branch, read.branch_keys),
                            ]
                        };
                        let query = queries.get(read.token).get(head).to_kind(Kind::Double).unsqueeze(0);
                        let difference = (attended.get(read.token).get(head).unsqueeze(0)
                            - expected(&query, &part(&keys), &part(&values)))
                        .abs()
                        .max()
                        .double_value(&[]);
                        assert!(difference < tolerance, "{kind:?}, {read:?}, head {head}: {difference}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_token_attends_alike_in_any_company() {
        let on_cpu = (Kind::Float, Device::Cpu);
        let strides = Strides { prefix: 90, branch: 1 };
        let keys = Tensor::randn([90, 64], on_cpu);
        let queries = Tensor::randn([20, 2, 64], on_cpu);
        let read = |token| Read {
            token,
            prefix_row: 0,
            prefix_keys: 1 + token * 4,
            branch_row: 0,
            branch_keys: 0,
        };
        let reads: Vec<Read> = (0..20).map(read).collect();
        let together = attend_reads(&queries, &keys, &keys, &reads, strides, 1);
        for token in 0..20 {
            let alone = [Read {
                token: 0,
                ..read(token)
            }];
            let alone = attend_reads(&queries.narrow(0, token, 1), &keys, &keys, &alone, strides, 1);
            assert_eq!(alone.get(0), together.get(token));
        }
    }

    #[test]
    #[should_panic(expected = "leaves the 4 rows of the cache")]
    fn a_read_beyond_the_cache_is_refused() {
        let keys = Tensor::zeros([4, 8], (Kind::Float, Device::Cpu));
        let read = Read {
            token: 0,
            prefix_row: 0,
            prefix_keys: 5,
            branch_row: 0,
            branch_keys: 0,
        };
        let strides = Strides { prefix: 4, branch: 0 };
        let _ = attend_reads(&keys.view([4, 1, 8]), &keys, &keys, &[read], strides, 1);
    }
}
