//! `anytime-learner export`: a recovery checkpoint as a model.

use std::io::Write as _;

use anyhow::Context as _;
use anytime_service::exit::ExitError;
use serde_json::json;

use crate::args::ExportArgs;
use crate::jobs::export_request::{ExportError, ExportRequest};
use crate::jobs::store::read_job;
use crate::outputs::Places;
use crate::run::export_recovery;

/// `anytime-learner export`
///
/// # Errors
/// [`ExitError`] with the configuration code where there is no such job or checkpoint, or it must not be written there.
pub fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let directory = args.runs_dir.join(&args.job);
    let job = read_job(&directory).map_err(|error| ExitError::configuration(format!("job {}: {error:#}", args.job)))?;
    // Whoever runs this may write wherever the file system lets them.
    let places = Places {
        root: std::env::current_dir().context("current directory")?,
        runs_directory: args.runs_dir.clone(),
        output_roots: vec!["/".into()],
    };
    let output = match &args.output {
        Some(output) => Some(output.to_str().context("--output must be UTF-8")?.to_owned()),
        None => None,
    };
    let request = ExportRequest {
        job,
        directory,
        step: args.step,
        output,
    };
    let (step, directory) = export_recovery(&request, &places).map_err(|error| match error {
        ExportError::Failed(failure) => failure,
        refused => ExitError::configuration(refused).into(),
    })?;
    let text = if args.json {
        format!("{:#}", json!({ "step": step, "directory": directory }))
    } else {
        format!("step {step}: {}", directory.display())
    };
    writeln!(std::io::stdout(), "{text}").context("standard output")
}
