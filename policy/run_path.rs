//! The run path to libtorch, for the build scripts of all crates with a binary or tests that load it.

use std::path::Path;

/// Writes the libraries of libtorch into the run path of this crate's binaries and tests, so that they start without
/// `LD_LIBRARY_PATH`. Without `LIBTORCH` there is nothing to write: the build then fails in `tch`, with a better
/// message.
pub(crate) fn add_libtorch_to_run_path() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Ok(libtorch) = std::env::var("LIBTORCH") else {
        return;
    };
    let libraries = Path::new(&libtorch).join("lib");
    // The run path is read long after the build, from any working directory: it must not be relative.
    let libraries = libraries.canonicalize().unwrap_or(libraries);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libraries.display());
}
