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

/// What the turn of a job begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It runs.
    Runs,
    /// It runs after the process ended under it, which is counted first.
    RunsAgain,
    /// It has ended while it waited.
    HasEnded,
    /// It was cancelled, and ends as that. Nobody has done so, because the process died in between.
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

    /// What a request to cancel it does. One that the thread works on is ended by it. A job that runs on disk only,
    /// before its first turn in this process, is ended by the thread too, when its turn comes.
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

    /// Whether it goes on when the process starts: it ran, it was to be tried again, or it still has to be told that it
    /// was cancelled.
    pub fn goes_on_at_start(self) -> bool {
        match self.state {
            JobState::Running => true,
            JobState::Paused => self.will_be_tried || self.is_cancelled,
            JobState::Failed => self.is_cancelled,
            _ => false,
        }
    }
}
