//! What holds of a job by its state, and what may become of it: a state machine without clock or I/O. The job's entry asks
//! it, and carries out what it says.

#![deny(clippy::disallowed_methods)]

use anytime_proto::v1::JobState;

/// How many notices a job carries with it. Its events have all of them.
pub(super) const MOST_NOTICES: usize = 100;

/// Whether a job in this state will not change any more.
pub(super) fn has_ended(state: JobState) -> bool {
    matches!(state, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
}

/// What a job is, as far as its next state depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Its state.
    pub state: JobState,
    /// The thread of jobs works on it.
    pub is_held: bool,
    /// Somebody has cancelled it. This is on disk before it is in memory.
    pub is_cancelled: bool,
    /// It is paused and is to be tried again by itself.
    pub will_be_tried: bool,
}

/// What a request to resume a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// It waits for its turn.
    Queue,
    /// It waits within its thread, which is woken.
    Nudge,
    /// Nothing: it waits for its turn or runs.
    Leave,
    /// It is refused: the job has ended for good.
    HasEnded,
    /// It is refused: settings cannot change now.
    IsHeld,
}

/// What a request to cancel a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// Nothing: it is over, or cancelled already.
    Nothing,
    /// Its thread notices and ends it, now or in its next turn.
    ByThread,
    /// It ends at once.
    AtOnce,
}

/// What happens when a job's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It runs.
    Runs,
    /// It runs after the process ended under it, which is counted first.
    RunsAgain,
    /// It has ended while it waited.
    HasEnded,
    /// It was cancelled and ends as cancelled now: the process died before it could.
    WasCancelled,
}

impl Standing {
    /// What a request to resume it does, with settings of its own or without.
    pub fn resumption(self, with_settings: bool) -> Resumption {
        match self.state {
            JobState::Succeeded | JobState::Cancelled => Resumption::HasEnded,
            JobState::Failed | JobState::Paused if !self.is_held => Resumption::Queue,
            _ if with_settings => Resumption::IsHeld,
            JobState::Paused => Resumption::Nudge,
            _ => Resumption::Leave,
        }
    }

    /// What a request to cancel it does. A job that the thread works on is ended by the thread. So is a job that ran
    /// when the last process ended and has not had its first turn in this one.
    pub fn cancellation(self) -> Cancellation {
        if self.is_cancelled || matches!(self.state, JobState::Succeeded | JobState::Cancelled) {
            Cancellation::Nothing
        } else if self.is_held || self.state == JobState::Running {
            Cancellation::ByThread
        } else {
            Cancellation::AtOnce
        }
    }

    /// What its turn begins with.
    pub fn beginning(self) -> Beginning {
        if matches!(self.state, JobState::Succeeded | JobState::Cancelled) {
            Beginning::HasEnded
        } else if self.is_cancelled {
            Beginning::WasCancelled
        } else if self.state == JobState::Failed {
            Beginning::HasEnded
        } else if self.state == JobState::Running {
            Beginning::RunsAgain
        } else {
            Beginning::Runs
        }
    }

    /// Whether it goes on when the process starts: it ran, or was to be tried again, or was cancelled and its end has
    /// still to be recorded.
    pub fn goes_on_at_start(self) -> bool {
        match self.state {
            JobState::Running => true,
            JobState::Paused => self.will_be_tried || self.is_cancelled,
            JobState::Failed => self.is_cancelled,
            _ => false,
        }
    }
}
