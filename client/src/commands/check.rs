//! `anytime check`: says what each job would do, and opens everything that it names. The files are looked at by the
//! learner, which reads models and data: one that is asked, or its program, started for this alone.

use anytime_proto::ShortName as _;
use anytime_proto::settings::with_defaults;
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use serde_json::json;

use crate::arguments::CheckArgs;
use crate::check_view::describe;
use crate::gpus::Fit;
use crate::job_file::{self, Job};
use crate::learner::Learner;
use crate::local::check_here;
use crate::output::{print_json, print_line};

pub(super) async fn run(arguments: &CheckArgs, json: bool) -> anyhow::Result<()> {
    let jobs = job_file::read_all(&arguments.job_files, &arguments.overrides)?;
    let mut documents = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        let found = if arguments.settings_only {
            None
        } else {
            Some(find(arguments, job, &jobs[..index]).await?)
        };
        let spec = &job.spec;
        let needs = found.as_ref().map(|found| found.gpus.as_slice()).unwrap_or_default();
        let fit = arguments.gpus.and_then(|gpus| Fit::of(gpus, spec, needs));
        if let Some(reason) = fit.as_ref().and_then(Fit::refusal) {
            let message = format!("{}: {reason}", job.source);
            return Err(ExitError::configuration(message).into());
        }
        if json {
            let mut document = json!({ "file": job.source, "spec": with_defaults(spec), "found": found });
            if let Some(fit) = &fit {
                document["fit"] = json!(fit);
            }
            documents.push(document);
            continue;
        }
        let what = if found.is_some() { "works" } else { "a valid job file" };
        print_line(&format!(
            "{}: {what} ({} {})",
            job.source,
            spec.kind().short_name(),
            spec.name()
        ))?;
        if let Some(found) = &found {
            print_line(&describe(found, arguments.data))?;
        }
        for line in fit.iter().flat_map(Fit::lines) {
            print_line(&line)?;
        }
        if let (Some(_), None) = (arguments.gpus, &fit) {
            print_line("gpus        the learner that was asked is of an earlier release, and says nothing of GPUs")?;
        }
    }
    if json {
        print_json(&documents)?;
    }
    Ok(())
}

/// What the learner finds in the files of a job. A model that an earlier job writes, or a checkpoint of it, is not there yet.
/// It will have the configuration and the tokenizer of the model that the earlier job starts from, so the check takes that
/// one.
async fn find(arguments: &CheckArgs, job: &Job, earlier: &[Job]) -> anyhow::Result<v1::JobCheck> {
    let mut spec = job.spec.clone();
    for before in earlier.iter().rev() {
        let output = before
            .spec
            .checkpoint
            .as_ref()
            .and_then(|checkpoint| checkpoint.output.as_deref());
        let model = spec.model.get_or_insert_default();
        if model.from_job.is_some() && model.from_job == before.spec.name {
            model.clone_from(&before.spec.model.clone().unwrap_or_default());
            // A job that does not exist yet has no weights.
            model.initialise = model.from_job.is_none().then_some(true);
        } else if output.is_some() && output == model.path.as_deref() {
            model.path = before.spec.model.as_ref().and_then(|model| model.path.clone());
            model.initialise = Some(true);
        }
    }
    let found = match &arguments.learner {
        Some(address) => Learner::at(address, &arguments.security)?.check(&spec).await,
        None => check_here(&spec).await,
    };
    found.map_err(|error| match error.downcast_ref::<ExitError>() {
        // With several files the message must say which one is meant.
        Some(refused) => ExitError {
            code: refused.code,
            message: format!("{}: {}", job.source, refused.message),
        }
        .into(),
        None => error,
    })
}
