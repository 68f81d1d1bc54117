//! What the lease table answers.

#![deny(clippy::disallowed_methods)]

use std::time::Instant;

use anytime_proto::ActorId;

use super::progress::Ending;

/// Whether a pushed group may go into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushCheck {
    /// It may.
    Admit,
    /// It is in the queue, was trained, or is being trained.
    Duplicate,
    /// It was dropped, or was never leased and is not admitted.
    Unwanted,
}

/// What follows for a lease that an actor gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// The actor does not hold that lease any more.
    NotHeld,
    /// It will be leased again.
    Again,
    /// It has failed too often (this often) and is dropped.
    Skipped(u32),
}

/// The group that the trainer takes next, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextToTrain {
    /// In the queue.
    Queued(u64),
    /// An actor has it in hand since that time.
    Leased(u64, ActorId, Instant),
    /// Nobody has it.
    Free(u64),
}

impl NextToTrain {
    /// Its sequence.
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Queued(sequence) | Self::Leased(sequence, ..) | Self::Free(sequence) => *sequence,
        }
    }
}

/// What an actor's list of groups in hand changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Leases whose time starts anew, or that the actor has again.
    pub renewed: u64,
    /// Leases that the actor does not have in hand, which are free now.
    pub freed: u64,
}

/// What a survey of the queue changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Groups that the queue lost: they are leased again.
    pub lost: u64,
    /// Groups in the queue that have ended: they are to be settled.
    pub ended: Vec<(u64, Ending)>,
}
