//! `anytime study`: methods times seeds, run to the end on this machine through the same processes as any other run,
//! and a report of what holds. [`grid`] says what is run, `run` runs what is missing, [`results`] keeps what came of
//! it, `report` makes pictures and tables of that alone.

pub mod claims;
pub mod figures;
pub mod grid;
pub mod report;
pub mod results;
mod run;
pub mod stability;
pub mod statistics;
pub mod summary;
pub mod tables;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_service::exit::{ExitError, FAILED};
use serde_json::json;

use self::grid::{STUDY_FILE, Study};
use self::run::Runner;
use self::summary::Summary;
use crate::arguments::{StudyAction, StudyArgs};
use crate::interrupt::Interrupt;
use crate::output::{make_directory, print_json, print_line};

/// Runs `anytime study`: every run that has no result yet, then the report.
pub(crate) async fn run(arguments: StudyArgs, json: bool) -> anyhow::Result<()> {
    if let Some(StudyAction::Report { directory }) = &arguments.action {
        return report(directory, json);
    }
    let path = arguments.study_file.clone().unwrap_or_default();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| ExitError::configuration(format!("study {}: {error}", path.display())))?;
    let study = Study::parse(&path.display().to_string(), &text)?;
    let stem = path.file_stem().map(PathBuf::from).unwrap_or_default();
    let out = arguments.out.clone().unwrap_or_else(|| Path::new("runs").join(stem));
    make_directory(&out)?;
    let mut runner = Runner {
        study: &study,
        text: &text,
        out: &out,
        processes: &arguments.processes,
        interrupt: Interrupt::try_new()?,
        results: results::load(&out)?.unwrap_or_default(),
    };
    let failed = runner.run().await?;
    if !runner.results.is_empty() {
        report(&out, json)?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} runs failed: {}; the same command tries them again",
        failed.len(),
        failed.join(", ")
    );
    Err(ExitError { code: FAILED, message }.into())
}

/// Runs `anytime study report`: makes the report of the results in a directory.
fn report(directory: &Path, json: bool) -> anyhow::Result<()> {
    let Some(mut results) = results::load(directory)? else {
        let message = format!(
            "{} has no {}: a report is made from the directory of a study",
            directory.display(),
            results::RESULTS_FILE
        );
        return Err(ExitError::configuration(message).into());
    };
    let study = study_of(directory)?;
    let title = match &study {
        Some(study) => study.title.clone(),
        None => "Study".to_owned(),
    };
    let order: Vec<String> = study
        .iter()
        .flat_map(|study| &study.methods)
        .map(|method| method.name.clone())
        .collect();
    // Studies of one base and the same seeds may share a directory, and with it warm starts and runs.
    if study.is_some() {
        results.retain(|run| order.contains(&run.method));
    }
    let comparisons = study.as_ref().map(|study| study.comparisons.as_slice());
    let summary = Summary::try_new(title, &results, &order, comparisons)?;
    let files = report::write(&summary, directory)?;
    if json {
        return print_json(&json!({ "report": files.report, "figures": files.figures, "runs": results }));
    }
    print_line(&format!("report: {}", files.report.display()))
}

/// The study whose results a directory holds. A report can do without it; then every method is compared with the first.
fn study_of(directory: &Path) -> anyhow::Result<Option<Study>> {
    let path = directory.join(STUDY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Study::parse(&path.display().to_string(), &text)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}
