//! Lets the binaries and tests of this crate find libtorch.

#[path = "../policy/run_path.rs"]
mod run_path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    run_path::add_libtorch_to_run_path();
}
