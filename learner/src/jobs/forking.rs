//! The submission of a job that starts from another job: what is taken, and the check of the whole with it in place.

use std::path::Path;
use std::sync::Arc;

use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::{JobId, v1};

use super::checked::CheckedJob;
use super::fork::{Fork, ForkError, StartRequest, TakeStart, in_terms_of_job, placed, start_directory, unknown};
use super::registry::JobRegistry;

/// Takes what a specification starts from, and writes the step into it. None where it starts from no job. `is_kept` says that
/// a job is to come of it, and not only a check.
///
/// # Errors
/// `model.from_job` or `model.from_step` where that cannot be started from; or if the disk refuses.
pub fn take(
    registry: &JobRegistry,
    take: &TakeStart,
    spec: &mut v1::JobSpec,
    is_kept: bool,
) -> Result<Option<Fork>, ForkError> {
    let settings = JobSettings::try_new(spec)?;
    let Some(id) = settings.model.from_job else {
        return Ok(None);
    };
    let entry = registry.get(&JobId(id.clone())).ok_or_else(|| unknown(&id))?;
    // Nobody deletes it meanwhile.
    let _in_use = entry.in_use().ok_or_else(|| unknown(&id))?;
    let staged = registry.stage()?;
    let request = StartRequest {
        job: entry.job(),
        directory: entry.directory().to_owned(),
        step: settings.model.from_step,
        target: start_directory(staged.path()),
        is_kept,
    };
    Fork::of(&request, take, spec, Some(staged)).map(Some)
}

/// Checks a specification with what was taken for it in its place. `check` is given one that names a directory.
///
/// # Errors
/// Those of `check`, in terms of the job's own settings.
pub fn check(
    fork: Option<Fork>,
    spec: &v1::JobSpec,
    check: impl FnOnce(&v1::JobSpec) -> Result<CheckedJob, InvalidSetting>,
) -> Result<CheckedJob, InvalidSetting> {
    let Some(fork) = fork else {
        return check(spec);
    };
    let mut checked = check(&fork.placed(spec)).map_err(|error| fork.explain(error))?;
    checked.settings = JobSettings::try_new(spec)?;
    // Its own files are not anybody's to change.
    checked.files.retain(|file| file.setting != "model.path");
    checked.found.notices.insert(0, fork.notice());
    checked.fork = Some(Arc::new(fork));
    Ok(checked)
}

/// Checks a specification of a job that exists, with what it started from in its place.
///
/// # Errors
/// Those of `check`, in terms of the job's own settings.
pub fn check_again<T>(
    spec: &v1::JobSpec,
    job_directory: &Path,
    check: impl FnOnce(&v1::JobSpec) -> Result<T, InvalidSetting>,
) -> Result<T, InvalidSetting> {
    let Some(id) = spec.model.as_ref().and_then(|model| model.from_job.clone()) else {
        return check(spec);
    };
    let start = start_directory(job_directory);
    check(&placed(spec, &start)).map_err(|error| in_terms_of_job(error, &id, &start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_the_user_has_written() {
        let spec = v1::JobSpec {
            model: Some(v1::ModelSpec {
                from_job: Some("other".to_owned()),
                from_step: Some(20),
                ..v1::ModelSpec::default()
            }),
            ..v1::JobSpec::default()
        };
        let refused = check_again(&spec, Path::new("/runs/job"), |spec| -> Result<(), _> {
            let model = spec.model.clone().unwrap_or_default();
            assert_eq!(model.path(), "/runs/job/start");
            assert_eq!((model.from_job, model.from_step), (None, None));
            Err(InvalidSetting::new(
                "model.path",
                "/runs/job/start",
                "it has no config.json",
            ))
        });
        let refused = refused.expect_err("refused");
        assert_eq!(refused.field, "model.from_job");
        assert!(
            refused.to_string().starts_with("model.from_job is \"other\"; "),
            "{refused}"
        );
        let other = InvalidSetting::because("data.path", "it is empty");
        let refused = check_again(&spec, Path::new("/runs/job"), |_| -> Result<(), _> {
            Err(other.clone())
        });
        assert_eq!(refused, Err(other));
    }
}
