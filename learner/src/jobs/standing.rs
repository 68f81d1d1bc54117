//! How a job stands, for whoever asks how the learner fares: what is in memory and on the disk, without its groups.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anytime_proto::ShortName as _;
use anytime_proto::v1::{self, Activity, JobState};
use anytime_service::last_lines::cut;

use super::entry::JobEntry;

/// The most bytes of the reason why a job failed or is paused.
const LONGEST_ERROR: usize = 2048;

/// The most bytes of a notice.
const LONGEST_NOTICE: usize = 1024;

/// How many of the newest notices are told.
const NOTICES: usize = 8;

/// Where a job keeps its recovery checkpoints, and how each of their directories is called before the step.
const RECOVERY_DIRECTORY: &str = "recovery";
const STEP_PREFIX: &str = "step-";

impl JobEntry {
    /// The setting `priority`.
    pub(super) fn priority(&self) -> i32 {
        let seen = self.live.seen();
        seen.job.spec.as_ref().map(v1::JobSpec::priority).unwrap_or_default()
    }

    /// Whether the thread of jobs works on it.
    pub(super) fn is_held(&self) -> bool {
        self.live.seen().is_held
    }

    /// When it ended, in a form that sorts; none while it has not.
    pub fn ended(&self) -> Option<(i64, i32)> {
        let seen = self.live.seen();
        seen.job.ended.as_ref().map(|time| (time.seconds, time.nanos))
    }

    /// How it stands by what is in memory.
    pub fn told_standing(&self) -> v1::JobStanding {
        let (activity, activity_seconds) = self.activity.now();
        let seen = self.live.seen();
        let job = &seen.job;
        let (activity, activity_seconds) = match job.state() {
            JobState::Running => (activity, activity_seconds),
            // It waits within its thread.
            JobState::Paused if seen.is_held => (Activity::AwaitsDisk, activity_seconds),
            _ => (Activity::Rests, 0.0),
        };
        let spec = job.spec.as_ref();
        let training = spec.and_then(|spec| spec.training.as_ref());
        let mut error = job.error.clone();
        cut(&mut error, LONGEST_ERROR);
        let evaluation = job.evaluations.last().cloned();
        v1::JobStanding {
            job_id: self.id.to_string(),
            kind: spec.map(v1::JobSpec::kind).unwrap_or_default().short_name(),
            state: job.state,
            error,
            retry_at: job.retry_at,
            step: job.step,
            total_steps: job.total_steps,
            run_seconds: seen.seconds(),
            stepped_seconds_ago: seen.stepped.map(|time| age(time).as_secs_f64()),
            last_step: job.last_step.clone(),
            activity: activity.into(),
            activity_seconds,
            evaluation,
            exported: job.checkpoint.clone(),
            undone_steps: seen.undone_steps,
            notices: newest_notices(&job.notices),
            max_staleness: training.map(|training| training.max_staleness()).unwrap_or_default(),
            ..v1::JobStanding::default()
        }
    }
}

fn newest_notices(notices: &[v1::Notice]) -> Vec<v1::Notice> {
    let newest = notices.iter().skip(notices.len().saturating_sub(NOTICES));
    let shortened = newest.cloned().map(|mut notice| {
        cut(&mut notice.text, LONGEST_NOTICE);
        notice
    });
    shortened.collect()
}

/// The recovery checkpoints in a job's directory that have their final names, the newest first. Reads the disk, but none
/// of their contents. What cannot be listed is none.
pub fn checkpoints_of(job_directory: &Path) -> Vec<v1::CheckpointStanding> {
    let listing = std::fs::read_dir(job_directory.join(RECOVERY_DIRECTORY));
    let entries = listing.into_iter().flatten().flatten();
    let mut found: Vec<v1::CheckpointStanding> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let step = name.to_str()?.strip_prefix(STEP_PREFIX)?.parse().ok()?;
            let written = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
            Some(v1::CheckpointStanding {
                step,
                directory: entry.path().display().to_string(),
                seconds_ago: age(written).as_secs_f64(),
            })
        })
        .collect();
    found.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.step));
    found
}

/// A clock that was put back makes nothing younger than now.
fn age(time: SystemTime) -> Duration {
    time.elapsed().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_found_by_their_names_and_the_newest_comes_first() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(checkpoints_of(directory.path()), []);
        for name in [
            "step-00000005",
            "step-00000010",
            ".step-00000015.damaged",
            "step-x",
            "step-00000020.part",
        ] {
            std::fs::create_dir_all(directory.path().join(RECOVERY_DIRECTORY).join(name)).expect("a directory");
        }
        let found = checkpoints_of(directory.path());
        let steps: Vec<u64> = found.iter().map(|checkpoint| checkpoint.step).collect();
        assert_eq!(steps, [10, 5]);
        assert!(found[0].directory.ends_with("recovery/step-00000010"));
        assert!((0.0..60.0).contains(&found[0].seconds_ago));
    }

    #[test]
    fn only_the_newest_notices_are_told_and_none_at_length() {
        let notices: Vec<v1::Notice> = (0..20)
            .map(|step| v1::Notice {
                step,
                text: "long ".repeat(1000),
                ..v1::Notice::default()
            })
            .collect();
        let told = newest_notices(&notices);
        assert_eq!((told.len(), told[0].step), (NOTICES, 12));
        assert!(told.iter().all(|notice| notice.text.len() <= LONGEST_NOTICE));
    }
}
