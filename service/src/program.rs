//! Which program this is: its version, the commit that it was built from, and the libtorch that it links. `--version`
//! says it, the first line of every log, the metric `anytime_build_info`, and what a process reports of itself.

use std::sync::{LazyLock, OnceLock};
use std::time::Instant;

use anytime_proto::v1::ProcessReport;

use crate::last_lines;

/// The version of all programs.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that this is built from, where who builds it says so. It is no build script's to find out: then every
/// commit would compile this crate, and all above it, again.
pub const COMMIT: &str = match option_env!("ANYTIME_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The libtorch of a program that links it.
static LIBTORCH: OnceLock<String> = OnceLock::new();

/// When the process began: [`begin`] is called first of all.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What `main` calls before anything else: the process has begun. `libtorch` is the version of the one that it links, for
/// a program that does. Only the first call counts.
pub fn begin(libtorch: Option<String>) {
    LazyLock::force(&BEGAN);
    if let Some(libtorch) = libtorch {
        LIBTORCH.get_or_init(|| libtorch);
    }
}

/// The version of libtorch; empty where the program links none.
pub fn libtorch() -> &'static str {
    LIBTORCH.get().map_or("", String::as_str)
}

/// What `--version` says behind the program's name: `0.1.0 (commit 1b970e9, libtorch 2.11.0)`.
pub fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| in_words(VERSION, COMMIT, libtorch()));
    &TEXT
}

fn in_words(version: &str, commit: &str, libtorch: &str) -> String {
    match libtorch {
        "" => format!("{version} (commit {commit})"),
        libtorch => format!("{version} (commit {commit}, libtorch {libtorch})"),
    }
}

/// What this process says of itself, for those who ask over the wire.
pub fn report() -> ProcessReport {
    let (last_error, last_warning) = last_lines::newest();
    ProcessReport {
        version: VERSION.to_owned(),
        commit: COMMIT.to_owned(),
        libtorch: libtorch().to_owned(),
        up_seconds: BEGAN.elapsed().as_secs_f64(),
        last_error,
        last_warning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_which_it_is() {
        assert_eq!(in_words("0.1.0", "1b970e9", ""), "0.1.0 (commit 1b970e9)");
        assert_eq!(
            in_words("0.1.0", "unknown", "2.11.0"),
            "0.1.0 (commit unknown, libtorch 2.11.0)"
        );
        begin(None);
        let report = report();
        assert_eq!((report.version.as_str(), report.commit.as_str()), (VERSION, COMMIT));
        assert!(report.up_seconds >= 0.0 && report.libtorch.is_empty(), "{report:?}");
    }
}
