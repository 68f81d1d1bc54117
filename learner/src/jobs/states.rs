//! What holds of a job by its state, and of its record.

use anytime_proto::v1::JobState;

/// How many notices a job carries with it. Its events have all of them.
pub(super) const MOST_NOTICES: usize = 100;

/// Whether a job in this state will not change any more.
pub(super) fn has_ended(state: JobState) -> bool {
    matches!(state, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
}
