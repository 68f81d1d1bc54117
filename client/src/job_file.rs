//! Reads job files and refuses what cannot work before anything is contacted or started.

use std::path::Path;

use anytime_proto::settings::parse_job_file;
use anytime_proto::v1;
use anytime_service::exit::ExitError;

/// Reads and checks one job file.
///
/// # Errors
/// [`ExitError`] with the configuration code; the message has the file and the setting.
pub fn read(path: &Path) -> Result<v1::JobSpec, ExitError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ExitError::configuration(format!("job file {}: {error}", path.display())))?;
    parse(&path.display().to_string(), &text)
}

/// Checks the text of a job file; `name` is what messages call it.
///
/// # Errors
/// [`ExitError`] with the configuration code.
pub fn parse(name: &str, text: &str) -> Result<v1::JobSpec, ExitError> {
    parse_job_file(text).map_err(|error| ExitError::configuration(format!("{name}: {}", error.to_string().trim_end())))
}
