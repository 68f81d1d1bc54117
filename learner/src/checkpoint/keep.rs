//! Which checkpoints stay: the newest, those at round steps, the best.

use std::fs;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::outputs::Marker;

/// The names of exports of the best weights begin with this.
const BEST_PREFIX: &str = "best-";

/// The names of exports of `checkpoint.export_every` begin with this.
const STEP_PREFIX: &str = "step-";

/// Removes exports `step-N` of a job beyond the `newest`, but not those at multiples of `every` (0: none).
pub fn prune_exports(job_directory: &Path, newest: u64, every: u64) {
    let mut exports = numbered(job_directory, STEP_PREFIX);
    exports.sort();
    let surplus = exports
        .len()
        .saturating_sub(usize::try_from(newest).unwrap_or(usize::MAX));
    for (step, path) in exports.drain(..surplus) {
        if every == 0 || !step.is_multiple_of(every) {
            remove(&path, "an export that is not to be kept");
        }
    }
}

/// The exports of the best weights of a job, the best first: accuracy, step, place. Of two with the same accuracy the
/// earlier one is the better.
pub fn best_exports(job_directory: &Path) -> Vec<(f64, u64, PathBuf)> {
    let mut best: Vec<(f64, u64, PathBuf)> = numbered(job_directory, BEST_PREFIX)
        .into_iter()
        .filter_map(|(step, path)| Some((Marker::read(&path)?.score?, step, path)))
        .collect();
    best.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    best
}

/// Removes the exports of the best weights beyond `count`, the worst first.
pub fn prune_best(job_directory: &Path, count: u64) {
    let keep = usize::try_from(count).unwrap_or(usize::MAX);
    for (_, _, path) in best_exports(job_directory).into_iter().skip(keep) {
        remove(&path, "an export that is no longer among the best");
    }
}

/// Removes the recovery checkpoints of a job that has succeeded, but for the `newest`.
pub fn prune_recovery(job_directory: &Path, newest: u64) {
    let directory = job_directory.join("recovery");
    if newest == 0 {
        if directory.exists() {
            remove(&directory, "the recovery checkpoints of a job that has succeeded");
        }
        return;
    }
    prune_exports(&directory, newest, 0);
}

/// Directories whose names are the prefix and a number, with that number.
fn numbered(directory: &Path, prefix: &str) -> Vec<(u64, PathBuf)> {
    let Ok(listing) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let numbered = |path: PathBuf| {
        let digits = path.file_name()?.to_str()?.strip_prefix(prefix)?;
        let number = digits.parse().ok()?;
        path.is_dir().then_some((number, path))
    };
    listing.flatten().filter_map(|entry| numbered(entry.path())).collect()
}

/// Where it fails, the disk has something too much, and the job goes on.
fn remove(path: &Path, what: &str) {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Ok(()) => info!(path = %path.display(), what, "removed"),
        Err(error) => warn!(path = %path.display(), what, %error, "cannot be removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::Owner;

    fn export(directory: &Path, name: &str, score: Option<f64>) {
        let path = directory.join(name);
        fs::create_dir_all(&path).expect("made");
        fs::write(path.join("config.json"), "{}").expect("written");
        let owner = Owner {
            job: "job".to_owned(),
            created: "1".to_owned(),
        };
        Marker::write(&path, &owner, 1, score).expect("marked");
    }

    fn left(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).expect("listed").flatten();
        let mut names: Vec<String> = names
            .map(|one| one.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_and_those_at_round_steps_stay() {
        let root = tempfile::tempdir().expect("a directory");
        for step in [10, 20, 30, 40, 100, 110] {
            export(root.path(), &format!("step-{step:08}"), None);
        }
        fs::create_dir(root.path().join("step-of-a-user")).expect("made");
        prune_exports(root.path(), 2, 20);
        assert_eq!(
            left(root.path()),
            [
                "step-00000020",
                "step-00000040",
                "step-00000100",
                "step-00000110",
                "step-of-a-user"
            ]
        );
        prune_exports(root.path(), 1, 0);
        assert_eq!(left(root.path()), ["step-00000110", "step-of-a-user"]);
        prune_exports(root.path(), 5, 0);
        assert_eq!(left(root.path()).len(), 2);
    }

    #[test]
    fn the_best_stay_and_of_equals_the_earlier() {
        let root = tempfile::tempdir().expect("a directory");
        for (step, score) in [(10, 0.5), (20, 0.75), (30, 0.75), (40, 0.25)] {
            export(root.path(), &format!("best-{step:08}"), Some(score));
        }
        let steps: Vec<u64> = best_exports(root.path()).iter().map(|(_, step, _)| *step).collect();
        assert_eq!(steps, [20, 30, 10, 40]);
        prune_best(root.path(), 1);
        assert_eq!(left(root.path()), ["best-00000020"]);
    }
}
