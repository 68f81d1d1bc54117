//! `anytime export`: a recovery checkpoint as a Hugging Face model directory, through the learner, or by the learner's
//! program alone from a directory of jobs.

use anyhow::Context as _;
use anytime_service::exit::{ExitError, FAILED};
use serde_json::json;

use crate::arguments::ExportArgs;
use crate::learner::Learner;
use crate::local;
use crate::output::{print_json, print_line};

pub(super) async fn run(arguments: &ExportArgs, json: bool) -> anyhow::Result<()> {
    if arguments.runs_dir.is_some() {
        return without_learner(arguments, json).await;
    }
    let mut learner = Learner::try_new(&arguments.job.learner)?;
    let exported = learner
        .export(&arguments.job.job, arguments.step, arguments.output.as_deref())
        .await?;
    if json {
        return print_json(&json!({ "step": exported.step, "directory": exported.directory }));
    }
    print_line(&format!("step {}: {}", exported.step, exported.directory))
}

/// This program has no libtorch, so the learner's program writes the model. It prints what this one would print.
async fn without_learner(arguments: &ExportArgs, json: bool) -> anyhow::Result<()> {
    let program = local::learner_program()?;
    let mut command = tokio::process::Command::new(&program);
    command.arg("export").arg(&arguments.job.job);
    if let Some(directory) = &arguments.runs_dir {
        command.arg("--runs-dir").arg(directory);
    }
    if let Some(step) = arguments.step {
        command.arg("--step").arg(step.to_string());
    }
    if let Some(output) = &arguments.output {
        command.arg("--output").arg(output);
    }
    if json {
        command.arg("--json");
    }
    let status = command
        .status()
        .await
        .with_context(|| format!("start {}", program.display()))?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED);
    let message = format!("{} ended with {status}", program.display());
    Err(ExitError { code, message }.into())
}
