//! The start of a job that begins at another job's recovery checkpoint: a model's directory, made of the weights of that
//! checkpoint and of the files that the other job has kept beside them.
//!
//! The weights get a second name and are not copied, where the file system can do that: a file of a recovery checkpoint is
//! never written again, and what has two names stays until both are gone. So the other job may prune its checkpoints, or
//! be deleted, and nothing here changes.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use anytime_files::replace_directory;
use anytime_policy::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};
use anytime_proto::v1;
use tracing::{info, warn};

use super::base::{check_noted_base, note_base};
use super::recovery::{self, STATE_FILE, WEIGHTS_FILE};
use super::{Assets, checksums};

/// The file of the weights in the new directory.
const MODEL_FILE: &str = "model.safetensors";

/// How often a look begins anew, because a job that runs has removed the checkpoint that was being read.
const TRIES: usize = 5;

/// What a job starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The step of the checkpoint.
    pub step: u64,
    /// BLAKE3 of its weights, in hexadecimal digits.
    pub checksum: String,
    /// Newer checkpoints that are not good, each with the reason.
    pub damaged: Vec<String>,
}

/// Whether the directory outlives the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// The weights are the directory's own.
    Kept,
    /// They are linked to, for a look at them.
    ForALook,
}

/// Why there is no start.
#[derive(Debug, thiserror::Error)]
pub enum NoStart {
    /// The step that was asked for is none of the job's checkpoints, or a damaged one.
    #[error("{0}")]
    Step(String),
    /// Nothing of the job can be started from.
    #[error("{0}")]
    Job(String),
    /// The disk refuses.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// What a try to take one checkpoint came to.
enum Taken {
    Good(String),
    Damaged(String),
    /// It was removed meanwhile.
    Gone,
}

/// Writes the directory `target` from the checkpoint of a step of the job `source`, or from its newest good one. `is_damage`
/// says of an error whether it is of the checkpoint, and not of a disk that is away for a moment.
///
/// # Errors
/// If there is no such checkpoint, none is good, or the disk refuses.
pub fn lay_out_start(
    source: &v1::Job,
    job_directory: &Path,
    step: Option<u64>,
    target: &Path,
    lasting: Lasting,
    is_damage: &dyn Fn(&anyhow::Error) -> bool,
) -> Result<Start, NoStart> {
    let id = &source.id;
    for _ in 0..TRIES {
        let steps = recovery::steps(job_directory)?;
        let wanted = match step {
            Some(step) if steps.contains(&step) => vec![step],
            Some(step) => return Err(NoStart::Step(unknown_step(id, step, &steps))),
            None => steps.iter().rev().copied().collect(),
        };
        if wanted.is_empty() {
            let reason = format!(
                "job {id} has no recovery checkpoint to start from (a job that trains writes one every \
                 checkpoint.recovery_every steps, and at its end)"
            );
            return Err(NoStart::Job(reason));
        }
        if !Assets::are_kept(job_directory) {
            let reason = format!(
                "job {id} has kept no configuration and no tokenizer to start with, as jobs of earlier versions have not"
            );
            return Err(NoStart::Job(reason));
        }
        let mut damaged = Vec::new();
        let mut is_gone = false;
        for step in wanted {
            match take(source, job_directory, step, target, lasting, is_damage)? {
                Taken::Good(checksum) => {
                    return Ok(Start {
                        step,
                        checksum,
                        damaged,
                    });
                }
                Taken::Damaged(reason) => damaged.push(format!("the recovery checkpoint of step {step}: {reason}")),
                Taken::Gone => {
                    is_gone = true;
                    break;
                }
            }
        }
        if !is_gone {
            let reason = format!(
                "job {id} has no good recovery checkpoint to start from: {}",
                damaged.join("; ")
            );
            return Err(match step {
                Some(_) => NoStart::Step(reason),
                None => NoStart::Job(reason),
            });
        }
        info!(
            job_id = id,
            "a recovery checkpoint was removed while it was being taken, and the next one is"
        );
    }
    Err(NoStart::Failed(anyhow!(
        "job {id} removes its recovery checkpoints faster than one can be taken"
    )))
}

fn unknown_step(id: &str, step: u64, steps: &[u64]) -> String {
    let named: Vec<String> = steps.iter().map(u64::to_string).collect();
    let there = match named.as_slice() {
        [] => "it has none".to_owned(),
        _ => format!("it has those of {}", named.join(", ")),
    };
    format!("job {id} has no recovery checkpoint of step {step}; {there}")
}

fn take(
    source: &v1::Job,
    job_directory: &Path,
    step: u64,
    target: &Path,
    lasting: Lasting,
    is_damage: &dyn Fn(&anyhow::Error) -> bool,
) -> anyhow::Result<Taken> {
    let checkpoint = recovery::directory_of(job_directory, step);
    let mut checksum = String::new();
    let written = replace_directory(target, |part| -> anyhow::Result<()> {
        let adapters = recovery::state_of(&checkpoint)?.adapters;
        let file = if adapters.is_some() {
            ADAPTER_WEIGHTS
        } else {
            MODEL_FILE
        };
        checksum = take_weights(&checkpoint, &part.join(file), lasting)?;
        if let Some(adapters) = adapters {
            let base = adapters.base.to_string_lossy();
            let config = anytime_policy::adapter_config(&adapters.lora(), &base, adapters.dropout);
            let path = part.join(ADAPTER_CONFIG);
            fs::write(&path, config.to_string()).with_context(|| format!("writing {}", path.display()))?;
            note_base(part, &adapters.base_checksum)?;
        }
        let assets = Assets::of_job(job_directory)?;
        let described = assets.card(source, step);
        assets.write_all(part, described.as_ref().map(|described| described.card.as_str()))
    });
    match written {
        Ok(()) => Ok(Taken::Good(checksum)),
        Err(_) if !checkpoint.exists() => Ok(Taken::Gone),
        Err(failure) if is_damage(&failure) || is_missing(&failure) => Ok(Taken::Damaged(format!("{failure:#}"))),
        Err(failure) => Err(failure),
    }
}

fn is_missing(failure: &anyhow::Error) -> bool {
    let of_io = failure.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    of_io.is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Gives the weights of a checkpoint a second name, and holds what has that name against the checksum. Returns the checksum.
fn take_weights(checkpoint: &Path, target: &Path, lasting: Lasting) -> anyhow::Result<String> {
    let weights = checkpoint.join(WEIGHTS_FILE);
    match lasting {
        Lasting::Kept => own(&weights, target),
        Lasting::ForALook => link_to(&weights, target),
    }
    .with_context(|| format!("taking {}", weights.display()))?;
    let has_checksums = recovery::has_checksums(checkpoint)?;
    let checksum = checksums::of_file(target)?;
    match checksums::expected(checkpoint, WEIGHTS_FILE)? {
        Some(expected) => expected.check(WEIGHTS_FILE, &checksum)?,
        None => {
            let path = checkpoint.join(STATE_FILE);
            anyhow::ensure!(
                !has_checksums,
                "{} promises checksums, and {} is not there",
                path.display(),
                checksums::FILE
            );
        }
    }
    Ok(checksum.into_digits())
}

/// A second name for the file; a copy of it where the file system gives none.
fn own(file: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(file, target) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            warn!(file = %file.display(), %error, "the file cannot have a second name, and is copied");
            fs::copy(file, target).map(drop)
        }
        outcome => outcome,
    }
}

