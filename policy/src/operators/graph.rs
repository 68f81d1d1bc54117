//! Work on a CUDA device that is recorded once and launched as a whole; `graph.cpp` records it.

// FFI: opaque objects of the other side, each with one owner here.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use tch::Device;

use super::call::checked;

/// An object of the other side.
#[repr(C)]
struct Opaque {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn anytime_can_record() -> bool;
    fn anytime_new_pool(pool: *mut u64);
    fn anytime_recorder_new(device: i64, recorder: *mut *mut Opaque) -> *mut c_char;
    fn anytime_recorder_free(recorder: *mut Opaque);
    fn anytime_recorder_begin(recorder: *mut Opaque, pool: *const u64) -> *mut c_char;
    fn anytime_recorder_end(recorder: *mut Opaque, graph: *mut *mut Opaque) -> *mut c_char;
    fn anytime_graph_replay(graph: *mut Opaque) -> *mut c_char;
    fn anytime_graph_free(graph: *mut Opaque);
}

/// Memory that recordings share, which must not run beside each other: what one leaves in it the next writes over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool([u64; 2]);

/// Recorded work. It reads and writes the memory of the tensors that the work read and wrote: those must stay.
pub(crate) struct Graph(*mut Opaque);

// SAFETY: a recording may be launched and freed by any thread, one at a time, and it has one owner.
unsafe impl Send for Graph {}

struct Recorder(*mut Opaque);

impl Pool {
    /// A pool of its own, or `None` where work cannot be recorded. Ask once the device is in use.
    pub(crate) fn try_new(device: Device) -> Option<Self> {
        // SAFETY: looks functions up.
        if !device.is_cuda() || !unsafe { anytime_can_record() } {
            return None;
        }
        let mut pool = [0; 2];
        // SAFETY: writes two numbers.
        unsafe { anytime_new_pool(pool.as_mut_ptr()) };
        Some(Self(pool))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // SAFETY: made by `anytime_recorder_new` and freed once.
        unsafe { anytime_recorder_free(self.0) };
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by `anytime_recorder_end` and freed once.
        unsafe { anytime_graph_free(self.0) };
    }
}

impl Graph {
    /// Records `work`, whose tensors come from `pool`, and returns its result, which every later launch writes anew. The
    /// work runs once before that, because libraries prepare themselves at their first calls, and then waits for
    /// [`Graph::launch`].
    ///
    /// # Errors
    /// The other side's text, or that of a panic of the work's. Nothing has been recorded then.
    pub(crate) fn record<R>(device: Device, pool: Pool, mut work: impl FnMut() -> R) -> Result<(Self, R), String> {
        let Device::Cuda(index) = device else {
            return Err(format!("work on {device:?} cannot be recorded"));
        };
        let mut recorder = null_mut();
        // SAFETY: stores an object that is ours, or returns a text.
        unsafe { checked(anytime_recorder_new(index as i64, &mut recorder)) }?;
        let recorder = Recorder(recorder);
        let mut run = || catch_unwind(AssertUnwindSafe(&mut work)).map_err(|panic| text_of(panic.as_ref()));
        drop(run()?);
        // SAFETY: the recorder lives; two numbers are read.
        unsafe { checked(anytime_recorder_begin(recorder.0, pool.0.as_ptr())) }?;
        // On an error the recorder ends the recording when it is dropped.
        let result = run()?;
        let mut graph = null_mut();
        // SAFETY: the recorder lives and is recording; stores an object that is ours, or returns a text.
        unsafe { checked(anytime_recorder_end(recorder.0, &mut graph)) }?;
        Ok((Self(graph), result))
    }

    /// Starts the recorded work, after all work of this thread's that was started before it.
    ///
    /// # Panics
    /// If the device fails.
    pub(crate) fn launch(&self) {
        // SAFETY: the object lives.
        if let Err(problem) = unsafe { checked(anytime_graph_replay(self.0)) } {
            panic!("libtorch: {problem}");
        }
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the work panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_records_nothing() {
        assert!(Pool::try_new(Device::Cpu).is_none());
        let error = Graph::record(Device::Cpu, Pool([0, 0]), || ()).err();
        assert_eq!(error.as_deref(), Some("work on Cpu cannot be recorded"));
    }
}
