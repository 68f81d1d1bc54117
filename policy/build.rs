//! Compiles `src/operators/operators.cpp` against libtorch's headers, and writes libtorch's folder into the tests' run
//! path, so that `cargo test` needs no LD_LIBRARY_PATH.

use std::path::Path;

fn main() {
    const SOURCE: &str = "src/operators/operators.cpp";
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed={SOURCE}");
    let libtorch = std::env::var("LIBTORCH").expect("LIBTORCH: the folder of libtorch; deploy/setup.sh fetches one");
    let libtorch = Path::new(&libtorch);
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file(SOURCE)
        .include(libtorch.join("include"))
        // libtorch's headers, not ours, are what there would be warnings about.
        .warnings(false)
        .compile("anytime_operators");
    let libraries = libtorch.join("lib");
    let libraries = libraries.canonicalize().unwrap_or(libraries);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libraries.display());
}
