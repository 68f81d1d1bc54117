//! Job files: the TOML form of a job specification.

use serde::Deserialize as _;
use thiserror::Error;
use toml::Table;

use super::removed::take_out;
use super::{InvalidSetting, JobSettings, in_plain_words};
use crate::v1;

/// Why a job file was refused.
#[derive(Debug, Error)]
pub enum JobFileError {
    /// It is no TOML, or holds a setting that does not exist or is of the wrong type; the message has line and name.
    #[error("job file: {}", with_its_place(.0))]
    Syntax(#[from] toml::de::Error),
    /// A setting cannot work.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
}

/// Reads and checks the text of a job file. The specification is returned as it was written, without defaults.
///
/// # Errors
/// Unknown or ill-typed settings and values that cannot work, by name.
pub fn parse_job_file(text: &str) -> Result<v1::JobSpec, JobFileError> {
    let spec: v1::JobSpec = toml::from_str(text)?;
    JobSettings::try_new(&spec)?;
    Ok(spec)
}

/// Reads the text of a job file that this project wrote itself, perhaps an earlier version of it: settings that are gone
/// since are passed over.
///
/// # Errors
/// As [`parse_job_file`], but for settings that there were once.
pub fn parse_kept_job_file(text: &str) -> Result<v1::JobSpec, JobFileError> {
    let mut table: Table = toml::from_str(text)?;
    if !take_out(&mut table) {
        // Its errors name the line.
        return parse_job_file(text);
    }
    let spec = v1::JobSpec::deserialize(table)?;
    JobSettings::try_new(&spec)?;
    Ok(spec)
}

/// The place in a TOML file, as its reader draws it, and what is wrong there in plain words.
pub fn with_its_place(error: &toml::de::Error) -> String {
    let drawn = error.to_string();
    match drawn.trim_end().strip_suffix(error.message()) {
        Some(place) => format!("{place}{}", in_plain_words(error.message())),
        None => drawn,
    }
}
