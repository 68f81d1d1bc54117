//! What kind of fault ended the work of a job's thread, and so what becomes of the job.
//!
//! | whose fault | what happens |
//! |---|---|
//! | the disk is full, a path is away, too many files are open, another learner has the job, another rank is gone | the job pauses, and is tried again by itself |
//! | the device, the memory or the disk under this process | the process ends, and the job goes on in the next one |
//! | the job's own, and panics | the job fails; it keeps its queue and its checkpoints, and can be resumed |

use std::io::{self, ErrorKind};

use anytime_proto::settings::InvalidSetting;

use crate::train::RanksError;

/// Whose fault it is that a job cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Of the disk or the files around the job; it may pass.
    Passing,
    /// Of the device, the memory or the disk under this process: another process may do better, and another job in this
    /// one would not.
    Process,
    /// Of the job itself.
    Own,
}

/// A job's thread asks for a person: the job pauses until it is resumed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NeedsPerson(pub String);

/// Texts of passing faults, in the words of libraries that turn the system's errors into text.
const PASSING_TEXTS: &[&str] = &[
    "No space left on device",
    "Disk quota exceeded",
    "Too many open files",
    "Read-only file system",
    "Permission denied",
    "File too large",
    "No such file or directory",
    // `HeldByAnother`, until the other learner ends or somebody gives one of them another name.
    "another learner, at ",
];

/// Texts of libtorch, CUDA and the system about a device, memory or disk with which this process cannot go on.
const PROCESS_TEXTS: &[&str] = &[
    "CUDA out of memory",
    "CUDA error",
    "CUDA driver error",
    "CUDA-capable device",
    "finds no device",
    "device-side assert",
    "cuDNN error",
    "CUDNN_STATUS",
    "CUBLAS_STATUS",
    "CUSOLVER_STATUS",
    "NVRTC",
    "HIP error",
    "HIP out of memory",
    "can't allocate memory",
    "not enough memory",
    "Cannot allocate memory",
    "std::bad_alloc",
    "Input/output error",
    "Stale file handle",
];

/// Settings that name a file or directory. A job whose paths were right when it was submitted is not at fault where one
/// of them cannot be read later.
const PATHS: &[&str] = &[
    "model.path",
    "model.from_job",
    "data.path",
    "evaluation.path",
    "checkpoint.output",
];

/// Whose fault this failure is.
pub fn fault_of(failure: &anyhow::Error) -> Fault {
    let of_io = failure
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .find_map(of_io);
    if let Some(fault) = of_io {
        return fault;
    }
    // The ranks that come back, or others, go on from the recovery checkpoint.
    if is_of_ranks(failure) {
        return Fault::Passing;
    }
    let of_text = fault_of_text(&format!("{failure:#}"));
    if of_text != Fault::Own {
        return of_text;
    }
    let is_path = |setting: &InvalidSetting| PATHS.contains(&setting.field.as_str());
    let names_a_path = failure
        .chain()
        .filter_map(|cause| cause.downcast_ref::<InvalidSetting>())
        .any(is_path);
    if names_a_path { Fault::Passing } else { Fault::Own }
}

/// Whether the ranks cannot go on together. They may when the run begins anew, and never within it.
pub fn is_of_ranks(failure: &anyhow::Error) -> bool {
    failure.chain().any(|cause| cause.is::<RanksError>())
}

/// Whose fault a panic with this text is: the job's own, unless the text is about a device, memory or a disk.
pub fn fault_of_panic(text: &str) -> Fault {
    match fault_of_text(text) {
        Fault::Process => Fault::Process,
        _ => Fault::Own,
    }
}

fn fault_of_text(text: &str) -> Fault {
    let says = |texts: &[&str]| texts.iter().any(|one| text.contains(one));
    if says(PROCESS_TEXTS) {
        Fault::Process
    } else if says(PASSING_TEXTS) {
        Fault::Passing
    } else {
        Fault::Own
    }
}

/// By Linux's error numbers, for errors that have no kind of their own in the standard library.
fn of_io(error: &io::Error) -> Option<Fault> {
    const EIO: i32 = 5;
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    match error.raw_os_error() {
        Some(EIO | ENXIO | ENODEV) => return Some(Fault::Process),
        Some(ENFILE | EMFILE) => return Some(Fault::Passing),
        _ => {}
    }
    match error.kind() {
        ErrorKind::OutOfMemory | ErrorKind::StaleNetworkFileHandle => Some(Fault::Process),
        ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::FileTooLarge
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::ResourceBusy
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::TimedOut => Some(Fault::Passing),
        _ => None,
    }
}

/// What a person can do about a passing fault, from its text.
pub(super) fn advice(reason: &str) -> &'static str {
    let says = |text: &str| reason.contains(text);
    if says("No space left") || says("quota") || says("File too large") {
        "make room there"
    } else if says("Too many open files") {
        "raise the limit of open files (ulimit -n) or close what holds them"
    } else if says("Permission denied") || says("Read-only") {
        "let the learner write there"
    } else if says("another learner, at ") {
        "once it has let go of the job"
    } else if says("ranks cannot go on together") {
        "look at the log of that rank and start it again"
    } else {
        "put it right there"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_another_learner_has_is_tried_again() {
        let rival = crate::queue::fence::HeldByAnother {
            address: "10.0.0.7:7100 on host".to_owned(),
        };
        assert_eq!(fault_of(&anyhow::Error::new(rival)), Fault::Passing);
    }

    #[test]
    fn faults_of_the_system_are_told_apart_behind_any_context() {
        let cases = [
            (28, Fault::Passing),
            (122, Fault::Passing),
            (24, Fault::Passing),
            (23, Fault::Passing),
            (13, Fault::Passing),
            (30, Fault::Passing),
            (2, Fault::Passing),
            (5, Fault::Process),
            (116, Fault::Process),
            (12, Fault::Process),
            (19, Fault::Process),
        ];
        for (number, expected) in cases {
            let error = io::Error::from_raw_os_error(number);
            let text = error.to_string();
            let failure = anyhow::Error::new(error)
                .context("recovery checkpoint runs/x")
                .context("training");
            assert_eq!(fault_of(&failure), expected, "{text}");
        }
    }

    #[test]
    fn what_libraries_put_into_words_is_understood() {
        let said = [
            ("CUDA out of memory. Tried to allocate 2.00 GiB", Fault::Process),
            ("CUDA error: uncorrectable ECC error encountered", Fault::Process),
            ("CUDA error: device-side assert triggered", Fault::Process),
            (
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
                Fault::Process,
            ),
            (
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
                Fault::Process,
            ),
            ("io error: No space left on device (os error 28)", Fault::Passing),
            ("the gradient is not finite (norm NaN) at update 3", Fault::Own),
            ("index out of range in self", Fault::Own),
        ];
        for (text, expected) in said {
            assert_eq!(
                fault_of(&anyhow::anyhow!("{text}").context("step 3")),
                expected,
                "{text}"
            );
        }
        assert_eq!(
            fault_of_panic("CUDA error: an illegal memory access was encountered"),
            Fault::Process
        );
        assert_eq!(fault_of_panic("no entry: No such file or directory"), Fault::Own);
    }

    #[test]
    fn a_path_that_was_right_at_submission_is_not_the_jobs_fault() {
        let setting = |field: &str| anyhow::Error::new(InvalidSetting::because(field, "it must be there"));
        assert_eq!(fault_of(&setting("model.path")), Fault::Passing);
        assert_eq!(fault_of(&setting("training.steps")), Fault::Own);
    }
}
