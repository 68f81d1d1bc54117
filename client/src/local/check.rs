//! Checks a job on this machine with the learner's program, which is started for this alone and serves nothing.

use std::process::Stdio;

use anyhow::{Context as _, anyhow};
use anytime_proto::v1;
use anytime_service::exit::{CONFIGURATION, ExitError};
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;

use super::programs;

/// What the files of a job hold; relative paths start at the current directory.
///
/// # Errors
/// [`ExitError`]: what is wrong with the job, or that the program is not there.
pub(crate) async fn check_here(spec: &v1::JobSpec) -> anyhow::Result<v1::JobCheck> {
    let program = programs::server("anytime-learner").map_err(|error| match error.downcast::<ExitError>() {
        Ok(missing) => {
            let message = format!("{}; --settings-only checks what needs no program", missing.message);
            ExitError::unavailable(message).into()
        }
        Err(error) => error,
    })?;
    let mut child = tokio::process::Command::new(&program)
        .args(["--check", "--root", "."])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let mut input = child.stdin.take().context("the input of the learner's program")?;
    // A program that refuses its arguments reads nothing; what it says is read below.
    let _ = input.write_all(&spec.encode_to_vec()).await;
    drop(input);
    let ended = child
        .wait_with_output()
        .await
        .with_context(|| format!("wait for {}", program.display()))?;
    if ended.status.success() {
        return v1::JobCheck::decode(ended.stdout.as_slice()).context("read what the learner's program found");
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let reason = said
        .lines()
        .find_map(|line| line.strip_prefix("error: "))
        .unwrap_or(said.trim());
    if ended.status.code() == Some(i32::from(CONFIGURATION)) {
        return Err(ExitError::configuration(reason).into());
    }
    Err(anyhow!("{} --check: {reason} ({})", program.display(), ended.status))
}
