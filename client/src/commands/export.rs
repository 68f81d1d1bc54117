//! `anytime export`: a recovery checkpoint as a Hugging Face model directory, through the learner, or by the learner's
//! program alone from a directory of jobs.

use serde_json::json;

use super::offline::{add, run_learner};
use crate::arguments::ExportArgs;
use crate::learner::Learner;
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

async fn without_learner(arguments: &ExportArgs, json: bool) -> anyhow::Result<()> {
    let mut command = vec!["export".into(), arguments.job.job.clone().into()];
    add(&mut command, "--runs-dir", arguments.runs_dir.as_ref());
    add(&mut command, "--step", arguments.step.map(|step| step.to_string()));
    add(&mut command, "--output", arguments.output.as_ref());
    if json {
        command.push("--json".into());
    }
    run_learner(command).await
}
