//! Counts what a piece of work dispatches and allocates.

// FFI: a callback that C++ calls on this thread.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};

use super::call::checked;

unsafe extern "C" {
    fn anytime_count(work: extern "C" fn(*mut c_void), argument: *mut c_void, counted: *mut u64) -> *mut c_char;
}

/// What a piece of work asked of libtorch, as [`counted`] finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Operators dispatched, those within operators included.
    pub operations: u64,
    /// How many blocks of memory were allocated.
    pub allocations: u64,
    /// How many bytes they had together.
    pub bytes: u64,
    /// The most bytes that were allocated at the same time.
    pub most_held: u64,
}

/// Does the work on this thread and counts what it dispatches and allocates: a measure of overhead that depends on
/// neither the machine nor its load.
pub fn counted<R>(work: impl FnOnce() -> R) -> (R, Counted) {
    struct Call<W, R> {
        work: Option<W>,
        result: Option<std::thread::Result<R>>,
    }
    extern "C" fn run<W: FnOnce() -> R, R>(argument: *mut c_void) {
        // SAFETY: the argument is the `Call` below, which nobody else touches meanwhile.
        let call = unsafe { &mut *argument.cast::<Call<W, R>>() };
        if let Some(work) = call.work.take() {
            // A panic must not cross the frames of C++ in between.
            call.result = Some(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
        }
    }
    fn runner<W: FnOnce() -> R, R>(_: &Call<W, R>) -> extern "C" fn(*mut c_void) {
        run::<W, R>
    }
    let mut call = Call {
        work: Some(work),
        result: None,
    };
    let run = runner(&call);
    let mut counts = [0; 4];
    // SAFETY: `call` and `counts` live through the call, which runs on this thread and keeps neither.
    if let Err(problem) = unsafe { checked(anytime_count(run, (&raw mut call).cast(), counts.as_mut_ptr())) } {
        panic!("libtorch: {problem}");
    }
    let [operations, allocations, bytes, most_held] = counts;
    let counted = Counted {
        operations,
        allocations,
        bytes,
        most_held,
    };
    match call.result.expect("the work was run") {
        Ok(result) => (result, counted),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn work_is_counted() {
        let input = Tensor::ones([10, 10], (Kind::Float, Device::Cpu));
        let (sum, counts) = counted(|| (&input + 1.0).sum(Kind::Float).double_value(&[]));
        assert_eq!(sum, 200.0);
        assert!(counts.operations >= 2, "{counts:?}");
        assert!(counts.bytes >= 400, "{counts:?}");
        assert!((400..=counts.bytes).contains(&counts.most_held), "{counts:?}");
        let (_, nothing) = counted(|| ());
        assert_eq!(nothing, Counted::default());
    }
}
