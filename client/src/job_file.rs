//! Reads jobs from files and presets and refuses what cannot work before anything is contacted or started.

use std::path::{Path, PathBuf};

use anytime_proto::settings::{JobFileError, JobSettings, in_plain_words, parse_job_file};
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use serde::Deserialize as _;
use toml::Table;

use crate::overrides::{OverrideArgs, apply_to_spec, lay_over};
use crate::presets;

/// A checked job and what messages call it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its file, or its preset.
    pub source: String,
    /// Without defaults.
    pub spec: v1::JobSpec,
}

/// Reads and checks one job file.
///
/// # Errors
/// [`ExitError`] with the configuration code; the message has the file and the setting.
pub fn read(path: &Path) -> Result<v1::JobSpec, ExitError> {
    parse(&path.display().to_string(), &text_of(path)?)
}

/// Reads the jobs of a command in their order: the job files, or the preset. `--set` changes the last of them. Where
/// both are given, the last file replaces single settings of the preset. Where there is only a preset, the warm start
/// of its base comes before it.
///
/// # Errors
/// As [`read`], and what is wrong with `--preset` or `--set`.
pub fn read_all(files: &[PathBuf], changes: &OverrideArgs) -> Result<Vec<Job>, ExitError> {
    let mut jobs = Vec::new();
    match (&changes.preset, files.split_last()) {
        (None, _) => {
            for path in files {
                jobs.push(from_file(path)?);
            }
        }
        (Some(preset), None) => {
            let (base, _) = presets::split_name(preset)?;
            if let Some((name, text)) = presets::Base::find(base)?.warm_start() {
                jobs.push(Job {
                    source: name.to_owned(),
                    spec: parse(name, text)?,
                });
            }
            jobs.push(Job {
                source: preset.clone(),
                spec: presets::job(preset)?,
            });
        }
        (Some(preset), Some((last, before))) => {
            for path in before {
                jobs.push(from_file(path)?);
            }
            jobs.push(Job {
                source: last.display().to_string(),
                spec: over_preset(preset, last)?,
            });
        }
    }
    if let Some(last) = jobs.last_mut()
        && !changes.set.is_empty()
    {
        last.spec = apply_to_spec(&last.spec, &changes.set).map_err(|error| refused(&last.source, &error))?;
        check(&last.source, &last.spec)?;
    }
    Ok(jobs)
}

/// The last job alone, for commands that take one job. The learner already has the model that an earlier job would
/// write.
///
/// # Errors
/// As [`read_all`].
pub fn read_one(file: Option<&PathBuf>, changes: &OverrideArgs) -> Result<v1::JobSpec, ExitError> {
    let files: Vec<PathBuf> = file.cloned().into_iter().collect();
    let last = read_all(&files, changes)?.pop();
    last.map(|job| job.spec)
        .ok_or_else(|| ExitError::configuration("there is no job to take: give a job file or --preset"))
}

/// Checks the text of a job file; `name` is what messages call it.
///
/// # Errors
/// [`ExitError`] with the configuration code.
pub fn parse(name: &str, text: &str) -> Result<v1::JobSpec, ExitError> {
    parse_job_file(text).map_err(|error| refused(name, &error))
}

fn from_file(path: &Path) -> Result<Job, ExitError> {
    Ok(Job {
        source: path.display().to_string(),
        spec: read(path)?,
    })
}

/// The file may leave out what the preset has.
fn over_preset(preset: &str, path: &Path) -> Result<v1::JobSpec, ExitError> {
    let name = path.display().to_string();
    let text = text_of(path)?;
    // Read as a job by itself first, because only that error has the line of a setting that does not exist.
    toml::from_str::<v1::JobSpec>(&text).map_err(|error| refused(&name, &JobFileError::from(error)))?;
    let over: Table = toml::from_str(&text).map_err(|error| refused(&name, &JobFileError::from(error)))?;
    let mut table = Table::try_from(presets::job(preset)?).map_err(|error| refused(preset, &error))?;
    lay_over(&mut table, &over).map_err(|error| refused(&name, &error))?;
    let spec = v1::JobSpec::deserialize(table).map_err(|error| refused(&name, &in_plain_words(error.message())))?;
    check(&name, &spec)?;
    Ok(spec)
}

fn text_of(path: &Path) -> Result<String, ExitError> {
    std::fs::read_to_string(path).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::InvalidData => "it is no text in UTF-8".to_owned(),
            _ => error.to_string(),
        };
        ExitError::configuration(format!("job file {}: {reason}", path.display()))
    })
}

fn check(name: &str, spec: &v1::JobSpec) -> Result<(), ExitError> {
    JobSettings::try_new(spec)
        .map(drop)
        .map_err(|error| refused(name, &error))
}

fn refused(name: &str, error: &dyn std::fmt::Display) -> ExitError {
    ExitError::configuration(format!("{name}: {}", error.to_string().trim_end()))
}
