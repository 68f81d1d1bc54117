//! Counts how often the process ended under a job, so that a job that ends every process is not restarted for ever.

use anytime_proto::v1;

/// A job under which the process ended this often in a row, without a step in between, is not started again by itself.
pub const MOST_CRASHES: u32 = 3;

/// Counts an end of the process under a job that was running, unless it was told to end. Gives the reason to pause once
/// that has happened too often without a step in between.
pub fn count_crash(job: &mut v1::Job) -> Option<String> {
    let step = job.step;
    let crashes = job.crashes.get_or_insert_default();
    if crashes.expected {
        *crashes = v1::Crashes::default();
        return None;
    }
    if crashes.step != step {
        crashes.count = 0;
    }
    crashes.step = step;
    crashes.count += 1;
    let said = std::mem::take(&mut crashes.reason);
    if crashes.count < MOST_CRASHES {
        return None;
    }
    let said = if said.is_empty() {
        "it could not say why, as when the system kills it for its memory".to_owned()
    } else {
        format!("last it said: {said}")
    };
    Some(format!(
        "the learner's process ended {} times in a row while this job was at step {step}; {said}; put it right, then \
         `anytime resume {}`",
        crashes.count, job.id
    ))
}
