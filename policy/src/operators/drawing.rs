//! Drawing tokens; on the CPU `drawing.cpp` does the arithmetic, on a CUDA device a kernel.

// FFI: pointers to a live tensor and to slices of its number of rows.
#![allow(unsafe_code)]

use std::ffi::c_char;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::call::checked;
use super::kernels;

unsafe extern "C" {
    fn anytime_draw(
        logits: *const C_tensor,
        temperatures: *const f32,
        widths: *const i64,
        uniforms: *const f64,
        ids: *mut i64,
        log_probs: *mut f64,
    ) -> *mut c_char;
}

/// The distribution of one row, and where in it the token is drawn.
#[derive(Clone, Copy, Debug)]
pub struct RowDraw {
    /// Logits are divided by it; above 0.
    pub temperature: f32,
    /// Ids from here on are never drawn; more than there are logits means all of them.
    pub vocabulary: usize,
    /// A number in (0, 1). The token is the one at which the cumulative distribution passes it.
    pub uniform: f64,
}

/// Whether [`draw`] takes these logits.
pub fn can_draw(logits: &Tensor) -> bool {
    let (kind, device) = (logits.kind(), logits.device());
    match device {
        Device::Cpu => matches!(kind, Kind::Float | Kind::BFloat16),
        _ => {
            let is_narrow = logits.size().last().is_some_and(|&width| width <= kernels::WIDEST);
            kind == Kind::Float && is_narrow && kernels::prepare(device).is_ok()
        }
    }
}

/// Draws a token from softmax(logits / temperature) of each row of `logits` [n, vocabulary]: its id, and its natural
/// log-probability. A row's token depends on that row alone.
///
/// # Panics
/// If there are not as many draws as rows, a vocabulary is empty, or [`can_draw`] says no.
pub fn draw(logits: &Tensor, draws: &[RowDraw]) -> Vec<(u32, f64)> {
    let (rows, width) = logits.size2().expect("logits have two axes");
    assert_eq!(rows as usize, draws.len(), "one draw for each row of logits");
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let temperatures: Vec<f32> = draws.iter().map(|draw| draw.temperature).collect();
    let widths: Vec<i64> = draws.iter().map(|draw| width.min(count(draw.vocabulary))).collect();
    assert!(widths.iter().all(|&width| width > 0), "an empty vocabulary");
    if logits.device() != Device::Cpu {
        let temperatures = temperatures.into_iter().map(f64::from);
        let drawn = kernels::draw(logits, &widths, temperatures, draws.iter().map(|draw| draw.uniform));
        return drawn.into_iter().map(|(id, log_prob)| (id as u32, log_prob)).collect();
    }
    let uniforms: Vec<f64> = draws.iter().map(|draw| draw.uniform).collect();
    let mut ids = vec![0_i64; draws.len()];
    let mut log_probs = vec![0_f64; draws.len()];
    let logits = logits.contiguous();
    // SAFETY: the tensor and all slices live through the call; each slice has an element for each row (asserted above),
    // and no width exceeds that of the tensor. Kind and order are checked there.
    let outcome = unsafe {
        checked(anytime_draw(
            logits.as_ptr(),
            temperatures.as_ptr(),
            widths.as_ptr(),
            uniforms.as_ptr(),
            ids.as_mut_ptr(),
            log_probs.as_mut_ptr(),
        ))
    };
    if let Err(problem) = outcome {
        panic!("libtorch: {problem}");
    }
    ids.into_iter().map(|id| id as u32).zip(log_probs).collect()
}
