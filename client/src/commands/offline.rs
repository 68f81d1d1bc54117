//! Runs the programs that compute, for what needs tensors and no server: this program has no libtorch.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use anytime_service::exit::{ExitError, FAILED};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::local;

/// Runs the learner's program with these arguments to its end. It prints what this program would print.
///
/// # Errors
/// [`ExitError`] with the program's own exit code, or that the program is not there.
pub(super) async fn run_learner(arguments: Vec<OsString>) -> anyhow::Result<()> {
    run_program(&local::learner_program()?, arguments).await
}

/// The same for any program.
///
/// # Errors
/// [`ExitError`] with the program's own exit code.
pub(super) async fn run_program(program: &Path, arguments: Vec<OsString>) -> anyhow::Result<()> {
    let status = command(program, arguments)
        .status()
        .await
        .with_context(|| start(program))?;
    conclude(program, status)
}

/// Runs the learner's program with something on its standard input.
///
/// # Errors
/// As for [`run_learner`].
pub(super) async fn run_learner_with(arguments: Vec<OsString>, input: &[u8]) -> anyhow::Result<()> {
    let program = local::learner_program()?;
    let mut child = command(&program, arguments)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| start(&program))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ends before it has read all says itself why.
        let _ = pipe.write_all(input).await;
    }
    let status = child.wait().await.with_context(|| start(&program))?;
    conclude(&program, status)
}

/// The same, and gives what it prints on standard output.
///
/// # Errors
/// As for [`run_learner`].
pub(super) async fn output_of_learner_with(arguments: Vec<OsString>, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let program = local::learner_program()?;
    let mut child = command(&program, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| start(&program))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ends before it has read all says itself why.
        let _ = pipe.write_all(input).await;
    }
    let output = child.wait_with_output().await.with_context(|| start(&program))?;
    conclude(&program, output.status)?;
    Ok(output.stdout)
}

/// Runs the learner's program, and gives what it prints on standard output.
///
/// # Errors
/// As for [`run_learner`].
pub(super) async fn output_of_learner(arguments: Vec<OsString>) -> anyhow::Result<String> {
    let program = local::learner_program()?;
    // `output` would take standard error too, where the program says what is wrong.
    let child = command(&program, arguments)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| start(&program))?;
    let output = child.wait_with_output().await.with_context(|| start(&program))?;
    conclude(&program, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("what {} prints", program.display()))
}

fn command(program: &Path, arguments: Vec<OsString>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command
}

fn start(program: &Path) -> String {
    format!("start {}", program.display())
}

fn conclude(program: &Path, status: ExitStatus) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED);
    let message = format!("{} ended with {status}", program.display());
    Err(ExitError { code, message }.into())
}

/// `--name value` for every value that is there.
pub(super) fn add(arguments: &mut Vec<OsString>, name: &str, value: Option<impl Into<OsString>>) {
    if let Some(value) = value {
        arguments.push(name.into());
        arguments.push(value.into());
    }
}
