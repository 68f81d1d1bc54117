//! Finds the job directory that a path means.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anytime_proto::generations::{DIRECTORY, Kept};
use anytime_service::exit::ExitError;

/// What every job directory holds.
const JOB_FILE: &str = "job.pb";

/// The directory of a job with kept generations: `run` itself, or the job in it that was evaluated last, or the one
/// with the id `job`.
///
/// # Errors
/// [`ExitError`] with the configuration code that names the jobs that there are.
pub fn job_directory(run: &Path, job: Option<&str>) -> Result<PathBuf, ExitError> {
    if is_job(run) {
        let is_other = job.is_some_and(|job| run.file_name().is_none_or(|name| name.to_str() != Some(job)));
        if is_other {
            let message = format!(
                "--job {} is not there: {} is one job itself",
                job.unwrap_or_default(),
                run.display()
            );
            return Err(ExitError::configuration(message));
        }
        return Ok(run.to_owned());
    }
    let jobs = jobs_in(run)?;
    if let Some(job) = job {
        let wanted = run.join(job);
        if jobs.contains(&wanted) {
            return Ok(wanted);
        }
        let message = format!("--job {job} is not there: {}", what_there_is(run, &jobs));
        return Err(ExitError::configuration(message));
    }
    let newest = jobs.iter().filter_map(|job| Some((evaluated(job)?, job))).max();
    match newest {
        Some((_, job)) => Ok(job.clone()),
        None => {
            let message = format!("there are no kept generations: {}", what_there_is(run, &jobs));
            Err(ExitError::configuration(message))
        }
    }
}

fn is_job(directory: &Path) -> bool {
    directory.join(JOB_FILE).is_file() || directory.join(DIRECTORY).is_dir()
}

fn jobs_in(run: &Path) -> Result<Vec<PathBuf>, ExitError> {
    let listing = std::fs::read_dir(run)
        .map_err(|error| ExitError::configuration(format!("{} cannot be read: {error}", run.display())))?;
    let mut jobs: Vec<PathBuf> = listing
        .filter_map(|item| Some(item.ok()?.path()))
        .filter(|path| is_job(path))
        .collect();
    jobs.sort_unstable();
    Ok(jobs)
}

/// When the newest of the job's kept generations were written.
fn evaluated(job: &Path) -> Option<SystemTime> {
    let kept = Kept::find(job, None).ok()?;
    kept.path.metadata().ok()?.modified().ok()
}

fn what_there_is(run: &Path, jobs: &[PathBuf]) -> String {
    if jobs.is_empty() {
        return format!("{} holds no job", run.display());
    }
    let names: Vec<_> = jobs
        .iter()
        .filter_map(|job| job.file_name())
        .map(|name| name.to_string_lossy())
        .collect();
    format!("{} holds the jobs {}", run.display(), names.join(", "))
}
