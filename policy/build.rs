//! Compiles the C++ of `src/operators` against libtorch's headers, and lets the tests find libtorch.

#[path = "run_path.rs"]
mod run_path;

use std::path::{Path, PathBuf};

fn main() {
    // Compiled together, so that libtorch's headers, which take longer than all of this, are read once. Names outside of
    // functions are therefore different in all of them.
    const TOGETHER: [&str; 12] = [
        // First, because what it defines is for the headers that it alone includes.
        "src/operators/collectives.cpp",
        "src/operators/operators.cpp",
        "src/operators/attention.cpp",
        "src/operators/device.cpp",
        "src/operators/elementwise.cpp",
        "src/operators/narrow.cpp",
        "src/operators/drawing.cpp",
        "src/operators/memory.cpp",
        "src/operators/training.cpp",
        "src/operators/profile.cpp",
        "src/operators/sequences.cpp",
        "src/operators/wide.cpp",
    ];
    // Those that need few of the headers.
    const ALONE: [&str; 2] = ["src/operators/graph.cpp", "src/operators/kernels.cpp"];
    const HEADERS: [&str; 5] = [
        "src/operators/common.h",
        "src/operators/exponential.h",
        "src/operators/kernels.cu",
        "src/operators/gloo",
        "src/operators/record.h",
    ];
    for source in TOGETHER.iter().chain(&ALONE).chain(&HEADERS) {
        println!("cargo:rerun-if-changed={source}");
    }
    let of_cargo = |name: &str| PathBuf::from(std::env::var_os(name).expect("cargo sets it"));
    let directory = of_cargo("CARGO_MANIFEST_DIR");
    let include = |source: &str| format!("#include \"{}\"\n", directory.join(source).display());
    let together = of_cargo("OUT_DIR").join("together.cpp");
    std::fs::write(&together, TOGETHER.map(include).concat()).expect("cargo's directory can be written");
    let libtorch = std::env::var("LIBTORCH").expect("LIBTORCH: the directory of libtorch; deploy/setup.sh fetches one");
    let libtorch = Path::new(&libtorch);
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file(together)
        .files(ALONE)
        .include(libtorch.join("include"))
        // For the headers of Gloo that libtorch's own name.
        .include("src/operators")
        .include(libtorch.join("include/torch/csrc/api/include"))
        // All warnings would be about libtorch's headers.
        .warnings(false)
        // Attention over the cache and the steps between products are arithmetic of our own. It is optimised in every
        // build, so that tests are fast too. Sums may be reordered, as vector units need, but infinities stay
        // infinities.
        .opt_level(3)
        // Nobody steps through it, and to write it down takes as long as half of the compilation.
        .debug(false)
        .flag("-fassociative-math")
        .flag("-fno-signed-zeros")
        .flag("-fno-trapping-math")
        .flag("-fno-math-errno")
        .flag("-freciprocal-math")
        // libtorch's parallel_for is a template: without this flag it runs on one thread.
        .flag("-fopenmp")
        .compile("anytime_operators");
    // libtorch's own libgomp is the one that is loaded, because both have the same name.
    println!("cargo:rustc-link-lib=gomp");
    run_path::add_libtorch_to_run_path();
}
