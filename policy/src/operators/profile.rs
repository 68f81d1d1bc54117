//! Measures every operator of a piece of work through libtorch's own hook, which calls `profile.cpp`.
//!
//! An operator's *total* time runs from its begin to its end, its *own* time is what remains without the operators that
//! it called on the same thread. Own times of one thread therefore never overlap: their sum is the part of that
//! thread's time which went by in operators. On CUDA an operator ends once its kernels are queued, unless the process
//! runs with `CUDA_LAUNCH_BLOCKING=1`.

// FFI: no pointer but to the list that the figures are written to, which outlives the call.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::time::Duration;

use super::call::checked;

unsafe extern "C" {
    fn anytime_profile_begin() -> *mut c_char;
    fn anytime_profile_end() -> *mut c_char;
    fn anytime_profile_read(
        take: extern "C" fn(*mut c_void, *const c_char, *const u64),
        argument: *mut c_void,
    ) -> *mut c_char;
}

/// What one operator took in all its calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorFigures {
    /// As libtorch has it (`aten::mul`, `MulBackward0`), or `anytime::…` for the arithmetic of this crate.
    pub name: String,
    /// How often it ran.
    pub calls: u64,
    /// Its own time, without the operators that it called.
    pub own_time: Duration,
    /// With the operators that it called.
    pub total_time: Duration,
    /// Blocks of memory allocated in it and in the operators that it called.
    pub allocations: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Does the work and measures the operators that run meanwhile, on this thread and on all others, largest own time
/// first. The others should be idle when the work begins and ends, or parts of their operators are missed.
///
/// Measuring costs about half a microsecond for each operator. It goes to the operator's caller, and where there is
/// none to the time outside of operators.
///
/// # Panics
/// If operators are being profiled already: there is one profile in a process.
pub fn profiled<R>(work: impl FnOnce() -> R) -> (R, Vec<OperatorFigures>) {
    /// Ends the measurement also where the work panics.
    struct UnderWay;
    impl Drop for UnderWay {
        fn drop(&mut self) {
            // SAFETY: takes no arguments, and what it returns is null or a text for `checked` to free.
            if let Err(problem) = unsafe { checked(anytime_profile_end()) } {
                debug_assert!(false, "libtorch: {problem}");
            }
        }
    }
    // SAFETY: as above.
    if let Err(problem) = unsafe { checked(anytime_profile_begin()) } {
        panic!("libtorch: {problem}");
    }
    let under_way = UnderWay;
    let result = work();
    drop(under_way);
    (result, figures())
}

/// What the last profile measured.
fn figures() -> Vec<OperatorFigures> {
    extern "C" fn take(argument: *mut c_void, name: *const c_char, figures: *const u64) {
        // SAFETY: the argument is the list below, which nobody else touches meanwhile; the name ends with a zero, there
        // are five figures, and both live through this call.
        let (operators, name, figures) = unsafe {
            (
                &mut *argument.cast::<Vec<OperatorFigures>>(),
                CStr::from_ptr(name),
                std::slice::from_raw_parts(figures, 5),
            )
        };
        operators.push(OperatorFigures {
            name: readable(&name.to_string_lossy()),
            calls: figures[0],
            own_time: Duration::from_nanos(figures[1]),
            total_time: Duration::from_nanos(figures[2]),
            allocations: figures[3],
            bytes: figures[4],
        });
    }
    let mut operators: Vec<OperatorFigures> = Vec::new();
    // SAFETY: the list lives through the call, which is the only one to use it meanwhile.
    if let Err(problem) = unsafe { checked(anytime_profile_read(take, (&raw mut operators).cast())) } {
        panic!("libtorch: {problem}");
    }
    operators.sort_by(|one, other| other.own_time.cmp(&one.own_time).then(one.name.cmp(&other.name)));
    operators
}

/// A node of the backward pass that was written in C++ is named by its type,
/// `torch::autograd::CppNode<(anonymous namespace)::Linear>`: `anytime::LinearBackward` says the same in the way of
/// libtorch's own nodes. What the engine of that pass does around a node keeps the node's name.
fn readable(name: &str) -> String {
    let name = name.strip_prefix("autograd::engine::").unwrap_or(name);
    match name.split_once("torch::autograd::CppNode<(anonymous namespace)::") {
        Some((around, node)) => format!("{around}anytime::{}Backward", node.trim_end_matches('>')),
        None => name.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::operators::elementwise::rms_norm;

    /// One test, because there is one profile in a process; other tests may run operators meanwhile.
    #[test]
    fn operators_of_all_threads_are_found_with_what_they_call() {
        let on_cpu = (Kind::Float, Device::Cpu);
        let work = || {
            let input = Tensor::randn([64, 128], on_cpu);
            for _ in 0..3 {
                let _ = rms_norm(&input, &Tensor::ones([128], on_cpu), 1e-5);
            }
            let other = std::thread::spawn(move || input.linear::<Tensor>(&Tensor::ones([256, 128], on_cpu), None));
            other.join().unwrap().size()
        };
        let (size, operators) = profiled(work);
        assert_eq!(size, [64, 256]);
        let find = |name: &str| {
            operators
                .iter()
                .find(|of| of.name == name)
                .unwrap_or_else(|| panic!("{name}"))
        };
        let norm = find("anytime::rms_norm");
        assert!(norm.calls >= 3, "{norm:?}");
        assert!(
            norm.own_time > Duration::ZERO && norm.own_time <= norm.total_time,
            "{norm:?}"
        );
        let linear = find("aten::linear");
        // The product itself is an operator that it calls, whose output counts for both.
        assert!(linear.own_time < linear.total_time, "{linear:?}");
        assert!(linear.bytes >= 64 * 256 * 4 && linear.allocations >= 1, "{linear:?}");
        assert!(operators.is_sorted_by(|one, next| one.own_time >= next.own_time));

        // A panic ends the measurement too, and nothing of the last one is left.
        let panicked = std::panic::catch_unwind(|| profiled(|| panic!("of the work")));
        assert!(panicked.is_err());
        let (again, _) = profiled(|| ());
        assert_eq!(again, ());
        let nested = std::panic::catch_unwind(|| profiled(|| profiled(|| ())));
        assert!(nested.is_err(), "one profile at a time");
    }

    #[test]
    fn nodes_of_our_own_have_readable_names() {
        let node = "torch::autograd::CppNode<(anonymous namespace)::Linear>";
        assert_eq!(readable(node), "anytime::LinearBackward");
        let around = format!("autograd::engine::evaluate_function: {node}");
        assert_eq!(readable(&around), "evaluate_function: anytime::LinearBackward");
        assert_eq!(readable("aten::mm"), "aten::mm");
    }
}
