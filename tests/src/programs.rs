//! Finds the programs that the tests run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A binary of this workspace, of the profile that the test itself was built in.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("path of the test");
    // target/<profile>/deps/<test>
    let profile_directory = test.parent().and_then(Path::parent).expect("test inside target/");
    let path = profile_directory.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --bins` with the profile of the tests first, as `make test` does",
        path.display()
    );
    path
}

/// A Redis server: one on PATH, else the one that set-up fetched.
pub fn redis_server() -> PathBuf {
    let fetched = repository().join(".deps/bin/valkey-server");
    let found = on_path("redis-server")
        .or_else(|| on_path("valkey-server"))
        .or_else(|| fetched.is_file().then_some(fetched));
    found.expect("no redis-server or valkey-server on PATH and none in .deps/bin: run `make setup`")
}

/// Prometheus: one on PATH, else the one that set-up fetched; fetched now where there is neither.
pub fn prometheus() -> PathBuf {
    of_prometheus("prometheus")
}

/// Prometheus' own tool that checks and tests rules; found as [`prometheus`] is.
pub fn promtool() -> PathBuf {
    of_prometheus("promtool")
}

/// Alertmanager's own tool that checks its configuration; found as [`prometheus`] is.
pub fn amtool() -> PathBuf {
    of_prometheus("amtool")
}

/// The exporter of Redis; found as [`prometheus`] is.
pub fn redis_exporter() -> PathBuf {
    of_prometheus("prometheus-redis-exporter")
}

fn of_prometheus(program: &str) -> PathBuf {
    let fetched = repository().join(".deps/bin").join(program);
    if let Some(found) = on_path(program) {
        return found;
    }
    // Two tests at the same time fetch it only once.
    static FETCH: Mutex<()> = Mutex::new(());
    let _turn = FETCH.lock().unwrap_or_else(PoisonError::into_inner);
    if !fetched.is_file() {
        let script = repository().join("deploy/setup.sh");
        let status = Command::new(&script)
            .arg("prometheus")
            .status()
            .expect("deploy/setup.sh starts");
        assert!(status.success(), "deploy/setup.sh prometheus: {status}");
    }
    fetched
}

/// The root of the checkout.
pub fn repository() -> PathBuf {
    let parent = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    parent.expect("tests/ has a parent").to_path_buf()
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}
