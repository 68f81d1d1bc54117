//! Checks before any process runs whether the files of the jobs are there.

use std::path::Path;

use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;
use anytime_service::exit::ExitError;

/// Checks that every file a job names exists, or will when its turn comes because an earlier job writes it.
///
/// # Errors
/// [`ExitError`] with the configuration code and the setting's name.
pub(super) fn check(specs: &[v1::JobSpec], root: &Path) -> Result<(), ExitError> {
    let mut outputs: Vec<String> = Vec::new();
    for spec in specs {
        let settings = JobSettings::try_new(spec).map_err(ExitError::configuration)?;
        let refuse = |error: InvalidSetting| ExitError::configuration(format!("job {}: {error}", settings.name));
        if !outputs.contains(&settings.model.path) {
            check_model(&settings.model.path, root).map_err(refuse)?;
        }
        check_file("data.path", &settings.data.path, root).map_err(refuse)?;
        check_file("evaluation.path", &settings.evaluation.path, root).map_err(refuse)?;
        outputs.extend(settings.checkpoint.output);
    }
    Ok(())
}

fn check_model(path: &str, root: &Path) -> Result<(), InvalidSetting> {
    if root.join(path).join("config.json").is_file() {
        return Ok(());
    }
    Err(InvalidSetting::new(
        "model.path",
        path,
        "it must be a directory with config.json",
    ))
}

fn check_file(field: &str, path: &str, root: &Path) -> Result<(), InvalidSetting> {
    if path.is_empty() || root.join(path).is_file() {
        return Ok(());
    }
    Err(InvalidSetting::new(field, path, "it must be a file that exists"))
}
