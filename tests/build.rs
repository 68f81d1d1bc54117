//! Lets the binary and the tests find libtorch without variables: its folder becomes their run path.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Ok(libtorch) = std::env::var("LIBTORCH") else {
        return;
    };
    let libraries = Path::new(&libtorch).join("lib");
    let libraries = libraries.canonicalize().unwrap_or(libraries);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libraries.display());
}
