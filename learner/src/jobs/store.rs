//! Jobs on disk. Each has a directory under the runs directory, named by its id:
//!
//! - `job.pb`: the job (prost) with a checksum, written aside, synced and renamed
//! - `events.log`: its event log
//! - `request_id`: the request that submitted it, so that a repeated submission finds it
//! - `checked_files.json`: the files that the check at submission read, as they were then
//! - `cancelled`: there once a user has cancelled it, so that a crash does not bring it back
//! - `metrics.jsonl`, `tensorboard/`: its figures, made of the events for other tools (`series`)
//! - `job.toml`: the specification with its defaults, for people
//! - `generations/`: what evaluations generated, for people (`anytime_proto::generations`)
//! - `groups/`: what steps trained, for `anytime replay` ([`kept`])
//! - `start/`: the weights that it was forked from, as a model ([`fork`](super::fork))
//!
//! All other files in the directory belong to the job's thread.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_files::{PART_SUFFIX, only_record, record, sync_directory, write_durably};
use anytime_proto::{JOB_FORMAT, JobId, v1};
use anytime_service::metric_names::LEARNER_DAMAGED_FILES;
use metrics::counter;
use prost::Message as _;
use tracing::{error, info, warn};

use super::checked::FileStamp;
use super::events::{EventLog, timestamp};
use super::files::{
    CANCELLED_FILE, CHECKED_FILES_FILE, EVENTS_FILE, JOB_FILE, OLD_EVENTS_FILE, REMOVED_PREFIX, REQUEST_FILE,
    SPECIFICATION_FILE, events_path, id_of,
};
use super::old_events::bring_over;
use super::rebuild::{DAMAGED_SUFFIX, rebuild, unreadable};
use super::staged::Staged;
use crate::kept;
use crate::outputs::EXPORTS_DIRECTORY;

/// Directories of jobs that are being created; a crash leaves them behind.
const UNFINISHED_PREFIX: &str = ".submitting-";

/// A job as it was found on disk.
pub struct StoredJob {
    /// The job as it was saved, with the newest step of its log.
    pub job: v1::Job,
    /// The request that submitted it; empty where that is not known.
    pub request_id: String,
    /// Its directory.
    pub directory: PathBuf,
    /// Its event log, open for appending.
    pub log: EventLog,
    /// Whether a user has cancelled it.
    pub was_cancelled: bool,
}

/// The runs directory of one learner. It creates the directories of jobs and finds those of earlier runs; while it
/// exists no other learner can open the same runs directory.
pub struct JobStore {
    runs_directory: PathBuf,
    /// Held as long as the store: two learners must not run the same jobs.
    _lock: File,
}

impl JobStore {
    /// Opens the runs directory, creating it where it is missing.
    ///
    /// # Errors
    /// If it cannot be used, or another learner uses it.
    pub fn open(runs_directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(runs_directory).with_context(|| format!("create {}", runs_directory.display()))?;
        let runs_directory = runs_directory
            .canonicalize()
            .with_context(|| format!("resolve {}", runs_directory.display()))?;
        let lock_path = runs_directory.join(".lock");
        let lock = File::create(&lock_path).with_context(|| format!("create {}", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!("another learner uses {}", runs_directory.display()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", lock_path.display()));
            }
        }
        Ok(Self {
            runs_directory,
            _lock: lock,
        })
    }

    /// The directory of a job.
    pub fn directory(&self, job_id: &JobId) -> PathBuf {
        self.runs_directory.join(job_id.as_str())
    }

    /// Makes a directory for what a new job is to begin with, before the job exists.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn stage(&self) -> anyhow::Result<Staged> {
        let staged = Staged::new(self.unfinished());
        let path = staged.path();
        std::fs::create_dir(path).with_context(|| format!("create {}", path.display()))?;
        Ok(staged)
    }

    fn unfinished(&self) -> PathBuf {
        self.runs_directory
            .join(format!("{UNFINISHED_PREFIX}{}", uuid::Uuid::new_v4()))
    }

