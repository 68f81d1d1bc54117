//! Where a job may write a model. Nothing is ever replaced but an earlier export of the very same job, and nothing is
//! written where the operator has not allowed it.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anytime_proto::settings::{InvalidSetting, JobSettings};

use super::marker::{Marker, Owner, names};

/// The file by which a directory in the runs directory is known as a job's.
const JOB_FILE: &str = "job.pb";

/// Where exports that a user asks for lie in a job's directory.
pub const EXPORTS_DIRECTORY: &str = "exports";

/// Where the final export lies in a job's directory, unless the job says otherwise.
pub const FINAL_DIRECTORY: &str = "final";

/// The directories of one learner.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Where relative paths start: `--root`.
    pub root: PathBuf,
    /// Where jobs are kept: `--runs-dir`.
    pub runs_directory: PathBuf,
    /// Where else models may be written: `--output-root`.
    pub output_roots: Vec<PathBuf>,
}

impl Places {
    /// Checks where a job writes its final export, and that the disk lets it; before it exists (`owner` is none), when
    /// it starts, and right before the export is put in place. Gives the place with all links resolved; none where the
    /// job leaves it open.
    ///
    /// # Errors
    /// `checkpoint.output`, with what stands in the way.
    pub fn check_job(&self, settings: &JobSettings, owner: Option<&Owner>) -> Result<Option<PathBuf>, InvalidSetting> {
        let Some(output) = &settings.checkpoint.output else {
            return Ok(None);
        };
        let mut inputs = vec![("model.path", &settings.model.path)];
        inputs.extend(settings.data.path.iter().map(|path| ("data.path", path)));
        inputs.extend(settings.evaluation.path.iter().map(|path| ("evaluation.path", path)));
        let refuse = |reason: String| InvalidSetting::new("checkpoint.output", output, reason);
        let place = self.check(output, &settings.name, owner).map_err(refuse)?;
        for (name, path) in inputs.into_iter().filter(|(_, path)| !path.is_empty()) {
            let (before_pattern, is_whole) = without_pattern(path);
            let Ok(input) = self.root.join(before_pattern).canonicalize() else {
                continue;
            };
            // The directory of a pattern may also hold things that are no input of the job.
            if input.starts_with(&place) || (is_whole && input.is_dir() && place.starts_with(&input)) {
                return Err(refuse(format!("it must not be, hold or lie in {name} ({path})")));
            }
        }
        check_writable(&place).map_err(refuse)?;
        Ok(Some(place))
    }

    /// Checks where a user wants a recovery checkpoint written. The reason of a refusal continues "it".
    ///
    /// # Errors
    /// What stands in the way.
    pub fn check_export(&self, output: &str, owner: &Owner) -> Result<PathBuf, String> {
        let place = self.check(output, &owner.job, Some(owner))?;
        check_writable(&place)?;
        Ok(place)
    }

    /// Where an output leads, with all links followed; none where that cannot be told.
    pub fn resolve(&self, output: &str) -> Option<PathBuf> {
        resolve(&self.root.join(output)).ok()
    }

    fn check(&self, output: &str, name: &str, owner: Option<&Owner>) -> Result<PathBuf, String> {
        let place = resolve(&self.root.join(output))?;
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        let runs = (self.runs_directory.canonicalize()).unwrap_or_else(|_| self.runs_directory.clone());
        if runs.starts_with(&place) {
            return Err("it must not be or hold the directory of jobs (--runs-dir)".to_owned());
        }
        if root.starts_with(&place) {
            return Err("it must not be or hold the directory where relative paths start (--root)".to_owned());
        }
        if let Ok(inside) = place.strip_prefix(&runs) {
            check_inside_runs(&runs, inside, name, owner)?;
        } else if !place.starts_with(&root) && !self.output_roots.iter().any(|allowed| is_below(&place, allowed)) {
            return Err(format!(
                "it must lie under the learner's --root ({}), its --runs-dir ({}) or an --output-root that it was started \
                 with",
                root.display(),
                runs.display()
            ));
        }
        check_free(&place, owner)?;
        Ok(place)
    }
}

fn is_below(place: &Path, allowed: &Path) -> bool {
    resolve(allowed).is_ok_and(|allowed| place.starts_with(allowed))
}

