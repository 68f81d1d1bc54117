//! What the tests of the binary share: running it, a job service without a learner, and programs that only pretend.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

mod fake_learner;
pub(crate) use fake_learner::{FakeLearner, Script};

pub(crate) const LIMIT: Duration = Duration::from_secs(40);

pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anytime"));
    command
        .args(arguments)
        .env_remove("ANYTIME_LEARNER")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

pub(crate) async fn output_of(mut command: Command) -> Ended {
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .expect("ends in time")
        .expect("starts");
    Ended {
        code: output.status.code().expect("ends by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the binary to its end.
pub(crate) async fn anytime(arguments: &[&str]) -> Ended {
    output_of(command(arguments)).await
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

pub(crate) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub(crate) fn write_script(path: &Path, body: &str) {
    write(path, &format!("#!/bin/sh\n{body}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Polls until the condition holds.
pub(crate) async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

pub(crate) fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = i32::try_from(child.id().expect("runs")).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// A valid job file without anything beyond what is required.
pub(crate) fn train_job(name: &str) -> String {
    format!(
        "name = \"{name}\"\nkind = \"train\"\n[model]\npath = \"model\"\n[data]\npath = \"data.jsonl\"\n[training]\nsteps = 2\n"
    )
}