    /// Creates the directory of a new job and gives the job its id: its name, or name-2, name-3, … where that is taken by
    /// a directory, or by whom `is_taken` knows. The directory appears whole or not at all, with what is in `staged` where
    /// that is given. Calls must not overlap.
    ///
    /// # Errors
    /// If the disk refuses; nothing is left behind then.
    pub fn create(
        &self,
        name: &str,
        job: &mut v1::Job,
        request_id: &str,
        (files, staged): (&[FileStamp], Option<&Path>),
        is_taken: &dyn Fn(&JobId) -> bool,
    ) -> anyhow::Result<PathBuf> {
        job.id = self.free_id(name, is_taken).to_string();
        job.format = JOB_FORMAT;
        let unfinished = staged.map_or_else(|| self.unfinished(), Path::to_owned);
        let outcome = self.create_aside(&unfinished, job, request_id, files);
        if outcome.is_err() {
            // What cannot be removed now is removed at the next start.
            let _ = std::fs::remove_dir_all(&unfinished);
        }
        outcome
    }

    fn free_id(&self, name: &str, is_taken: &dyn Fn(&JobId) -> bool) -> JobId {
        let mut number = 1_u64;
        let mut job_id = JobId(name.to_owned());
        while is_taken(&job_id) || self.directory(&job_id).exists() {
            number += 1;
            job_id = JobId(format!("{name}-{number}"));
        }
        job_id
    }

    fn create_aside(
        &self,
        unfinished: &Path,
        job: &v1::Job,
        request_id: &str,
        files: &[FileStamp],
    ) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(unfinished).with_context(|| format!("create {}", unfinished.display()))?;
        write_durably(&unfinished.join(REQUEST_FILE), request_id)?;
        if let Some(spec) = &job.spec {
            save_specification(unfinished, spec)?;
        }
        let files = serde_json::to_vec(files).context("the checked files")?;
        write_durably(&unfinished.join(CHECKED_FILES_FILE), &files)?;
        save_job(unfinished, job)?;
        let directory = self.runs_directory.join(&job.id);
        std::fs::rename(unfinished, &directory).with_context(|| format!("create {}", directory.display()))?;
        sync_directory(&self.runs_directory)?;
        Ok(directory)
    }

    /// All jobs, oldest first. One whose file is damaged is made again from its specification and its events; where that
    /// cannot be done, it is listed as failed with the reason.
    ///
    /// # Errors
    /// If the runs directory cannot be listed.
    pub fn load(&self) -> anyhow::Result<Vec<StoredJob>> {
        let mut jobs = Vec::new();
        let listing = std::fs::read_dir(&self.runs_directory)
            .with_context(|| format!("list {}", self.runs_directory.display()))?;
        for item in listing {
            let directory = item
                .with_context(|| format!("list {}", self.runs_directory.display()))?
                .path();
            let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if [UNFINISHED_PREFIX, REMOVED_PREFIX]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                let _ = std::fs::remove_dir_all(&directory);
                continue;
            }
            let holds = |file| directory.join(file).is_file();
            if ![JOB_FILE, EVENTS_FILE, OLD_EVENTS_FILE].into_iter().any(holds) {
                continue;
            }
            clean_leftovers(&directory);
            match load_job(&directory) {
                Ok(job) => jobs.push(job),
                Err(error) => {
                    error!(directory = %directory.display(), error = format!("{error:#}"), "cannot load a job")
                }
            }
        }
        jobs.sort_by_key(|stored| stored.job.created.map(|time| (time.seconds, time.nanos)));
        Ok(jobs)
    }
}

/// Removes what processes that are gone were writing in a job's directory. Recovery checkpoints are left: an unfinished
/// one may be the best that there is.
fn clean_leftovers(job_directory: &Path) {
    let directories = [
        job_directory.to_owned(),
        job_directory.join(EXPORTS_DIRECTORY),
        job_directory.join(anytime_proto::generations::DIRECTORY),
        job_directory.join(kept::DIRECTORY),
    ];
    let listings = directories
        .iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok());
    for entry in listings.flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        // Earlier versions wrote `.NAME.draft-PID`.
        let is_left_over = name.starts_with('.') && (name.ends_with(PART_SUFFIX) || name.contains(".draft-"));
        if !is_left_over {
            continue;
        }
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        match removed {
            Ok(()) => info!(path = %path.display(), "removed what a process that is gone did not finish"),
            Err(error) => warn!(path = %path.display(), %error, "what a process that is gone did not finish stays"),
        }
    }
}

