//! Finds the programs to start.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_service::exit::ExitError;

/// Overrides the directory in which the server binaries are looked for.
const BIN_DIR_VARIABLE: &str = "ANYTIME_BIN_DIR";

/// The programs that serve as Redis; the first one that is found is taken.
const REDIS_NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// Where `deploy/setup.sh` puts a server if the machine has none.
const REDIS_IN_CHECKOUT: &str = ".deps/bin/valkey-server";

/// The programs of a local run.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) verifier: PathBuf,
    pub(super) learner: PathBuf,
    pub(super) actor: PathBuf,
    /// None if an existing server is used.
    pub(super) redis: Option<PathBuf>,
}

impl Programs {
    /// Finds the server binaries beside our own (or in `ANYTIME_BIN_DIR`) and, if asked for, a Redis server.
    ///
    /// # Errors
    /// [`ExitError`] with the code of unavailability that names what is missing.
    pub(super) fn find(root: &Path, needs_redis: bool) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("path of our own executable")?;
        let redis = if needs_redis {
            Some(find_redis(root, &own)?)
        } else {
            None
        };
        Ok(Self {
            verifier: server("anytime-verifier")?,
            learner: server("anytime-learner")?,
            actor: server("anytime-actor")?,
            redis,
        })
    }
}

/// The program of a server, beside our own or in `ANYTIME_BIN_DIR`.
///
/// # Errors
/// [`ExitError`] with the code of unavailability where it is not there.
pub(super) fn server(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("path of our own executable")?;
    let directory = match std::env::var_os(BIN_DIR_VARIABLE) {
        Some(directory) => PathBuf::from(directory),
        None => own.parent().map(Path::to_path_buf).unwrap_or_default(),
    };
    let path = directory.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let message = format!(
        "{name} is not in {} ({BIN_DIR_VARIABLE} overrides where it is looked for)",
        directory.display()
    );
    Err(ExitError::unavailable(message).into())
}

fn find_redis(root: &Path, own: &Path) -> Result<PathBuf, ExitError> {
    // The set-up fetches one only where PATH has none, or one that is too old.
    for directory in root.ancestors().chain(own.ancestors()) {
        let candidate = directory.join(REDIS_IN_CHECKOUT);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for name in REDIS_NAMES {
        for directory in std::env::split_paths(&path) {
            let candidate = directory.join(name);
            if candidate.is_file() {
                return Ok(candidate);
            }
        }
    }
    let names = REDIS_NAMES.join(" or ");
    let message = format!("no {names} on PATH and no {REDIS_IN_CHECKOUT}; install one or give --redis URL");
    Err(ExitError::unavailable(message))
}
