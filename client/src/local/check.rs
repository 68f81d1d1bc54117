//! Checks a job on this machine with the learner's program, which is started for this alone and serves nothing.

use std::process::Stdio;

use anyhow::{Context as _, anyhow};
use anytime_proto::limits::PROGRESS;
use anytime_proto::v1;
use anytime_service::exit::{CONFIGURATION, ExitError};
use prost::Message as _;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

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
    let mut output = child.stdout.take().context("the output of the learner's program")?;
    let errors = child.stderr.take().context("what the learner's program says")?;
    let mut found = Vec::new();
    let waiting = || format!("wait for {}", program.display());
    let (read, said, status) = tokio::join!(output.read_to_end(&mut found), listen(errors), child.wait());
    let (said, status) = (said.with_context(waiting)?, status.with_context(waiting)?);
    read.with_context(waiting)?;
    if status.success() {
        return v1::JobCheck::decode(found.as_slice()).context("read what the learner's program found");
    }
    let reason = said
        .lines()
        .find_map(|line| line.strip_prefix("error: "))
        .unwrap_or(said.trim());
    if status.code() == Some(i32::from(CONFIGURATION)) {
        return Err(ExitError::configuration(reason).into());
    }
    Err(anyhow!("{} --check: {reason} ({})", program.display(), status))
}

/// Passes on how far a download is, and gives everything else that the program says.
async fn listen(errors: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut reader = BufReader::new(errors);
    let (mut said, mut line) = (String::new(), Vec::new());
    while reader.read_until(b'\n', &mut line).await? > 0 {
        let text = String::from_utf8_lossy(&line);
        match text.strip_prefix(PROGRESS) {
            Some(progress) => eprint!("{progress}"),
            None => said.push_str(&text),
        }
        line.clear();
    }
    Ok(said)
}
