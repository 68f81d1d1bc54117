//! Jobs: what was submitted, how far it is, and what happened.
//!
//! [`store`] is the disk, [`events`] the log of one job on it, [`entry`] one job in memory, [`registry`] all of them,
//! [`runner`] the thread that runs them.

pub mod context;
pub mod entry;
pub mod events;
pub mod registry;
pub mod runner;
pub mod store;

use std::time::{SystemTime, UNIX_EPOCH};

use anytime_proto::v1;
use prost_types::Timestamp;

/// The time of day.
pub(crate) fn timestamp() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: since_epoch.as_secs() as i64,
        nanos: since_epoch.subsec_nanos() as i32,
    }
}

/// Whether a job in this state will not change any more.
pub(crate) fn has_ended(state: v1::JobState) -> bool {
    matches!(
        state,
        v1::JobState::Succeeded | v1::JobState::Failed | v1::JobState::Cancelled
    )
}