/// The path with every link followed. What does not exist yet stays as it is written.
fn resolve(path: &Path) -> Result<PathBuf, String> {
    let absolute = std::path::absolute(path).map_err(|error| format!("it must be a path ({error})"))?;
    let mut existing = absolute.as_path();
    let mut rest: Vec<OsString> = Vec::new();
    let resolved = loop {
        match existing.canonicalize() {
            Ok(resolved) => break resolved,
            Err(_) if fs::symlink_metadata(existing).is_ok() => {
                return Err(format!(
                    "it must not lead through {}, a link to nothing",
                    existing.display()
                ));
            }
            Err(_) => {}
        }
        match existing.components().next_back() {
            Some(Component::Normal(name)) => rest.push(name.to_owned()),
            _ => return Err("it must not climb with .. out of what does not exist".to_owned()),
        }
        existing = existing.parent().unwrap_or(Path::new("/"));
    };
    let mut place = resolved;
    place.extend(rest.into_iter().rev());
    Ok(place)
}

/// Within the runs directory, a job's directory belongs to that job. Models may be written only to its own `final` and
/// `exports/…`.
fn check_inside_runs(runs: &Path, inside: &Path, name: &str, owner: Option<&Owner>) -> Result<(), String> {
    let mut parts = inside.components().filter_map(|part| part.as_os_str().to_str());
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    if first.starts_with('.') {
        return Err(
            "it must not begin with a dot within the directory of jobs, whose such files are its own".to_owned(),
        );
    }
    let is_for_models = matches!(rest.as_slice(), [FINAL_DIRECTORY] | [EXPORTS_DIRECTORY, _]);
    let is_own = match owner {
        Some(owner) => first == owner.job,
        // A job that is being submitted has no id yet: it will be its name, if that is free.
        None => first == name && !runs.join(first).exists(),
    };
    if is_own && is_for_models {
        return Ok(());
    }
    let may_become_a_job = first
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_number));
    if is_own || may_become_a_job || runs.join(first).join(JOB_FILE).exists() {
        return Err(format!(
            "it must not lie in the directory of a job ({first}); only its own `{FINAL_DIRECTORY}`, where it is also \
             written without this setting, is for models"
        ));
    }
    Ok(())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks that nothing stands there, or only an earlier export of this very job.
fn check_free(place: &Path, owner: Option<&Owner>) -> Result<(), String> {
    let unreadable = |error: anyhow::Error| format!("it must be a directory that the learner can read ({error:#})");
    if !place.exists() {
        return Ok(());
    }
    if !place.is_dir() {
        return Err("it must be a directory, and a file stands there".to_owned());
    }
    if names(place).map_err(unreadable)?.is_empty() {
        return Ok(());
    }
    let Some(marker) = Marker::read(place) else {
        return Err("it must not exist or be empty, and what stands there is no export of this job".to_owned());
    };
    if owner != Some(&marker.owner) {
        return Err(format!(
            "it must not exist or be empty, and the model of job {} (step {}) stands there: move that away first, or \
             choose another place",
            marker.owner.job, marker.step
        ));
    }
    match marker.foreign(place).map_err(unreadable)? {
        Some(name) => Err(format!(
            "it must hold nothing but this job's export, and {name} is not of it"
        )),
        None => Ok(()),
    }
}

/// Tries to write where a directory is to appear: creates a file in the nearest directory that exists, and removes it.
///
/// # Errors
/// Why that cannot be, as a clause that begins with "it must".
pub fn check_writable(place: &Path) -> Result<(), String> {
    let nearest = place.ancestors().skip(1).find(|ancestor| ancestor.exists());
    let Some(nearest) = nearest else {
        return Ok(());
    };
    let probe = nearest.join(format!(".anytime-{}", uuid::Uuid::new_v4()));
    let written = fs::write(&probe, b"a probe, to be removed");
    let removed = fs::remove_file(&probe);
    written.and(removed).map_err(|error| {
        format!(
            "it must lie where the learner can write, and {} cannot be written ({error})",
            nearest.display()
        )
    })
}

/// The directory in which a pattern looks for files, or the path itself; and whether it is the path itself.
fn without_pattern(path: &str) -> (&str, bool) {
    match path.find(['*', '?', '[']) {
        Some(place) => (path[..place].rfind('/').map_or("", |end| &path[..end]), false),
        None => (path, true),
    }
}

#[cfg(test)]
mod tests;
