//! Operators that the `tch` crate has no function for: linear layers over packed weights, attention over the cache and
//! over sequences without masks, sums between processes, what lies between products, drawing, the optimiser's update, what devices have and may
//! do, kernels of our own for them, work that they are given as a whole, what their allocators hold, and a count of what a
//! piece of work dispatches and allocates.
//!
//! The computation is in C++: `operators.cpp` looks operators of libtorch up in its dispatcher, the other files are our
//! own. On this side there are only calls, each in the file of its subject.

// FFI: functions that take no pointers.
#![allow(unsafe_code)]

pub(crate) mod attention;
mod call;
pub mod collectives;
mod count;
pub(crate) mod device;
pub mod drawing;
pub(crate) mod elementwise;
pub(crate) mod graph;
pub mod kernels;
mod linear;
pub(crate) mod memory;
pub mod profile;
mod rows;
pub(crate) mod sequences;
pub mod training;
mod wide;

pub(crate) use self::call::in_kind;
pub use self::count::{Counted, counted};
pub(crate) use self::linear::{PackedLinear, Then};
pub use self::linear::{packed_element_bytes, packed_head_element_bytes};
pub(crate) use self::rows::{filled_up, first_rows, in_pieces};
pub(crate) use self::wide::WideLinear;

unsafe extern "C" {
    fn anytime_keep_freed_memory();
    fn anytime_use_one_thread();
    fn anytime_libtorch_version(part: std::ffi::c_int) -> std::ffi::c_int;
}

/// The version of libtorch, such as `2.11.0`.
pub fn libtorch_version() -> String {
    // SAFETY: returns a number that is part of the program.
    let parts = [0, 1, 2].map(|part| unsafe { anytime_libtorch_version(part) });
    format!("{}.{}.{}", parts[0], parts[1], parts[2])
}

/// Lets this process keep the memory that it frees instead of giving it back to the system. An update or a decoding
/// step allocates what the one before has freed, and each page that comes back from the system costs a page fault;
/// together they took a tenth of the time. Call it in a process that mostly computes, before it starts threads. Without
/// glibc it does nothing.
pub fn keep_freed_memory() {
    // SAFETY: sets numbers of the allocator, which may be done at any time.
    unsafe { anytime_keep_freed_memory() };
}

/// Makes the parallel regions of this thread run on it alone from now on.
pub(crate) fn use_one_thread() {
    // SAFETY: changes a number that belongs to this thread.
    unsafe { anytime_use_one_thread() };
}
