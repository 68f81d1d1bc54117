//! Recovery checkpoints that were written and are not there any more.

use crate::checkpoint::Recovered;
use crate::jobs::context::JobContext;
use crate::jobs::fault::NeedsPerson;

/// Compares the recovery checkpoint that was read with what the job's record says was written. A job that has none left
/// would start over in silence, and train away what it had for hours, so it waits for a person. One that goes on from an
/// earlier step than it had reached says so.
///
/// # Errors
/// [`NeedsPerson`] where a checkpoint was written and there is none.
pub(super) fn check_recovery(context: &JobContext, recovered: Option<&Recovered>) -> Result<(), NeedsPerson> {
    let job = context.job();
    let id = &job.id;
    match (job.recovery_step, recovered) {
        // At step 0 nothing has been trained.
        (Some(written), None) if written > 0 => {
            let directory = context.directory().join("recovery");
            Err(NeedsPerson(format!(
                "its recovery checkpoint of step {written} was written to {} and is gone, so that it would start over; put \
                 the directory back and `anytime resume {id}` goes on, or `anytime cancel {id}` gives it up, and its job file \
                 (job.toml in its directory), submitted again, begins anew",
                directory.display()
            )))
        }
        (Some(written), Some(found)) if found.state.step < written && found.damaged.is_empty() => {
            let step = found.state.step;
            context.notice(
                "checkpoint",
                &format!(
                    "the recovery checkpoint of step {written} was written and is gone; the job goes on from the one of \
                     step {step}"
                ),
            );
            Ok(())
        }
        (None, None) if job.step > 0 => {
            context.notice(
                "checkpoint",
                &format!(
                    "no recovery checkpoint was written yet, so that the job starts over after {} steps \
                     (checkpoint.recovery_every)",
                    job.step
                ),
            );
            Ok(())
        }
        _ => Ok(()),
    }
}
