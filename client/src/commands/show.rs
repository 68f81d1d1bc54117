//! `anytime show`: what an evaluation generated, for reading.

use std::path::Path;

use anytime_proto::generations::{Kept, KeptProblem, LookupError, ProblemHead};
use anytime_service::exit::{ExitError, exit_code};
use serde_json::{Value, json};

use super::offline::{add, output_of_learner};
use crate::arguments::ShowArgs;
use crate::learner::Learner;
use crate::output::{print_json, print_line};
use crate::show::{job_directory, problem_list, problem_page};

/// What was found, on this disk or at the learner.
struct Found {
    job: String,
    step: u64,
    /// The line of the requested problem.
    line: Option<String>,
    /// All problems, where no single one was requested.
    heads: Vec<ProblemHead>,
}

pub(super) async fn run(arguments: &ShowArgs, json: bool) -> anyhow::Result<()> {
    let run = Path::new(&arguments.run);
    let found = if run.is_file() {
        from_groups(run, arguments).await?
    } else if run.is_dir() {
        from_disk(run, arguments)?
    } else {
        from_learner(arguments).await?
    };
    let Some(line) = found.line else {
        if json {
            return print_json(&json!({ "job": found.job, "step": found.step, "problems": found.heads }));
        }
        return print_line(&problem_list(&found.job, found.step, &found.heads));
    };
    let problem: KeptProblem = serde_json::from_str(&line)?;
    if let Some(trace) = arguments.trace.filter(|trace| *trace >= problem.traces.len()) {
        let message = format!(
            "--trace {trace} is not there: the problem has {} traces, counted from 0",
            problem.traces.len()
        );
        return Err(ExitError::configuration(message).into());
    }
    if json {
        let mut document: Value = serde_json::from_str(&line)?;
        if let (Some(trace), Some(traces)) = (arguments.trace, document["traces"].as_array_mut()) {
            *traces = vec![traces.swap_remove(trace)];
        }
        return print_json(&document);
    }
    print_line(&problem_page(&found.job, found.step, &problem, arguments.trace))
}

/// A file of groups holds ids, which the learner's program decodes.
async fn from_groups(file: &Path, arguments: &ShowArgs) -> anyhow::Result<Found> {
    let mut command = vec!["groups".into(), file.into()];
    add(&mut command, "--problem", arguments.problem.as_ref());
    add(&mut command, "--model", arguments.model.as_ref());
    let mut document: Value = serde_json::from_str(&output_of_learner(command).await?)?;
    let heads = match document["problems"].take() {
        Value::Null => Vec::new(),
        heads => serde_json::from_value(heads)?,
    };
    Ok(Found {
        job: document["job"].as_str().unwrap_or_default().to_owned(),
        step: document["step"].as_u64().unwrap_or(0),
        line: arguments.problem.as_ref().map(|_| document["problem"].to_string()),
        heads,
    })
}

fn from_disk(run: &Path, arguments: &ShowArgs) -> anyhow::Result<Found> {
    let directory = job_directory(run, arguments.job.as_deref())?;
    let kept = Kept::find(&directory, arguments.step).map_err(explain)?;
    let (line, heads) = match &arguments.problem {
        Some(problem) => (Some(kept.line(problem).map_err(explain)?), Vec::new()),
        None => (None, kept.problems().map_err(explain)?),
    };
    let job = directory.canonicalize().unwrap_or(directory);
    Ok(Found {
        job: job.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        step: kept.step,
        line,
        heads,
    })
}

async fn from_learner(arguments: &ShowArgs) -> anyhow::Result<Found> {
    let run = &arguments.run;
    if run.contains('/') {
        return Err(ExitError::configuration(format!("there is no such directory: {run}")).into());
    }
    if let Some(job) = &arguments.job {
        let message =
            format!("--job {job} chooses a job of a directory, but `{run}` is none and is read as a job id itself");
        return Err(ExitError::configuration(message).into());
    }
    let mut learner = Learner::try_new(&arguments.learner)?;
    let problem = arguments.problem.as_deref();
    let answer = learner.generations(run, arguments.step, problem).await;
    let answer = answer.map_err(|error| ExitError {
        code: exit_code(&error),
        message: format!("`{run}` is no directory here, and as a job id: {error:#}"),
    })?;
    let mut heads = Vec::with_capacity(answer.problems.len());
    for head in &answer.problems {
        heads.push(serde_json::from_str(head)?);
    }
    Ok(Found {
        job: run.clone(),
        step: answer.step,
        line: problem.map(|_| answer.line),
        heads,
    })
}

/// Asking for a step or a problem that does not exist is bad configuration; a damaged file is a failure.
fn explain(error: LookupError) -> anyhow::Error {
    if error.is_of_the_disk() {
        return error.into();
    }
    ExitError::configuration(error.to_string()).into()
}