/// The files that were read when a job was submitted, as they were then; none where that is not known, as of jobs of
/// earlier versions.
pub fn checked_files(directory: &Path) -> Vec<FileStamp> {
    let bytes = std::fs::read(directory.join(CHECKED_FILES_FILE)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// The job in a directory, for reading only.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn read_job(directory: &Path) -> anyhow::Result<v1::Job> {
    let path = directory.join(JOB_FILE);
    let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    // Earlier versions wrote the job without a checksum.
    // A damaged record does not pass for such a file: its first byte is none that a message begins with.
    let content = only_record(&bytes).unwrap_or(&bytes);
    let decoded = v1::Job::decode(content).ok();
    decoded
        .filter(|job| !job.id.is_empty())
        .with_context(|| format!("{} is damaged", path.display()))
}

fn load_job(directory: &Path) -> anyhow::Result<StoredJob> {
    let (events, old_events) = (events_path(directory), directory.join(OLD_EVENTS_FILE));
    if !events.exists() && old_events.exists() {
        bring_over(&old_events, &events)?;
    }
    let log = EventLog::open(&events)?;
    let mut job = read_job(directory).or_else(|failure| made_again(directory, &log, &failure))?;
    let path = directory.join(JOB_FILE);
    anyhow::ensure!(job.id == id_of(directory), "{} is of job `{}`", path.display(), job.id);
    refuse_other_format(&mut job);
    let request_id = std::fs::read_to_string(directory.join(REQUEST_FILE)).unwrap_or_default();
    // The log has every step, the job's file only some.
    if let Some(step) = log.last_step() {
        job.step = step.step;
        job.last_step = Some(step.clone());
    }
    note_damage(&mut job, log.damaged());
    let was_cancelled = directory.join(CANCELLED_FILE).exists();
    Ok(StoredJob {
        job,
        request_id,
        directory: directory.to_owned(),
        log,
        was_cancelled,
    })
}

/// Says once that events are lost.
fn note_damage(job: &mut v1::Job, bytes: u64) {
    let text = format!("{bytes} bytes of the event log are damaged; the events that were in them are lost");
    let is_known = job.notices.iter().any(|notice| notice.text == text);
    if bytes == 0 || is_known {
        return;
    }
    counter!(LEARNER_DAMAGED_FILES, "what" => "events").increment(1);
    job.notices.push(v1::Notice {
        topic: "events".to_owned(),
        text,
        step: job.step,
    });
}

/// A job whose file cannot be read. The damaged file is put aside before anything writes a new one.
fn made_again(directory: &Path, log: &EventLog, failure: &anyhow::Error) -> anyhow::Result<v1::Job> {
    let reason = format!("{failure:#}");
    let job = match rebuild(directory, log, &reason) {
        Ok(job) => job,
        Err(other) => unreadable(directory, &format!("{reason}; {other:#}")),
    };
    error!(
        job_id = job.id,
        reason,
        error = job.error,
        "a job's file cannot be read"
    );
    counter!(LEARNER_DAMAGED_FILES, "what" => "job").increment(1);
    let path = directory.join(JOB_FILE);
    if path.exists() {
        let aside = directory.join(format!("{JOB_FILE}{DAMAGED_SUFFIX}"));
        std::fs::copy(&path, &aside).with_context(|| format!("copy {} to {}", path.display(), aside.display()))?;
    }
    Ok(job)
}

/// An unfinished job whose specification another version of the learner wrote would be misread, so it does not go on.
/// It stays on disk as it was, for the version that can read it. Ended jobs are listed all the same.
fn refuse_other_format(job: &mut v1::Job) {
    let is_unfinished = matches!(
        job.state(),
        v1::JobState::Queued | v1::JobState::Running | v1::JobState::Paused
    );
    if job.format == JOB_FORMAT || !is_unfinished {
        return;
    }
    job.error = format!(
        "its settings were written by another version of the learner (format {}; this version reads {JOB_FORMAT}); submit \
         its job file again",
        job.format
    );
    warn!(job_id = job.id, error = job.error, "an unfinished job does not go on");
    job.set_state(v1::JobState::Failed);
    job.ended = Some(timestamp());
}

/// Writes the job in its directory.
///
/// # Errors
/// If the disk refuses; the old state is then still there.
pub fn save_job(directory: &Path, job: &v1::Job) -> anyhow::Result<()> {
    let path = directory.join(JOB_FILE);
    let bytes = record(&job.encode_to_vec()).with_context(|| format!("write {}", path.display()))?;
    Ok(write_durably(&path, bytes)?)
}

/// Writes the specification for people.
///
/// # Errors
/// If the disk refuses.
pub(super) fn save_specification(directory: &Path, spec: &v1::JobSpec) -> anyhow::Result<()> {
    match toml::to_string(spec) {
        Ok(text) => write_durably(&directory.join(SPECIFICATION_FILE), text)?,
        Err(error) => {
            warn!(directory = %directory.display(), %error, "the specification cannot be written as a job file");
        }
    }
    Ok(())
}

/// Records that a user has cancelled the job.
///
/// # Errors
/// If the disk refuses.
pub fn save_cancellation(directory: &Path) -> anyhow::Result<()> {
    // An empty file is complete as soon as it exists. Written aside it would wait for an export in the same directory.
    let path = directory.join(CANCELLED_FILE);
    let create = || File::create(&path)?.sync_all();
    create().with_context(|| format!("write {}", path.display()))?;
    Ok(sync_directory(directory)?)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cancellation_does_not_wait_for_an_export() {
        let directory = tempfile::tempdir().expect("directory");
        let export = File::open(directory.path()).expect("opened");
        export.lock().expect("locked, as an export locks its parent");
        let (sender, saved) = mpsc::channel();
        let path = directory.path().to_owned();
        std::thread::spawn(move || sender.send(save_cancellation(&path)));
        let saved = saved.recv_timeout(Duration::from_secs(10));
        saved.expect("it does not wait").expect("saved");
        assert!(directory.path().join(CANCELLED_FILE).is_file());
    }

    #[test]
    fn an_unfinished_job_of_another_format_does_not_go_on_and_an_ended_one_is_listed() {
        let directory = tempfile::tempdir().expect("directory");
        let store = JobStore::open(directory.path()).expect("a runs directory");
        let states = [v1::JobState::Queued, v1::JobState::Running, v1::JobState::Succeeded];
        for state in states {
            let mut job = v1::Job {
                state: state.into(),
                created: Some(timestamp()),
                ..Default::default()
            };
            let path = store
                .create("job", &mut job, "request", (&[], None), &|_| false)
                .expect("created");
            job.format = 0;
            save_job(&path, &job).expect("saved");
        }
        let mut jobs: Vec<v1::Job> = store
            .load()
            .expect("listed")
            .into_iter()
            .map(|stored| stored.job)
            .collect();
        jobs.sort_by(|one, other| one.id.cmp(&other.id));
        let states: Vec<v1::JobState> = jobs.iter().map(v1::Job::state).collect();
        let expected = [v1::JobState::Failed, v1::JobState::Failed, v1::JobState::Succeeded];
        assert_eq!(states, expected);
        assert!(
            jobs[0].error.contains("another version of the learner"),
            "{}",
            jobs[0].error
        );
        assert!(jobs[2].error.is_empty());
    }

    #[test]
    fn what_dead_processes_left_goes_and_everything_else_stays() {
        let job = tempfile::tempdir().expect("directory");
        let inside = |name: &str| job.path().join(name);
        for name in [
            ".final.part",
            ".step-00000020.draft-4711",
            "final",
            "recovery/.step-00000020.part",
            ".mine",
        ] {
            std::fs::create_dir_all(inside(name)).expect("made");
        }
        std::fs::create_dir_all(inside("exports/.step-00000010.part")).expect("made");
        std::fs::write(inside(".job.pb.part"), "").expect("written");
        clean_leftovers(job.path());
        for (name, stays) in [
            (".final.part", false),
            (".step-00000020.draft-4711", false),
            (".job.pb.part", false),
            ("exports/.step-00000010.part", false),
            ("final", true),
            (".mine", true),
            ("recovery/.step-00000020.part", true),
        ] {
            assert_eq!(inside(name).exists(), stays, "{name}");
        }
    }
}