fn link_to(file: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(file.canonicalize()?, target)
}

/// Holds the weights of such a directory against the checksum that they had when it was made.
///
/// # Errors
/// If they are others, or cannot be read, or are adapters whose base has become another.
pub fn check_start(directory: &Path, checksum: &str) -> anyhow::Result<()> {
    let whole = directory.join(MODEL_FILE);
    let path = if whole.exists() {
        whole
    } else {
        directory.join(ADAPTER_WEIGHTS)
    };
    let found = checksums::of_file(&path)?.into_digits();
    anyhow::ensure!(
        found == checksum,
        "{} is damaged: it is not what was written (by checksum {found} instead of {checksum})",
        path.display()
    );
    check_noted_base(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: &[u8] = b"weights";

    /// A job with checkpoints of these steps. No tensor is read here.
    fn job(directory: &Path, steps: &[u64]) -> v1::Job {
        fs::create_dir_all(Assets::directory_of_job(directory)).expect("made");
        fs::write(Assets::directory_of_job(directory).join("config.json"), "{}").expect("written");
        for step in steps {
            let checkpoint = recovery::directory_of(directory, *step);
            fs::create_dir_all(&checkpoint).expect("made");
            fs::write(checkpoint.join(WEIGHTS_FILE), WEIGHTS).expect("written");
            fs::write(
                checkpoint.join(STATE_FILE),
                r#"{"step": 0, "updates": 0, "consumed_below": 0, "consumed": [], "has_checksums": true}"#,
            )
            .expect("written");
            checksums::write(&checkpoint, &[WEIGHTS_FILE]).expect("written");
        }
        v1::Job {
            id: "other".to_owned(),
            ..v1::Job::default()
        }
    }

    fn lay_out(directory: &Path, step: Option<u64>, steps: &[u64], lasting: Lasting) -> Result<Start, NoStart> {
        let source = job(directory, steps);
        lay_out_start(&source, directory, step, &directory.join("start"), lasting, &|_| true)
    }

    #[test]
    fn the_weights_outlive_the_checkpoint_and_are_no_copy() {
        use std::os::unix::fs::MetadataExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let start = lay_out(path, None, &[10, 20], Lasting::Kept).expect("a start");
        assert_eq!((start.step, start.damaged.len()), (20, 0));
        assert_eq!(start.checksum, blake3::hash(WEIGHTS).to_hex().to_string());
        let model = path.join("start").join(MODEL_FILE);
        assert_eq!(fs::metadata(&model).expect("there").nlink(), 2, "a second name");
        fs::remove_dir_all(path.join("recovery")).expect("removed");
        assert_eq!(fs::read(&model).expect("read"), WEIGHTS);
        check_start(&path.join("start"), &start.checksum).expect("good");
        fs::write(&model, b"weightz").expect("written");
        let refused = check_start(&path.join("start"), &start.checksum).expect_err("damaged");
        assert!(refused.to_string().contains("is damaged"), "{refused}");
    }

    #[test]
    fn a_look_leaves_nothing_of_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        lay_out(directory.path(), None, &[10], Lasting::ForALook).expect("a start");
        let model = directory.path().join("start").join(MODEL_FILE);
        assert!(fs::symlink_metadata(&model).expect("there").is_symlink());
        assert_eq!(fs::read(&model).expect("read"), WEIGHTS);
    }

    #[test]
    fn the_newest_good_checkpoint_is_taken_and_a_damaged_one_by_its_step_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        job(path, &[10, 20]);
        fs::write(recovery::directory_of(path, 20).join(WEIGHTS_FILE), b"weightz").expect("written");
        let again = |step| {
            let source = v1::Job {
                id: "other".to_owned(),
                ..v1::Job::default()
            };
            lay_out_start(&source, path, step, &path.join("start"), Lasting::Kept, &|_| true)
        };
        let start = again(None).expect("the one before");
        assert_eq!(start.step, 10);
        assert!(
            start.damaged[0].contains("step 20: weights.safetensors is damaged"),
            "{:?}",
            start.damaged
        );
        let refused = again(Some(20)).expect_err("damaged");
        assert!(
            matches!(&refused, NoStart::Step(says) if says.contains("is damaged")),
            "{refused}"
        );
        fs::remove_file(recovery::directory_of(path, 10).join(checksums::FILE)).expect("removed");
        let refused = again(None).expect_err("none is good");
        assert!(
            matches!(&refused, NoStart::Job(says) if says.contains("promises checksums")),
            "{refused}"
        );
    }

    #[test]
    fn what_is_not_there_is_named_with_what_there_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let none = lay_out(path, None, &[], Lasting::Kept).expect_err("none");
        assert!(
            none.to_string()
                .starts_with("job other has no recovery checkpoint to start from"),
            "{none}"
        );
        let unknown = lay_out(path, Some(15), &[10, 20], Lasting::Kept).expect_err("none");
        assert_eq!(
            unknown.to_string(),
            "job other has no recovery checkpoint of step 15; it has those of 10, 20"
        );
        fs::remove_dir_all(Assets::directory_of_job(path)).expect("removed");
        let source = v1::Job::default();
        let bare = lay_out_start(&source, path, None, &path.join("start"), Lasting::Kept, &|_| true);
        let bare = bare.expect_err("no configuration");
        assert!(bare.to_string().contains("kept no configuration"), "{bare}");
        assert!(!path.join("start").exists(), "nothing is left behind");
    }

    /// A job that runs prunes: the checkpoint goes between the listing and the reading.
    #[test]
    fn a_checkpoint_that_is_removed_meanwhile_is_not_taken_for_a_damaged_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let source = job(directory.path(), &[10]);
        fs::remove_dir_all(recovery::directory_of(directory.path(), 10)).expect("removed");
        let target = directory.path().join("start");
        let taken = take(&source, directory.path(), 10, &target, Lasting::Kept, &|_| true).expect("no failure");
        assert!(matches!(taken, Taken::Gone));
    }
}
