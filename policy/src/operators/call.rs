//! Calls of the C++ operators: who owns what they return, and how their errors come back.

// FFI: texts and tensors that the other side allocated.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn anytime_free(text: *mut c_char);
}

/// Takes over the tensor that `call` stores.
///
/// # Safety
/// `call` stores a tensor that nobody else owns, or returns a text.
pub(super) unsafe fn owned(call: impl FnOnce(*mut *mut C_tensor) -> *mut c_char) -> Result<Tensor, String> {
    let mut output = null_mut();
    let error = call(&mut output);
    // SAFETY: what a call returns is null or a text for us to free, and without a text there is a tensor.
    unsafe {
        checked(error)?;
        Ok(Tensor::from_ptr(output))
    }
}

/// Turns the text that a call returns into an error: null is success.
///
/// # Safety
/// `error` is null or a text of `operators.cpp`'s, which this frees.
pub(super) unsafe fn checked(error: *mut c_char) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a text that ends with a zero, freed once.
    let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    unsafe { anytime_free(error) };
    Err(text)
}

/// The tensor itself where it is of this kind: libtorch would go through its dispatcher to find that out.
pub(crate) fn in_kind(tensor: &Tensor, kind: Kind) -> Tensor {
    if tensor.kind() == kind {
        tensor.shallow_clone()
    } else {
        tensor.to_kind(kind)
    }
}
