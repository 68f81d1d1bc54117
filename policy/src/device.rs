//! Devices and threads. One binary serves hosts with and without CUDA.
//!
//! The binary links libtorch's CPU half. CUDA's half registers itself when it is loaded, so it is loaded at run time,
//! from the directory that the CPU half came from, before the first call that names a CUDA device.

use std::path::PathBuf;
use std::sync::{Once, OnceLock};

use tch::{Cuda, Device, Kind};

use crate::error::PolicyError;
use crate::operators;
use crate::operators::device::{self, disable_cudnn_attention};

/// The device that `text` names: `cpu`, `cuda` (the first), `cuda:N`, or `auto` (the first CUDA device if there is
/// one, otherwise the CPU).
///
/// # Errors
/// [`PolicyError::Device`] if the text is none of these, or a CUDA device is asked for and cannot be had.
pub fn choose(text: &str) -> Result<Device, PolicyError> {
    let refuse = |problem: String| PolicyError::Device {
        device: text.to_owned(),
        problem,
    };
    let index = match text {
        "cpu" => return Ok(Device::Cpu),
        "auto" => {
            return Ok(if cuda_devices().is_ok_and(|count| count > 0) {
                Device::Cuda(0)
            } else {
                Device::Cpu
            });
        }
        "cuda" => 0,
        _ => match text.strip_prefix("cuda:").map(str::parse::<usize>) {
            Some(Ok(index)) => index,
            _ => return Err(refuse("it must be auto, cpu, cuda or cuda:N".to_owned())),
        },
    };
    match cuda_devices() {
        Ok(0) => Err(refuse("cuda is loaded but finds no device".to_owned())),
        Ok(count) if index >= count => Err(refuse(format!("there are {count} cuda devices, numbered from 0"))),
        Ok(_) => Ok(Device::Cuda(index)),
        Err(problem) => Err(refuse(problem)),
    }
}

/// The name that [`choose`] takes for a device.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// The kind to compute in by default: bf16 on CUDA, f32 on the CPU (f16 is very slow there).
pub fn default_kind(device: Device) -> Kind {
    match device {
        Device::Cuda(_) => Kind::BFloat16,
        _ => Kind::Float,
    }
}

/// The processor's name, as Linux tells it; empty where it does not. With other instructions products are summed in
/// another order.
pub fn processor() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = information.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        ["model name", "CPU part"].contains(&key.trim()).then(|| value.trim())
    });
    name.unwrap_or_default().to_owned()
}

/// Sets the threads of one tensor operation to `threads` (at least 1), and keeps operations from running side by side.
///
/// Call it at the start of the process: libtorch fixes at its first use how many operations run in parallel.
pub fn set_threads(threads: usize) {
    static INTER_OP: Once = Once::new();
    INTER_OP.call_once(|| tch::set_num_interop_threads(1));
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// Makes the tensor operations of this thread run on it alone from now on.
///
/// Call it on every thread that computes beside the main one. OpenMP gives each thread that starts a parallel region a
/// team of threads. Once all teams together have more members than there are cores, their members sleep instead of
/// spinning while they wait, and each product of the main thread then begins with waking its team up.
pub fn compute_on_this_thread_alone() {
    operators::use_one_thread();
}

/// How many CUDA devices there are once CUDA's half of libtorch is loaded.
fn cuda_devices() -> Result<usize, String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load_cuda).clone()?;
    Ok(usize::try_from(Cuda::device_count()).unwrap_or(0))
}

/// Loads CUDA's half of libtorch.
///
/// cuDNN's attention is off from then on. libtorch 2.11 prefers it on an H100 or H200, where it builds a plan of nearly
/// half a second for every new shape, which is nearly every call here, and where its backward pass gives NaN under a
/// mask for some lengths (pytorch#196678). FlashAttention and the memory-efficient kernel take every shape as it comes.
fn load_cuda() -> Result<(), String> {
    disable_cudnn_attention();
    const LIBRARY: &str = "libtorch_cuda.so";
    let mut candidates = library_directories();
    candidates.retain(|directory| directory.join(LIBRARY).exists());
    let name = candidates
        .first()
        .map_or(PathBuf::from(LIBRARY), |directory| directory.join(LIBRARY));
    open_for_good(&name).map_err(|error| {
        // The loader's own message is only in the source of libloading's error.
        let reason = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
        format!("cannot load {}: {reason}", name.display())
    })
}

/// Whether libtorch may choose cuDNN's attention on CUDA: no, once [`choose`] has looked for a CUDA device.
pub fn uses_cudnn_attention() -> bool {
    device::uses_cudnn_attention()
}

/// Where libtorch may lie: the directory that this process has its CPU half from, and `$LIBTORCH/lib`.
fn library_directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for line in maps.lines().filter(|line| line.ends_with("/libtorch_cpu.so")) {
        if let Some(start) = line.find('/') {
            directories.extend(PathBuf::from(&line[start..]).parent().map(PathBuf::from));
        }
    }
    if let Some(libtorch) = std::env::var_os("LIBTORCH") {
        directories.push(PathBuf::from(libtorch).join("lib"));
    }
    directories
}

/// Loads a library for the rest of the process.
#[cfg(unix)]
fn open_for_good(name: &std::path::Path) -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the library is libtorch's own CUDA half from the directory of the libtorch already running, whose
    // constructors are meant to run at load time; it is never unloaded, so nothing registered can dangle.
    #[allow(unsafe_code)]
    let library = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) }?;
    std::mem::forget(library);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        assert_eq!(choose("cpu").unwrap(), Device::Cpu);
        for text in ["gpu", "cuda:", "cuda:x", "cuda:-1", ""] {
            let error = choose(text).unwrap_err().to_string();
            assert!(error.contains("it must be auto, cpu, cuda or cuda:N"), "{error}");
        }
    }

    #[test]
    fn cuda_is_had_or_refused_with_a_reason() {
        let automatic = choose("auto").unwrap();
        match choose("cuda") {
            Ok(device) => assert_eq!(device, automatic),
            Err(error) => {
                assert_eq!(automatic, Device::Cpu);
                let text = error.to_string();
                assert!(
                    text.starts_with("device cuda: ") && !text.ends_with("dlopen failed"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn cudnn_attention_is_off_once_cuda_has_been_asked_for() {
        let _outcome = choose("cuda");
        assert!(!uses_cudnn_attention());
    }

    #[test]
    fn libtorch_is_found_in_this_process() {
        // The first tensor makes sure that the library is mapped.
        let _tensor = tch::Tensor::from(1.0);
        assert!(!library_directories().is_empty());
    }

    #[test]
    fn threads_can_be_set_twice() {
        set_threads(2);
        set_threads(0);
        assert_eq!(tch::get_num_threads(), 1);
    }

    #[test]
    fn kinds() {
        assert_eq!(default_kind(Device::Cpu), Kind::Float);
        assert_eq!(default_kind(Device::Cuda(1)), Kind::BFloat16);
    }
}
