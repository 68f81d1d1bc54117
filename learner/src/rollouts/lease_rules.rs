//! The rules by which a job's problems are leased.

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use crate::invariants::Bounds;

/// The rules of a job, which stay the same over the life of its table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseRules {
    /// Groups per step.
    pub batch: u64,
    /// A token may be at most this many versions older than the one that trains it.
    pub max_staleness: u64,
    /// At most this many groups wait in the queue, besides those of the batch that is being taken.
    pub queue_groups: u64,
    /// How long an actor may keep a lease without saying that it has it.
    pub lease: Duration,
    /// Steps × batch.
    pub total_groups: u64,
}

impl LeaseRules {
    /// What these rules bound.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            batch: self.batch,
            max_staleness: self.max_staleness,
            total_groups: self.total_groups,
        }
    }
}
