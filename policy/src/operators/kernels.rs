//! Kernels of our own for a CUDA device; `kernels.cu` has them, `kernels.cpp` compiles and launches them.
//!
//! They take bf16, what generation computes in on a device, and logits in f32. Each does in one launch what libtorch's
//! operators do in several, and rounds where those round. On the CPU they run too, for tests.

// FFI: pointers to live tensors; kinds, sizes and contiguity are checked here.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Device, Kind, Tensor};

use super::call::checked;
use super::elementwise::{HeadNorms, Store};

unsafe extern "C" {
    fn anytime_compile_kernels(source: *const c_char, device: i32) -> *mut c_char;
    fn anytime_launch_kernel(
        kernel: usize,
        device: i32,
        blocks: i64,
        threads: i64,
        parameters: *mut u64,
        count: usize,
    ) -> *mut c_char;
    fn anytime_run_kernel(kernel: usize, blocks: i64, parameters: *const u64, count: usize) -> *mut c_char;
}

const SOURCE: &str = include_str!("kernels.cu");

/// In the order of `NAMES` in `kernels.cpp`.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    RotateAndStore,
    Gate,
    CopyRows,
    Merge,
    Draw,
}

impl Kernel {
    /// Threads of a block.
    fn threads(self) -> i64 {
        match self {
            Kernel::RotateAndStore | Kernel::Gate | Kernel::Merge => 256,
            Kernel::CopyRows | Kernel::Draw => 1024,
        }
    }
}

static UNWANTED: AtomicBool = AtomicBool::new(false);

/// Leaves everything to libtorch's operators from now on, for comparison. Decoders made before keep to what they have.
pub fn use_none() {
    UNWANTED.store(true, Ordering::Relaxed);
}

/// Makes the kernels ready for a device, once.
///
/// # Errors
/// Why there are none for it: it is the CPU, or what compiles them is missing or says no.
pub fn prepare(device: Device) -> Result<(), String> {
    static PREPARED: Mutex<BTreeMap<usize, Result<(), String>>> = Mutex::new(BTreeMap::new());
    let Device::Cuda(index) = device else {
        return Err(format!("there are no kernels for {device:?}"));
    };
    if UNWANTED.load(Ordering::Relaxed) {
        return Err("they are not wanted".to_owned());
    }
    let mut prepared = PREPARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    prepared
        .entry(index)
        .or_insert_with(|| {
            let source = CString::new(SOURCE).map_err(|_| "the kernels' text has a zero in it".to_owned())?;
            // SAFETY: the text ends with a zero and lives through the call.
            unsafe { checked(anytime_compile_kernels(source.as_ptr(), index as i32)) }
        })
        .clone()
}

/// Whether [`gate`] takes numbers of this kind on this device, `width` of gate and of up.
pub(crate) fn can_gate(kind: Kind, device: Device, width: i64) -> bool {
    kind == Kind::BFloat16 && width % 2 == 0 && prepare(device).is_ok()
}

/// As `elementwise::rotate_and_store`, with a cache by token: keys and values [rows, kv_heads, head_dim], and a row for
/// each token.
///
/// # Panics
/// If shapes or kinds do not fit.
pub(crate) fn rotate_and_store(
    projected: &Tensor,
    norms: Option<HeadNorms<'_>>,
    cosine: &Tensor,
    sine: &Tensor,
    store: Store<'_>,
    kv_heads: i64,
) -> Tensor {
    let (tokens, all_heads, head_dim) = projected.size3().expect("projected heads have three axes");
    let (heads, device) = (all_heads - 2 * kv_heads, projected.device());
    assert!(
        heads > 0 && head_dim % 2 == 0,
        "{all_heads} heads of {head_dim} with {kv_heads} key heads"
    );
    for tensor in [cosine, sine] {
        check(tensor, Kind::Float, device, &[tokens, 1, head_dim]);
    }
    check(store.rows, Kind::Int64, device, &[tokens]);
    for tensor in [store.keys, store.values] {
        check(tensor, Kind::BFloat16, device, &[tensor.size()[0], kv_heads, head_dim]);
    }
    let projected = projected.contiguous();
    check(&projected, Kind::BFloat16, device, &[tokens, all_heads, head_dim]);
    for norm in norms.iter().flat_map(|norms| [norms.query, norms.key]) {
        check(norm, Kind::BFloat16, device, &[head_dim]);
    }
    let queries = Tensor::empty([tokens, heads, head_dim], (projected.kind(), projected.device()));
    let mut parameters = [
        pointer(&projected),
        norms.map_or(0, |norms| pointer(norms.query)),
        norms.map_or(0, |norms| pointer(norms.key)),
        norms.map_or(0, |norms| norms.epsilon.to_bits()),
        pointer(cosine),
        pointer(sine),
        pointer(store.rows),
        pointer(store.keys),
        pointer(store.values),
        pointer(&queries),
        heads as u64,
        kv_heads as u64,
        head_dim as u64,
    ];
    launch(Kernel::RotateAndStore, projected.device(), tokens, &mut parameters);
    queries
}

