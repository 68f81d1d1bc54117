//! `anytime study`: methods times seeds, run to the end on this machine through the same processes as any other run, and
//! a report of what holds. [`grid`] says what is run, [`run`] runs what is missing, [`results`] keeps what came of it,
//! [`report`] makes pictures and tables of that alone.

pub mod grid;
pub mod results;
mod run;
pub mod statistics;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_service::exit::{ExitError, FAILED};
use serde_json::json;

use self::grid::Study;
use self::run::Runner;
use crate::arguments::{StudyAction, StudyArgs};
use crate::interrupt::Interrupt;
use crate::output::{make_directory, print_json, print_line, write_whole};

/// Copy of the study file in the study's directory; the report takes title and comparisons from it.
const STUDY_FILE: &str = "study.toml";

/// `anytime study`
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
        out: &out,
        processes: &arguments.processes,
        interrupt: Interrupt::try_new()?,
        results: results::load(&out)?.unwrap_or_default(),
    };
    write_whole(&out.join(STUDY_FILE), &text)?;
    let failed = runner.run().await?;
    report(&out, json)?;
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

/// `anytime study report`
fn report(directory: &Path, json: bool) -> anyhow::Result<()> {
    let results = results::load(directory)?.with_context(|| format!("no results in {}", directory.display()))?;
    if json {
        return print_json(&json!({ "out": directory, "runs": results }));
    }
    print_line(&directory.display().to_string())
}
