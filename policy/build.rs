//! Writes libtorch's folder into the tests' run path, so that `cargo test` needs no LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Ok(libtorch) = std::env::var("LIBTORCH") else {
        return;
    };
    let libraries = std::path::Path::new(&libtorch).join("lib");
    let libraries = libraries.canonicalize().unwrap_or(libraries);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libraries.display());
}
