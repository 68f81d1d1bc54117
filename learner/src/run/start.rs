//! Where a job starts: its check when it is submitted, and its run on the thread of jobs.

use std::path::Path;

use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;

use super::job::RunningJob;
use super::prepare::prepare;
use super::{sft, train};
use crate::jobs::context::JobContext;

/// Checks a specification and every file that it names, before the job exists.
///
/// # Errors
/// The first setting that cannot work.
pub fn validate(spec: &v1::JobSpec, root: &Path) -> Result<JobSettings, InvalidSetting> {
    let settings = JobSettings::try_new(spec)?;
    prepare(&settings, root)?;
    Ok(settings)
}

/// Runs a job to its end on the calling thread. Goes on from the recovery checkpoint where there is one.
///
/// # Errors
/// [`Interrupted`](crate::jobs::interrupt::Interrupted) somewhere in the chain where the job was told to stop;
/// otherwise the reason why the job failed.
pub fn run_job(context: &JobContext) -> anyhow::Result<()> {
    let device = anytime_policy::device::choose(context.device())?;
    let prepared = prepare(context.settings(), context.root())?;
    let mut job = RunningJob::open(context, prepared, device)?;
    match context.settings().kind {
        v1::JobKind::Train => train::train(&mut job),
        v1::JobKind::Sft => sft::fine_tune(&mut job),
        v1::JobKind::Evaluate | v1::JobKind::Unspecified => {
            job.publish();
            job.evaluate()
        }
    }
}
