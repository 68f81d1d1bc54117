//! Checks before any process runs whether the files of the jobs are there.

use std::path::Path;

use anytime_proto::settings::{
    HubReference, InvalidSetting, JobSettings, is_pattern, reason_that_no_model_is_there, reason_that_nothing_is_there,
};
use anytime_proto::v1;
use anytime_service::exit::ExitError;

/// The file by which an export says whose it is.
const EXPORT_MARKER: &str = "anytime_export.json";

/// Checks that every file a job names exists, or will when its turn comes because an earlier job writes it, and that no
/// job would write its model over something else. The jobs of earlier runs are in `out`. `resume` says that earlier jobs may
/// be gone on with.
///
/// # Errors
/// [`ExitError`] with the configuration code and the setting's name.
pub(super) fn check(specs: &[v1::JobSpec], root: &Path, out: &Path, resume: bool) -> Result<(), ExitError> {
    let mut outputs: Vec<String> = Vec::new();
    for (place, spec) in specs.iter().enumerate() {
        let settings = JobSettings::try_new(spec).map_err(ExitError::configuration)?;
        let refuse = |error: InvalidSetting| ExitError::configuration(format!("job {}: {error}", settings.name));
        match &settings.model.from_job {
            Some(job) => check_other_job(job, &specs[..place], out).map_err(refuse)?,
            None if outputs.contains(&settings.model.path) => {}
            None => check_model(&settings.model.path, root).map_err(refuse)?,
        }
        check_files("data.path", &settings.data.path, root).map_err(refuse)?;
        check_files("evaluation.path", &settings.evaluation.path, root).map_err(refuse)?;
        if let Some(output) = settings.checkpoint.output {
            check_output(&output, root, resume).map_err(refuse)?;
            outputs.push(output);
        }
    }
    Ok(())
}

fn check_model(path: &str, root: &Path) -> Result<(), InvalidSetting> {
    // The learner fetches it.
    if HubReference::is_one(path) {
        return Ok(());
    }
    match reason_that_no_model_is_there(root, path) {
        Some(reason) => {
            let reason = format!("it must be a Hugging Face checkpoint directory: {reason}");
            Err(InvalidSetting::new("model.path", path, reason))
        }
        None => Ok(()),
    }
}

/// The job is there from an earlier run, or comes to be before this one's turn.
fn check_other_job(id: &str, earlier: &[v1::JobSpec], out: &Path) -> Result<(), InvalidSetting> {
    if earlier.iter().any(|spec| spec.name() == id) || out.join(id).is_dir() {
        return Ok(());
    }
    let reason = format!("it must be an earlier one of these jobs, or a job in {}", out.display());
    Err(InvalidSetting::new("model.from_job", id, reason))
}

/// The learner checks more when the job is submitted; but the last of several jobs is submitted hours later.
fn check_output(path: &str, root: &Path, resume: bool) -> Result<(), InvalidSetting> {
    let directory = root.join(path);
    let is_empty = std::fs::read_dir(&directory).map_or(!directory.exists(), |mut entries| entries.next().is_none());
    if is_empty {
        return Ok(());
    }
    let refuse = |reason: String| InvalidSetting::new("checkpoint.output", path, reason);
    let marker = std::fs::read(directory.join(EXPORT_MARKER)).ok();
    let marker: Option<serde_json::Value> = marker.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(job) = marker.as_ref().and_then(|marker| marker["job"].as_str()) else {
        return Err(refuse(
            "it must not exist or be empty, and what stands there is no export of this job".to_owned(),
        ));
    };
    if resume {
        return Ok(());
    }
    Err(refuse(format!(
        "it must not exist or be empty, and the model of job {job} stands there: move that away first, choose another \
         place, or go on with that job (`anytime local … --resume`)"
    )))
}

/// Looks only whether a name leads anywhere. What a pattern stands for is decided by the learner, which reads the
/// files.
fn check_files(field: &str, names: &[String], root: &Path) -> Result<(), InvalidSetting> {
    for name in names {
        let is_here = || root.join(name).exists() || is_pattern(name);
        if !HubReference::is_one(name) && !is_here() {
            return Err(InvalidSetting::new(field, name, reason_that_nothing_is_there(name)));
        }
    }
    Ok(())
}