/// silu(gate) · up of `both` [tokens, 2 width], gate first: [tokens, width].
///
/// # Panics
/// If shapes or kinds do not fit, or the width is odd.
pub(crate) fn gate(both: &Tensor) -> Tensor {
    let (tokens, width) = both.size2().expect("gate and up have two axes");
    let (width, device) = (width / 2, both.device());
    let both = both.contiguous();
    check(&both, Kind::BFloat16, device, &[tokens, 2 * width]);
    assert!(width % 2 == 0, "a width of {width}");
    let output = Tensor::empty([tokens, width], (both.kind(), both.device()));
    let mut parameters = [pointer(&both), pointer(&output), tokens as u64, width as u64];
    // On the CPU a block is one thread.
    let threads = match both.device() {
        Device::Cpu => 1,
        _ => Kernel::Gate.threads(),
    };
    let blocks = (tokens * width / 2 + threads - 1) / threads;
    launch(Kernel::Gate, both.device(), blocks, &mut parameters);
    output
}

/// Rows of a tensor that go to other rows of it, which are not among them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowCopy {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) count: i64,
}

/// Whether [`copy_rows`] takes tensors like this one.
pub(crate) fn can_copy(tensor: &Tensor) -> bool {
    let row: i64 = tensor.size().iter().skip(1).product();
    row * tensor.kind().elt_size_in_bytes() as i64 % 16 == 0 && tensor.is_contiguous()
}

/// Copies rows within each of the tensors, which are laid out alike, all in one launch.
///
/// # Panics
/// If the tensors are not alike, or a row lies outside of them.
pub(crate) fn copy_rows(tensors: &[&Tensor], copies: &[RowCopy]) {
    let Some(first) = tensors.first().filter(|_| !copies.is_empty()) else {
        return;
    };
    let (size, kind, device) = (first.size(), first.kind(), first.device());
    assert!(can_copy(first), "rows of {size:?} in {kind:?}");
    let inside = |start: i64, count: i64| start >= 0 && count >= 0 && start + count <= size[0];
    for RowCopy { from, to, count } in copies {
        assert!(
            inside(*from, *count) && inside(*to, *count),
            "{count} rows from {from} to {to}"
        );
        assert!((from - to).abs() >= *count, "{count} rows from {from} to {to} overlap");
    }
    let mut orders = Vec::with_capacity(tensors.len() + 3 * copies.len());
    for tensor in tensors {
        check(tensor, kind, device, &size);
        assert!(
            pointer(tensor).is_multiple_of(16),
            "a kernel reads sixteen bytes at a time"
        );
        orders.push(pointer(tensor) as i64);
    }
    for copy in copies {
        orders.extend([copy.from, copy.to, copy.count]);
    }
    let orders = Tensor::from_slice(&orders).to_device(device);
    let row: i64 = size.iter().skip(1).product();
    let eights = row * kind.elt_size_in_bytes() as i64 / 16;
    let mut parameters = [
        pointer(&orders),
        pointer(&orders) + 8 * tensors.len() as u64,
        tensors.len() as u64,
        eights as u64,
    ];
    let blocks = (tensors.len() * copies.len()) as i64;
    launch(Kernel::CopyRows, device, blocks, &mut parameters);
}

/// What sequences have attended to: [tokens, heads, head_dim], and [heads, tokens] f32.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) output: &'a Tensor,
    pub(crate) sums: &'a Tensor,
}

