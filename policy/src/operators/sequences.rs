//! Attention over sequences that lie one behind the other, without masks and without padding; `sequences.cpp` computes
//! it. On CUDA that is libtorch's FlashAttention in one launch for all sequences.

// FFI: pointers to live tensors, numbers.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use tch::{Device, Kind, Tensor, no_grad};
use torch_sys::C_tensor;

use super::call::{checked, owned};

unsafe extern "C" {
    fn anytime_attend_sequences(
        queries: *const C_tensor,
        keys: *const C_tensor,
        values: *const C_tensor,
        queries_from: *const C_tensor,
        keys_from: *const C_tensor,
        keys_used: *const C_tensor,
        most_queries: i64,
        most_keys: i64,
        is_causal: bool,
        output: *mut *mut C_tensor,
        sums: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn anytime_attend_tree(
        queries: *const C_tensor,
        keys: *const C_tensor,
        values: *const C_tensor,
        own_from: *const C_tensor,
        own_most: i64,
        branch_tokens: *const C_tensor,
        prefix_tokens: *const C_tensor,
        over_queries_from: *const C_tensor,
        over_keys_from: *const C_tensor,
        over_most_queries: i64,
        over_most_keys: i64,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// Where the queries and the keys of sequences lie; see `sequences.cpp`.
#[derive(Debug)]
pub(crate) struct Sequences {
    /// [sequences + 1] int32: where each one's queries begin, and where the last one's end.
    pub(crate) queries_from: Tensor,
    /// [sequences + 1] int32: where each one's keys begin; the last number is not read.
    pub(crate) keys_from: Tensor,
    /// `[sequences]` int32: how many keys each one has.
    pub(crate) keys_used: Tensor,
    /// The most queries of a sequence.
    pub(crate) most_queries: i64,
    /// The most keys of a sequence.
    pub(crate) most_keys: i64,
    /// Whether the last query sees all keys, the one before it all but the last, and so on; otherwise all see all.
    pub(crate) is_causal: bool,
}

impl Sequences {
    /// `queries` [queries, heads, head_dim], `keys` and `values` [rows, kv_heads, head_dim]. Returns the attention
    /// [queries, heads, head_dim] and the logarithms of the sums of the exponentials of its scores, [heads, queries] at
    /// least in f32. No gradient.
    ///
    /// # Panics
    /// As tensor operations do.
    pub(crate) fn attend(&self, queries: &Tensor, keys: &Tensor, values: &Tensor) -> (Tensor, Tensor) {
        self.try_attend(queries, keys, values)
            .unwrap_or_else(|problem| panic!("libtorch: {problem}"))
    }

    fn try_attend(&self, queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor), String> {
        let (mut output, mut sums) = (null_mut(), null_mut());
        // SAFETY: all tensors live through the call; without a text both results are tensors that nobody else owns.
        unsafe {
            checked(anytime_attend_sequences(
                queries.as_ptr(),
                keys.as_ptr(),
                values.as_ptr(),
                self.queries_from.as_ptr(),
                self.keys_from.as_ptr(),
                self.keys_used.as_ptr(),
                self.most_queries,
                self.most_keys,
                self.is_causal,
                &mut output,
                &mut sums,
            ))?;
            Ok((Tensor::from_ptr(output), Tensor::from_ptr(sums)))
        }
    }
}

/// Who attends to whom in a packed batch of prefixes and branches.
#[derive(Debug)]
pub(crate) struct TreeSequences {
    /// [sequences + 1] int32: where each prefix and each branch begins among the packed tokens, and where the last ends.
    pub(crate) own_from: Tensor,
    /// The most tokens of one of them.
    pub(crate) own_most: i64,
    /// What the branches see of their prefixes; `None` where there are no branches.
    pub(crate) over: Option<OverPrefixes>,
}

/// The branches of a batch, those of one cut one behind the other, and for each cut the tokens before it.
#[derive(Debug)]
pub(crate) struct OverPrefixes {
    /// Packed tokens of all branches, int64.
    pub(crate) branch_tokens: Tensor,
    /// Packed tokens before all cuts, int64.
    pub(crate) prefix_tokens: Tensor,
    /// [cuts + 1] int32: where each cut begins among the branches' tokens.
    pub(crate) queries_from: Tensor,
    /// [cuts + 1] int32: where each cut begins among the prefixes' tokens.
    pub(crate) keys_from: Tensor,
    /// The most branch tokens of a cut.
    pub(crate) most_queries: i64,
    /// The most tokens before a cut.
    pub(crate) most_keys: i64,
}

impl TreeSequences {
    /// `queries` [tokens, heads, head_dim], `keys` and `values` [tokens, kv_heads, head_dim]. Returns
    /// [tokens, heads, head_dim], with gradients.
    ///
    /// # Panics
    /// As tensor operations do.
    pub(crate) fn attend(&self, queries: &Tensor, keys: &Tensor, values: &Tensor) -> Tensor {
        let over = self.over.as_ref();
        let pointer = |of: fn(&OverPrefixes) -> &Tensor| over.map_or(null(), |over| of(over).as_ptr());
        // SAFETY: all tensors live through the call, and the result is a tensor of its own.
        let attended = unsafe {
            owned(|output| {
                anytime_attend_tree(
                    queries.as_ptr(),
                    keys.as_ptr(),
                    values.as_ptr(),
                    self.own_from.as_ptr(),
                    self.own_most,
                    pointer(|over| &over.branch_tokens),
                    pointer(|over| &over.prefix_tokens),
                    pointer(|over| &over.queries_from),
                    pointer(|over| &over.keys_from),
                    over.map_or(0, |over| over.most_queries),
                    over.map_or(0, |over| over.most_keys),
                    output,
                )
            })
        };
        attended.unwrap_or_else(|problem| panic!("libtorch: {problem}"))
    }
}

/// Whether attention over sequences is a kernel here: on CUDA devices that FlashAttention knows, in bf16 or f16.
pub(crate) fn can_attend_sequences(kind: Kind, device: Device, head_dim: i64) -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let fits = device.is_cuda() && matches!(kind, Kind::BFloat16 | Kind::Half) && head_dim % 8 == 0 && head_dim <= 256;
    // Whether a device has it shows when it is tried; all devices of a host are taken to be alike.
    fits && *WORKS.get_or_init(|| no_grad(|| works(kind, device)))
}

fn works(kind: Kind, device: Device) -> bool {
    let tokens = Tensor::zeros([2, 1, 8], (kind, device));
    let numbers = |numbers: &[i32]| Tensor::from_slice(numbers).to_device(device);
    let sequences = Sequences {
        queries_from: numbers(&[0, 2]),
        keys_from: numbers(&[0, 2]),
        keys_used: numbers(&[2]),
        most_queries: 2,
        most_keys: 2,
        is_causal: true,
    };
    sequences.try_attend(&tokens, &tokens, &tokens).is_ok()
}
