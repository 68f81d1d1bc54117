//! What the allocator of a CUDA device says of itself; `memory.cpp` asks it.

// FFI: figures that the other side writes.
#![allow(unsafe_code)]

use std::ffi::c_char;

use super::call::checked;

unsafe extern "C" {
    fn anytime_device_memory(device: i64, figures: *mut u64) -> *mut c_char;
    fn anytime_forget_peak(device: i64) -> *mut c_char;
}

/// Bytes of a CUDA device: in all, held by nobody, held by this process's allocator, used by its tensors, and the most
/// that they used.
pub(crate) fn cuda_memory(device: usize) -> Result<[u64; 5], String> {
    let mut figures = [0; 5];
    // SAFETY: there is room for the five figures that are written, and an error is a text for `checked` to free.
    unsafe { checked(anytime_device_memory(device as i64, figures.as_mut_ptr())) }?;
    Ok(figures)
}

/// Restarts the count of the most bytes that tensors of a CUDA device used.
pub(crate) fn forget_cuda_peak(device: usize) -> Result<(), String> {
    // SAFETY: an error is a text for `checked` to free.
    unsafe { checked(anytime_forget_peak(device as i64)) }
}