/// What the tokens of `own`, one part behind the other, have attended to altogether: [tokens, heads, head_dim]. The tokens
/// from `first` on are those of branches, as many as `seen` has, and see their prefixes too: `seen` has for each of them the
/// heads that share a key head as rows of their own, [branches * shared, kv_heads, head_dim].
///
/// # Panics
/// If shapes or kinds do not fit.
pub(crate) fn merge(own: [Option<Part<'_>>; 2], seen: Part<'_>, first: i64) -> Tensor {
    let (rows, kv_heads, head_dim) = seen.output.size3().expect("attention has three axes");
    let counts = own.map(|part| part.map_or(0, |part| part.output.size()[0]));
    let tokens = counts[0] + counts[1];
    let present = own.iter().flatten().next().expect("branches attend to themselves");
    let heads = present.output.size()[1];
    let (shared, device) = (heads / kv_heads, present.output.device());
    let branches = rows / shared;
    assert!(
        first >= 0 && rows % shared == 0 && first + branches <= tokens,
        "{rows} rows of {tokens} tokens from {first} on"
    );
    check(seen.output, Kind::BFloat16, device, &[rows, kv_heads, head_dim]);
    check(seen.sums, Kind::Float, device, &[kv_heads, rows]);
    let mut of_parts = [[0; 2]; 2];
    for ((part, count), pointers) in own.iter().zip(counts).zip(&mut of_parts) {
        if let Some(part) = part {
            check(part.output, Kind::BFloat16, device, &[count, heads, head_dim]);
            check(part.sums, Kind::Float, device, &[heads, count]);
            *pointers = [pointer(part.output), pointer(part.sums)];
        }
    }
    let output = Tensor::empty([tokens, heads, head_dim], (Kind::BFloat16, seen.output.device()));
    let mut parameters = [
        of_parts[0][0],
        of_parts[0][1],
        counts[0] as u64,
        of_parts[1][0],
        of_parts[1][1],
        counts[1] as u64,
        pointer(seen.output),
        pointer(seen.sums),
        first as u64,
        branches as u64,
        pointer(&output),
        heads as u64,
        kv_heads as u64,
        head_dim as u64,
    ];
    launch(Kernel::Merge, output.device(), tokens, &mut parameters);
    output
}

/// The widest vocabulary that [`draw`] takes.
pub(super) const WIDEST: i64 = 256 * 2048;

/// As `drawing::draw`, of f32 logits: for each row a place and its log-probability. `places`, `temperatures` and `uniforms`
/// have a number for each row.
///
/// # Panics
/// If shapes or kinds do not fit.
pub(super) fn draw(
    logits: &Tensor,
    places: &[i64],
    temperatures: impl Iterator<Item = f64>,
    uniforms: impl Iterator<Item = f64>,
) -> Vec<(i64, f64)> {
    let (rows, width) = logits.size2().expect("logits have two axes");
    assert!((1..=WIDEST).contains(&width), "logits of {width} places");
    let (logits, device) = (logits.contiguous(), logits.device());
    check(&logits, Kind::Float, device, &[rows, width]);
    // One transfer there and one back.
    let bits = |number: f64| number.to_bits() as i64;
    let mut orders = places.to_vec();
    orders.extend(temperatures.map(bits));
    orders.extend(uniforms.map(bits));
    assert_eq!(orders.len() as i64, 3 * rows, "three numbers for each row");
    let orders = Tensor::from_slice(&orders).to_device(logits.device());
    let results = Tensor::empty([2 * rows], (Kind::Int64, logits.device()));
    let part = |tensor: &Tensor, place: i64| pointer(tensor) + (place * rows * 8) as u64;
    let mut parameters = [
        pointer(&logits),
        width as u64,
        part(&orders, 0),
        part(&orders, 1),
        part(&orders, 2),
        part(&results, 0),
        part(&results, 1),
    ];
    launch(Kernel::Draw, logits.device(), rows, &mut parameters);
    let mut numbers = vec![0_i64; 2 * rows as usize];
    let count = numbers.len();
    results.to_device(Device::Cpu).copy_data(&mut numbers, count);
    let (drawn, log_probs) = numbers.split_at(rows as usize);
    let pairs = drawn.iter().zip(log_probs);
    pairs.map(|(&id, &bits)| (id, f64::from_bits(bits as u64))).collect()
}

fn pointer(tensor: &Tensor) -> u64 {
    tensor.data_ptr() as u64
}

fn check(tensor: &Tensor, kind: Kind, device: Device, size: &[i64]) {
    assert_eq!(
        (tensor.kind(), tensor.device(), tensor.size().as_slice()),
        (kind, device, size)
    );
    assert!(tensor.is_contiguous(), "a kernel takes contiguous tensors");
}

/// Starts a kernel on a device, or runs it on the CPU.
///
/// # Panics
/// If there is no such device, or its driver says no.
fn launch(kernel: Kernel, device: Device, blocks: i64, parameters: &mut [u64]) {
    if blocks == 0 {
        return;
    }
    // SAFETY: the callers have checked that the pointers among the parameters are to memory as large as the kernel takes it
    // for. It lives through the call, and on a device libtorch's allocator gives it to later work of the same stream alone.
    let outcome = unsafe {
        checked(match device {
            Device::Cuda(index) => anytime_launch_kernel(
                kernel as usize,
                index as i32,
                blocks,
                kernel.threads(),
                parameters.as_mut_ptr(),
                parameters.len(),
            ),
            _ => anytime_run_kernel(kernel as usize, blocks, parameters.as_ptr(), parameters.len()),
        })
    };
    if let Err(problem) = outcome {
        panic!("a kernel of a device: {problem}");
    }
}

#[cfg(test)]
#[path = "kernels_tests.rs"]
mod tests;
